"""What Prolific tells by itself: believed when it is signed and of now, taken in once, and never undone."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route
from tutelage.crowd.recruiting.panels import ProlificPanel
from tutelage.crowd.recruiting.prolific_webhook import (
    STATUS,
    verify,
    webhook,
    webhook_secret_from_environment,
)
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.study_tables import StudyDatabase, claims, events
from tutelage.errors import TutelageError
from tutelage.tests.support.prolific_server import STUDY, Place, serving
from tutelage.tests.support.prolific_study import finish, signed, tell
from tutelage.tests.support.toy_secret import ToySecret

NOW = 1_700_000_000.0
SIGNING = "the workspace's own secret"
SECRET = ToySecret()
PLACE = "5e55000000000000000000a1", "60ff000000000000000000a1"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[StudyDatabase]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield StudyDatabase(journal.engine)


@pytest.fixture
def url(ledger: StudyDatabase) -> Iterator[str]:
    """Serve the endpoint; gives its address."""
    endpoint = webhook(ledger, SECRET, ProlificPanel(study=STUDY, proof="none"), "pilot", SIGNING)
    app = Starlette(routes=[Route("/prolific/webhook", endpoint, methods=["POST"])])
    with serving(app) as address:
        yield f"{address}/prolific/webhook"


@pytest.fixture
def place(ledger: StudyDatabase) -> Place:
    """Somebody who is underway, and holds a task's seed."""
    made = finish(ledger, Place(*PLACE), SECRET.pseudonym("prolific", PLACE[1]), outcome="")
    row = {"study": "pilot", "task": "lake", "seed": 3, "role": "demonstration", "slot": "0", "state": "held"}
    with ledger.write() as connection:
        connection.execute(claims.insert().values(**row, person=person_of(made), until=time.time() + 999))
    ledger.change(person_of(made), stage="play", ended=None)
    return made


def person_of(place: Place) -> str:
    return SECRET.pseudonym("prolific", place.participant)


def statuses(ledger: StudyDatabase) -> list[str]:
    query = sql.select(events.c.reason).where(events.c.what == STATUS).order_by(events.c.id)
    return [row["reason"] for row in ledger.rows(query)]


def outcome(ledger: StudyDatabase, place: Place) -> str:
    found = ledger.person(person=person_of(place))
    assert found is not None
    return found.outcome


@pytest.mark.parametrize(
    ("status", "ends"),
    [
        ("RETURNED", "withdrew"),
        ("TIMED-OUT", "timed-out"),
        ("TIMED_OUT", "timed-out"),
        ("AWAITING REVIEW", ""),
        ("APPROVED", ""),
        ("REJECTED", ""),
        ("ACTIVE", ""),
    ],
)
def test_a_place_that_is_given_back_ends_a_persons_way_and_frees_their_seeds(
    ledger: StudyDatabase, url: str, place: Place, status: str, ends: str
) -> None:
    place.status = status
    assert tell(url, place, SIGNING).status_code == 200
    assert statuses(ledger) == [status.replace("TIMED_OUT", "TIMED-OUT")]
    found = ledger.person(person=person_of(place))
    assert found is not None
    assert (found.outcome, found.stage) == (ends, "done" if ends else "play")
    assert (found.ended is not None) == bool(ends)
    (claim,) = ledger.rows(sql.select(claims))
    assert (claim["until"] <= time.time()) == bool(ends)


def test_an_outcome_is_never_changed(ledger: StudyDatabase, url: str, place: Place) -> None:
    ledger.change(person_of(place), outcome="completed", stage="done")
    place.status = "RETURNED"
    assert tell(url, place, SIGNING).status_code == 200
    assert outcome(ledger, place) == "completed"
    assert statuses(ledger) == ["RETURNED"]


def test_an_event_that_comes_again_is_taken_in_once(ledger: StudyDatabase, url: str, place: Place) -> None:
    place.status = "AWAITING REVIEW"
    for seconds in (0, 60, 120):  # Prolific sends it again, and signs it anew
        assert tell(url, place, SIGNING, at=time.time() - seconds).status_code == 200
    assert statuses(ledger) == ["AWAITING REVIEW"]
    place.status = "APPROVED"
    tell(url, place, SIGNING, event="event-2")
    assert statuses(ledger) == ["AWAITING REVIEW", "APPROVED"]


def test_events_in_the_wrong_order_do_not_bring_anybody_back(
    ledger: StudyDatabase, url: str, place: Place
) -> None:
    for number, status in enumerate(["RETURNED", "ACTIVE", "RESERVED"]):
        place.status = status
        tell(url, place, SIGNING, event=f"event-{number}")
    assert outcome(ledger, place) == "withdrew"


def test_a_stranger_can_neither_repeat_an_event_nor_keep_it_for_later(
    ledger: StudyDatabase, url: str, place: Place
) -> None:
    body = body_of(place, status="ACTIVE")
    heard = signed(body, SIGNING)
    assert httpx.post(url, verify=False, content=body, headers=heard).status_code == 200
    again = {**heard, "X-Event-ID": "another"}  # the event's id is not signed
    assert httpx.post(url, verify=False, content=body, headers=again).status_code == 200
    assert statuses(ledger) == ["ACTIVE"]
    old = signed(body, SIGNING, "event-2", at=time.time() - 900)
    assert httpx.post(url, verify=False, content=body, headers=old).status_code == 401
    early = signed(body, SIGNING, "event-3", at=time.time() + 900)
    assert httpx.post(url, verify=False, content=body, headers=early).status_code == 401
    assert statuses(ledger) == ["ACTIVE"]


def body_of(place: Place, **changes: str) -> bytes:
    told = {"resource_id": place.id, "participant_id": place.participant, "status": "RETURNED"}
    return json.dumps({"event_type": "submission.status.change", **told, **changes}).encode()


@pytest.mark.parametrize("wrong", ["secret", "body", "timestamp", "signature", "none", "empty", "base64"])
def test_what_prolific_did_not_sign_changes_nothing(
    ledger: StudyDatabase, url: str, place: Place, wrong: str
) -> None:
    body = body_of(place)
    headers = signed(body, "a guess" if wrong == "secret" else SIGNING)
    if wrong == "timestamp":
        headers["X-Prolific-Request-Timestamp"] = str(int(time.time()) + 1)
    if wrong in ("signature", "empty", "base64"):
        bad = {"signature": "AAAA" + headers["X-Prolific-Request-Signature"][4:], "empty": "", "base64": "%%"}
        headers["X-Prolific-Request-Signature"] = bad[wrong]
    if wrong == "none":
        headers = {}
    answer = httpx.post(
        url, content=body.replace(b"RETURNED", b"returned") if wrong == "body" else body, headers=headers
    )
    assert answer.status_code == 401
    assert place.participant not in answer.text
    assert outcome(ledger, place) == ""
    assert statuses(ledger) == []


@pytest.mark.parametrize("change", [{"resource_id": "5e55000000000000000000ff"}, {"participant_id": "60ff"}])
def test_other_submissions_of_the_workspace_are_passed_over(
    ledger: StudyDatabase, url: str, place: Place, change: dict[str, str]
) -> None:
    body = body_of(place, **change)
    assert httpx.post(url, verify=False, content=body, headers=signed(body, SIGNING)).status_code == 200
    assert outcome(ledger, place) == ""
    assert statuses(ledger) == []


def test_events_about_other_things_are_thanked_for(ledger: StudyDatabase, url: str, place: Place) -> None:
    for body in (body_of(place, event_type="study.status.change"), b"{}"):
        assert httpx.post(url, verify=False, content=body, headers=signed(body, SIGNING)).status_code == 200
    assert statuses(ledger) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"null", b"[" * 20000])
def test_what_cannot_be_read_is_said_so(ledger: StudyDatabase, url: str, body: bytes) -> None:
    assert httpx.post(url, verify=False, content=body, headers=signed(body, SIGNING)).status_code == 400


@pytest.mark.parametrize("odd", [None, 3, {"a": 1}, "x" * 5000, "\x00"])
def test_odd_values_in_a_signed_body_do_no_harm(
    ledger: StudyDatabase, url: str, place: Place, odd: Any
) -> None:
    for name in ("resource_id", "participant_id", "status", "event_type"):
        told = json.loads(body_of(place)) | {name: odd}
        body = json.dumps(told).encode()
        answer = httpx.post(url, verify=False, content=body, headers=signed(body, SIGNING, event=name))
        assert answer.status_code == 200
    assert outcome(ledger, place) == ""


def test_a_body_without_end_is_not_waited_for(url: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 1
            yield b"x" * 65_536

    with contextlib.suppress(httpx.TransportError):  # the server may have hung up
        assert httpx.post(url, content=endless(), headers=signed(b"", SIGNING)).status_code == 413
    assert sent < 5000


def test_nothing_personal_stands_in_the_events(ledger: StudyDatabase, url: str, place: Place) -> None:
    place.status = "APPROVED"
    tell(url, place, SIGNING, event=f"event of {place.id}")
    written = str(ledger.rows(sql.select(events)))
    assert "APPROVED" in written
    assert place.id not in written
    assert place.participant not in written


def test_the_secret_comes_from_the_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROLIFIC_WEBHOOK_SECRET", raising=False)
    with pytest.raises(TutelageError, match="expected PROLIFIC_WEBHOOK_SECRET in the environment"):
        webhook_secret_from_environment()
    monkeypatch.setenv("PROLIFIC_WEBHOOK_SECRET", "shh\n")
    assert webhook_secret_from_environment() == "shh"


@given(st.binary(max_size=200), st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()))
def test_any_body_that_was_signed_is_believed_and_no_other(body: bytes, secret: str) -> None:
    headers = {name.lower(): value for name, value in signed(body, secret, at=NOW).items()}
    verify(headers, body, secret, NOW)
    for changed, key in ((body + b" ", secret), (body, secret + "x")):
        with pytest.raises(TutelageError, match="signed by Prolific"):
            verify(headers, changed, key, NOW)


@given(
    st.dictionaries(
        st.sampled_from(["x-prolific-request-timestamp", "x-prolific-request-signature"]), st.text()
    )
)
def test_any_headers_that_were_made_up_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(TutelageError, match="expected a request"):
        verify(headers, b"{}", SIGNING, NOW)


def test_an_empty_secret_believes_nobody() -> None:
    headers = {name.lower(): value for name, value in signed(b"{}", "", at=NOW).items()}
    with pytest.raises(TutelageError, match="expected a secret"):
        verify(headers, b"{}", "", NOW)


@pytest.mark.parametrize("stamp", ["nan", "inf", "-5", "", "1e9", "１７０００００００００", "1700000000" * 9])
def test_a_time_that_is_none_is_refused(stamp: str) -> None:
    made = hmac.new(SIGNING.encode(), stamp.encode() + b"{}", hashlib.sha256)
    signature = base64.b64encode(made.digest()).decode()
    headers = {"x-prolific-request-timestamp": stamp, "x-prolific-request-signature": signature}
    with pytest.raises(TutelageError, match="of the last five minutes"):
        verify(headers, b"{}", SIGNING, NOW)
