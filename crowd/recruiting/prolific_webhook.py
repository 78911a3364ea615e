"""Prolific's webhook: changes of a submission's status.

After docs.prolific.com, "Webhooks": `X-Prolific-Request-Signature` is the base64 HMAC-SHA256, under the
workspace's secret, of `X-Prolific-Request-Timestamp` followed by the body; events come at least once, in any
order, with an `X-Event-ID` that stays the same when they are sent again (up to a day later, for any answer
but a 2xx). They come for the whole workspace: submissions of other studies are ignored.

Not covered: subscribing, which is done once, at Prolific; events about studies.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sql
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ...errors import TutelageError
from ..server.bounded_calls import bounded_call
from ..storage.study_tables import StudyDatabase, claims, events, identities, people
from ..studies.moderation import ENDED
from .admission import Signer
from .panels import ProlificPanel
from .prolific import status_of

SECRET = "PROLIFIC_WEBHOOK_SECRET"
"""The environment variable with the secret of the workspace's webhooks, which is stored nowhere else."""

SIGNATURE = "x-prolific-request-signature"
TIMESTAMP = "x-prolific-request-timestamp"
EVENT = "x-event-id"
OLDEST = 300.0
"""Largest difference in seconds between a request's time and this machine's clock."""

STATUS = "prolific-status"
"""The kind of event that records a status; the status is its reason."""

OUTCOME_OF = {"RETURNED": "withdrew", "TIMED-OUT": "timed-out"}
"""Statuses that end a person's participation here; their seeds are then free for others."""

_LARGEST = 64 * 1024


def webhook_secret_from_environment() -> str:
    """Read the secret; raises TutelageError when the environment has none."""
    secret = os.environ.get(SECRET, "").strip()
    if not secret:
        raise TutelageError(f"expected {SECRET} in the environment, got none; make one at /hooks/secrets/")
    return secret


def verify(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> None:
    """Check that Prolific sent these exact bytes a moment ago; raises TutelageError.

    `headers` has lower-case names, or is case-insensitive as Starlette's. Takes constant time for any wrong
    signature.
    """
    if not secret:
        raise TutelageError("expected a secret for webhooks, got an empty one")
    stamp = headers.get(TIMESTAMP, "")
    expected = hmac.new(secret.encode(), stamp.encode() + body, hashlib.sha256).digest()
    if not hmac.compare_digest(expected, _decode_signature(headers.get(SIGNATURE, ""))):
        raise TutelageError("expected a request signed by Prolific, got another")
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", stamp) or abs(now - float(stamp)) > OLDEST:
        raise TutelageError("expected a request of the last five minutes, got an older one or a newer one")


def webhook(
    database: StudyDatabase, secret: Signer, prolific: ProlificPanel, study: str, signing: str
) -> Callable[[Request], Awaitable[Response]]:
    """Make the endpoint for `POST /prolific/webhook`; `signing` is the webhooks' secret.

    It answers 401 to unsigned requests, 413 to large ones, 400 to unreadable ones, and 200 once the event is
    on disk, or if it is about another study.
    """

    async def receive(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST:
                return PlainTextResponse("too large", 413, {"Connection": "close"})
        try:
            verify(request.headers, body, signing, time.time())
        except TutelageError as error:
            return PlainTextResponse(str(error), 401)
        event = _parse_object(body)
        if event is None:
            return PlainTextResponse("expected a JSON object", 400)
        if event.get("event_type") == "submission.status.change":
            marks = [request.headers.get(EVENT, ""), request.headers[SIGNATURE]]
            person = secret.pseudonym(prolific.name, str(event.get("participant_id", "")))
            await bounded_call(record_status, database, study, person, event, marks)
        return PlainTextResponse("thank you")

    return receive


def record_status(
    database: StudyDatabase, study: str, person: str, event: Mapping[str, Any], marks: Sequence[str]
) -> bool:
    """Record a submission's new status once, and end a person's participation if it does; True if it was new.

    `marks` identify a request: the event's id, which stays when it is sent again, and the signature, which
    stays when a third party replays it. An existing outcome is never changed.
    """
    status = status_of(event.get("status"))
    mark_hashes = [hashlib.sha256(mark.encode()).hexdigest()[:24] for mark in marks if mark]
    with database.write() as connection:
        is_person = (people.c.person == person) & (people.c.study == study)
        outcome = connection.execute(sql.select(people.c.outcome).where(is_person).with_for_update()).scalar()
        ids = connection.execute(sql.select(identities.c.ids).where(identities.c.person == person)).scalar()
        if outcome is None or not ids or ids.get("session") != event.get("resource_id"):
            return False
        earlier = sql.select(events.c.details).where(events.c.person == person, events.c.what == STATUS)
        if any(set(mark_hashes) & set(details["marks"]) for (details,) in connection.execute(earlier)):
            return False
        now = time.time()
        row = {"study": study, "person": person, "what": STATUS, "reason": status, "at": now}
        connection.execute(events.insert().values(**row, details={"marks": mark_hashes}))
        if not outcome and status in OUTCOME_OF:
            ending = {"outcome": OUTCOME_OF[status], "stage": "done", "ended": now}
            connection.execute(people.update().where(is_person).values(**ending))
            is_held = (claims.c.person == person) & (claims.c.study == study) & (claims.c.state == "held")
            connection.execute(claims.update().where(is_held).values(until=now))
            end_event = {"study": study, "person": person, "what": ENDED, "reason": OUTCOME_OF[status]}
            connection.execute(events.insert().values(**end_event, details={}, at=now))
        return True


def _parse_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _decode_signature(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
