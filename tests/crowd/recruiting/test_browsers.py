"""Which browser may speak for a person: the first, those it confirms, those a panel vouches for."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sql
from tutelage.crowd.recruiting.admission import make_links
from tutelage.crowd.recruiting.browsers import (
    ASK_SECONDS,
    ASKED,
    BOUND,
    REFUSED,
    LinkOpening,
    asking,
    confirm,
    enter,
    is_bound,
    release,
    released_since,
)
from tutelage.crowd.seats.protocol import UNKNOWN_SEAT
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.study_tables import StudyDatabase, browsers, consents, links, people
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.errors import TutelageError
from tutelage.tests.support.nursery import until
from tutelage.tests.support.study_page import Page, ask, browser, running
from tutelage.tests.support.study_page import enter as come_in

PREVIEWS = ("WhatsApp/2.23", "Slackbot-LinkExpanding 1.0", "TelegramBot (like TwitterBot)")
ONE_TIME = {"recruiting": {"links": "one-time"}}
PANEL = {"recruiting": {"panel": {"name": "sona", "parameters": {"id": "participant"}}}}
NOW = 1_000_000.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[StudyDatabase]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        made = StudyDatabase(journal.engine)
        row = {"study": "pilot", "source": "link", "language": "en", "stage": "consent", "progress": {}}
        with made.write() as connection:
            for name in ("ann", "bob"):
                values = {"person": name, "seat": f"seat-{name}", "joined": NOW, "seen": NOW}
                connection.execute(people.insert().values(**row, **values))
        yield made


def test_the_first_browser_is_bound_and_another_asks(ledger: StudyDatabase) -> None:
    assert enter(ledger, "ann", "first", NOW) == LinkOpening(BOUND)
    second = enter(ledger, "ann", "second", NOW)
    assert second.state == ASKED
    assert re.fullmatch(r"\d{4}", second.code)
    assert enter(ledger, "ann", "second", NOW + 5) == second  # the page asks again and again
    assert enter(ledger, "ann", "first", NOW + 5) == LinkOpening(BOUND)
    assert is_bound(ledger, "ann", "first", NOW)
    assert not is_bound(ledger, "ann", "second", NOW)
    assert not is_bound(ledger, "bob", "first", NOW)
    assert not is_bound(ledger, "ann", "first", NOW + 91 * 24 * 3600)
    assert asking(ledger, "pilot", NOW) == {"seat-ann": second.code}


def test_yes_lets_in_and_no_keeps_out(ledger: StudyDatabase) -> None:
    enter(ledger, "ann", "first", NOW)
    second, third = enter(ledger, "ann", "second", NOW), enter(ledger, "ann", "third", NOW)
    assert not confirm(ledger, "bob", second.code, True, NOW)
    assert confirm(ledger, "ann", second.code, True, NOW)
    assert confirm(ledger, "ann", third.code, False, NOW)
    assert not confirm(ledger, "ann", third.code, True, NOW)  # what was answered is answered
    assert enter(ledger, "ann", "second", NOW) == LinkOpening(BOUND)
    assert enter(ledger, "ann", "third", NOW) == LinkOpening(REFUSED)
    assert asking(ledger, "pilot", NOW) == {}


def test_a_question_is_over_after_a_while_and_few_may_ask(ledger: StudyDatabase) -> None:
    enter(ledger, "ann", "first", NOW)
    second = enter(ledger, "ann", "second", NOW)
    assert asking(ledger, "pilot", NOW + ASK_SECONDS) == {}
    assert not confirm(ledger, "ann", second.code, True, NOW + ASK_SECONDS)
    states = [enter(ledger, "ann", f"thief-{at}", NOW).state for at in range(20)]
    assert states.count(ASKED) == 4
    assert enter(ledger, "ann", "first", NOW) == LinkOpening(BOUND)


def test_whom_the_panel_vouches_for_is_let_in_beside_the_first(ledger: StudyDatabase) -> None:
    enter(ledger, "ann", "first", NOW)
    assert enter(ledger, "ann", "second", NOW, is_vouched=True) == LinkOpening(BOUND)
    assert is_bound(ledger, "ann", "first", NOW)


def test_a_released_link_is_the_next_browsers_and_no_thiefs(ledger: StudyDatabase) -> None:
    enter(ledger, "ann", "first", NOW)
    confirm(ledger, "ann", enter(ledger, "ann", "thief", NOW).code, False, NOW)
    event, _ = released_since(ledger, "pilot", None)
    with pytest.raises(TutelageError, match="reason"):
        release(ledger, "pilot", "ann", " ", NOW)
    with pytest.raises(TutelageError, match="expected a person of study"):
        release(ledger, "pilot", "nobody", "lost", NOW)
    release(ledger, "pilot", "ann", "lost their phone", NOW)
    assert released_since(ledger, "pilot", event)[1] == ["seat-ann"]
    assert not is_bound(ledger, "ann", "first", NOW)
    assert enter(ledger, "ann", "thief", NOW) == LinkOpening(REFUSED)
    assert enter(ledger, "ann", "second", NOW) == LinkOpening(BOUND)
    assert enter(ledger, "ann", "first", NOW).state == ASKED


def test_of_many_that_come_at_once_one_is_bound(ledger: StudyDatabase) -> None:
    states: list[str] = []

    def come(at: int) -> None:
        states.append(enter(ledger, "ann", f"browser-{at}", NOW).state)

    threads = [threading.Thread(target=come, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states.count(BOUND) == 1


def one_link(server: StudyServer) -> str:
    [link] = make_links(server.database, server.secret, "pilot", 1)
    return f"/join?link={link}"


def table(server: StudyServer, which: sql.Table) -> list[dict[str, object]]:
    return server.database.rows(sql.select(which))


def test_twenty_browsers_open_a_link_before_its_person_agrees(tmp_path: Path) -> None:
    """One has the seat; the others can neither take it over nor withdraw for its person."""
    with running(tmp_path, **ONE_TIME) as (server, address):
        link = one_link(server)
        clients = [browser(address) for _ in range(20)]
        answers = [come_in(client, link) for client in clients]
        states = [answer.json()["state"] for answer in answers]
        assert states[0] == "in"
        assert "in" not in states[1:]
        assert len(table(server, people)) == 1
        for client, answer in zip(clients[1:], answers[1:], strict=True):
            assert not [name for name in client.cookies if name.startswith("seat-")]
            assert client.get("/").status_code == 403
            assert answer.json()["state"] != "in"
            assert Page(address, client, "?page=b&take").closed() == UNKNOWN_SEAT
        with Page(address, clients[0]) as page:
            page.send("consent", given=True)
            page.until(stage="instructions")
        assert [row["decision"] for row in table(server, consents)] == ["given"]
        for client in clients:
            client.close()


@pytest.mark.parametrize("options", [ONE_TIME, PANEL])
def test_a_preview_of_a_link_binds_nobody(options: dict[str, object], tmp_path: Path) -> None:
    """Messengers open links, with GET and HEAD, before the person does."""
    with running(tmp_path, **options) as (server, address):
        path = one_link(server) if options is ONE_TIME else "/join?id=4711"
        for agent in PREVIEWS:
            with browser(address, headers={"User-Agent": agent}) as robot:
                assert robot.head(path).status_code == 200
                assert robot.get(path).status_code == 200
        for which in (people, browsers, consents):
            assert table(server, which) == []
        assert [row["person"] for row in table(server, links)] == ([""] if options is ONE_TIME else [])
        with browser(address) as client:
            assert come_in(client, path).json() == {"state": "in"}


@pytest.mark.parametrize("options", [ONE_TIME, PANEL])
def test_another_browser_is_let_in_by_the_first_alone(options: dict[str, object], tmp_path: Path) -> None:
    with running(tmp_path, **options) as (server, address):
        path = one_link(server) if options is ONE_TIME else "/join?id=4711"
        with browser(address) as first, browser(address) as second, browser(address) as thief:
            come_in(first, path)
            with Page(address, first) as page:
                code = come_in(second, path).json()["code"]
                while page.wait("confirm")["code"] != code:
                    pass
                stolen = come_in(thief, path).json()["code"]
                origin = {"Origin": f"http://{address}"}
                for client in (second, thief):  # a browser cannot confirm itself
                    told = client.post("/confirm", json={"code": code, "own": True}, headers=origin)
                    assert told.status_code == 403
                evil = {"Origin": "http://evil.example"}
                for headers in (evil, {}):
                    told = first.post("/confirm", json={"code": code, "own": True}, headers=headers)
                    assert told.status_code == 403
                for wrong in ({"code": 1, "own": True}, {"code": code}, {"code": code, "own": "yes"}, []):
                    assert first.post("/confirm", json=wrong, headers=origin).status_code == 400
                assert first.post("/confirm", content=b"x" * 999, headers=origin).status_code == 413
                assert ask(second, path).json()["state"] == "asked"
                yes = first.post("/confirm", json={"code": code, "own": True}, headers=origin)
                no = first.post("/confirm", json={"code": stolen, "own": False}, headers=origin)
                assert (yes.status_code, no.status_code) == (204, 204)
            assert ask(second, path).json() == {"state": "in"}
            assert second.get("/").status_code == 200
            refused = ask(thief, path)
            assert (refused.status_code, refused.json()["state"]) == (403, "refused")
            assert "write to" in refused.json()["text"]
            assert len(table(server, people)) == 1


def test_an_answer_that_was_lost_costs_nobody_their_link(tmp_path: Path) -> None:
    """The same browser asks once more: it has kept its own cookie."""
    with running(tmp_path, **ONE_TIME) as (server, address), browser(address) as client:
        link = one_link(server)
        client.get(link)
        before = httpx.Cookies(client.cookies)
        assert ask(client, link).json() == {"state": "in"}
        client.cookies = before
        assert client.get("/").status_code == 403
        assert ask(client, link).json() == {"state": "in"}
        assert client.get("/").status_code == 200


def test_who_asks_needs_the_cookie_of_the_page(tmp_path: Path) -> None:
    with running(tmp_path, **ONE_TIME) as (server, address), browser(address) as client:
        link = one_link(server)
        assert ask(client, link).status_code == 403  # no page was opened
        [name] = list(client.get(link).cookies)
        client.cookies.set(name, "made-up.signature", domain="127.0.0.1")
        assert ask(client, link).status_code == 403
        assert table(server, browsers) == []
        assert ask(client, "/join?link=unknown").status_code == 403


def test_a_release_ends_what_an_old_cookie_opens(tmp_path: Path) -> None:
    """A stolen cookie is worth nothing from then on, and the page that it has open is closed."""
    with running(tmp_path, **ONE_TIME) as (server, address), browser(address) as first:
        link = one_link(server)
        come_in(first, link)
        [person] = table(server, people)
        page = Page(address, first)
        page.wait("way")
        release(server.database, "pilot", str(person["person"]), "their phone was stolen", NOW)
        page.closed()
        assert first.get("/").status_code == 403
        assert Page(address, first).closed() == UNKNOWN_SEAT
        with browser(address) as owner:
            assert come_in(owner, link).json() == {"state": "in"}
            until(lambda: owner.get("/").status_code == 200)
