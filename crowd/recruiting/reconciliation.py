"""Holds the ledger of payments against what Prolific says: what it paid is written, what differs is named.

Nothing is paid here: Prolific is only read. Not covered: people whose ids were
forgotten, and payments that Prolific makes without a submission.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...errors import TutelageError
from ..storage.study_tables import StudyDatabase
from .money import shown
from .payment_table import PaymentChange, change, entries, latest
from .payments import session_of
from .prolific import ProlificClient, Submission


def reconcile(
    ledger: StudyDatabase, client: ProlificClient, study: str, now: float | None = None
) -> list[str]:
    """Ask Prolific about everyone who is owed something; returns a line for each difference that is left.

    Raises ProlificError when Prolific is not to be had: what was written until then stands.
    """
    at = time.time() if now is None else now
    lines: list[str] = []
    for person in dict.fromkeys(row["person"] for row in entries(ledger, study)):
        if (participant := ledger.person(person=person)) is None or participant.source == "link":
            continue
        try:
            session = session_of(ledger, person)
        except TutelageError:
            lines.append(f"{person}: no id at Prolific any more")
            continue
        submission = client.submission(session)
        with ledger.write() as connection:
            change(connection, person, _learned(ledger, person, submission), at)
        lines += [f"{person}: {line}" for line in _differences(ledger, person, submission)]
    return lines


def _learned(ledger: StudyDatabase, person: str, submission: Submission) -> Sequence[PaymentChange]:
    """Return what Prolific's answer adds to the ledger; `change` leaves out what is there already."""
    told = {"status": submission.status, "bonuses": list(submission.bonuses)}
    if submission.status in ("RETURNED", "REJECTED"):
        return [PaymentChange("base", "refused", f"{submission.status} at Prolific", told)]
    bonus = latest(ledger, person).get("bonus")
    learned = (
        [PaymentChange("base", "paid", "approved at Prolific", told)]
        if submission.status == "APPROVED"
        else []
    )
    if bonus is not None and bonus["amount"] in submission.bonuses:
        learned.append(PaymentChange("bonus", "paid", "seen at Prolific", told))
    return learned


def _differences(ledger: StudyDatabase, person: str, submission: Submission) -> list[str]:
    rows = latest(ledger, person)
    lines = []
    if (base := rows.get("base")) and base["state"] == "paid" and submission.status != "APPROVED":
        lines.append(f"base is paid in the ledger, and {submission.status} at Prolific")
    bonus = rows.get("bonus")
    if bonus is None:
        return lines
    count, amount = submission.bonuses.count(bonus["amount"]), shown(bonus["amount"], bonus["currency"])
    if bonus["state"] == "paid" and not count:
        lines.append(f"a bonus of {amount} is paid in the ledger, and Prolific shows none")
    if count > 1:
        lines.append(f"Prolific shows a bonus of {amount} {count} times")
    return lines
