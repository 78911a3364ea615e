"""Which store holds each kept demonstration, where several servers fill several stores: exactly one does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from ...files.atomic_files import disk_errors, write_whole
from ...files.bounded_files import read_text
from ..storage.database import insert_missing, writing
from ..storage.journal import Journal
from ..storage.journal_records import EpisodeRecord
from ..storage.study_tables import StudyDatabase, keepers, leases
from .seat_leases import EPISODES, SeatLeases

_FILE = ".store-id"


class StoreClaims:
    """The claims of this server's store on kept demonstrations. Calls block for the disk.

    A store claims a demonstration before it appends it, and confirms it afterwards: only then is the
    journal's state `stored`. A claim of a store whose server is dead moves to a live store that asks for
    orphans. If the dead store had appended the demonstration already, its next start finds it `elsewhere` and
    takes it back. So whatever dies when, each demonstration ends up in one store.
    """

    def __init__(
        self, journal: Journal, database: StudyDatabase, leases: SeatLeases, store: str, suite: str
    ) -> None:
        self._journal = journal
        self._engine = database.engine
        self._leases = leases
        self._store = store
        self._suite = suite
        self._unclaimed: set[str] = set()

    def claim(self, episode: str) -> bool:
        """Claim a demonstration; False when another store has."""
        with writing(self._engine) as connection:
            row = {"episode": episode, "store": self._store}
            connection.execute(insert_missing(self._engine, keepers, row))
            return connection.execute(_holder_query(episode)).scalar() == self._store

    def confirm(self, episode: str) -> bool:
        """Mark a demonstration as stored here; False when it must not be stored here any more."""
        with writing(self._engine) as connection:
            if connection.execute(_holder_query(episode)).scalar() != self._store:
                return False
            is_storable = (EPISODES.c.episode == episode) & EPISODES.c.state.in_(("kept", "stored"))
            update = EPISODES.update().where(is_storable).values(state="stored", changed_ns=time.time_ns())
            # zero rows when the person was erased or has withdrawn it
            return connection.execute(update).rowcount == 1

    def mine(self) -> list[EpisodeRecord]:
        """List what this store has claimed and not confirmed: the rest of an earlier run."""
        kept_episodes = self._kept_episodes()
        holders = self._find_holders(kept_episodes)
        return [record for name, record in kept_episodes.items() if holders.get(name) == self._store]

    def orphans(self) -> list[EpisodeRecord]:
        """Claim and return kept demonstrations whose store's server is dead, or that have no claim.

        An unclaimed demonstration may have been marked as kept just now: it is claimed if it is still
        unclaimed at the next call.
        """
        self._keep_finished()
        kept_episodes, living = self._kept_episodes(), {*self._leases.living().values(), self._store}
        holders = self._find_holders(kept_episodes)
        unclaimed = kept_episodes.keys() - holders.keys()
        still_unclaimed, self._unclaimed = unclaimed & self._unclaimed, unclaimed
        dead = [name for name in kept_episodes if name in holders and holders[name] not in living]
        return [kept_episodes[name] for name in still_unclaimed if self.claim(name)] + [
            kept_episodes[name] for name in dead if self._inherit(name, holders[name])
        ]

    def elsewhere(self, episodes: Iterable[str]) -> list[str]:
        """Return those of the given episodes that another store holds."""
        with self._engine.connect() as connection:
            query = sql.select(keepers.c.episode).where(keepers.c.store != self._store)
            return sorted(set(episodes) & set(connection.execute(query).scalars()))

    def _keep_finished(self) -> None:
        """Mark as kept the finished study episodes of dead servers."""
        living = self._leases.living()
        for record in self._journal.episodes(state="finished", suite=self._suite):
            with writing(self._engine) as connection:
                owner = sql.select(leases.c.server).where(leases.c.seat == record.seat).with_for_update()
                if not record.study or connection.execute(owner).scalar() in living:
                    continue
                is_finished = (EPISODES.c.episode == record.episode) & (EPISODES.c.state == "finished")
                state = "discarded" if record.role == "practice" else "kept"
                change = EPISODES.update().where(is_finished).values(state=state, changed_ns=time.time_ns())
                connection.execute(change)

    def _inherit(self, episode: str, dead: str) -> bool:
        with writing(self._engine) as connection:
            # lock, then check: the server taken for dead may be alive and confirming it
            if connection.execute(_holder_query(episode)).scalar() != dead:
                return False
            state = sql.select(EPISODES.c.state).where(EPISODES.c.episode == episode)
            if connection.execute(state).scalar() != "kept":
                return False
            change = keepers.update().where(keepers.c.episode == episode).values(store=self._store)
            connection.execute(change)
            return True

    def _kept_episodes(self) -> dict[str, EpisodeRecord]:
        return {record.episode: record for record in self._journal.episodes(state="kept", suite=self._suite)}

    def _find_holders(self, episodes: Iterable[str]) -> dict[str, str]:
        query = sql.select(keepers.c.episode, keepers.c.store).where(keepers.c.episode.in_(list(episodes)))
        with self._engine.connect() as connection:
            return {row.episode: row.store for row in connection.execute(query)}


def store_id(folder: Path) -> str:
    """Return a store's permanent name, which does not depend on machine or server; made on the first call."""
    path = folder / _FILE
    if not path.is_file():
        with disk_errors(folder):
            write_whole(path, uuid.uuid4().hex.encode())
    return read_text(path).strip()


def _holder_query(episode: str) -> sql.Select[Any]:
    return sql.select(keepers.c.store).where(keepers.c.episode == episode).with_for_update()
