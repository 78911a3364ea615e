"""Archiver: proves each kept demonstration of the journal and appends it to the store, exactly once."""

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
from ...datasets.replay import Environments, prove, replay_many
from ...datasets.store import Store
from ...datasets.trajectory import Trajectory
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from ..cluster.store_claims import StoreClaims
from ..hosting.host import EnvironmentHost, FinishedEpisode, InlineHost
from ..hosting.host_factory import runs_here
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
"""Demonstrations that arrive within this time share a part of the store."""


class ReplayHosts:
    """Replays for the archiver's thread, in the hosts and workers of a server's event loop.

    Without an event loop, in the calling thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        workers: WorkerPool | None = None,
        make_host: Callable[[Task], EnvironmentHost] = InlineHost,
    ) -> None:
        self.workers = workers
        self.make_host = make_host
        self._loop = loop

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, in the hosts' event loop."""
        if self._loop is None:
            return asyncio.run(work)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[[], None]) -> None:
        """Call a function in the hosts' event loop."""
        if self._loop is None:
            function()
        else:
            self._loop.call_soon_threadsafe(function)


class Archiver:
    """One thread that proves demonstrations, appends them to the store and marks them in the journal.

    Demonstrations that a crash left between keeping and storing are handled first: the store says which
    episodes it has, or had until they were deleted. `tell(text)` receives messages for the operator, in one
    sentence. Where several servers share the journal, `store_claims` says which demonstrations are this
    store's; those of dead servers become so. `copies` receives every finished part. Foreign environments
    prove episodes on the `replay_hosts`.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        store: Store,
        tell: Callable[[str], None],
        store_claims: StoreClaims | None = None,
        copies: PartCopies | None = None,
        replay_hosts: ReplayHosts | None = None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._store = store
        self._tell = tell
        self._store_claims = store_claims
        self._copies = copies
        self._replay_hosts = replay_hosts or ReplayHosts()
        self._environments = Environments(settings.suite)
        self._queue: queue.SimpleQueue[FinishedEpisode | Callable[[], None] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        kept_records = (
            store_claims.mine() if store_claims else journal.episodes(state="kept", suite=settings.suite.name)
        )
        self._thread = threading.Thread(target=self._work, args=(kept_records,), name="keeper", daemon=True)
        # episodes that a read of the journal found before they were put here
        self._recovered: set[str] = set()
        self._thread.start()

    def put(self, finished: FinishedEpisode) -> None:
        """Take over a demonstration that the journal has marked as kept."""
        self._queue.put(finished)

    def recover(self, records: list[EpisodeRecord]) -> None:
        """Take over demonstrations that the journal has as kept, and that were not put here."""
        self._queue.put(lambda: self._recover(records))

    def after(self, work: Callable[[], None]) -> None:
        """Run a function in the archiver's thread, once everything that was put before it is in the store."""
        self._queue.put(work)

    def close(self) -> None:
        """Store what is waiting, then stop; what cannot be stored is stored at the next start."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join()

    def _work(self, records: list[EpisodeRecord]) -> None:
        if self._store_claims is not None:
            stored_ids = self._store.episodes()["episode"].to_pylist()
            self._store.take_back(self._retry_query(self._store_claims.elsewhere, stored_ids) or [])
        if records:
            self._run(lambda: self._recover(records))
        if self._copies is not None:
            self._copies.start()
        checked_at = time.monotonic()
        is_open = True
        while is_open:
            with contextlib.suppress(queue.Empty):
                is_open = self._process_queue(
                    self._queue.get(timeout=_LOOK_SECONDS if self._store_claims else None)
                )
            if is_open and self._store_claims is not None and time.monotonic() - checked_at >= _LOOK_SECONDS:
                self._recover(self._retry_query(self._store_claims.orphans) or [])
                checked_at = time.monotonic()

    def _process_queue(self, first: FinishedEpisode | Callable[[], None] | None) -> bool:
        """Store a batch, then run the function queued behind it; False at the end of the queue."""
        batch: list[FinishedEpisode] = []
        item = first
        if isinstance(item, FinishedEpisode):
            self._closing.wait(_GATHER_SECONDS)
        while isinstance(item, FinishedEpisode):
            batch.append(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                self._store_batch(batch)
                return True
        self._store_batch(batch)
        if item is not None:
            self._run(item)
        return item is not None

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (TutelageError, OSError, sql.exc.SQLAlchemyError) as error:
            self._tell(f"The store cannot be changed ({error}); it is tried again at the next start.")

    def _recover(self, records: list[EpisodeRecord]) -> None:
        taken_ids = (
            self._store.taken_ids()
        )  # an edit may have deleted what was stored before its mark was lost
        for record in records:
            if record.episode in taken_ids:
                self._mark_stored(record.episode)
            elif record.role != PRACTICE:
                try:
                    self._replay_and_store(record)
                    self._recovered.add(record.episode)
                except Exception as error:  # an environment may raise anything; the others must be stored
                    self._tell(f"A kept episode could not be stored: {error}; it stays in the journal.")

    def _replay_and_store(self, record: EpisodeRecord) -> None:
        host = self._replay_hosts.make_host(self._settings.suite[record.task])
        try:
            steps, damage = self._journal.sound_steps(record.episode)
            if damage:
                raise TutelageError(f"expected {record.episode} as it was played, got damage: {damage}")
            start = self._replay_hosts.wait(host.restore(record, steps))
            if start.torn or not (start.now.done or record.given_up):
                raise TutelageError(
                    f"expected {record.episode} to replay to its end, got {start.torn} torn steps"
                )
            self._store_all([self._replay_hosts.wait(host.finish(record, missed=0))])
        finally:
            self._replay_hosts.wait(host.close())

    def _store_batch(self, batch: Sequence[FinishedEpisode]) -> None:
        new: list[FinishedEpisode] = []
        for finished in batch:
            if finished.trajectory.episode in self._recovered:
                self._replay_hosts.call(finished.let_go)
            else:
                new.append(finished)
        try:
            self._store_all(new)
        except Exception as error:  # the next batch must be stored all the same
            _log.exception("demonstrations could not be stored")
            self._tell(f"Demonstrations could not be stored: {error}; they stay in the journal.")

    def _store_all(self, batch: Sequence[FinishedEpisode]) -> None:
        if self._store_claims is not None:
            claim = self._store_claims.claim
            batch = [finished for finished in batch if self._retry_query(claim, finished.trajectory.episode)]
        proven = self._prove_all(batch)
        if not proven or (part := self._append(proven)) is None:
            return
        for finished in batch:
            self._replay_hosts.call(finished.let_go)
        stored = [trajectory for trajectory in proven if self._mark_stored(trajectory.episode)]
        if stored and self._copies is not None:
            self._copies.put(part)
        if self._settings.on_kept is not None:
            for trajectory in stored:
                try:
                    self._settings.on_kept(trajectory)
                except Exception as error:  # a callback's error must not stop recording
                    self._tell(f"What follows a kept demonstration failed: {error}")

    def _append(self, proven: Sequence[Trajectory]) -> Any:
        """Append to the store, retrying until it succeeds; None if the archiver closes first."""
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

    def _prove_all(self, lot: Sequence[FinishedEpisode]) -> list[Trajectory]:
        """Choose for each whether its actions suffice; drop episodes that can neither be proven nor shown."""
        here = [
            finished.trajectory
            for finished in lot
            if runs_here(self._settings.suite[finished.trajectory.task])
        ]
        replays = replay_many(here, self._environments)
        is_proven = {
            finished.episode: not isinstance(replay, TutelageError)
            for finished, replay in zip(here, replays, strict=True)
        }
        proven = []
        for finished in lot:
            try:
                is_same = is_proven.get(finished.trajectory.episode)
                proven.append(finished.trajectory if is_same else self._prove(finished))
            except TutelageError as error:
                self._tell(f"A kept episode could not be stored: {error}; it stays in the journal.")
        return proven

    def _prove(self, finished: FinishedEpisode) -> Trajectory:
        trajectory, task = finished.trajectory, self._settings.suite[finished.trajectory.task]
        if runs_here(task):
            return replace(trajectory, observations=dict(self._observations(finished)))
        if self._replay_hosts.workers is not None:
            if self._replay_hosts.wait(self._replay_hosts.workers.prove(trajectory, task)):
                return trajectory
            return replace(trajectory, observations=dict(self._observations(finished)))
        environment = TaskEnv(task)
        try:
            return prove(trajectory, environment, self._observations(finished))
        finally:
            environment.close()

    def _observations(self, finished: FinishedEpisode) -> Any:
        async def ask() -> Any:
            return await finished.observations()

        return self._replay_hosts.wait(ask())

    def _mark_stored(self, episode: str) -> bool:
        """Mark an episode as stored; False when another store holds it: this store has taken it back."""
        if self._store_claims is None:
            self._journal.mark(episode, "stored")
            return True
        confirmed = self._retry_query(self._store_claims.confirm, episode)
        if confirmed is False:
            self._store.take_back([episode])
        return bool(confirmed)

    def _retry_query(self, ask: Callable[..., T], *arguments: Any) -> T | None:
        """Query the database, retrying while it is away; None if the archiver closes first."""
        while True:
            try:
                return ask(*arguments)
            except sql.exc.DBAPIError:
                if self._closing.wait(_RETRY_SECONDS):
                    return None
