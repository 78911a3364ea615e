"""Environment host of a built-in grid task: runs the kernels directly, in this process.

The kernels neither hang nor crash, and a step with its digest and picture takes about ten microseconds, so
thousands of people share one process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from ...datasets.batch_replay import replay_batch
from ...datasets.proof import differences
from ...datasets.trajectory import Digest
from ...datasets.versions import versions_of
from ...envs.capabilities import HumanInput
from ...envs.grid.dynamics import observe
from ...envs.grid.environment import GridEnv
from ...envs.grid.language import sentence
from ...envs.grid.state import VIEW, empty_grids
from ...envs.grid.stepping import reset_all, step_one
from ...envs.grid.tile_atlas import atlas, pack_view, pack_world
from ...envs.success import SuccessMonitor
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from ..storage.journal_records import EpisodeRecord, StepRecord
from .episode import trajectory_of
from .frame_codec import TILES, Picture
from .host import EpisodeStart, FinishedEpisode, InputResult, Progress, StepView, no_progress

_SLICE = 256
"""Steps replayed before other tasks run: a few milliseconds."""
_ONE = np.ones(1, np.bool_)


class SharedGridLevel:
    """The parts shared by all hosts of one grid task: the level, the keys, and the versions."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.environment = TaskEnv(task)
        bare = self.environment.env.unwrapped
        assert isinstance(bare, GridEnv)
        self.bare = bare
        self.level = bare.level.packed()[None]
        self.controls = self.environment.controls()
        self.versions = versions_of(self.environment)
        self.pack = pack_view if bare.perspective == "agent" else pack_world


class GridHost:
    """One person's grid; an `EnvironmentHost` with the same records, digests and outcomes as any other."""

    def __init__(self, shared: SharedGridLevel) -> None:
        self.task = shared.task
        self._shared = shared
        level = shared.bare.level
        self._grids = empty_grids(1, level.height, level.width)
        self._images = np.zeros((1, VIEW, VIEW, 3), np.uint8)
        self._directions = np.zeros(1, np.int64)
        self._mission = ""
        self._digest = Digest()
        self._steps: list[StepRecord] = []
        self._watch = SuccessMonitor(shared.task.success)
        self._now = StepView(False, None, None)
        self._shown = b""

    async def begin(self, record: EpisodeRecord) -> EpisodeStart:
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        return self._start(replace(record, started=started, digest=self._reset(record.seed)), 0)

    async def restore(
        self, record: EpisodeRecord, steps: Sequence[StepRecord], progress: Progress = no_progress
    ) -> EpisodeStart:
        if self._reset(record.seed) != record.digest:
            raise TutelageError(
                f"expected seed {record.seed} of {record.task!r} to begin as it did, got something else; "
                "the environment has changed"
            )
        for index, step in enumerate(steps):
            if index % _SLICE == _SLICE - 1:
                progress(index, len(steps))
                await asyncio.sleep(0)
            is_sound = not self._now.done and step.step == index + 1 and len(step.action) == 1
            if not is_sound or self._take(*step[1:2], *step[5:8]).digest != step.digest:
                start = await self.restore(record, steps[:index], progress)
                return replace(start, torn=len(steps) - index)
        return self._start(record, 0)

    async def act(
        self, row: np.ndarray, time_ms: int, controller: int, frame: int
    ) -> tuple[StepRecord, StepView]:
        step = self._take((float(row[0]),), time_ms, controller, frame)
        data = self._shared.pack(self._grids, 0)
        if data != self._shown:
            self._now = self._now._replace(picture=self._picture(data))
        return step, self._now

    async def skip(self, steps: Sequence[StepRecord]) -> list[StepRecord]:
        new_steps: list[StepRecord] = []
        for step in steps[:_SLICE]:
            new_steps.append(self._take(step.action[:1], step.time_ms, step.controller, step.frame))
            if self._now.done:
                break
        return new_steps

    async def back_to(self, step_count: int) -> int | None:
        return None  # a replay of a thousand steps takes 10 ms

    async def read(self, gesture: HumanInput | None) -> InputResult:
        raise TutelageError("expected keys, got hands on a page; a grid world has none")

    async def draw(self) -> Picture:
        return self._picture(self._shared.pack(self._grids, 0))

    async def finish(self, record: EpisodeRecord, missed: int) -> FinishedEpisode:
        success = self.task.success.outcome(self._now.success)
        trajectory = trajectory_of(
            record, self._steps, success, self._shared.versions, missed, self._watch.infos()
        )

        async def observations() -> Mapping[str, np.ndarray]:
            (replayed,) = replay_batch([trajectory], self._shared.environment)
            mismatches = ["another end"] if replayed is None else differences(trajectory, replayed)
            if replayed is None or mismatches:
                raise TutelageError(
                    f"expected episode {record.episode} to replay as played, got {', '.join(mismatches)}"
                )
            return replayed.observations

        return FinishedEpisode(trajectory, observations, lambda: None)

    def warm_up(self) -> None:
        """Call every kernel once: the first call compiles it, or loads its cache."""
        self._reset(0)
        self._take((0.0,), 0, 0, 0)
        self._shared.pack(self._grids, 0)

    async def close(self) -> None:
        self._steps = []

    def _reset(self, seed: int) -> bytes:
        if not reset_all(
            self._grids, self._shared.level, np.array([seed]), _ONE, self._images, self._directions
        ):
            raise TutelageError(f"expected seed {seed} of {self.task.id!r} to make a world, got one too full")
        self._mission = sentence(self._grids, 0)
        self._digest, self._steps, self._watch = Digest(), [], SuccessMonitor(self.task.success)
        self._now = StepView(False, None, None)
        return self._update(0.0, False, False)

    def _take(self, action: Sequence[float], time_ms: int, controller: int, frame: int) -> StepRecord:
        reward, *flags = step_one(self._grids, 0, int(action[0]))
        terminated, truncated = map(bool, flags)  # the kernels' flags are integers
        observe(self._grids, self._images, self._directions)
        self._watch.add(reward, terminated, truncated, {})
        is_done = terminated or truncated
        success = self._watch.success if is_done else None
        digest = self._update(reward, terminated, truncated)
        step = StepRecord(
            step=len(self._steps) + 1,
            action=tuple(action),
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            time_ms=time_ms,
            controller=controller,
            frame=frame,
            digest=digest,
            success=success,
        )
        self._steps.append(step)
        self._now = StepView(is_done, success, None)
        return step

    def _update(self, reward: float, terminated: bool, truncated: bool) -> bytes:
        observation = {"direction": self._directions, "image": self._images, "mission": self._mission}
        return self._digest.update(observation, reward, terminated, truncated)

    def _start(self, record: EpisodeRecord, torn: int) -> EpisodeStart:
        bare = self._shared.bare
        picture = self._picture(self._shared.pack(self._grids, 0))
        self._now = self._now._replace(picture=picture)
        return EpisodeStart(
            record=record,
            steps=list(self._steps),
            torn=torn,
            now=self._now,
            instruction=self.task.instruction or self._mission,
            limit=int(self._grids.state["limits"][0]),
            controls=self._shared.controls,
            atlas=(atlas(bare.tile).name, bare.tile),
        )

    def _picture(self, data: bytes) -> Picture:
        self._shown = data
        tile = self._shared.bare.tile
        return Picture(TILES, data[1] * tile, data[2] * tile, data)
