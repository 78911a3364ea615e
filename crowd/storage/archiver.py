"""From the journal to the store: each kept demonstration is proven and stored, exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy as sql

from ...datasets.maintenance.replication import PartCopies
from ...datasets.replay import Environments, is_grid, prove, replay_many
from ...datasets.store import Store
from ...datasets.trajectory import Trajectory
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from ..cluster.store_claims import StoreClaims
from ..hosting.host import EnvironmentHost, FinishedEpisode, InlineHost
from ..hosting.worker_pool import WorkerPool
from ..seats.session import PRACTICE
from ..settings import Settings
from .journal import Journal
from .journal_records import EpisodeRecord

T = TypeVar("T")
_log = logging.getLogger("tutelage.crowd")
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 5.0
_GATHER_SECONDS = 0.5
"""Demonstrations that come within this time share a part of the store."""


class ReplayHosts:
    """Where episodes are played again: in the worlds and the processes of a server, asked from its keeper's
    thread. Without an event loop, in this very thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        workers: WorkerPool | None = None,
        make_world: Callable[[Task], EnvironmentHost] = InlineHost,
    ) -> None:
        self.workers = workers
        self.make_world = make_world
        self._loop = loop

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, where the worlds live."""
        if self._loop is None:
            return asyncio.run(work)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[[], None]) -> None:
        """Call a function where the worlds live."""
        if self._loop is None:
            function()
        else:
            self._loop.call_soon_threadsafe(function)


class Archiver:
    """One thread that proves demonstrations, appends them to the store and marks them in the journal.

    What a crash left between keeping and storing is done first: the store is asked which episodes it
    already has, or had until they were deleted. `tell(text)` hears what a person should know, in one
    sentence. Where several servers share the journal, `keepers` says which demonstrations are this store's;
    those of dead servers become so.
    `copies` is told of every part that is to stay. Foreign environments prove episodes on the `ground`.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        store: Store,
        tell: Callable[[str], None],
        keepers: StoreClaims | None = None,
        copies: PartCopies | None = None,
        ground: ReplayHosts | None = None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._store = store
        self._tell = tell
        self._keepers = keepers
        self._copies = copies
        self._ground = ground or ReplayHosts()
        self._environments = Environments(settings.suite)
        self._queue: queue.SimpleQueue[FinishedEpisode | Callable[[], None] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        left = keepers.mine() if keepers else journal.episodes(state="kept", suite=settings.suite.name)
        self._thread = threading.Thread(target=self._work, args=(left,), name="keeper", daemon=True)
        # what was kept so long before it was put here that a look at the journal has found it first
        self._recovered: set[str] = set()
        self._thread.start()

    def put(self, kept: FinishedEpisode) -> None:
        """Take over a demonstration that the journal has marked as kept."""
        self._queue.put(kept)

    def recover(self, left: list[EpisodeRecord]) -> None:
        """Take over demonstrations that the journal has as kept, and that nobody has put here."""
        self._queue.put(lambda: self._recover(left))

    def after(self, work: Callable[[], None]) -> None:
        """Do some work in the keeper's thread, once everything that was put before it is in the store."""
        self._queue.put(work)

    def close(self) -> None:
        """Store what is waiting, then stop; what cannot be stored is stored at the next start."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join()

    def _work(self, left: list[EpisodeRecord]) -> None:
        if self._keepers is not None:
            there = self._store.episodes()["episode"].to_pylist()
            self._store.take_back(self._patiently(self._keepers.elsewhere, there) or [])
        if left:
            self._do(lambda: self._recover(left))
        if self._copies is not None:
            self._copies.start()
        looked = time.monotonic()
        open_ = True
        while open_:
            with contextlib.suppress(queue.Empty):
                open_ = self._do_what_comes(self._queue.get(timeout=_LOOK_SECONDS if self._keepers else None))
            if open_ and self._keepers is not None and time.monotonic() - looked >= _LOOK_SECONDS:
                self._recover(self._patiently(self._keepers.orphans) or [])
                looked = time.monotonic()

    def _do_what_comes(self, first: FinishedEpisode | Callable[[], None] | None) -> bool:
        """Store a lot, then do what work was put behind it; False when there is nothing to come."""
        lot: list[FinishedEpisode] = []
        one = first
        if isinstance(one, FinishedEpisode):
            self._closing.wait(_GATHER_SECONDS)
        while isinstance(one, FinishedEpisode):
            lot.append(one)
            try:
                one = self._queue.get_nowait()
            except queue.Empty:
                self._store_carefully(lot)
                return True
        self._store_carefully(lot)
        if one is not None:
            self._do(one)
        return one is not None

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (TutelageError, OSError, sql.exc.SQLAlchemyError) as error:
            self._tell(f"The store cannot be changed ({error}); it is tried again at the next start.")

    def _recover(self, left: list[EpisodeRecord]) -> None:
        taken = self._store.taken_ids()  # an edit may have deleted what was stored before a mark was lost
        for record in left:
            if record.episode in taken:
                self._stored(record.episode)
            elif record.role != PRACTICE:
                try:
                    self._store_again(record)
                    self._recovered.add(record.episode)
                except Exception as error:  # an environment may raise anything; the others must be stored
                    self._tell(f"A kept episode could not be stored: {error}; it stays in the journal.")

    def _store_again(self, record: EpisodeRecord) -> None:
        world = self._ground.make_world(self._settings.suite[record.task])
        try:
            steps, damage = self._journal.sound_steps(record.episode)
            if damage:
                raise TutelageError(f"expected {record.episode} as it was played, got damage: {damage}")
            begun = self._ground.wait(world.restore(record, steps))
            if begun.torn or not (begun.now.done or record.given_up):
                raise TutelageError(
                    f"expected {record.episode} to replay to its end, got {begun.torn} torn steps"
                )
            self._store_all([self._ground.wait(world.finish(record, missed=0))])
        finally:
            self._ground.wait(world.close())

    def _store_carefully(self, lot: Sequence[FinishedEpisode]) -> None:
        new: list[FinishedEpisode] = []
        for kept in lot:
            if kept.trajectory.episode in self._recovered:
                self._ground.call(kept.let_go)
            else:
                new.append(kept)
        try:
            self._store_all(new)
        except Exception as error:  # the next lot must be stored all the same
            _log.exception("demonstrations could not be stored")
            self._tell(f"Demonstrations could not be stored: {error}; they stay in the journal.")

    def _store_all(self, lot: Sequence[FinishedEpisode]) -> None:
        if self._keepers is not None:
            claim = self._keepers.claim
            lot = [one for one in lot if self._patiently(claim, one.trajectory.episode)]
        proven = self._proven(lot)
        if not proven or (part := self._appended(proven)) is None:
            return
        for one in lot:
            self._ground.call(one.let_go)
        stored = [trajectory for trajectory in proven if self._stored(trajectory.episode)]
        if stored and self._copies is not None:
            self._copies.put(part)
        if self._settings.on_kept is not None:
            for trajectory in stored:
                try:
                    self._settings.on_kept(trajectory)
                except Exception as error:  # it is the caller's; recording goes on whatever it does
                    self._tell(f"What follows a kept demonstration failed: {error}")

    def _appended(self, proven: Sequence[Trajectory]) -> Any:
        """Append to the store, however long that takes; None when there is no time left to wait."""
        failing = False
        while True:
            try:
                part = self._store.append(proven)
            except (TutelageError, OSError) as error:
                if not failing:
                    self._tell(f"The store cannot be written ({error}); your demonstrations wait safely.")
                failing = True
                if self._closing.wait(_RETRY_SECONDS):
                    return None
            else:
                if failing:
                    self._tell("The store can be written again; nothing was lost.")
                return part

    def _proven(self, lot: Sequence[FinishedEpisode]) -> list[Trajectory]:
        """Decide for each whether its actions are enough; leave out what can neither be proven nor shown."""
        grids = [one.trajectory for one in lot if is_grid(self._settings.suite[one.trajectory.task])]
        again = replay_many(grids, self._environments)
        same = {
            one.episode: not isinstance(got, TutelageError) for one, got in zip(grids, again, strict=True)
        }
        proven = []
        for one in lot:
            try:
                fine = same.get(one.trajectory.episode)
                proven.append(one.trajectory if fine else self._prove(one))
            except TutelageError as error:
                self._tell(f"A kept episode could not be stored: {error}; it stays in the journal.")
        return proven

    def _prove(self, kept: FinishedEpisode) -> Trajectory:
        trajectory, task = kept.trajectory, self._settings.suite[kept.trajectory.task]
        if is_grid(task):
            return replace(trajectory, observations=dict(self._seen(kept)))
        if self._ground.workers is not None:
            if self._ground.wait(self._ground.workers.prove(trajectory, task)):
                return trajectory
            return replace(trajectory, observations=dict(self._seen(kept)))
        environment = TaskEnv(task)
        try:
            return prove(trajectory, environment, self._seen(kept))
        finally:
            environment.close()

    def _seen(self, kept: FinishedEpisode) -> Any:
        async def ask() -> Any:
            return await kept.observations()

        return self._ground.wait(ask())

    def _stored(self, episode: str) -> bool:
        """Mark what the store holds; False when another store is to have it: this one has taken it back."""
        if self._keepers is None:
            self._journal.mark(episode, "stored")
            return True
        confirmed = self._patiently(self._keepers.confirm, episode)
        if confirmed is False:
            self._store.take_back([episode])
        return bool(confirmed)

    def _patiently(self, ask: Callable[..., T], *arguments: Any) -> T | None:
        """Ask the database, again and again while it is away; None when this has to close first."""
        while True:
            try:
                return ask(*arguments)
            except sql.exc.DBAPIError:
                if self._closing.wait(_RETRY_SECONDS):
                    return None
