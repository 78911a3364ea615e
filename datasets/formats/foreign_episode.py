"""Episodes of other projects as trajectories; what they do not say is filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...envs.task import RECORD, Task
from ..trajectory import CONTROLLERS, Trajectory, controller_of, digest_of
from .fact_checks import check_lengths


@dataclass(frozen=True)
class ForeignEpisode:
    """One episode of another project, with T steps.

    `observations`: leaf path → `[T+1, ...]`; `actions` float64 `[T, k]`; `rewards` float64 `[T]`; `infos`:
    what the success rule reads, path → float64 `[T]`, {} where that is unknown; `times_ms` `[T]`, zeros if
    None. Without a `seed`, `number` stands for one.
    """

    episode: str
    number: int
    demonstrator: str
    kind: str
    observations: Mapping[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool
    infos: Mapping[str, np.ndarray] = field(default_factory=dict)
    casts: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    times_ms: np.ndarray | None = None

    def trajectory(self, task: Task, suite: str) -> Trajectory:
        """Return the episode as one of a task, with observations; raises TutelageError for odd lengths."""
        steps = len(self.rewards)
        times_ms = np.zeros(steps, np.int32) if self.times_ms is None else self.times_ms
        numbers = {"actions": self.actions, "rewards": self.rewards, "times_ms": times_ms, **self.infos}
        check_lengths(numbers, self.observations, f"episode {self.episode}")
        ends, infos = (self.terminated, self.truncated), dict(self.infos)
        return Trajectory(
            suite=suite,
            task=task.id,
            env=task.env,
            kwargs=task.kwargs,
            seed=self.seed if self.seed is not None else RECORD.start + self.number,
            demonstrator=self.demonstrator,
            kind=self.kind,
            actions=self.actions,
            casts=dict(self.casts),
            rewards=self.rewards,
            times_ms=times_ms,
            controllers=np.full(steps, CONTROLLERS.index(controller_of(self.kind)), np.int8),
            frames=np.zeros(steps, np.int32),
            terminated=self.terminated,
            truncated=self.truncated,
            success=task.success.judge(self.rewards, *ends, infos)
            if any(ends)
            else task.success.outcome(False),
            infos=infos,
            digest=digest_of(self.observations, self.rewards, *ends),
            observations=dict(self.observations),
            episode=self.episode,
            notes="" if self.seed is not None else "seed unknown",
        )
