"""What a replay decides of an episode, compared field by field with what is stored of it.

Decided: the number of steps, observations, rewards, how the episode ended, whether it was a success, what the
success rule read from info, casts. Not decided: who acted, when, and in which frame; notes and versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..console.wording import counted
from .trajectory import Trajectory, digest_of


@dataclass(frozen=True)
class ReplayResult:
    """What the environment showed when the same actions were taken from the same seed.

    `rewards` is float64 `[T]`, `observations` maps leaf path → `[T+1, ...]` (empty where they were not kept),
    `legal` is bool `[T+1, n]`, the mask given with each observation, or None. The arrays are shorter when the
    episode ended before the actions did. `infos` is what the success rule read from info
    (`Trajectory.infos`), `casts` what casts changed; both are None where they were not looked at.
    """

    rewards: np.ndarray
    terminated: bool
    truncated: bool
    success: bool | None
    digest: bytes
    observations: dict[str, np.ndarray] = field(default_factory=dict)
    legal: np.ndarray | None = None
    infos: Mapping[str, np.ndarray] | None = None
    casts: Mapping[str, str] | None = None


def is_same(trajectory: Trajectory, again: ReplayResult | Exception) -> bool:
    """Say whether a replay gave everything that is stored of an episode, bit for bit."""
    return isinstance(again, ReplayResult) and not differences(trajectory, again)


def differences(trajectory: Trajectory, again: ReplayResult, *, is_judged: bool = True) -> list[str]:
    """Say what a replay gave otherwise than it is stored, with the first such step; empty when all is same.

    Steps count from 1. Without `is_judged`, the outcome and what the rule read are left out: for an episode
    that is played under another success rule.
    """
    if len(again.rewards) != len(trajectory):
        return [f"an end after {len(again.rewards)} of {counted(len(trajectory), 'step')}"]
    places = [*_rewards(trajectory, again), *_end(trajectory, again)]
    if again.digest != trajectory.digest and (not places or not _shows_same(trajectory, again)):
        places.append(_digest_difference(trajectory, again))
    if is_judged:
        places += [*_outcome(trajectory, again), *_infos(trajectory, again)]
    return places + _casts(trajectory, again)


def _rewards(trajectory: Trajectory, again: ReplayResult) -> list[str]:
    unlike = _unlike(again.rewards, trajectory.rewards)
    if not len(unlike):
        return []
    at = unlike[0]
    more = f", and at {counted(len(unlike) - 1, 'later step')}" if len(unlike) > 1 else ""
    return [
        f"another reward at step {at + 1} ({again.rewards[at]:g}, stored: {trajectory.rewards[at]:g}){more}"
    ]


def _end(trajectory: Trajectory, again: ReplayResult) -> list[str]:
    ends = [(episode.terminated, episode.truncated) for episode in (again, trajectory)]
    if ends[0] == ends[1]:
        return []
    names = {(True, False): "terminated", (False, True): "truncated", (True, True): "terminated, truncated"}
    got, stored = (names.get(end, "no end") for end in ends)
    return [f"another end at step {len(trajectory)} ({got}, stored: {stored})"]


def _shows_same(trajectory: Trajectory, again: ReplayResult) -> bool:
    """Whether observations are those of the stored digest, which covers rewards and the end as well.

    Where they were not kept, the rewards or the end that differ explain the digest.
    """
    ends = trajectory.terminated, trajectory.truncated
    return (
        not again.observations
        or digest_of(again.observations, trajectory.rewards, *ends) == trajectory.digest
    )


def _digest_difference(trajectory: Trajectory, again: ReplayResult) -> str:
    if trajectory.observations is not None and again.observations:
        return "stored observations, rewards or an end that differ from its digest"
    return "other observations"  # one digest covers all steps: it does not say at which


def _outcome(trajectory: Trajectory, again: ReplayResult) -> list[str]:
    if trajectory.success in (None, again.success):  # what is not known contradicts nothing
        return []
    got, stored = (
        {True: "success", False: "failure", None: "unknown"}[success]
        for success in (again.success, trajectory.success)
    )
    return [f"another outcome ({got}, stored: {stored})"]


def _infos(trajectory: Trajectory, again: ReplayResult) -> list[str]:
    if again.infos is None:
        return []
    places, nothing = [], np.full(len(trajectory), np.nan)
    for path in sorted({*trajectory.infos, *again.infos}):
        got, stored = (infos.get(path) for infos in (again.infos, trajectory.infos))
        unlike = _unlike(nothing if got is None else got, nothing if stored is None else stored)
        if len(unlike):
            places.append(
                f"other values of {path}, which decide its success, the first at step {unlike[0] + 1}"
            )
        elif got is None or stored is None:
            places.append(f"other values of {path}, which decide its success: none are stored")
    return places


def _casts(trajectory: Trajectory, again: ReplayResult) -> list[str]:
    if again.casts is None:
        return []
    got, stored = again.casts, trajectory.casts
    return [
        f"another cast of {leaf or 'the observation'} ({got.get(leaf, 'none')}, stored: "
        f"{stored.get(leaf, 'none')})"
        for leaf in {**got, **stored}
        if got.get(leaf) != stored.get(leaf)
    ]


def _unlike(got: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Return the indices at which numbers differ; a missing number is like any other that is missing."""
    return np.flatnonzero((got != stored) & ~(np.isnan(got) & np.isnan(stored)))
