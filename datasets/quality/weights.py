"""Who teaches how much: the weight of each demonstrator's episodes in training, with the reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...console.folded_table import Column, FoldedTable
from ...console.wording import counted
from ..arrays.task_arrays import TaskArrays
from .expertise import TELLING, ExpertiseEstimate

_SHOWN = 40


@dataclass(frozen=True)
class DemonstratorWeight:
    """What one demonstrator's episodes weigh: `used` of `episodes` are learned from, each with `weight`."""

    demonstrator: str
    episodes: int
    used: int
    success: float | None
    expertise: float | None
    weight: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return dataclasses.asdict(self)


def weigh(
    columns: Mapping[str, TaskArrays], weights: str, skilled: Mapping[str, ExpertiseEstimate] | None = None
) -> list[DemonstratorWeight]:
    """Say what everyone's episodes weigh, by name; `weights` as in `episode_weights`."""
    each = episode_weights(columns, weights, skilled)
    names = sorted({who for one in columns.values() for who in one.demonstrator})
    rated = {task: column for task, column in columns.items() if column.task.success.is_known}
    success = _by_person({task: column.success for task, column in rated.items()}, rated)
    weighed = _by_person(each, columns)
    judged = skilled or {}
    return [_weight(who, success.get(who, []), weighed[who], weights, judged.get(who)) for who in names]


def episode_weights(
    columns: Mapping[str, TaskArrays], weights: str, skilled: Mapping[str, ExpertiseEstimate] | None = None
) -> dict[str, np.ndarray]:
    """Return the weight of each episode, task id → float64 `[E]`.

    `weights`: "none" counts all alike, "outcome" successful ones only, "expertise" by who made them, "both".
    Where nobody whose episodes count succeeded at a task, its failures count: they are the best there is. Of
    a task without a success rule, all episodes count alike.
    """
    known = skilled or {}
    found = {}
    for task, one in columns.items():
        each = np.array([known[who].weight if who in known else 1.0 for who in one.demonstrator])
        if not each.any():
            each[:] = 1.0
        solved = each * one.success
        by_outcome = weights in ("outcome", "both") and one.task.success.is_known and solved.any()
        found[task] = solved if by_outcome else each
    return found


def table(weights: Sequence[DemonstratorWeight]) -> FoldedTable:
    """Lay the weights out as a table, those that weigh least first."""
    names = [Column(name) for name in ("person", "episodes", "success", "expertise", "weight")]
    more = f"and {len(weights) - _SHOWN:,} more" if len(weights) > _SHOWN else ""
    columns = [*names, Column("reason", words=True)]
    shown = FoldedTable(columns, title="who teaches how much", caption=more)
    for one in sorted(weights, key=lambda one: (one.weight, one.demonstrator))[:_SHOWN]:
        skill = "–" if one.expertise is None else f"{one.expertise:.2f}"
        rate = "–" if one.success is None else f"{one.success:.0%}"
        cells = f"{one.episodes:,}", rate, skill, f"{one.weight:.2f}"
        shown.add_row(one.demonstrator, *cells, one.reason)
    return shown


def _by_person(values: Mapping[str, np.ndarray], columns: Mapping[str, TaskArrays]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for task, one in columns.items():
        for who, value in zip(one.demonstrator, values[task].tolist(), strict=True):
            found.setdefault(who, []).append(float(value))
    return found


def _weight(
    who: str, success: list[float], weighed: list[float], weights: str, skill: ExpertiseEstimate | None
) -> DemonstratorWeight:
    used = sum(one > 0 for one in weighed)
    own = skill if weights in ("expertise", "both") else None
    return DemonstratorWeight(
        demonstrator=who,
        episodes=len(weighed),
        used=used,
        success=sum(success) / len(success) if success else None,
        expertise=None if own is None else own.share,
        weight=max(weighed),
        reason=_reason(used, weights, own),
    )


def _reason(used: int, weights: str, skill: ExpertiseEstimate | None) -> str:
    told = []
    if weights in ("expertise", "both"):
        told.append(_about(skill))
    if weights in ("outcome", "both"):
        verb = "teaches" if used == 1 else "teach"
        told.append(f"{counted(used, 'episode')} {verb}" if used else "no episode teaches")
    return "; ".join(told) or "every episode counts"


def _about(skill: ExpertiseEstimate | None) -> str:
    if skill is None:
        return "too few people to compare"
    if skill.usual < TELLING:
        return "nobody's actions can be foretold well enough to judge by"
    if skill.weight > 0.9:
        return "acts as most people do"
    share = f"{skill.share:.0%} of the actions, at most {skill.high:.0%}, answer what is seen"
    return share if skill.weight else f"left out: {share}"
