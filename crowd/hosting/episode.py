"""One episode in an environment: taken step by step, or replayed from the journal."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from ...datasets.trajectory import CONTROLLERS, Digest, Trajectory, stack_observations
from ...datasets.versions import versions_of
from ...envs.spaces import Observation
from ...envs.task_env import StepResult, TaskEnv, TaskSnapshot
from ...errors import TutelageError
from ..storage.journal_records import EpisodeRecord, StepRecord
from .pace import measured_rate

_SNAPSHOT_STEPS = 100
_MOST_SNAPSHOTS = 64
"""Of a long episode every other snapshot is dropped when there are more."""


@dataclass(frozen=True)
class _Snapshot:
    """The state after so many steps."""

    steps: int
    environment: TaskSnapshot
    digest: Digest
    now: StepResult


class EpisodeProgress:
    """The steps of one episode so far, and the environment's latest result.

    `record` is the journal's row; `steps` the journal's steps; `now` the environment's latest result.
    """

    def __init__(self, environment: TaskEnv, record: EpisodeRecord) -> None:
        self.environment = environment
        self.steps: list[StepRecord] = []
        self.missed = 0
        self._digest = Digest()
        self.now: StepResult = environment.reset(record.seed)
        self._observations: list[Observation] = [self.now.observation]
        self.record = replace(record, digest=self._digest.update(self.now.observation, 0.0, False, False))
        self._snapshots: list[_Snapshot] = []
        self._spacing = _SNAPSHOT_STEPS

    @classmethod
    def begin(cls, environment: TaskEnv, record: EpisodeRecord) -> EpisodeProgress:
        """Reset the environment to the record's seed, and fill in the digest and the time."""
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        return cls(environment, replace(record, started=started))

    @classmethod
    def restore(
        cls, environment: TaskEnv, record: EpisodeRecord, steps: Sequence[StepRecord]
    ) -> tuple[EpisodeProgress, int]:
        """Replay a journal's steps; returns the episode and how many steps at its end were torn.

        A step is torn if it or an earlier one is missing, or does not reproduce the recorded digest. Raises
        TutelageError when not even the reset is the same.
        """
        episode = cls.rewound(environment, record)
        sound_steps, is_whole = episode.replay(steps)
        if is_whole:
            return episode, 0
        # the environment may be one step too far: only a fresh reset undoes that
        sound_episode, _ = cls.restore(environment, record, steps[:sound_steps])
        return sound_episode, len(steps) - len(sound_episode.steps)

    @classmethod
    def rewound(cls, environment: TaskEnv, record: EpisodeRecord) -> EpisodeProgress:
        """Reset the environment to a journal's episode; raises TutelageError if the reset differs."""
        episode = cls(environment, record)
        if episode.record.digest != record.digest:
            raise TutelageError(
                f"expected seed {record.seed} of {record.task!r} to begin as it did, got something else; "
                "the environment has changed or is not deterministic"
            )
        return episode

    def replay(self, steps: Sequence[StepRecord], seconds: float = math.inf) -> tuple[int, bool]:
        """Take a journal's next steps again, for about `seconds`, but at least one step.

        Returns how many were sound, and whether all that were tried are; after an unsound one the episode is
        unusable (see `restore`).
        """
        until = time.monotonic() + seconds
        for index, step in enumerate(steps):
            if self.now.done or step.step != len(self.steps) + 1:
                return index, False
            replayed = self.take(np.array(step.action), step.time_ms, step.controller, step.frame)
            if replayed.digest != step.digest:
                return index, False
            if time.monotonic() >= until:
                return index + 1, True
        return len(steps), True

    @property
    def done(self) -> bool:
        return self.now.done

    def take(self, row: np.ndarray, time_ms: int, controller: int, frame: int) -> StepRecord:
        """Take one action, a row `[k]`, and return it as the journal's step."""
        result = self.environment.step(row)
        self.now = result
        self._observations.append(result.observation)
        step = StepRecord(
            step=len(self.steps) + 1,
            action=tuple(float(part) for part in row),
            reward=result.reward,
            terminated=result.terminated,
            truncated=result.truncated,
            time_ms=time_ms,
            controller=controller,
            frame=frame,
            digest=self._digest.update(
                result.observation, result.reward, result.terminated, result.truncated
            ),
            success=result.success,
        )
        self.steps.append(step)
        return step

    def skip(self, steps: Sequence[StepRecord], seconds: float) -> list[StepRecord]:
        """Take actions for about `seconds`, but at least one, and none after the end; keeps snapshots."""
        new_steps: list[StepRecord] = []
        until = time.monotonic() + seconds
        for step in steps:
            if len(self.steps) % self._spacing == 0:
                self._take_snapshot()
            new_steps.append(self.take(np.array(step.action), step.time_ms, step.controller, step.frame))
            if self.done or time.monotonic() >= until:
                break
        return new_steps

    def back_to(self, step_count: int) -> int | None:
        """Return to the latest snapshot at or before that many steps; returns its number of steps.

        None if there is none, and if the environment's `restore` gives another observation than its step did;
        the episode is unusable then, until it begins again.
        """
        earlier = [snapshot for snapshot in self._snapshots if snapshot.steps <= step_count]
        if not earlier:
            return None
        snapshot = earlier[-1]
        if not self.environment.restore(snapshot.environment, snapshot.now.observation):
            return None
        self.now, self._digest = snapshot.now, snapshot.digest.copied()
        del self.steps[snapshot.steps :], self._observations[snapshot.steps + 1 :]
        self._snapshots = earlier
        return snapshot.steps

    def _take_snapshot(self) -> None:
        if self._snapshots and self._snapshots[-1].steps >= len(self.steps):
            return
        environment = self.environment.snapshot()
        if environment is None:
            return
        if len(self._snapshots) >= _MOST_SNAPSHOTS:
            del self._snapshots[1::2]
            self._spacing *= 2
        self._snapshots.append(_Snapshot(len(self.steps), environment, self._digest.copied(), self.now))

    def observations(self) -> dict[str, np.ndarray]:
        """Stack all T+1 observations, leaf path → `[T+1, ...]`."""
        return stack_observations(self._observations)

    def trajectory(self) -> Trajectory:
        """Return the finished episode, or the one given up; `observations` is left to `replay.prove`."""
        success = self.environment.task.success.outcome(self.now.success)
        versions, infos = versions_of(self.environment), self.environment.infos()
        result = trajectory_of(self.record, self.steps, success, versions, self.missed, infos)
        result = replace(result, casts=dict(self.environment.casts))
        if self.environment.task.fps is None:
            return result
        return replace(result, steps_per_second=measured_rate(result.times_ms.tolist()))


def trajectory_of(
    record: EpisodeRecord,
    steps: Sequence[StepRecord],
    success: bool | None,
    versions: Mapping[str, str],
    missed: int = 0,
    infos: Mapping[str, np.ndarray] | None = None,
) -> Trajectory:
    """Combine a journal's row and steps; an episode that was given up is no success.

    `missed` counts missed deadlines; `infos` are the values that the success rule read (`Trajectory.infos`).
    """
    return Trajectory(
        suite=record.suite,
        task=record.task,
        env=record.env,
        kwargs=record.kwargs,
        seed=record.seed,
        demonstrator=record.demonstrator,
        kind=record.kind,
        actions=np.array([step.action for step in steps], np.float64),
        rewards=np.array([step.reward for step in steps], np.float64),
        times_ms=np.array([step.time_ms for step in steps], np.int32),
        controllers=np.array([step.controller for step in steps], np.int8),
        frames=np.array([step.frame for step in steps], np.int32),
        terminated=steps[-1].terminated,
        truncated=steps[-1].truncated,
        success=success if success is None else success and not record.given_up,
        digest=steps[-1].digest,
        versions=versions,
        episode=record.episode,
        started=record.started,
        study=record.study,
        consent=record.consent,
        notes=_notes(record, missed),
        infos=infos or {},
    )


def _notes(record: EpisodeRecord, missed: int) -> str:
    attempt = f"attempt {record.attempt}" if record.attempt > 1 else ""
    late = f"{missed} deadlines missed" if missed else ""
    return "; ".join(part for part in (record.notes, attempt, late) if part)


def controller_index(name: str) -> int:
    """Return the number of a controller in a trajectory."""
    if name not in CONTROLLERS:
        raise TutelageError(f"expected a controller of {', '.join(CONTROLLERS)}, got {name!r}")
    return CONTROLLERS.index(name)
