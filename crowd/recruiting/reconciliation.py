"""Comparison of the payment records with Prolific: its payments are recorded, differences are reported.

Nothing is paid here: Prolific is only read. Not covered: people whose ids were erased, and payments that
Prolific makes without a submission.
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
    database: StudyDatabase, client: ProlificClient, study: str, now: float | None = None
) -> list[str]:
    """Query Prolific about everyone who is owed something; returns a line per remaining difference.

    Raises ProlificError when Prolific is unavailable: what was recorded until then stays.
    """
    recorded_at = time.time() if now is None else now
    lines: list[str] = []
    for person in dict.fromkeys(row["person"] for row in entries(database, study)):
        if (participant := database.person(person=person)) is None or participant.source == "link":
            continue
        try:
            session = session_of(database, person)
        except TutelageError:
            lines.append(f"{person}: no id at Prolific any more")
            continue
        submission = client.submission(session)
        with database.write() as connection:
            change(connection, person, _changes_at_prolific(database, person, submission), recorded_at)
        lines += [f"{person}: {line}" for line in _differences(database, person, submission)]
    return lines


def _changes_at_prolific(
    database: StudyDatabase, person: str, submission: Submission
) -> Sequence[PaymentChange]:
    """Return the changes that follow from Prolific's answer; `change` drops those already recorded."""
    details = {"status": submission.status, "bonuses": list(submission.bonuses)}
    if submission.status in ("RETURNED", "REJECTED"):
        return [PaymentChange("base", "refused", f"{submission.status} at Prolific", details)]
    bonus = latest(database, person).get("bonus")
    changes = (
        [PaymentChange("base", "paid", "approved at Prolific", details)]
        if submission.status == "APPROVED"
        else []
    )
    if bonus is not None and bonus["amount"] in submission.bonuses:
        changes.append(PaymentChange("bonus", "paid", "seen at Prolific", details))
    return changes


def _differences(database: StudyDatabase, person: str, submission: Submission) -> list[str]:
    rows = latest(database, person)
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
