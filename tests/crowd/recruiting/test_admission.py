"""Who comes to a study: by open links, by links for one person each, by panels; and who cannot come in."""

from __future__ import annotations

import contextlib
import string
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from tutelage.crowd.recruiting.admission import Recruiting, admit, identify, make_links
from tutelage.crowd.recruiting.panels import REFUSALS, AdmissionRefusal, Arrival, Panel
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.study_tables import StudyDatabase, identities, links, people
from tutelage.errors import TutelageError
from tutelage.tests.support.toy_secret import ToySecret

NOW = 1_700_000_000.0
SECRET = ToySecret()
SONA: dict[str, Any] = {
    "name": "sona",
    "parameters": {"id": "participant", "exp": "session"},
    "return_url": "https://school.example/credit?survey_code={participant}&code={code}",
}
PROLIFIC: dict[str, Any] = {
    "codes": {"completed": "DONE1234", "declined": "NOCONSENT"},
    "prolific": {"study": "65f0aaaaaaaaaaaaaaaaaaaa", "audience": "https://play.example.org"},
}
PID = {
    "PROLIFIC_PID": "60ff44a1d00991f1dfe405d9",
    "STUDY_ID": "65f0aaaaaaaaaaaaaaaaaaaa",
    "SESSION_ID": "625d4a831bcda2d59ac5a251",
    "prolific_token": "a.b.c",
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[StudyDatabase]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield StudyDatabase(journal.engine)


def settle_in(ledger: StudyDatabase, person: str, stage: str = "play", outcome: str = "") -> None:
    """Write a person's row, as joining does."""
    row = {"person": person, "seat": f"seat of {person}", "study": "pilot", "source": "link"}
    row |= {"language": "en", "stage": stage, "outcome": outcome}
    with ledger.write() as connection:
        connection.execute(people.insert().values(**row, progress={}, joined=NOW, seen=NOW))


def refused(reason: str) -> Any:
    return pytest.raises(AdmissionRefusal, match=REFUSALS[reason].split("{")[0].strip(". ?"))


def test_an_open_link_makes_a_new_person_each_time() -> None:
    one, other = (Recruiting().read({}, NOW) for _ in range(2))
    assert one.source == other.source == "link"
    assert one.key != other.key
    assert one.ids == {}
    assert one.at == NOW


def test_a_panel_names_its_people_by_whatever_parameters_it_has() -> None:
    arrival = Recruiting(panel=Panel(**SONA)).read({"id": "4711", "exp": "9", "utm_source": "mail"}, NOW)
    assert (arrival.source, arrival.ids) == ("sona", {"participant": "4711", "session": "9"})
    assert arrival.key == "4711"
    assert arrival.named == {"id": "4711", "exp": "9"}
    assert not arrival.needs_proof


def test_prolific_sends_three_ids_and_its_word_for_them() -> None:
    arrival = Recruiting(**PROLIFIC).read(PID, NOW)
    assert arrival.source == "prolific"
    assert arrival.ids["participant"] == arrival.key == PID["PROLIFIC_PID"]
    assert arrival.ids["session"] == PID["SESSION_ID"]
    assert arrival.token == "a.b.c"
    assert arrival.needs_proof


def test_the_parameters_of_prolific_may_have_other_names() -> None:
    names = {"pid": "participant", "study": "study", "sub": "session"}
    recruiting = Recruiting(**{**PROLIFIC, "prolific": {**PROLIFIC["prolific"], "parameters": names}})
    sent = dict(zip(names, list(PID.values())[:3], strict=True)) | {"prolific_token": "a.b.c"}
    assert recruiting.read(sent, NOW).ids["session"] == PID["SESSION_ID"]
    with refused("panel-needed"):
        recruiting.read(PID, NOW)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"PROLIFIC_PID": ""}, "incomplete"),
        ({"PROLIFIC_PID": "{{%PROLIFIC_PID%}}"}, "incomplete"),
        ({"SESSION_ID": "a/../b"}, "incomplete"),
        ({"SESSION_ID": None}, "incomplete"),
        ({"STUDY_ID": "65f0bbbbbbbbbbbbbbbbbbbb"}, "other-study"),
        ({"prolific_token": None}, "not-proven"),
        ({"prolific_token": "x" * 9000}, "not-proven"),
    ],
)
def test_an_address_that_names_nobody_is_refused_kindly(change: dict[str, str | None], reason: str) -> None:
    sent = {name: value for name, value in {**PID, **change}.items() if value is not None}
    with refused(reason) as raised:
        Recruiting(**PROLIFIC).read(sent, NOW)
    assert raised.value.reason == reason
    assert "Prolific" in str(raised.value)
    assert not any(value in str(raised.value) for value in PID.values())


def test_an_id_that_is_given_twice_is_refused() -> None:
    pairs = [*PID.items(), ("PROLIFIC_PID", "somebodyelse")]
    for parameters in (pairs, QueryParams(pairs)):
        with refused("incomplete"):
            Recruiting(**PROLIFIC).read(parameters, NOW)
    assert Recruiting(**PROLIFIC).read(QueryParams(PID), NOW).ids["session"] == PID["SESSION_ID"]


def test_a_panel_closes_the_open_door_unless_the_study_says_otherwise() -> None:
    with refused("panel-needed") as raised:
        Recruiting(**PROLIFIC).read({}, NOW)
    assert "Prolific" in str(raised.value)
    assert Recruiting(**PROLIFIC, links="open").read({}, NOW).source == "link"


ANYTHING = st.dictionaries(
    st.sampled_from(["PROLIFIC_PID", "STUDY_ID", "SESSION_ID", "prolific_token", "id", "exp", "link", "lang"])
    | st.text(max_size=5),
    st.lists(st.sampled_from(list(PID.values())) | st.text(max_size=300), min_size=1, max_size=2),
)


@given(ANYTHING, st.sampled_from(["open", "one-time", "none"]))
def test_any_parameters_are_read_or_refused_with_a_reason(given: dict[str, list[str]], links: str) -> None:
    recruiting = Recruiting(**PROLIFIC, panel=Panel(**SONA), links=links)
    try:
        arrival = recruiting.read([(name, one) for name, all in given.items() for one in all], NOW)
    except AdmissionRefusal:
        return
    assert arrival.source in ("prolific", "sona", "link")
    assert all([value] == given[name] for name, value in arrival.named.items())
    assert all(value.isprintable() and value == value.strip() for value in arrival.ids.values())
    assert "ids" not in repr(arrival)
    assert SECRET.pseudonym(arrival.source, arrival.key)  # every key can be hashed


@given(st.text(string.printable + "äß😀\x00", max_size=300))
def test_what_is_read_of_a_panel_is_what_was_sent(value: str) -> None:
    recruiting = Recruiting(panel=Panel(name="sona", parameters={"id": "participant"}))
    good = 0 < len(value) <= 256 and value.isprintable() and value.strip() == value
    if good:
        assert recruiting.read({"id": value}, NOW).key == value
    else:
        with refused("incomplete"):
            recruiting.read({"id": value}, NOW)


def come(ledger: StudyDatabase, link: str, person: str = "", study: str = "pilot") -> str:
    arrival = Recruiting(links="one-time").read({"link": link}, NOW)
    return admit(arrival, ledger, SECRET, study, known_person=person)


def test_a_link_is_one_person_whoever_follows_it(ledger: StudyDatabase) -> None:
    """Which browser may speak for that person is `test_browsers.py`'s."""
    first, second = make_links(ledger, SECRET, "pilot", 2)
    person = come(ledger, first)
    settle_in(ledger, person)
    assert come(ledger, first) == person
    assert come(ledger, first, person="person-somebodyelse") == person
    assert come(ledger, second) != person


def test_a_link_that_nobody_made_or_of_another_study_is_refused(ledger: StudyDatabase) -> None:
    (link,) = make_links(ledger, SECRET, "other", 1)
    with refused("link-unknown"):
        come(ledger, link)
    (forged,) = make_links(ledger, ToySecret(b"another"), "pilot", 1)
    with refused("link-unknown"):
        come(ledger, forged)
    with refused("link-unknown"):
        come(ledger, SECRET.sign("guessed", "link"))
    with refused("link-needed"):
        Recruiting(links="one-time").read({}, NOW)


def test_the_ledger_holds_no_link_that_could_be_used(ledger: StudyDatabase) -> None:
    made = make_links(ledger, SECRET, "pilot", 5)
    kept = [row["link"] for row in ledger.rows(sql.select(links))]
    assert len(set(made)) == len(kept) == 5
    assert not set(made) & set(kept)
    for link in kept:
        with refused("link-unknown"):
            come(ledger, link)


def test_a_link_that_many_open_at_once_lets_one_in(ledger: StudyDatabase) -> None:
    (link,) = make_links(ledger, SECRET, "pilot", 1)
    let_in: list[str] = []

    def open_it() -> None:
        with contextlib.suppress(AdmissionRefusal, sql.exc.IntegrityError):
            person = come(ledger, link)
            settle_in(ledger, person)  # the seat is unique: only one can be made
            let_in.append(person)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(let_in) == 1


def test_the_same_participant_is_the_same_person_and_shows_nowhere_else(ledger: StudyDatabase) -> None:
    recruiting = Recruiting(panel=Panel(**SONA))
    arrival = recruiting.read({"id": "4711", "exp": "9"}, NOW)
    person = admit(arrival, ledger, SECRET, "pilot")
    identify(ledger, person, arrival)
    again = recruiting.read({"id": "4711", "exp": "10"}, NOW + 5)
    assert admit(again, ledger, SECRET, "pilot") == person
    identify(ledger, person, again)
    (row,) = ledger.rows(sql.select(identities.c.person, identities.c.source, identities.c.ids))
    assert row == {"person": person, "source": "sona", "ids": {"participant": "4711", "session": "10"}}
    assert "4711" not in person + repr(arrival)


def test_people_without_external_ids_have_no_identity(ledger: StudyDatabase) -> None:
    arrival = Recruiting().read({}, NOW)
    identify(ledger, admit(arrival, ledger, SECRET, "pilot"), arrival)
    assert ledger.rows(sql.select(identities)) == []


def test_nobody_is_let_in_unproven_where_proof_is_needed(ledger: StudyDatabase) -> None:
    arrival = Recruiting(**PROLIFIC).read(PID, NOW)
    with pytest.raises(TutelageError, match="expected a way to check people from prolific"):
        admit(arrival, ledger, SECRET, "pilot")

    def no(_: Arrival) -> None:
        raise AdmissionRefusal("expired", "Prolific")

    with refused("expired"):
        admit(arrival, ledger, SECRET, "pilot", no)
    person = admit(arrival, ledger, SECRET, "pilot", lambda _: None)
    with refused("expired"):  # a signed seat alone is no proof of the session that is named
        admit(arrival, ledger, SECRET, "pilot", no, known_person=person)
    identify(ledger, person, arrival)
    assert admit(arrival, ledger, SECRET, "pilot", no, known_person=person) == person
    other = Recruiting(**PROLIFIC).read({**PID, "SESSION_ID": "another"}, NOW)
    with refused("expired"):
        admit(other, ledger, SECRET, "pilot", no, known_person=person)


def test_codes_are_the_studys_or_drawn_for_each_person() -> None:
    recruiting = Recruiting(**PROLIFIC, panel=Panel(**SONA))
    assert recruiting.code("completed", "prolific") == "DONE1234"
    assert recruiting.code("full", "prolific") == ""  # Prolific would not know one that is drawn
    drawn = {recruiting.code("full", "sona") for _ in range(20)}
    assert len(drawn) == 20
    assert all(len(code) == 10 and code.isalnum() for code in drawn)


def test_people_are_sent_back_to_their_panel_with_their_code() -> None:
    recruiting = Recruiting(**PROLIFIC, panel=Panel(**SONA))
    there = recruiting.where_back("sona", {"participant": "a&b"}, "X1")
    assert there == "https://school.example/credit?survey_code=a%26b&code=X1"
    there = recruiting.where_back("prolific", {}, "DONE1234")
    assert there == "https://app.prolific.com/submissions/complete?cc=DONE1234"
    assert recruiting.where_back("link", {}, "X1") == ""
    assert recruiting.where_back("prolific", {}, "") == ""


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"links": "many"}, "'open', 'one-time' or 'none'"),
        ({"codes": {"complete": "ABC123"}}, "did you mean 'completed'"),
        ({"codes": {"completed": "A B"}}, "3 to 64 letters and digits"),
        ({"codes": {"completed": "ABC", "full": "ABC"}}, "another code for each outcome"),
        ({"panel": {**SONA, "name": "link"}}, "which means a plain link"),
        ({"panel": {**SONA, "parameters": {"exp": "session"}}}, "expected one 'participant'"),
        ({"panel": {**SONA, "parameters": {"link": "participant"}}}, "other than 'link'"),
        ({"panel": {**SONA, "return_url": "javascript:alert(1)"}}, "starts with https://"),
        ({"prolific": PROLIFIC["prolific"]}, "codes of Prolific's study for completed and declined"),
        ({**PROLIFIC, "prolific": {"study": "65f0"}}, "expected audience"),
        ({**PROLIFIC, "prolific": {**PROLIFIC["prolific"], "api": "http://api.prolific.com"}}, "https://"),
        ({**PROLIFIC, "prolific": {**PROLIFIC["prolific"], "parameters": {"a": "participant"}}}, "session"),
        ({**PROLIFIC, "prolific": {**PROLIFIC["prolific"], "api_token": "x"}}, "Extra inputs"),
        ({**PROLIFIC, "panel": {**SONA, "name": "prolific"}}, "another name for the panel"),
    ],
)
def test_a_wrong_section_says_what_is_wrong(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Recruiting(**section)
