"""The table of `tutelage quality`: each demonstrator's statistics and the findings against them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...console.folded_table import Column, FoldedTable
from ...console.printable import printable
from ...files.finite_json import number_text
from ..store import Progress, Store
from .demonstrator_stats import DemonstratorStats, evidence
from .episode_stats import conduct_in
from .verdict import Verdict, quality

_SHOWN = 60


@dataclass(frozen=True)
class QualityTable:
    """Statistics and verdict of each demonstrator, those with the most findings against them first."""

    people: Sequence[tuple[DemonstratorStats, Verdict]]

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain data, ready for JSON: one object per person; `successes` is null where unknown."""
        return [
            {
                **dataclasses.asdict(evidence),
                "successes": evidence.successes if evidence.rated else None,
                "score": verdict.score,
                "findings": _finding_dicts(verdict),
            }
            for evidence, verdict in self.people
        ]

    def __rich__(self) -> FoldedTable:
        names = [Column(name) for name in ("person", "episodes", "success", "length", "ms", "score")]
        more = f"and {len(self.people) - _SHOWN:,} more; " if len(self.people) > _SHOWN else ""
        table = FoldedTable(
            [*names, Column("what speaks against them", words=True)],
            caption=f"{more}length: steps over the expert's; ms: from a picture to its key, the median",
        )
        for stats, verdict in self.people[:_SHOWN]:
            reasons = "; ".join(verdict.reasons) or "nothing"
            table.add_row(
                *(stats.person, f"{stats.episodes:,}", *_cells(stats), number_text(verdict.score, ".2f")),
                printable(reasons),
            )
        return table


def view(store: Store, *, experts: bool = True, progress: Progress | None = None) -> QualityTable:
    """Judge every demonstrator in a store by their episodes; `experts` as in `conduct_in`."""
    gathered = evidence(conduct_in(store, experts=experts, progress=progress))
    people = [(stats, quality(stats)) for stats in gathered.values()]
    return QualityTable(
        sorted(people, key=lambda pair: (-len(pair[1].reasons), _rank(pair[1]), pair[0].person))
    )


def _rank(verdict: Verdict) -> float:
    return math.inf if verdict.score is None else verdict.score


def _cells(stats: DemonstratorStats) -> tuple[str, str, str]:
    length, reaction = stats.own.get("length"), stats.own.get("reaction_ms")
    return (
        number_text(stats.successes / stats.rated if stats.rated else None, ".0%"),
        "" if length is None else f"{length:.1f}",
        "" if reaction is None else f"{reaction:,.0f}",
    )


def _finding_dicts(verdict: Verdict) -> list[dict[str, Any]]:
    return [dataclasses.asdict(finding) for finding in verdict.findings]
