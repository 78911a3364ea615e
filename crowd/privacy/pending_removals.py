"""Who left and wanted what they did removed: it goes from the journal, this store and its copies."""

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
"""The event by which it is known that one store, and its copies, hold nothing of a person any more."""

_EPISODES, _STEPS = TABLES.tables["episodes"], TABLES.tables["steps"]


class PendingRemovals:
    """The removals that fall to one server. Everything blocks for the disk.

    Of the person themselves their way through the study stays; `tutelage forget` removes that too.
    """

    def __init__(
        self, study: str, journal: Journal, ledger: StudyDatabase, store: Store, copies: PartCopies | None
    ) -> None:
        self._study = study
        self._journal = journal
        self._ledger = ledger
        self._store = store
        self._name = store_id(store.path)
        self._copies = copies

    def due(self) -> list[str]:
        """List those whose episodes are to be removed, and were not yet here."""
        marks = self._ledger.rows(
            sql.select(events.c.person, events.c.details).where(
                events.c.study == self._study, events.c.what == REMOVED
            )
        )
        done = {one["person"] for one in marks if one["details"].get("store") == self._name}
        left = self._ledger.rows(
            sql.select(people.c.person, people.c.progress).where(
                people.c.study == self._study, people.c.outcome == "withdrew"
            )
        )
        return [
            one["person"] for one in left if not one["progress"].get("keeps") and one["person"] not in done
        ]

    def carry_out(self, person: str) -> None:
        """Remove what a person did; the copies follow when they can be reached."""
        theirs = _EPISODES.c.demonstrator == person
        with self._ledger.write() as connection:
            if is_sqlite(self._ledger.engine):
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            connection.execute(_EPISODES.update().where(theirs).values(state="discarded"))
            of_them = sql.select(_EPISODES.c.episode).where(theirs)
            connection.execute(_STEPS.delete().where(_STEPS.c.episode.in_(of_them)))
        self._store.forget(person)
        if self._copies is None:
            self._note(person)
        else:
            self._copies.forget(person, then=lambda: self._note(person))

    def _note(self, person: str) -> None:
        self._ledger.note(self._study, REMOVED, person, details={"store": self._name})
