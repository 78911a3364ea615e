"""From the journal to the store: each kept demonstration is proven and stored, exactly once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from ...envs.errors import TutelageError
from ...envs.task import Task
from ..journal import EpisodeRecord, Journal
from ..replay import Environments, is_grid, replay_many
from ..store import Store
from ..trajectory import Trajectory
from .session import PRACTICE
from .settings import Settings
from .workers import Workers
from .world import Kept, World

_log = logging.getLogger("tutelage.crowd")
_RETRY_SECONDS = 1.0
_GATHER_SECONDS = 0.5
"""Demonstrations that come within this time share a part of the store."""


class Keeper:
    """Proves demonstrations, appends them to the store and marks them in the journal, one lot at a time.

    What a crash left between keeping and storing is done first: the store is asked which episodes it
    already has, and the journal's steps are played again in a world of `make_world`. Proofs are made in
    `workers`, those of grid worlds here. `tell(text)` hears what a person should know, in one sentence.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        store: Store,
        workers: Workers,
        make_world: Callable[[Task], World],
        tell: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._store = store
        self._workers = workers
        self._make_world = make_world
        self._tell = tell
        self._queue: asyncio.Queue[Kept | None] = asyncio.Queue()
        self._closing = asyncio.Event()
        self._environments = Environments(settings.suite)
        self._work = asyncio.create_task(self._keep_on())

    def put(self, kept: Kept) -> None:
        """Take over a demonstration that the journal has marked as kept."""
        self._queue.put_nowait(kept)

    async def close(self) -> None:
        """Store what is waiting, then stop; what cannot be stored is stored at the next start."""
        self._closing.set()
        self._queue.put_nowait(None)
        await self._work

    async def _keep_on(self) -> None:
        left = await asyncio.to_thread(
            lambda: self._journal.episodes(state="kept", suite=self._settings.suite.name)
        )
        if left:
            await self._recover(left)
        while (first := await self._queue.get()) is not None:
            await self._pause(_GATHER_SECONDS)
            lot = [first]
            while not self._queue.empty() and (one := self._queue.get_nowait()) is not None:
                lot.append(one)
            try:
                await self._store_all(lot)
            except Exception as error:  # the next lot must be stored all the same
                _log.exception("demonstrations could not be stored")
                self._tell(f"Demonstrations could not be stored: {error}; they stay in the journal.")
            if self._closing.is_set() and self._queue.empty():
                return

    async def _recover(self, left: Sequence[EpisodeRecord]) -> None:
        stored = await asyncio.to_thread(lambda: self._store.episodes()["episode"].to_pylist())
        there = set(stored)
        for record in left:
            if record.episode in there:
                self._journal.mark(record.episode, "stored")
            elif record.role != PRACTICE:
                try:
                    await self._store_again(record)
                except Exception as error:  # an environment may raise anything; the others must be stored
                    self._tell(f"A kept episode could not be stored: {error}; it stays in the journal.")

    async def _store_again(self, record: EpisodeRecord) -> None:
        steps = await asyncio.to_thread(self._journal.steps, record.episode)
        world = self._make_world(self._settings.suite[record.task])
        try:
            begun = await world.restore(record, steps)
            if begun.torn or not (begun.now.done or record.given_up):
                raise TutelageError(
                    f"expected {record.episode} to replay to its end, got {begun.torn} torn steps"
                )
            await self._store_all([await world.finish(record, missed=0)])
        finally:
            await world.close()

    async def _store_all(self, lot: Sequence[Kept]) -> None:
        proven = await self._proven(lot)
        if not proven or not await self._appended(proven):
            return
        for one in lot:
            one.let_go()
        for trajectory in proven:
            self._journal.mark(trajectory.episode, "stored")
        if self._settings.on_kept is not None:
            for trajectory in proven:
                try:
                    await asyncio.to_thread(self._settings.on_kept, trajectory)
                except Exception as error:  # it is the caller's; recording goes on whatever it does
                    self._tell(f"What follows a kept demonstration failed: {error}")

    async def _appended(self, proven: Sequence[Trajectory]) -> bool:
        """Append to the store, however long that takes; False when there is no time left to wait."""
        failing = False
        while True:
            try:
                await asyncio.to_thread(self._store.append, proven)
            except (TutelageError, OSError) as error:
                if not failing:
                    self._tell(f"The store cannot be written ({error}); your demonstrations wait safely.")
                failing = True
                if await self._pause(_RETRY_SECONDS):
                    return False
            else:
                if failing:
                    self._tell("The store can be written again; nothing was lost.")
                return True

    async def _proven(self, lot: Sequence[Kept]) -> list[Trajectory]:
        """Decide for each whether its actions are enough; leave out what can neither be proven nor shown."""
        grids = [one.trajectory for one in lot if is_grid(self._settings.suite[one.trajectory.task])]
        again = await asyncio.to_thread(lambda: list(replay_many(grids, self._environments)))
        same = {
            one.episode: not isinstance(got, TutelageError) for one, got in zip(grids, again, strict=True)
        }
        proven = []
        for one in lot:
            trajectory, task = one.trajectory, self._settings.suite[one.trajectory.task]
            try:
                fine = same.get(trajectory.episode)
                if fine or (fine is None and await self._workers.prove(trajectory, task)):
                    proven.append(trajectory)
                else:
                    proven.append(replace(trajectory, observations=dict(await one.observations())))
            except TutelageError as error:
                self._tell(f"A kept episode could not be stored: {error}; it stays in the journal.")
        return proven

    async def _pause(self, seconds: float) -> bool:
        """Wait for so long, or until closed; says whether it was closed."""
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return False
        return True
