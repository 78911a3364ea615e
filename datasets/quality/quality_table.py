"""What `tutelage quality` shows of a store: everyone's evidence and what speaks against them."""

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
    """Everyone's evidence and verdict, those against whom most speaks first."""

    people: Sequence[tuple[DemonstratorStats, Verdict]]

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain data, ready for JSON: one object a person; `successes` null where none is known."""
        return [
            {
                **dataclasses.asdict(evidence),
                "successes": evidence.successes if evidence.rated else None,
                "score": verdict.score,
                "findings": _plain(verdict),
            }
            for evidence, verdict in self.people
        ]

    def __rich__(self) -> FoldedTable:
        names = [Column(name) for name in ("person", "episodes", "success", "length", "ms", "score")]
        left = f"and {len(self.people) - _SHOWN:,} more; " if len(self.people) > _SHOWN else ""
        table = FoldedTable(
            [*names, Column("what speaks against them", words=True)],
            caption=f"{left}length: steps over the expert's; ms: from a picture to its key, the median",
        )
        for one, said in self.people[:_SHOWN]:
            reasons = "; ".join(said.reasons) or "nothing"
            table.add_row(
                *(one.person, f"{one.episodes:,}", *_cells(one), number_text(said.score, ".2f")),
                printable(reasons),
            )
        return table


def view(store: Store, *, experts: bool = True, progress: Progress | None = None) -> QualityTable:
    """Judge everyone in a store by what they did; `experts` as in `conduct_in`."""
    gathered = evidence(conduct_in(store, experts=experts, progress=progress))
    people = [(one, quality(one)) for one in gathered.values()]
    return QualityTable(
        sorted(people, key=lambda pair: (-len(pair[1].reasons), _rank(pair[1]), pair[0].person))
    )


def _rank(verdict: Verdict) -> float:
    return math.inf if verdict.score is None else verdict.score


def _cells(one: DemonstratorStats) -> tuple[str, str, str]:
    length, reaction = one.own.get("length"), one.own.get("reaction_ms")
    return (
        number_text(one.successes / one.rated if one.rated else None, ".0%"),
        "" if length is None else f"{length:.1f}",
        "" if reaction is None else f"{reaction:,.0f}",
    )


def _plain(said: Verdict) -> list[dict[str, Any]]:
    return [dataclasses.asdict(one) for one in said.findings]
