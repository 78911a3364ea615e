"""Payment records: every amount that a study owes, in every state it was in; rows are only added.

An amount becomes owed in the transaction that ends a participant's session, and its state changes in the
transaction that records the cause. So a crash at any moment leaves both or neither.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sql

from ...errors import TutelageError
from ..storage.row_checksums import DamagedRow, is_sound
from ..storage.study_records import payments
from ..storage.study_tables import StudyDatabase, people
from ..studies.moderation import clean_reason
from .money import decimal_of

KINDS = ("base", "bonus")
STATES = ("owed", "approved", "paid", "refused")
"""Owed once the person has completed; approved by the study or the panel; paid; refused by either."""

_NEXT = {
    "owed": ("approved", "paid", "refused"),
    "approved": ("paid", "refused"),
    "refused": ("approved", "paid"),
    "paid": (),
}
"""The states that may follow a state: nothing is paid twice."""


@dataclass(frozen=True)
class PaymentChange:
    """A change of state of one kind of payment; `answer` is the panel's answer, if it was asked."""

    kind: str
    state: str
    reason: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)


def owe(
    connection: sql.Connection,
    study: str,
    person: str,
    amounts: Mapping[str, tuple[int, str]],
    code: str,
    now: float,
) -> None:
    """Record what a person is owed, kind → (minor units, reason), once: a second call changes nothing."""
    for kind, (units, reason) in amounts.items():
        if units > 0 and not _read_entries(connection, person, kind):
            row = {
                "person": person,
                "study": study,
                "kind": kind,
                "number": 1,
                "state": "owed",
                "amount": units,
            }
            row |= {"currency": code, "reason": reason, "answer": {}, "at": now}
            connection.execute(payments.insert(), row)


def change(connection: sql.Connection, person: str, changes: Sequence[PaymentChange], now: float) -> None:
    """Add payment entries; one that changes nothing, or is no longer possible, is not added."""
    for entry in changes:
        rows = _read_entries(connection, person, entry.kind)
        if rows and entry.state in _NEXT[rows[-1]["state"]]:
            connection.execute(payments.insert(), _next_row(rows[-1], entry, now))


def record_by_hand(
    database: StudyDatabase,
    study: str,
    person: str,
    kind: str,
    state: str,
    reason: str,
    now: float | None = None,
) -> None:
    """Record what was decided or paid outside of the program.

    Raises TutelageError without a reason, if nothing of that kind is owed, and for an impossible transition.
    """
    for name, value, allowed in (("kind", kind, KINDS), ("state", state, STATES[1:])):
        if value not in allowed:
            raise TutelageError(f"expected a {name} of {', '.join(allowed)}, got {value!r}")
    reason = clean_reason(reason)
    with database.write() as connection:
        rows = _read_entries(connection, person, kind, study)
        if not rows:
            raise TutelageError(f"expected a {kind} that {person} is owed, found none; nothing was written")
        if state not in _NEXT[rows[-1]["state"]]:
            raise TutelageError(
                f"expected a {kind} that can become {state}, got one that is {rows[-1]['state']} already; "
                "nothing was written"
            )
        recorded_at = time.time() if now is None else now
        connection.execute(
            payments.insert(), _next_row(rows[-1], PaymentChange(kind, state, reason), recorded_at)
        )


def latest(database: StudyDatabase, person: str) -> dict[str, dict[str, Any]]:
    """Return the last entry of each kind of payment to a person."""
    with database.engine.connect() as connection:
        by_kind = {kind: _read_entries(connection, person, kind) for kind in KINDS}
    return {kind: rows[-1] for kind, rows in by_kind.items() if rows}


def entries(database: StudyDatabase, study: str, person: str = "") -> list[dict[str, Any]]:
    """List a study's entries in order, amounts as decimals; raises TutelageError for a damaged row."""
    query = sql.select(payments).where(payments.c.study == study).order_by(payments.c.id)
    rows = database.rows(query.where(payments.c.person == person) if person else query)
    return [_readable(row) for row in rows]


def study_of(database: StudyDatabase) -> str:
    """Return the study that a database belongs to; raises TutelageError without any participant."""
    rows = database.rows(sql.select(people.c.study).limit(1))
    if not rows:
        raise TutelageError("expected a study that people came to, found one without any; serve it first")
    return str(rows[0]["study"])


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    if not is_sound(payments, row):
        raise TutelageError(
            f"expected the row {DamagedRow('payments', (row['id'],))} as it was written, got a changed one; "
            "restore the database from a copy"
        )
    names = ("id", "person", "kind", "state", "amount", "currency", "reason", "answer", "at")
    return {name: row[name] for name in names} | {"amount": f"{decimal_of(row['amount'], row['currency']):f}"}


def _read_entries(
    connection: sql.Connection, person: str, kind: str, study: str = ""
) -> list[dict[str, Any]]:
    condition = (payments.c.person == person) & (payments.c.kind == kind)
    if study:
        condition &= payments.c.study == study
    query = sql.select(payments).where(condition).order_by(payments.c.number)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    for row in rows:
        _readable(row)
    return rows


def _next_row(row: Mapping[str, Any], entry: PaymentChange, now: float) -> dict[str, Any]:
    unchanged = {name: row[name] for name in ("person", "study", "kind", "amount", "currency")}
    return unchanged | {
        "number": row["number"] + 1,
        "state": entry.state,
        "reason": entry.reason,
        "answer": dict(entry.answer),
        "at": now,
    }
