"""Compare a replay with a stored episode, field by field.

Covers: number of steps, observations, rewards, end, success, the success rule's inputs from info, casts. Does
not cover: controllers, times and frames; notes and versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..console.wording import counted
from .trajectory import Trajectory, digest_of


@dataclass(frozen=True)
class ReplayResult:
    """Output of the environment for a trajectory's seed and actions.

    `rewards` is float64 `[T]`, `observations` maps leaf path → `[T+1, ...]` (empty if not recorded), `legal`
    is bool `[T+1, n]`, the action mask of each observation, or None. The arrays are shorter when the episode
    ended before the last action. `infos` are the success rule's inputs from info (`Trajectory.infos`),
    `casts` the changes by casts; both are None if not recorded.
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


def is_same(trajectory: Trajectory, result: ReplayResult | Exception) -> bool:
    """Return whether a replay equals the stored episode, bit for bit."""
    return isinstance(result, ReplayResult) and not differences(trajectory, result)


def differences(trajectory: Trajectory, result: ReplayResult, *, is_judged: bool = True) -> list[str]:
    """Describe the differences of a replay from the stored episode, with the first step of each; [] if equal.

    Steps count from 1. Without `is_judged`, the outcome and the success rule's inputs are not compared: for
    an episode that is replayed under another success rule.
    """
    if len(result.rewards) != len(trajectory):
        return [f"an end after {len(result.rewards)} of {counted(len(trajectory), 'step')}"]
    places = [*_rewards(trajectory, result), *_end(trajectory, result)]
    if result.digest != trajectory.digest and (not places or not _matches_digest(trajectory, result)):
        places.append(_digest_difference(trajectory, result))
    if is_judged:
        places += [*_outcome(trajectory, result), *_infos(trajectory, result)]
    return places + _casts(trajectory, result)


def _rewards(trajectory: Trajectory, result: ReplayResult) -> list[str]:
    indices = _differing_steps(result.rewards, trajectory.rewards)
    if not len(indices):
        return []
    first = indices[0]
    more = f", and at {counted(len(indices) - 1, 'later step')}" if len(indices) > 1 else ""
    return [
        f"another reward at step {first + 1} ({result.rewards[first]:g}, "
        f"stored: {trajectory.rewards[first]:g}){more}"
    ]


def _end(trajectory: Trajectory, result: ReplayResult) -> list[str]:
    ends = [(episode.terminated, episode.truncated) for episode in (result, trajectory)]
    if ends[0] == ends[1]:
        return []
    names = {(True, False): "terminated", (False, True): "truncated", (True, True): "terminated, truncated"}
    replayed, stored = (names.get(end, "no end") for end in ends)
    return [f"another end at step {len(trajectory)} ({replayed}, stored: {stored})"]


def _matches_digest(trajectory: Trajectory, result: ReplayResult) -> bool:
    """Return whether the replayed observations match the stored digest, with the stored rewards and end.

    Without observations, return True: the differing rewards or end explain the digest.
    """
    ends = trajectory.terminated, trajectory.truncated
    return (
        not result.observations
        or digest_of(result.observations, trajectory.rewards, *ends) == trajectory.digest
    )


def _digest_difference(trajectory: Trajectory, result: ReplayResult) -> str:
    if trajectory.observations is not None and result.observations:
        return "stored observations, rewards or an end that differ from its digest"
    return "other observations"  # one digest covers all steps: the step is unknown


def _outcome(trajectory: Trajectory, result: ReplayResult) -> list[str]:
    if trajectory.success in (None, result.success):  # an unknown outcome is no contradiction
        return []
    replayed, stored = (
        {True: "success", False: "failure", None: "unknown"}[success]
        for success in (result.success, trajectory.success)
    )
    return [f"another outcome ({replayed}, stored: {stored})"]


def _infos(trajectory: Trajectory, result: ReplayResult) -> list[str]:
    if result.infos is None:
        return []
    places, nothing = [], np.full(len(trajectory), np.nan)
    for path in sorted({*trajectory.infos, *result.infos}):
        replayed, stored = (infos.get(path) for infos in (result.infos, trajectory.infos))
        indices = _differing_steps(
            nothing if replayed is None else replayed, nothing if stored is None else stored
        )
        if len(indices):
            places.append(
                f"other values of {path}, which decide its success, the first at step {indices[0] + 1}"
            )
        elif replayed is None or stored is None:
            places.append(f"other values of {path}, which decide its success: none are stored")
    return places


def _casts(trajectory: Trajectory, result: ReplayResult) -> list[str]:
    if result.casts is None:
        return []
    replayed, stored = result.casts, trajectory.casts
    return [
        f"another cast of {leaf or 'the observation'} ({replayed.get(leaf, 'none')}, stored: "
        f"{stored.get(leaf, 'none')})"
        for leaf in {**replayed, **stored}
        if replayed.get(leaf) != stored.get(leaf)
    ]


def _differing_steps(replayed: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Return the indices at which numbers differ; NaN equals NaN."""
    return np.flatnonzero((replayed != stored) & ~(np.isnan(replayed) & np.isnan(stored)))
