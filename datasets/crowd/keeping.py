"""From the journal to the store: each kept demonstration is proven and stored, exactly once."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sql

from ...envs.errors import TutelageError
from ...envs.gymnasium_task import TaskEnvironment
from ..journal import EpisodeRecord, Journal
from ..part_copies import PartCopies
from ..replay import prove
from ..store import Store
from .episode import Episode
from .keepers import Keepers
from .settings import Settings
from .world import Kept

T = TypeVar("T")
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 5.0


class Keeper:
    """One thread that proves demonstrations, appends them to the store and marks them in the journal.

    What a crash left between keeping and storing is done first: the store is asked which episodes it
    already has. `tell(text)` hears what a person should know, in one sentence. Where several servers share
    the journal, `keepers` says which demonstrations are this store's; those of dead servers become so.
    `copies` is told of every part that is to stay.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        store: Store,
        tell: Callable[[str], None],
        keepers: Keepers | None = None,
        copies: PartCopies | None = None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._store = store
        self._tell = tell
        self._keepers = keepers
        self._copies = copies
        self._queue: queue.SimpleQueue[Kept | Callable[[], None] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        left = keepers.mine() if keepers else journal.episodes(state="kept", suite=settings.suite.name)
        self._thread = threading.Thread(target=self._work, args=(left,), name="keeper", daemon=True)
        self._thread.start()

    def put(self, kept: Kept) -> None:
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
            self._recover(left)
        if self._copies is not None:
            self._copies.start()
        looked = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                kept = self._queue.get(timeout=_LOOK_SECONDS if self._keepers else None)
                if kept is None:
                    return
                self._store_one(kept) if isinstance(kept, Kept) else self._do(kept)
            if self._keepers is not None and time.monotonic() - looked >= _LOOK_SECONDS:
                self._recover(self._patiently(self._keepers.orphans) or [])
                looked = time.monotonic()

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (TutelageError, OSError, sql.exc.SQLAlchemyError) as error:
            self._tell(f"The store cannot be changed ({error}); it is tried again at the next start.")

    def _recover(self, left: list[EpisodeRecord]) -> None:
        there = set(self._store.episodes()["episode"].to_pylist())
        for record in left:
            if record.episode in there:
                self._stored(record.episode)
                continue
            try:
                kept = self._from_journal(record)
            except Exception as error:  # an environment may raise anything; the others must be stored
                self._tell(f"A kept episode could not be stored: {error}; it stays in the journal.")
                continue
            self._store_one(kept)

    def _from_journal(self, record: EpisodeRecord) -> Kept:
        environment = TaskEnvironment(self._settings.suite[record.task])
        try:
            episode, torn = Episode.restore(environment, record, self._journal.steps(record.episode))
            if torn or not (episode.done or record.given_up):
                raise TutelageError(f"expected {record.episode} to replay to its end, got {torn} torn steps")
            return Kept(episode.trajectory(), episode.observations())
        finally:
            environment.close()

    def _store_one(self, kept: Kept) -> None:
        if self._keepers and not self._patiently(self._keepers.claim, kept.trajectory.episode):
            return
        environment = TaskEnvironment(self._settings.suite[kept.trajectory.task])
        try:
            proven = prove(kept.trajectory, environment, kept.observations)
        finally:
            environment.close()
        failing = False
        while True:
            try:
                part = self._store.append([proven])
                break
            except (TutelageError, OSError) as error:
                if not failing:
                    self._tell(f"The store cannot be written ({error}); your demonstrations wait safely.")
                failing = True
                if self._closing.wait(_RETRY_SECONDS):
                    return
        if failing:
            self._tell("The store can be written again; nothing was lost.")
        if not self._stored(proven.episode):
            return
        if self._copies is not None:
            self._copies.put(part)
        if self._settings.on_kept is not None:
            try:
                self._settings.on_kept(proven)
            except Exception as error:  # it is the caller's; recording goes on whatever it does
                self._tell(f"What follows a kept demonstration failed: {error}")

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
