"""Which store holds a kept demonstration, where several servers fill several: each one is in exactly one."""

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

    A store claims a demonstration before it takes it in, and confirms it afterwards: only then does the
    journal say `stored`. A claim of a store whose server is dead goes to a living one that asks for orphans.
    Should the dead one have had it in already, it finds at its next start that the demonstration is held
    `elsewhere`, and takes it back. So whatever dies when, each demonstration ends up in one store.
    """

    def __init__(
        self, journal: Journal, ledger: StudyDatabase, leases: SeatLeases, store: str, suite: str
    ) -> None:
        self._journal = journal
        self._engine = ledger.engine
        self._leases = leases
        self._store = store
        self._suite = suite
        self._unclaimed: set[str] = set()

    def claim(self, episode: str) -> bool:
        """Claim a demonstration; False when another store has."""
        with writing(self._engine) as connection:
            row = {"episode": episode, "store": self._store}
            connection.execute(insert_missing(self._engine, keepers, row))
            return connection.execute(_holder(episode)).scalar() == self._store

    def confirm(self, episode: str) -> bool:
        """Mark a demonstration as stored here; False when it is not to be stored here any more."""
        with writing(self._engine) as connection:
            if connection.execute(_holder(episode)).scalar() != self._store:
                return False
            this = (EPISODES.c.episode == episode) & EPISODES.c.state.in_(("kept", "stored"))
            mark = EPISODES.update().where(this).values(state="stored", changed_ns=time.time_ns())
            # not when the person has been forgotten, or has taken it back
            return connection.execute(mark).rowcount == 1

    def mine(self) -> list[EpisodeRecord]:
        """List what this store has claimed and not confirmed: what an earlier life of it has left."""
        kept = self._kept()
        holders = self._holders(kept)
        return [one for name, one in kept.items() if holders.get(name) == self._store]

    def orphans(self) -> list[EpisodeRecord]:
        """Claim what nobody keeps, and return it: where the store's server is dead, or there is no claim.

        What has no claim may have been marked as kept just now: it is claimed when it has none again at
        the next look.
        """
        self._keep_what_was_finished()
        kept, living = self._kept(), {*self._leases.living().values(), self._store}
        holders = self._holders(kept)
        unclaimed = kept.keys() - holders.keys()
        again, self._unclaimed = unclaimed & self._unclaimed, unclaimed
        dead = [name for name in kept if name in holders and holders[name] not in living]
        return [kept[name] for name in again if self.claim(name)] + [
            kept[name] for name in dead if self._inherit(name, holders[name])
        ]

    def elsewhere(self, episodes: Iterable[str]) -> list[str]:
        """Of the given episodes, list those that another store holds."""
        with self._engine.connect() as connection:
            others = sql.select(keepers.c.episode).where(keepers.c.store != self._store)
            return sorted(set(episodes) & set(connection.execute(others).scalars()))

    def _keep_what_was_finished(self) -> None:
        """Take for kept what had ended in a study on a server that is dead by now, and was not yet kept."""
        living = self._leases.living()
        for one in self._journal.episodes(state="finished", suite=self._suite):
            with writing(self._engine) as connection:
                owner = sql.select(leases.c.server).where(leases.c.seat == one.seat).with_for_update()
                if not one.study or connection.execute(owner).scalar() in living:
                    continue
                this = (EPISODES.c.episode == one.episode) & (EPISODES.c.state == "finished")
                state = "discarded" if one.role == "practice" else "kept"
                change = EPISODES.update().where(this).values(state=state, changed_ns=time.time_ns())
                connection.execute(change)

    def _inherit(self, episode: str, dead: str) -> bool:
        with writing(self._engine) as connection:
            # locked first, looked at second: the dead may be alive, and just confirming it
            if connection.execute(_holder(episode)).scalar() != dead:
                return False
            state = sql.select(EPISODES.c.state).where(EPISODES.c.episode == episode)
            if connection.execute(state).scalar() != "kept":
                return False
            change = keepers.update().where(keepers.c.episode == episode).values(store=self._store)
            connection.execute(change)
            return True

    def _kept(self) -> dict[str, EpisodeRecord]:
        return {one.episode: one for one in self._journal.episodes(state="kept", suite=self._suite)}

    def _holders(self, episodes: Iterable[str]) -> dict[str, str]:
        query = sql.select(keepers.c.episode, keepers.c.store).where(keepers.c.episode.in_(list(episodes)))
        with self._engine.connect() as connection:
            return {row.episode: row.store for row in connection.execute(query)}


def store_id(folder: Path) -> str:
    """Return the name that a store keeps for life, whatever machine or server it is filled by."""
    path = folder / _FILE
    if not path.is_file():
        with disk_errors(folder):
            write_whole(path, uuid.uuid4().hex.encode())
    return read_text(path).strip()


def _holder(episode: str) -> sql.Select[Any]:
    return sql.select(keepers.c.store).where(keepers.c.episode == episode).with_for_update()
