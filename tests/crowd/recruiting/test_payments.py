"""What an outcome means at Prolific: reported after everything is stored, and paid once whatever breaks."""

from __future__ import annotations

from contextlib import closing

import pytest
import sqlalchemy as sql
from tutelage.crowd.recruiting.event_chain import ConcurrentAppend, EventChain
from tutelage.crowd.recruiting.payment_table import entries, record_by_hand
from tutelage.crowd.recruiting.payments import RETURNS
from tutelage.crowd.recruiting.prolific import ProlificClient, ProlificError
from tutelage.crowd.recruiting.reconciliation import reconcile
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.crowd.storage.study_tables import OUTCOMES, StudyDatabase, events, identities
from tutelage.crowd.translations import load_texts
from tutelage.errors import TutelageError
from tutelage.tests.support.prolific_server import CODES, TOKEN, ProlificServer
from tutelage.tests.support.prolific_study import CALLS, HOUR, NOW, Make, finish, history

LONG = (
    "You pressed the same key for the whole of every episode, although the instructions ask for the goal. "
    * 2
)


def test_who_completed_is_reported_approved_and_paid_their_share(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join())
    assert payments().settle("ann", NOW) == "settled"
    assert (place.status, place.code, place.bonuses) == ("APPROVED", "DONE1234", [75])
    assert len(server.calls) == CALLS
    assert payments().settle("ann", NOW) == "settled"
    assert len(server.calls) == CALLS
    assert history(ledger) == ["complete", "approve", "bonus-set-up", "bonus-paying", "bonus", "settled"]


def test_nothing_personal_stands_in_the_events(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join())
    payments().settle("ann", NOW)
    written = str(ledger.rows(sql.select(events)))
    assert place.id not in written
    assert place.participant not in written


@pytest.mark.parametrize("state", ["open", "finished", "kept"])
def test_nothing_is_reported_before_everything_is_stored(
    server: ProlificServer, journal: Journal, ledger: StudyDatabase, payments: Make, state: str
) -> None:
    place = finish(ledger, server.join())
    record = EpisodeRecord("seat-ann", "ann", "toys", "words", "toys/Words-v0", 1, b"", state=state)
    journal.begin(record)  # not waited for: it is on its way to the disk
    assert payments().settle("ann", NOW) == "unsaved"
    assert (place.status, server.calls) == ("ACTIVE", [])
    journal.mark(record.episode, "stored").result()
    assert payments().settle("ann", NOW) == "settled"


@pytest.mark.parametrize("state", ["stored", "discarded", "abandoned", "unplayed"])
def test_what_was_stored_or_given_up_is_in_nobodys_way(
    server: ProlificServer, journal: Journal, ledger: StudyDatabase, payments: Make, state: str
) -> None:
    finish(ledger, server.join())
    journal.begin(EpisodeRecord("seat-ann", "ann", "toys", "words", "toys/Words-v0", 1, b"", state=state))
    assert payments().settle("ann", NOW) == "settled"


def test_who_is_not_done_or_not_from_prolific_is_left_alone(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    finish(ledger, server.join(1), "ann", outcome="")
    finish(ledger, server.join(2), "bob")
    ledger.change("bob", source="link")
    assert [payments().settle(person, NOW) for person in ("ann", "bob", "nobody")] == ["open"] * 3
    assert payments().settle_due(NOW) == {}
    assert server.calls == []


def test_who_declined_is_reported_with_the_code_for_no_consent_and_paid_nothing(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join(), outcome="declined")
    assert payments().settle("ann", NOW) == "settled"
    assert (place.status, place.code, place.bonuses) == ("AWAITING REVIEW", "NOCONSENT", [])
    assert history(ledger) == ["complete", "settled"]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_comes_to_an_end(
    server: ProlificServer, ledger: StudyDatabase, payments: Make, outcome: str
) -> None:
    place = finish(ledger, server.join(), outcome=outcome)
    result = payments().settle("ann", NOW)
    assert result == ("by-hand" if outcome == "banned" else "settled")
    assert (place.code or None) == CODES.get(outcome)
    assert bool(place.messages) == (outcome in RETURNS and outcome not in CODES)
    assert place.status != "REJECTED"
    assert payments().settle("ann", NOW) == result


@pytest.mark.parametrize("outcome", [one for one in RETURNS if one not in CODES])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_who_is_asked_to_return_reads_why_in_their_own_language(
    server: ProlificServer, ledger: StudyDatabase, payments: Make, outcome: str, language: str
) -> None:
    place = finish(ledger, server.join(), outcome=outcome)
    ledger.change("ann", language=language)
    payments().settle("ann", NOW)
    assert place.messages == [load_texts(language).say(f"return.{outcome}")]
    assert place.messages[0].isascii() is (language == "en")


@pytest.mark.parametrize("status", ["RETURNED", "REJECTED"])
def test_a_place_that_was_given_back_is_settled(
    server: ProlificServer, ledger: StudyDatabase, payments: Make, status: str
) -> None:
    place = finish(ledger, server.join(status=status))
    assert payments().settle("ann", NOW) == "settled"
    assert (place.status, place.bonuses) == (status, [])


def test_a_status_that_nobody_documented_is_waited_out(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join(status="PROCESSING"))
    assert payments().settle("ann", NOW) == "waiting"
    assert server.told("transition") == 0
    place.status = "ACTIVE"
    assert payments().settle("ann", NOW) == "settled"


def test_who_timed_out_at_prolific_but_completed_here_is_left_to_whoever_runs_the_study(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join(status="TIMED-OUT"))
    assert payments().settle("ann", NOW) == "by-hand"
    assert payments().settle("ann", NOW) == "by-hand"
    payments().approve("ann", NOW)
    assert payments().settle("ann", NOW) == "settled"
    assert (place.status, place.bonuses) == ("APPROVED", [75])


def test_without_a_bonus_none_is_asked_for(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    finish(ledger, server.join(), bonus=0)
    assert payments().settle("ann", NOW) == "settled"
    assert server.told("bonus") == 0


def states(ledger: StudyDatabase, kind: str) -> list[tuple[str, str]]:
    """Return the states that a payment to Ann went through, each with its reason."""
    rows = entries(ledger, "pilot", "ann")
    return [(row["state"], row["reason"]) for row in rows if row["kind"] == kind]


def test_the_ledger_tells_of_every_amount_and_what_prolific_answered(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    finish(ledger, server.join())
    assert payments().settle("ann", NOW) == "settled"
    rows = entries(ledger, "pilot", "ann")
    assert {(row["kind"], row["amount"], row["currency"]) for row in rows} == {
        ("base", "3.00", "GBP"),
        ("bonus", "0.75", "GBP"),
    }
    assert states(ledger, "base") == [
        ("owed", "completed"),
        ("approved", "by the study"),
        ("paid", "approved at Prolific"),
    ]
    assert states(ledger, "bonus") == [
        ("owed", "3 of 4 tasks solved"),
        ("approved", "set up at Prolific"),
        ("paid", "accepted by Prolific"),
    ]
    assert rows[-1]["answer"]["bulk"]
    assert [row["answer"] for row in rows if row["kind"] == "base"][1:] == [{"status": "APPROVED"}] * 2


def test_what_prolific_returned_or_refused_is_refused_in_the_ledger_with_its_reason(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    finish(ledger, server.join(status="RETURNED"))
    payments().settle("ann", NOW)
    assert states(ledger, "base")[-1] == states(ledger, "bonus")[-1] == ("refused", "RETURNED at Prolific")


def test_a_bonus_that_was_paid_by_hand_is_not_paid_again(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join())
    record_by_hand(ledger, "pilot", "ann", "bonus", "paid", "by bank transfer", NOW)
    assert payments().settle("ann", NOW) == "settled"
    assert (place.status, place.bonuses) == ("APPROVED", [])
    assert states(ledger, "bonus")[-1] == ("paid", "by bank transfer")
    with pytest.raises(TutelageError, match="expected a bonus that can become paid, got one that is paid"):
        record_by_hand(ledger, "pilot", "ann", "bonus", "paid", "once more", NOW)


def test_prolifics_answers_are_reconciled_with_the_ledger(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place, other = finish(ledger, server.join(1)), finish(ledger, server.join(2), "bob")
    place.status, place.bonuses = "APPROVED", [75]  # by somebody's hand, on Prolific's page
    record_by_hand(ledger, "pilot", "bob", "bonus", "paid", "at Prolific, by hand", NOW)
    with closing(ProlificClient(TOKEN, server.address, timeout=30.0, attempts=1)) as client:
        lines = reconcile(ledger, client, "pilot", NOW)
        assert lines == ["bob: a bonus of 0.75 GBP is paid in the ledger, and Prolific shows none"]
        assert states(ledger, "bonus")[-1] == ("paid", "seen at Prolific")
        assert states(ledger, "base")[-1] == ("paid", "approved at Prolific")
        written = entries(ledger, "pilot")
        other.bonuses = [75, 75]
        assert reconcile(ledger, client, "pilot", NOW) == ["bob: Prolific shows a bonus of 0.75 GBP 2 times"]
    assert entries(ledger, "pilot") == written
    assert server.told("transition") == server.told("bonus") == 0


def test_a_study_that_is_reviewed_by_hand_pays_after_the_review(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join())
    ours = payments(approve=False)
    assert ours.settle("ann", NOW) == "waiting"
    assert (place.status, place.bonuses) == ("AWAITING REVIEW", [])
    place.status = "APPROVED"  # on Prolific's page
    assert ours.settle("ann", NOW) == "settled"
    assert place.bonuses == [75]


def test_people_may_bring_their_code_to_prolific_themselves(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join())
    ours = payments(complete="person")
    assert ours.settle("ann", NOW) == "waiting"
    place.status, place.code = "AWAITING REVIEW", "DONE1234"
    assert ours.settle("ann", NOW) == "settled"
    assert (place.status, place.bonuses) == ("APPROVED", [75])


def test_rejecting_is_done_by_hand_and_only_within_the_studys_own_limit(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join(0, status="AWAITING REVIEW"), outcome="poor-quality")
    with pytest.raises(TutelageError, match="expected at most 10% of 1 submissions to be rejected, got 1"):
        payments().reject("ann", LONG, "LOW_EFFORT")
    for number in range(1, 10):
        server.join(number, status="APPROVED")
    payments().reject("ann", LONG, "LOW_EFFORT")
    assert place.status == "REJECTED"
    assert history(ledger) == ["reject"]


def test_a_return_may_be_asked_for_by_hand(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join(status="AWAITING REVIEW"))
    payments().ask_return("ann", "Your browser lost most frames.", NOW)
    assert place.messages == ["Your browser lost most frames."]
    assert history(ledger) == ["ask-return"]


def test_an_empty_wallet_is_asked_again_after_an_hour(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join())
    server.fail("bonus-payments/", times=1, status=400)
    with pytest.raises(ProlificError):
        payments().settle("ann", NOW)
    assert payments().settle("ann", NOW + 60) == "waiting"
    assert server.told("bonus-payments/") == 1
    assert payments().settle("ann", NOW + 2 * HOUR) == "settled"
    assert place.bonuses == [75]


def test_everyone_who_is_due_is_settled_and_trouble_with_one_stops_no_other(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    places = [finish(ledger, server.join(n), f"person-{n}") for n in range(4)]
    with ledger.write() as connection:
        connection.execute(identities.delete().where(identities.c.person == "person-1"))
    server.fail(places[2].id, status=503)
    ours = payments()
    ledger.change("person-3", source="link")
    results = ours.settle_due(NOW)
    ledger.change("person-3", source="prolific")
    assert results["person-0"] == "settled"
    assert "they were forgotten" in results["person-1"]
    assert "503" in results["person-2"]
    assert "person-3" not in results
    assert places[2].id not in results["person-2"]
    assert ours.settle_due(NOW + 60) == {"person-3": "settled"}  # the others not all the time
    assert ours.settle_due(NOW + 600)["person-2"] == "settled"
    assert [place.bonuses for place in places] == [[75], [], [75], [75]]


def test_a_chain_that_has_grown_takes_nothing_from_whoever_has_not_seen_it(ledger: StudyDatabase) -> None:
    one, other = (EventChain(ledger, "pilot", "ann", ("complete", "approve")) for _ in range(2))
    ledger.note("pilot", "pause", "ann")  # of another kind
    one.add("complete", NOW, outcome="completed")
    with pytest.raises(ConcurrentAppend):
        other.add("complete", NOW)
    one.add("approve", NOW)
    again = EventChain(ledger, "pilot", "ann", ("complete", "approve"))
    assert [row["what"] for row in again.rows] == [row["what"] for row in one.rows] == ["complete", "approve"]
    assert again.rows[0]["details"] == {"outcome": "completed"}
    assert again.has("approve")
    assert not again.has("bonus")


def test_an_answer_that_nobody_has_foreseen_keeps_nobody_else_waiting(
    server: ProlificServer, ledger: StudyDatabase, payments: Make, caplog: pytest.LogCaptureFixture
) -> None:
    odd = finish(ledger, server.join(1), "ann")
    odd.bonuses = ["a lot"]  # type: ignore[list-item]
    place = finish(ledger, server.join(2), "bob")
    assert payments().settle_due(NOW) == {"ann": "TypeError", "bob": "settled"}
    assert place.bonuses == [75]
    assert "settling with ann failed" in caplog.text
    assert odd.id not in caplog.text
