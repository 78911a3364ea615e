"""Build a trajectory while an episode is played: step after step, then the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..envs.spaces import Observation
from ..envs.task_env import StepResult, TaskEnv
from .trajectory import CONTROLLERS, Digest, Trajectory, stack_observations


class EpisodeBuilder:
    """The record of one running episode: `start` after the reset, `add` after each step, `build` at the end.

    `kind` is one of KINDS, `controller` one of CONTROLLERS. Observations are kept only where `keep` says so.
    """

    def __init__(self, seed: int, demonstrator: str, kind: str, controller: str, keep: bool = False) -> None:
        self.seed, self.demonstrator = seed, demonstrator
        self.kind, self.controller = kind, controller
        self.actions: list[np.ndarray] = []
        self.observations: list[Observation] | None = [] if keep else None
        self.notes = ""
        self._rewards: list[float] = []
        self._times_ms: list[float] = []
        self._digest = Digest()
        self._proof = b""
        self._last: StepResult | None = None

    def start(self, step: StepResult) -> None:
        """Record what the reset gave."""
        self._proof = self._digest.update(step.observation, 0.0, False, False)
        self._keep(step)

    def add(self, action: np.ndarray, step: StepResult, time_ms: float) -> None:
        """Record an action, a row `[k]`, what came of it, and its time since the reset."""
        self.actions.append(action)
        self._rewards.append(step.reward)
        self._times_ms.append(time_ms)
        self._proof = self._digest.update(step.observation, step.reward, step.terminated, step.truncated)
        self._keep(step)

    @property
    def time_ms(self) -> float:
        """The time of the last action."""
        return self._times_ms[-1] if self._times_ms else 0.0

    def build(
        self,
        environment: TaskEnv,
        suite: str,
        versions: Mapping[str, str],
        *,
        started: str = "",
        steps_per_second: float | None = None,
    ) -> Trajectory:
        """Return the trajectory of at least one action; with `notes` of giving up it is a failure."""
        assert self._last is not None
        task, steps = environment.task, len(self.actions)
        observations: dict[str, Any] | None = None
        if self.observations is not None:
            observations = stack_observations(self.observations)
        return Trajectory(
            suite=suite,
            task=task.id,
            env=task.env,
            kwargs=dict(task.kwargs),
            seed=self.seed,
            demonstrator=self.demonstrator,
            kind=self.kind,
            actions=np.stack(self.actions),
            rewards=np.array(self._rewards),
            times_ms=np.round(self._times_ms).astype(np.int32),
            controllers=np.full(steps, CONTROLLERS.index(self.controller), np.int8),
            frames=np.arange(steps, dtype=np.int32),
            terminated=self._last.terminated,
            truncated=self._last.truncated,
            success=task.success.outcome(self._last.success and not self.notes),
            digest=self._proof,
            observations=observations,
            versions=versions,
            casts=dict(environment.casts),
            started=started,
            steps_per_second=steps_per_second,
            notes=self.notes,
            infos=environment.infos(),
        )

    def _keep(self, step: StepResult) -> None:
        self._last = step
        if self.observations is not None:
            self.observations.append(step.observation)
