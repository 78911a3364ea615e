"""Prolific's API, over real HTTP: what is asked of it, what is tried again, and what never is."""

from __future__ import annotations

import email.utils
import logging
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from tutelage.crowd.recruiting.admission import Recruiting
from tutelage.crowd.recruiting.panels import AdmissionRefusal, ProlificPanel
from tutelage.crowd.recruiting.prolific import ProlificClient, ProlificError, client_from_environment
from tutelage.crowd.recruiting.prolific_checks import problems_at_prolific, proof_by_submission
from tutelage.errors import TutelageError
from tutelage.tests.support.prolific_server import CODES, STUDY, TOKEN, ProlificServer

LONG = (
    "You pressed the same key for the whole of every episode, although the instructions ask for the goal. "
    * 2
)


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(server: ProlificServer, waits: list[float]) -> Iterator[ProlificClient]:
    made = ProlificClient(TOKEN, server.address, timeout=30.0, wait=waits.append)
    yield made
    made.close()


def failing(**wanted: Any) -> Any:
    return pytest.raises(
        ProlificError,
        check=lambda error: all(getattr(error, name) == value for name, value in wanted.items()),
    )


def test_a_submission_goes_from_active_to_paid(server: ProlificServer, client: ProlificClient) -> None:
    place = server.join()
    assert client.submission(place.id).status == "ACTIVE"
    assert client.complete(place.id, "DONE1234").status == "AWAITING REVIEW"
    assert client.complete(place.id, "DONE1234").status == "AWAITING REVIEW"  # ignored
    assert client.approve(place.id).status == "APPROVED"
    found = client.submission(place.id)
    assert (found.participant, found.study, found.code) == (place.participant, STUDY, "DONE1234")
    assert place.participant not in repr(found) + str(found)
    assert place.id not in repr(found)


@pytest.mark.parametrize("status", ["RETURNED", "TIMED-OUT", "REJECTED"])
def test_wrong_transitions_are_refused_and_final(
    server: ProlificServer, client: ProlificClient, status: str
) -> None:
    place = server.join(status=status)
    with failing(status=400, undone=True, is_final=True):
        client.complete(place.id, "DONE1234")
    with failing(status=400):
        client.complete(server.join(2).id, "NO-SUCH-CODE")
    assert place.status == status


def test_the_token_is_wanted_and_never_said(server: ProlificServer, waits: list[float]) -> None:
    with (
        closing(ProlificClient("another", server.address, wait=waits.append)) as client,
        failing(status=401, is_final=False) as raised,
    ):
        client.submission(server.join().id)
    assert "another" not in str(raised.value) + repr(client)
    assert waits == []


def test_the_key_comes_from_the_environment_only(
    server: ProlificServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = ProlificPanel(study=STUDY, proof="submission", api=server.address)
    monkeypatch.delenv("PROLIFIC_API_TOKEN", raising=False)
    with pytest.raises(TutelageError, match="expected PROLIFIC_API_TOKEN in the environment, got none"):
        client_from_environment(section)
    monkeypatch.setenv("PROLIFIC_API_TOKEN", f" {TOKEN}\n")
    with closing(client_from_environment(section)) as client:
        assert client.submission(server.join().id).status == "ACTIVE"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_fails_for_a_moment_is_tried_again_with_growing_patience(
    server: ProlificServer, client: ProlificClient, waits: list[float], status: int
) -> None:
    server.fail("transition", times=4, status=status)
    place = server.join()
    assert client.complete(place.id, "DONE1234").status == "AWAITING REVIEW"
    assert len(waits) == 4
    assert all(low <= pause <= 2 * low for low, pause in zip([0.5, 1, 2, 4], waits, strict=True))


def test_a_storm_of_refusals_ends_in_an_error_that_says_so(
    server: ProlificServer, client: ProlificClient
) -> None:
    server.fail("transition", times=1000, status=429)
    with failing(status=429, undone=True, is_final=False):
        client.approve(server.join().id)
    assert server.told("transition") == 6


def test_an_answer_that_was_lost_is_asked_for_again(server: ProlificServer, client: ProlificClient) -> None:
    place = server.join()
    server.fail("transition", after=True)
    assert client.complete(place.id, "DONE1234").status == "AWAITING REVIEW"
    server.fail("transition", hang=True)
    with closing(ProlificClient(TOKEN, server.address, timeout=1.0, wait=lambda _: None)) as hasty:
        assert hasty.approve(place.id).status == "APPROVED"


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(
    server: ProlificServer, client: ProlificClient, waits: list[float], form: str
) -> None:
    asked = "20" if form == "seconds" else email.utils.formatdate(time.time() + 20, usegmt=True)
    server.fail("submissions", status=429, headers={"Retry-After": asked})
    client.submission(server.join().id)
    assert 18 < waits[0] < 22


def test_who_is_asked_to_come_back_much_later_does_not_wait_and_does_not_ask_before(
    server: ProlificServer, client: ProlificClient, waits: list[float]
) -> None:
    server.fail("submissions", status=429, headers={"Retry-After": "600"})
    for _ in range(3):
        with failing(status=429):
            client.submission(server.join().id)
    assert server.told("submissions") == 1
    assert waits == []


def test_all_pages_of_submissions_are_listed(server: ProlificServer, client: ProlificClient) -> None:
    for number in range(205):
        server.join(number, status="AWAITING REVIEW" if number % 2 else "ACTIVE")
    found = list(client.submissions(STUDY))
    assert [one.id for one in found] == list(server.places)
    assert found[1].participant == server.places[found[1].id].participant
    assert server.told("submissions") == 3


def test_a_return_is_asked_for_with_its_reason(server: ProlificServer, client: ProlificClient) -> None:
    place = server.join(status="AWAITING REVIEW")
    client.ask_return(place.id, "Withdrew consent.")
    assert place.messages == ["Withdrew consent."]
    asked = client.submission(place.id).return_asked
    assert asked is not None
    assert abs(asked - time.time()) < 60


@pytest.mark.parametrize(
    ("status", "message", "category", "said"),
    [
        ("AWAITING REVIEW", "Too bad.", "LOW_EFFORT", "at least 100 characters"),
        ("AWAITING REVIEW", " " * 120, "LOW_EFFORT", "got 0"),
        ("AWAITING REVIEW", LONG, "TOO_BAD", "expected one of TOO_QUICKLY"),
        ("ACTIVE", LONG, "LOW_EFFORT", "got one that is ACTIVE"),
        ("APPROVED", LONG, "LOW_EFFORT", "got one that is APPROVED"),
    ],
)
def test_nobody_is_rejected_against_the_rules(
    server: ProlificServer, client: ProlificClient, status: str, message: str, category: str, said: str
) -> None:
    place = server.join(status=status)
    with pytest.raises(TutelageError, match=said):
        client.reject(place.id, message, category)
    assert server.told("transition") == 0


def test_a_rejection_waits_for_a_return_that_was_asked_for(
    server: ProlificServer, client: ProlificClient
) -> None:
    place = server.join(status="AWAITING REVIEW")
    client.ask_return(place.id, "Please return it.")
    with pytest.raises(TutelageError, match="expected 5 days"):
        client.reject(place.id, LONG, "LOW_EFFORT")
    place.return_requested = "2026-01-01T00:00:00.000000Z"
    assert client.reject(place.id, LONG, "LOW_EFFORT").status == "REJECTED"


def test_a_bonus_is_set_up_and_then_paid(server: ProlificServer, client: ProlificClient) -> None:
    one, two = server.join(1), server.join(2)
    bulk = client.set_up_bonus(STUDY, {one.id: Decimal("1.5"), two.id: Decimal("0.07")})
    assert (one.bonuses, two.bonuses) == ([], [])
    client.pay_bonus(bulk)
    assert (one.bonuses, two.bonuses) == ([150], [7])
    assert client.submission(one.id).bonuses == (150,)
    assert server.calls[0][2] == {"study_id": STUDY, "csv_bonuses": f"{one.id},1.50\n{two.id},0.07"}


def test_an_error_of_prolific_that_names_people_is_not_passed_on(
    server: ProlificServer, client: ProlificClient
) -> None:
    server.join()
    stranger = "60ff44a1d00991f1dfe405d9"
    with failing(status=400) as raised:
        client.set_up_bonus(STUDY, {stranger: Decimal(1)})
    assert stranger not in str(raised.value)
    assert "These took no part" in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 500, "after": True}, {"hang": True, "after": True}]
)
def test_paying_is_never_tried_again_when_it_may_have_been_heard(
    server: ProlificServer, client: ProlificClient, fault: dict[str, Any]
) -> None:
    bulk = client.set_up_bonus(STUDY, {server.join().id: Decimal(1)})
    server.fail("/pay/", times=1, **fault)
    with failing(undone=False):
        client.pay_bonus(bulk)
    assert server.told("/pay/") == 1


def test_paying_is_tried_again_when_it_was_certainly_not_done(
    server: ProlificServer, client: ProlificClient
) -> None:
    place = server.join()
    bulk = client.set_up_bonus(STUDY, {place.id: Decimal(1)})
    server.fail("/pay/", times=3, status=429)
    client.pay_bonus(bulk)
    assert place.bonuses == [100]
    with failing(status=404, undone=True):
        client.pay_bonus("nosuch")


def test_a_server_that_is_not_there_was_not_asked(waits: list[float]) -> None:
    with (
        closing(ProlificClient(TOKEN, "http://127.0.0.1:9", wait=waits.append)) as client,
        failing(status=0, undone=True),
    ):
        client.pay_bonus("bulk")
    assert len(waits) == 5


def test_ids_cannot_leave_their_place_in_an_address(server: ProlificServer, client: ProlificClient) -> None:
    with failing(status=404):
        client.submission("../studies/" + STUDY)
    with failing(status=404):
        client.submission("a?b=c#d")


def test_nothing_personal_is_logged(
    server: ProlificServer, client: ProlificClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    place = server.join()
    client.complete(place.id, "DONE1234")
    with failing(status=400):
        client.complete(place.id, "NO-SUCH-CODE")
    for secret in (place.id, place.participant, TOKEN):
        assert secret not in caplog.text


def recruiting(server: ProlificServer, **section: Any) -> Recruiting:
    given = {"study": STUDY, "audience": "https://play.example.org", "api": server.address, **section}
    return Recruiting(codes=CODES, prolific=ProlificPanel(**given))


def test_a_study_that_fits_has_no_problems_and_one_that_does_not_has_all_of_its(
    server: ProlificServer, client: ProlificClient
) -> None:
    assert problems_at_prolific(client, recruiting(server)) == []
    assert problems_at_prolific(client, Recruiting()) == []
    server.study["reward"] = 150
    assert problems_at_prolific(client, recruiting(server), (150, "GBP")) == []
    assert problems_at_prolific(client, recruiting(server), (300, "GBP")) == [
        "expected a reward of 3.00 GBP at Prolific, as pay.base says, got 1.50 GBP"
    ]
    done, declined, check = server.study["completion_codes"]
    server.study["completion_codes"] = [done, {**declined, "code_type": "OTHER", "actor": "participant"}]
    server.study["is_external_study_url_secure"] = False
    server.study["external_study_url"] = "https://play.example.org/join?PROLIFIC_PID={{%PROLIFIC_PID%}}"
    found = problems_at_prolific(client, recruiting(server))
    assert [text.split(", got")[0] for text in found] == [
        "expected the code for failed-check among those of Prolific's study",
        "expected the code for declined to be of type NO_CONSENT",
        "expected codes whose actor is the researcher, as complete: server needs",
        "expected a secure external URL, as proof: token needs",
        "expected STUDY_ID, SESSION_ID among the parameters of the external study URL",
    ]
    assert check["code"] not in str(found)


def test_without_a_secure_address_prolific_is_asked_about_each_arrival(
    server: ProlificServer, client: ProlificClient
) -> None:
    section = ProlificPanel(study=STUDY, proof="submission", api=server.address)
    check = proof_by_submission(client, section)
    place, other = server.join(1), server.join(2)
    sent = {"PROLIFIC_PID": [place.participant], "STUDY_ID": [STUDY], "SESSION_ID": [place.id]}
    check(section.read(sent, 0.0))
    with pytest.raises(AdmissionRefusal, check=lambda refusal: refusal.reason == "not-proven"):
        check(section.read({**sent, "SESSION_ID": [other.id]}, 0.0))
    with pytest.raises(AdmissionRefusal, check=lambda refusal: refusal.reason == "not-proven"):
        check(section.read({**sent, "SESSION_ID": ["nosuch"]}, 0.0))
    server.fail("submissions", times=100)
    with pytest.raises(AdmissionRefusal, check=lambda refusal: refusal.reason == "not-now"):
        check(section.read(sent, 0.0))
    server.faults.clear()
    place.status = "RETURNED"
    with pytest.raises(AdmissionRefusal, check=lambda refusal: refusal.reason == "not-proven"):
        check(section.read(sent, 0.0))
