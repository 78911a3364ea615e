"""A world in a process of the pool; its episode moves to another process when that one is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from ....envs.errors import TutelageError
from ....envs.task import Task
from ....envs.web.person import Gesture
from ...journal import EpisodeRecord, StepRecord
from .frames import Picture
from .workers import Lost, Worker, Workers
from .world import Begun, Kept, Moment, Reading, WorldFault

_places = count(1)


class RemoteWorld:
    """One person's environment in a process of `workers`; a `World`.

    When the process is lost to another seat's environment, the episode is played again in a new one, up to
    where it was. When it is lost to this one, WorldFault says how.
    """

    def __init__(self, task: Task, workers: Workers, pictures: bool = True) -> None:
        self.task = task
        self._workers = workers
        self._pictures = pictures
        self._place = next(_places)
        self._worker: Worker | None = None
        self._record: EpisodeRecord | None = None
        self._steps: list[StepRecord] = []

    async def begin(self, record: EpisodeRecord) -> Begun:
        self._record = None
        begun = await self._ask("begin", self._place, self.task, self._pictures, record)
        return self._underway(begun)

    async def restore(self, record: EpisodeRecord, steps: Sequence[StepRecord]) -> Begun:
        self._record = None
        begun = await self._ask("restore", self._place, self.task, self._pictures, record, list(steps))
        return self._underway(begun)

    async def act(
        self, row: np.ndarray, time_ms: int, controller: int, frame: int
    ) -> tuple[StepRecord, Moment]:
        step, now = await self._ask("act", self._place, row, time_ms, controller, frame)
        self._steps.append(step)
        return step, now

    async def read(self, gesture: Gesture | None) -> Reading:
        return await self._ask("read", self._place, gesture)

    async def draw(self) -> Picture | None:
        return await self._ask("draw", self._place)

    async def finish(self, record: EpisodeRecord, missed: int) -> Kept:
        trajectory = await self._ask("finish", self._place, record, missed)
        worker, self._record = self._worker, None
        assert worker is not None

        async def observations() -> Mapping[str, np.ndarray]:
            try:
                seconds = self._workers.first_seconds
                return await worker.ask("observations", record.episode, seconds=seconds)
            except (Lost, WorldFault):
                raise TutelageError(
                    f"expected the observations of episode {record.episode}, got none: its process is gone"
                ) from None

        def let_go() -> None:
            worker.tell("let_go", record.episode, seconds=self._workers.seconds)

        return Kept(trajectory, observations, let_go)

    async def close(self) -> None:
        self._record = None
        self._move_out()

    async def _ask(self, verb: str, *arguments: Any) -> Any:
        """Ask the world's process; another one when that is lost before it has begun with this."""
        while True:
            fresh = self._worker is None or self._worker.lost or self._worker.blocked
            try:
                worker = await self._settle() if fresh else self._worker
                assert worker is not None
                seconds = self._workers.first_seconds if fresh else self._workers.seconds
                return await worker.ask(verb, *arguments, seconds=seconds)
            except Lost:
                continue
            except WorldFault:
                if self._worker is not None and self._worker.lost:
                    self._workers.suspect(self.task.id)
                raise

    async def _settle(self) -> Worker:
        """Find another process, and play the episode again there."""
        self._move_out()
        worker = self._worker = await self._workers.place(self.task.id)
        worker.places.add(self._place)
        if self._record is not None:
            arguments = (self._place, self.task, self._pictures, self._record, self._steps)
            begun = await worker.ask("restore", *arguments, seconds=self._workers.first_seconds)
            if begun.torn:
                raise WorldFault("it could not be played again up to where it was")
        return worker

    def _move_out(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.places.discard(self._place)
            worker.tell("leave", self._place, seconds=self._workers.seconds)

    def _underway(self, begun: Begun) -> Begun:
        self._record, self._steps = begun.record, list(begun.steps)
        return begun
