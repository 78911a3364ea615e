"""From the journal to the store: each kept demonstration is proven and stored, exactly once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from ...envs.errors import TutelageError
from ...envs.gymnasium_task import TaskEnvironment
from ..journal import EpisodeRecord, Journal
from ..replay import prove
from ..store import Store
from .episode import Episode
from .settings import Settings
from .world import Kept

_RETRY_SECONDS = 1.0


class Keeper:
    """One thread that proves demonstrations, appends them to the store and marks them in the journal.

    What a crash left between keeping and storing is done first: the store is asked which episodes it
    already has. `tell(text)` hears what a person should know, in one sentence.
    """

    def __init__(
        self, settings: Settings, journal: Journal, store: Store, tell: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._store = store
        self._tell = tell
        self._queue: queue.SimpleQueue[Kept | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        left = journal.episodes(state="kept", suite=settings.suite.name)
        self._thread = threading.Thread(target=self._work, args=(left,), name="keeper", daemon=True)
        self._thread.start()

    def put(self, kept: Kept) -> None:
        """Take over a demonstration that the journal has marked as kept."""
        self._queue.put(kept)

    def close(self) -> None:
        """Store what is waiting, then stop; what cannot be stored is stored at the next start."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join()

    def _work(self, left: list[EpisodeRecord]) -> None:
        if left:
            self._recover(left)
        while (kept := self._queue.get()) is not None:
            self._store_one(kept)

    def _recover(self, left: list[EpisodeRecord]) -> None:
        there = set(self._store.episodes()["episode"].to_pylist())
        for record in left:
            if record.episode in there:
                self._journal.mark(record.episode, "stored")
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
        environment = TaskEnvironment(self._settings.suite[kept.trajectory.task])
        try:
            proven = prove(kept.trajectory, environment, kept.observations)
        finally:
            environment.close()
        failing = False
        while True:
            try:
                self._store.append([proven])
                break
            except (TutelageError, OSError) as error:
                if not failing:
                    self._tell(f"The store cannot be written ({error}); your demonstrations wait safely.")
                failing = True
                if self._closing.wait(_RETRY_SECONDS):
                    return
        if failing:
            self._tell("The store can be written again; nothing was lost.")
        self._journal.mark(proven.episode, "stored")
        if self._settings.on_kept is not None:
            try:
                self._settings.on_kept(proven)
            except Exception as error:  # it is the caller's; recording goes on whatever it does
                self._tell(f"What follows a kept demonstration failed: {error}")
