"""A world in a process of the pool; its episode moves to another process when that one is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from ...envs.task import Task
from ...envs.web.human_input import HumanInput
from ...errors import TutelageError
from ..storage.journal_records import EpisodeRecord, StepRecord
from .frame_codec import Picture
from .host import EnvironmentCrash, EpisodeStart, FinishedEpisode, InputResult, Progress, StepView, untold
from .worker_pool import RequestNotStarted, Worker, WorkerPool

_places = count(1)
_SLICE = 200
"""Steps sent at a time to be played again, or to be taken without a picture."""


class RemoteHost:
    """One person's environment in a process of `workers`; an `EnvironmentHost`.

    When the process is lost to another seat's environment, the episode is played again in a new one, up to
    where it was. When it is lost to this one, WorldFault says how.
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
        begun = await self._ask("begin", self._place, self.task, self._pictures, record)
        return self._underway(begun)

    async def restore(
        self, record: EpisodeRecord, steps: Sequence[StepRecord], told: Progress = untold
    ) -> EpisodeStart:
        self._record = None
        begun = await self._anywhere(lambda worker, _: self._play_again(worker, record, list(steps), told))
        return self._underway(begun)

    async def act(
        self, row: np.ndarray, time_ms: int, controller: int, frame: int
    ) -> tuple[StepRecord, StepView]:
        step, now = await self._ask("act", self._place, row, time_ms, controller, frame)
        self._steps.append(step)
        return step, now

    async def skip(self, steps: Sequence[StepRecord]) -> list[StepRecord]:
        taken: list[StepRecord] = await self._ask("skip", self._place, steps[:_SLICE])
        self._steps += taken
        return taken

    async def read(self, gesture: HumanInput | None) -> InputResult:
        return await self._ask("read", self._place, gesture)

    async def draw(self) -> Picture | None:
        return await self._ask("draw", self._place)

    async def finish(self, record: EpisodeRecord, missed: int) -> FinishedEpisode:
        seconds = self._workers.first_seconds  # it stacks observations and reads versions
        trajectory = await self._anywhere(
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
        self._move_out()

    async def _ask(self, verb: str, *arguments: Any) -> Any:
        """Ask the world's process; another one when that is lost before it has begun with this."""
        return await self._anywhere(lambda worker, seconds: worker.ask(verb, *arguments, seconds=seconds))

    async def _anywhere(self, work: Callable[[Worker, float], Awaitable[Any]]) -> Any:
        """Have something done by the world's process, in `seconds`; by another one when that is lost."""
        while True:
            fresh = self._worker is None or self._worker.lost or self._worker.blocked
            try:
                worker = await self._settle() if fresh else self._worker
                assert worker is not None
                seconds = self._workers.first_seconds if fresh else self._workers.seconds
                return await work(worker, seconds)
            except RequestNotStarted:
                continue
            except EnvironmentCrash:
                if self._worker is not None and self._worker.lost:
                    self._workers.suspect(self.task.id)
                raise

    async def _settle(self) -> Worker:
        """Find another process, and play the episode again there."""
        self._move_out()
        worker = self._worker = await self._workers.place(self.task.id)
        worker.places.add(self._place)
        if self._record is not None:
            begun = await self._play_again(worker, self._record, self._steps, untold)
            if begun.torn:
                raise EnvironmentCrash("it could not be played again up to where it was")
        return worker

    async def _play_again(
        self, worker: Worker, record: EpisodeRecord, steps: Sequence[StepRecord], told: Progress
    ) -> EpisodeStart:
        """Play an episode again in a process, slice by slice, so that others there have their turns."""
        seconds = self._workers.first_seconds
        await worker.ask("rewind", self._place, self.task, self._pictures, record, seconds=seconds)
        sound, is_whole = 0, True
        while is_whole and sound < len(steps):
            told(sound, len(steps))
            portion = steps[sound : sound + _SLICE]
            taken, is_whole = await worker.ask("replay", self._place, portion, seconds=seconds)
            sound += taken
        if not is_whole:  # the environment may be one step too far
            whole = await self._play_again(worker, record, steps[:sound], told)
            return replace(whole, torn=len(steps) - len(whole.steps))
        begun: EpisodeStart = await worker.ask("restored", self._place, seconds=seconds)
        return begun

    def _move_out(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.places.discard(self._place)
            worker.tell("leave", self._place, seconds=self._workers.seconds)

    def _underway(self, begun: EpisodeStart) -> EpisodeStart:
        self._record, self._steps = begun.record, list(begun.steps)
        return begun
