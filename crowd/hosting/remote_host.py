"""Environment host in a worker process; the episode moves to another process when its own is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from ...envs.capabilities import HumanInput
from ...envs.task import Task
from ...errors import TutelageError
from ..storage.journal_records import EpisodeRecord, StepRecord
from .frame_codec import Picture
from .host import (
    EnvironmentCrash,
    EpisodeStart,
    FinishedEpisode,
    InputResult,
    Progress,
    StepView,
    no_progress,
)
from .worker_pool import RequestNotStarted, Worker, WorkerPool

_places = count(1)
_SLICE = 200
"""Steps sent at once for a replay, or to be taken without a picture."""


class RemoteHost:
    """One person's environment in a process of `workers`; an `EnvironmentHost`.

    When another seat's environment ends the process, the episode is replayed in a new one. When this one ends
    it, EnvironmentCrash says how.
    """

    def __init__(self, task: Task, workers: WorkerPool, pictures: bool = True) -> None:
        self.task = task
        self._workers = workers
        self._pictures = pictures
        self._place = next(_places)
        self._worker: Worker | None = None
        self._record: EpisodeRecord | None = None
        self._steps: list[StepRecord] = []

    async def begin(self, record: EpisodeRecord) -> EpisodeStart:
        self._record = None
        start = await self._ask("begin", self._place, self.task, self._pictures, record)
        return self._record_start(start)

    async def restore(
        self, record: EpisodeRecord, steps: Sequence[StepRecord], progress: Progress = no_progress
    ) -> EpisodeStart:
        self._record = None
        start = await self._with_worker(lambda worker, _: self._replay(worker, record, list(steps), progress))
        return self._record_start(start)

    async def act(
        self, row: np.ndarray, time_ms: int, controller: int, frame: int
    ) -> tuple[StepRecord, StepView]:
        step, view = await self._ask("act", self._place, row, time_ms, controller, frame)
        self._steps.append(step)
        return step, view

    async def skip(self, steps: Sequence[StepRecord]) -> list[StepRecord]:
        new_steps: list[StepRecord] = await self._ask("skip", self._place, steps[:_SLICE])
        self._steps += new_steps
        return new_steps

    async def back_to(self, step_count: int) -> int | None:
        steps_left: int | None = await self._ask("back_to", self._place, step_count)
        if steps_left is not None:
            del self._steps[steps_left:]
        return steps_left

    async def read(self, human_input: HumanInput | None) -> InputResult:
        return await self._ask("read", self._place, human_input)

    async def draw(self) -> Picture | None:
        return await self._ask("draw", self._place)

    async def finish(self, record: EpisodeRecord, missed: int) -> FinishedEpisode:
        seconds = self._workers.first_seconds  # this call stacks observations and reads versions
        trajectory = await self._with_worker(
            lambda worker, _: worker.ask("finish", self._place, record, missed, seconds=seconds)
        )
        worker, self._record = self._worker, None
        assert worker is not None

        async def observations() -> Mapping[str, np.ndarray]:
            try:
                return await worker.ask("observations", record.episode, seconds=seconds)
            except (RequestNotStarted, EnvironmentCrash):
                raise TutelageError(
                    f"expected the observations of episode {record.episode}, got none: its process is gone"
                ) from None

        def let_go() -> None:
            worker.tell("let_go", record.episode, seconds=self._workers.seconds)

        return FinishedEpisode(trajectory, observations, let_go)

    async def close(self) -> None:
        self._record = None
        self._leave_worker()

    async def _ask(self, verb: str, *arguments: Any) -> Any:
        """Send a request to the environment's process; to another one if it was lost before it began."""
        return await self._with_worker(lambda worker, seconds: worker.ask(verb, *arguments, seconds=seconds))

    async def _with_worker(self, work: Callable[[Worker, float], Awaitable[Any]]) -> Any:
        """Run `work` with the environment's process and a time limit; if it is lost, with another one."""
        while True:
            fresh = self._worker is None or self._worker.lost or self._worker.blocked
            try:
                worker = await self._move_to_worker() if fresh else self._worker
                assert worker is not None
                seconds = self._workers.first_seconds if fresh else self._workers.seconds
                return await work(worker, seconds)
            except RequestNotStarted:
                continue
            except EnvironmentCrash:
                if self._worker is not None and self._worker.lost:
                    self._workers.suspect(self.task.id)
                raise

    async def _move_to_worker(self) -> Worker:
        """Find another process, and replay the episode there."""
        self._leave_worker()
        worker = self._worker = await self._workers.place(self.task.id)
        worker.places.add(self._place)
        if self._record is not None:
            start = await self._replay(worker, self._record, self._steps, no_progress)
            if start.torn:
                raise EnvironmentCrash("it could not be played again up to where it was")
        return worker

    async def _replay(
        self, worker: Worker, record: EpisodeRecord, steps: Sequence[StepRecord], progress: Progress
    ) -> EpisodeStart:
        """Replay an episode in a process, in slices, so that its other environments get their turns."""
        seconds = self._workers.first_seconds
        await worker.ask("rewind", self._place, self.task, self._pictures, record, seconds=seconds)
        replayed_count, is_whole = 0, True
        while is_whole and replayed_count < len(steps):
            progress(replayed_count, len(steps))
            portion = steps[replayed_count : replayed_count + _SLICE]
            count, is_whole = await worker.ask("replay", self._place, portion, seconds=seconds)
            replayed_count += count
        if not is_whole:  # the environment may be one step too far
            start = await self._replay(worker, record, steps[:replayed_count], progress)
            return replace(start, torn=len(steps) - len(start.steps))
        restored: EpisodeStart = await worker.ask("restored", self._place, seconds=seconds)
        return restored

    def _leave_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.places.discard(self._place)
            worker.tell("leave", self._place, seconds=self._workers.seconds)

    def _record_start(self, start: EpisodeStart) -> EpisodeStart:
        self._record, self._steps = start.record, list(start.steps)
        return start
