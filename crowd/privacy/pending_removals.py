"""Removal of the episodes of people who withdrew: from the journal, this store and its copies."""

from __future__ import annotations

import sqlalchemy as sql

from ...datasets.maintenance.replication import PartCopies
from ...datasets.store import Store
from ..cluster.store_claims import store_id
from ..storage.database import is_sqlite
from ..storage.journal import Journal
from ..storage.journal_tables import TABLES
from ..storage.study_tables import StudyDatabase, events, people

REMOVED = "removed"
"""The event that records that one store, and its copies, hold nothing of a person any more."""

_EPISODES, _STEPS = TABLES.tables["episodes"], TABLES.tables["steps"]


class PendingRemovals:
    """The removals that fall to one server. Everything blocks for the disk.

    The person's path through the study stays in the database; `tutelage forget` removes that too.
    """

    def __init__(
        self, study: str, journal: Journal, database: StudyDatabase, store: Store, copies: PartCopies | None
    ) -> None:
        self._study = study
        self._journal = journal
        self._database = database
        self._store = store
        self._store_name = store_id(store.path)
        self._copies = copies

    def due(self) -> list[str]:
        """List the people whose episodes are to be removed, and have not been removed here."""
        removals = self._database.rows(
            sql.select(events.c.person, events.c.details).where(
                events.c.study == self._study, events.c.what == REMOVED
            )
        )
        removed_people = {
            row["person"] for row in removals if row["details"].get("store") == self._store_name
        }
        withdrawn = self._database.rows(
            sql.select(people.c.person, people.c.progress).where(
                people.c.study == self._study, people.c.outcome == "withdrew"
            )
        )
        return [
            row["person"]
            for row in withdrawn
            if not row["progress"].get("keeps") and row["person"] not in removed_people
        ]

    def carry_out(self, person: str) -> None:
        """Remove a person's episodes; the copies follow once they can be reached."""
        is_theirs = _EPISODES.c.demonstrator == person
        with self._database.write() as connection:
            if is_sqlite(self._database.engine):
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            connection.execute(_EPISODES.update().where(is_theirs).values(state="discarded"))
            episode_ids = sql.select(_EPISODES.c.episode).where(is_theirs)
            connection.execute(_STEPS.delete().where(_STEPS.c.episode.in_(episode_ids)))
        self._store.forget(person)
        if self._copies is None:
            self._record_removal(person)
        else:
            self._copies.forget(person, then=lambda: self._record_removal(person))

    def _record_removal(self, person: str) -> None:
        self._database.note(self._study, REMOVED, person, details={"store": self._store_name})
