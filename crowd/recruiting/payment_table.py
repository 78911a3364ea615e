"""The ledger of payments: every amount that a study owes, in every state it was in; rows are only added.

An amount is owed in the very transaction that ends a participant's way, and its state changes in the very
transaction that notes what was done about it. So a crash at any moment leaves both or neither.
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
"""What may follow a state: nothing is paid twice."""


@dataclass(frozen=True)
class PaymentChange:
    """A payment of one kind comes into another state; `answer` is what the panel said, if it was asked."""

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
    at: float,
) -> None:
    """Write down what a person is owed, kind → (minor units, reason), once: a second time changes nothing."""
    for kind, (units, reason) in amounts.items():
        if units > 0 and not _entries(connection, person, kind):
            row = {
                "person": person,
                "study": study,
                "kind": kind,
                "number": 1,
                "state": "owed",
                "amount": units,
            }
            row |= {"currency": code, "reason": reason, "answer": {}, "at": at}
            connection.execute(payments.insert(), row)


def change(connection: sql.Connection, person: str, changes: Sequence[PaymentChange], at: float) -> None:
    """Add entries about what is owed; one that changes nothing, or is no longer possible, adds none."""
    for entry in changes:
        rows = _entries(connection, person, entry.kind)
        if rows and entry.state in _NEXT[rows[-1]["state"]]:
            connection.execute(payments.insert(), _after(rows[-1], entry, at))


def record_by_hand(
    ledger: StudyDatabase,
    study: str,
    person: str,
    kind: str,
    state: str,
    reason: str,
    now: float | None = None,
) -> None:
    """Write down what was decided or paid outside of the program.

    Raises TutelageError without a reason, where nothing of that kind is owed, and for what cannot follow.
    """
    for name, value, allowed in (("kind", kind, KINDS), ("state", state, STATES[1:])):
        if value not in allowed:
            raise TutelageError(f"expected a {name} of {', '.join(allowed)}, got {value!r}")
    reason = clean_reason(reason)
    with ledger.write() as connection:
        rows = _entries(connection, person, kind, study)
        if not rows:
            raise TutelageError(f"expected a {kind} that {person} is owed, found none; nothing was written")
        if state not in _NEXT[rows[-1]["state"]]:
            raise TutelageError(
                f"expected a {kind} that can become {state}, got one that is {rows[-1]['state']} already; "
                "nothing was written"
            )
        at = time.time() if now is None else now
        connection.execute(payments.insert(), _after(rows[-1], PaymentChange(kind, state, reason), at))


def latest(ledger: StudyDatabase, person: str) -> dict[str, dict[str, Any]]:
    """Return the last entry of each kind of payment to a person."""
    with ledger.engine.connect() as connection:
        by_kind = {kind: _entries(connection, person, kind) for kind in KINDS}
    return {kind: rows[-1] for kind, rows in by_kind.items() if rows}


def entries(ledger: StudyDatabase, study: str, person: str = "") -> list[dict[str, Any]]:
    """List a study's entries, first to last, amounts as decimals; raises TutelageError for a damaged row."""
    query = sql.select(payments).where(payments.c.study == study).order_by(payments.c.id)
    rows = ledger.rows(query.where(payments.c.person == person) if person else query)
    return [_readable(row) for row in rows]


def study_of(ledger: StudyDatabase) -> str:
    """Return the study that a database belongs to; raises TutelageError without any participant."""
    rows = ledger.rows(sql.select(people.c.study).limit(1))
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


def _entries(connection: sql.Connection, person: str, kind: str, study: str = "") -> list[dict[str, Any]]:
    which = (payments.c.person == person) & (payments.c.kind == kind)
    if study:
        which &= payments.c.study == study
    query = sql.select(payments).where(which).order_by(payments.c.number)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    for row in rows:
        _readable(row)
    return rows


def _after(row: Mapping[str, Any], entry: PaymentChange, at: float) -> dict[str, Any]:
    kept = {name: row[name] for name in ("person", "study", "kind", "amount", "currency")}
    return kept | {
        "number": row["number"] + 1,
        "state": entry.state,
        "reason": entry.reason,
        "answer": dict(entry.answer),
        "at": at,
    }
