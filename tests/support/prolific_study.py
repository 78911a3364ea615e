"""A study that recruits at the tests' own Prolific, people who came from there, and what it tells of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import sqlalchemy as sql
from tutelage.crowd.recruiting.admission import Recruiting
from tutelage.crowd.recruiting.panels import ProlificPanel
from tutelage.crowd.recruiting.payment_table import owe
from tutelage.crowd.recruiting.payments import Payments
from tutelage.crowd.storage.study_tables import StudyDatabase, events, identities, people
from tutelage.tests.support.prolific_server import CODES, STUDY, Place, ProlificServer

NOW = 1_700_000_000.0
HOUR = 3600.0
Make = Callable[..., Payments]
"""Makes what settles, with keys of the recruiting section."""
CALLS = 6  # what settling takes: look, complete, approve, set up, look, pay


def recruiting(server: ProlificServer, **section: Any) -> Recruiting:
    given = {"study": STUDY, "proof": "none", "api": server.address, **section}
    return Recruiting(codes=CODES, prolific=ProlificPanel(**given))


def finish(
    ledger: StudyDatabase, place: Place, person: str = "ann", outcome: str = "completed", bonus: int = 75
) -> Place:
    """Write down a person who came from Prolific and is done, with what they are owed if they completed."""
    row = {"person": person, "seat": f"seat-{person}", "study": "pilot", "source": "prolific"}
    row |= {"language": "en", "stage": "done", "outcome": outcome}
    ids = {"participant": place.participant, "session": place.id, "study": STUDY}
    with ledger.write() as connection:
        connection.execute(people.insert().values(**row, progress={}, joined=NOW, seen=NOW, ended=NOW))
        connection.execute(identities.insert().values(person=person, source="prolific", ids=ids))
        if outcome == "completed":
            amounts = {"base": (300, "completed"), "bonus": (bonus, "3 of 4 tasks solved")}
            owe(connection, "pilot", person, amounts, "GBP", NOW)
    return place


def history(ledger: StudyDatabase, person: str = "ann") -> list[str]:
    query = sql.select(events.c.what).where(events.c.person == person).order_by(events.c.id)
    return [row["what"] for row in ledger.rows(query)]


def signed(body: bytes, secret: str, event: str = "event-1", at: float | None = None) -> dict[str, str]:
    """Give the headers that a webhook comes with."""
    stamp = str(int(time.time() if at is None else at))
    signature = base64.b64encode(hmac.new(secret.encode(), stamp.encode() + body, hashlib.sha256).digest())
    return {
        "X-Prolific-Request-Timestamp": stamp,
        "X-Prolific-Request-Signature": signature.decode(),
        "X-Event-ID": event,
        "Content-Type": "application/json",
    }


def tell(
    url: str, place: Place, secret: str, event: str = "event-1", at: float | None = None
) -> httpx.Response:
    """Send a webhook about a submission's status."""
    told = {
        "resource_id": place.id,
        "event_type": "submission.status.change",
        "participant_id": place.participant,
        "status": place.status,
    }
    body = json.dumps(told).encode()
    return httpx.post(url, content=body, headers=signed(body, secret, event, at))
