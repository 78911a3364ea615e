"""Training weights: the weight of each demonstrator's episodes in the loss, with the reason."""

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
    """Weight of one demonstrator's episodes: `used` of `episodes` enter training, each with `weight`."""

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
    """Return each demonstrator's weight, sorted by name; `weights` as in `episode_weights`."""
    per_episode = episode_weights(columns, weights, skilled)
    names = sorted({name for arrays in columns.values() for name in arrays.demonstrator})
    rated = {task: column for task, column in columns.items() if column.task.success.is_known}
    success = _by_person({task: column.success for task, column in rated.items()}, rated)
    weighed = _by_person(per_episode, columns)
    judged = skilled or {}
    return [_weight(name, success.get(name, []), weighed[name], weights, judged.get(name)) for name in names]


def episode_weights(
    columns: Mapping[str, TaskArrays], weights: str, skilled: Mapping[str, ExpertiseEstimate] | None = None
) -> dict[str, np.ndarray]:
    """Return the weight of each episode, task id → float64 `[E]`.

    `weights`: "none" weighs all equally, "outcome" uses successful episodes only, "expertise" uses the
    demonstrator's expertise weight, "both" combines the two. In a task without any weighted success, failures
    are used, since there is nothing better. In a task without a success rule, outcomes are ignored.
    """
    estimates = skilled or {}
    result = {}
    for task, arrays in columns.items():
        values = np.array(
            [estimates[name].weight if name in estimates else 1.0 for name in arrays.demonstrator]
        )
        if not values.any():
            values[:] = 1.0
        solved = values * arrays.success
        by_outcome = weights in ("outcome", "both") and arrays.task.success.is_known and solved.any()
        result[task] = solved if by_outcome else values
    return result


def table(weights: Sequence[DemonstratorWeight]) -> FoldedTable:
    """Return the weights as a table, the smallest first."""
    names = [Column(name) for name in ("person", "episodes", "success", "expertise", "weight")]
    more = f"and {len(weights) - _SHOWN:,} more" if len(weights) > _SHOWN else ""
    columns = [*names, Column("reason", words=True)]
    folded = FoldedTable(columns, title="who teaches how much", caption=more)
    for weight in sorted(weights, key=lambda weight: (weight.weight, weight.demonstrator))[:_SHOWN]:
        skill = "–" if weight.expertise is None else f"{weight.expertise:.2f}"
        rate = "–" if weight.success is None else f"{weight.success:.0%}"
        cells = f"{weight.episodes:,}", rate, skill, f"{weight.weight:.2f}"
        folded.add_row(weight.demonstrator, *cells, weight.reason)
    return folded


def _by_person(values: Mapping[str, np.ndarray], columns: Mapping[str, TaskArrays]) -> dict[str, list[float]]:
    by_person: dict[str, list[float]] = {}
    for task, arrays in columns.items():
        for name, value in zip(arrays.demonstrator, values[task].tolist(), strict=True):
            by_person.setdefault(name, []).append(float(value))
    return by_person


def _weight(
    name: str, success: list[float], weighed: list[float], weights: str, skill: ExpertiseEstimate | None
) -> DemonstratorWeight:
    used = sum(value > 0 for value in weighed)
    estimate = skill if weights in ("expertise", "both") else None
    return DemonstratorWeight(
        demonstrator=name,
        episodes=len(weighed),
        used=used,
        success=sum(success) / len(success) if success else None,
        expertise=None if estimate is None else estimate.share,
        weight=max(weighed),
        reason=_reason(used, weights, estimate),
    )


def _reason(used: int, weights: str, skill: ExpertiseEstimate | None) -> str:
    parts = []
    if weights in ("expertise", "both"):
        parts.append(_skill_text(skill))
    if weights in ("outcome", "both"):
        verb = "teaches" if used == 1 else "teach"
        parts.append(f"{counted(used, 'episode')} {verb}" if used else "no episode teaches")
    return "; ".join(parts) or "every episode counts"


def _skill_text(skill: ExpertiseEstimate | None) -> str:
    if skill is None:
        return "too few people to compare"
    if skill.usual < TELLING:
        return "nobody's actions can be foretold well enough to judge by"
    if skill.weight > 0.9:
        return "acts as most people do"
    share = f"{skill.share:.0%} of the actions, at most {skill.high:.0%}, answer what is seen"
    return share if skill.weight else f"left out: {share}"
