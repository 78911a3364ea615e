"""A person's events of some kinds in order; appending from an outdated view fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sql

from ..storage.study_tables import StudyDatabase, events, people
from .payment_table import PaymentChange, change


class ConcurrentAppend(Exception):
    """Another thread or server has added an event since the chain was read."""


class EventChain:
    """Reads a person's events of the given kinds; `add` appends one if none came between.

    So a step that must be taken once is taken by one server only: the one that recorded it first.
    """

    def __init__(self, database: StudyDatabase, study: str, person: str, kinds: tuple[str, ...]) -> None:
        self._database = database
        self._study = study
        self._person = person
        self._is_in_chain = (events.c.study == study) & (events.c.person == person) & events.c.what.in_(kinds)
        self.rows = database.rows(sql.select(events).where(self._is_in_chain).order_by(events.c.id))

    @property
    def last(self) -> Mapping[str, Any]:
        """The newest event; before the first, one with an empty `what`."""
        return (
            self.rows[-1] if self.rows else {"id": None, "what": "", "reason": "", "details": {}, "at": 0.0}
        )

    def has(self, what: str) -> bool:
        """Say whether there is an event of a kind."""
        return any(row["what"] == what for row in self.rows)

    def add(
        self, what: str, now: float, reason: str = "", *, pay: Sequence[PaymentChange] = (), **details: Any
    ) -> None:
        """Append an event, on disk when this returns; raises ConcurrentAppend when the chain has grown.

        Its changes of the person's payments, `pay`, are written in the same transaction.
        """
        row = {
            "study": self._study,
            "person": self._person,
            "what": what,
            "reason": reason,
            "details": details,
            "at": now,
        }
        with self._database.write() as connection:
            is_person = people.c.person == self._person
            connection.execute(
                sql.select(people.c.person).where(is_person).with_for_update()
            )  # one at a time
            newest = connection.execute(
                sql.select(sql.func.max(events.c.id)).where(self._is_in_chain)
            ).scalar()
            if newest != self.last["id"]:
                raise ConcurrentAppend
            (number,) = connection.execute(events.insert().values(**row)).inserted_primary_key or (None,)
            change(connection, self._person, pay, now)
        self.rows.append({**row, "id": number})
