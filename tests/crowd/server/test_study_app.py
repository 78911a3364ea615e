"""A study's web application over real sockets: who comes in, who does not, what a page may say."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sql
from tutelage.crowd.recruiting.admission import make_links
from tutelage.crowd.seats.protocol import OCCUPIED, REPLACED, UNKNOWN_SEAT
from tutelage.crowd.storage.study_tables import conduct, consents, identities, people
from tutelage.datasets.store import Store
from tutelage.tests.support.nursery import until
from tutelage.tests.support.study_page import ACROSS, Page, browser, enter, running
from tutelage.tests.support.toy_study import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

SONA = {"name": "sona", "parameters": {"id": "participant"}, "return_url": "https://school.example/{code}"}


def test_somebody_comes_by_a_link_and_goes_the_whole_way(tmp_path: Path) -> None:
    with running(tmp_path) as (server, address), browser(address) as client:
        joined = client.get("/join")
        assert (joined.status_code, joined.headers["location"]) == (303, "/")
        assert client.get("/").status_code == 200
        with Page(address, client) as page:
            page.to_the_tasks()
            for number in (1, 2, 3):
                page.until(number=number, outcome=None)
                page.press(ACROSS)
                while page.way["outcome"] is None:
                    page.wait("way")
                assert page.way["outcome"]["success"]
                page.send("next")
            page.until(stage="done")
            assert page.way["outcome"] == "completed"
        [person] = server.database.rows(sql.select(people))
        assert person["code"] == page.way["code"]
        assert len(server.database.rows(sql.select(conduct))) == 3
    assert sorted(one.seed for one in Store.open(tmp_path / "out").trajectories()) == [0, 1, 2]


def test_nothing_personal_is_in_any_address_after_the_first(tmp_path: Path) -> None:
    recruiting = {"panel": SONA}
    with running(tmp_path, recruiting=recruiting) as (server, address), browser(address) as client:
        joined = enter(client, "/join?id=zoe-4711")
        assert joined.json() == {"state": "in"}
        assert joined.headers["referrer-policy"] == "no-referrer"
        cookie = joined.headers["set-cookie"].lower()
        for part in ("httponly", "samesite=lax", "max-age="):
            assert part in cookie
        assert "zoe-4711" not in cookie
        page = client.get("/")
        assert "zoe-4711" not in page.text
        with Page(address, client) as opened:
            opened.to_the_tasks()
            assert "zoe-4711" not in json.dumps(opened.told)
            opened.send("withdraw", keep=True)
            opened.until(stage="done")
            assert opened.way["back"] == f"https://school.example/{opened.way['code']}"
        for table in (people, consents, conduct):
            assert "zoe-4711" not in str(server.database.rows(sql.select(table)))
        assert [row["ids"] for row in server.database.rows(sql.select(identities))] == [
            {"participant": "zoe-4711"}
        ]


def test_the_same_person_is_the_same_and_a_link_twice_is_one_person(tmp_path: Path) -> None:
    with running(tmp_path) as (server, address):
        with browser(address) as client:
            for _ in range(3):
                client.get("/join")
        with browser(address) as other:
            other.get("/join")
        assert len(server.database.rows(sql.select(people))) == 2
    with running(tmp_path / "panel", recruiting={"panel": SONA}) as (server, address):
        with browser(address) as client:
            for name in (4711, 4711, 4712):
                enter(client, f"/join?id={name}")
            seats = {row["seat"] for row in server.database.rows(sql.select(people))}
            enter(client, "/join?id=4711")  # on a shared computer, whom the address names is meant
            page = client.get("/").text
            [seat] = [cookie.value for cookie in client.cookies.jar if cookie.name.startswith("seat-")]
            [first] = server.database.rows(sql.select(people).order_by(people.c.joined).limit(1))
            assert str(seat).startswith(first["seat"])
            assert len(seats) == 2
        names = [row["person"] for row in server.database.rows(sql.select(people))]
        assert len(names) == 2
        assert page


def test_a_link_for_one_person_lets_one_person_in(tmp_path: Path) -> None:
    with running(tmp_path, recruiting={"links": "one-time"}) as (server, address):
        [link] = make_links(server.database, server.secret, "pilot", 1)
        with browser(address) as client, browser(address) as other:
            assert client.get("/join").status_code == 403
            assert enter(client, f"/join?link={link}").json() == {"state": "in"}
            with Page(address, client) as page:
                page.send("consent", given=True)
                page.until(stage="instructions")
            asked = enter(other, f"/join?link={link}").json()
            assert asked["state"] == "asked"
            assert other.get("/").status_code == 403
            assert other.get("/join?link=abc").status_code == 403
            assert client.get(f"/join?link={link}").status_code == 303


def test_strangers_and_forgers_are_turned_away(tmp_path: Path) -> None:
    with running(tmp_path) as (server, address), browser(address) as client:
        assert client.get("/").status_code == 403
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
        client.get("/join")
        [cookie] = list(client.cookies.jar)
        assert cookie.value is not None
        seat, _, signature = cookie.value.rpartition(".")
        another = seat[:-1] + ("1" if seat.endswith("0") else "0")
        for forged in (f"{seat}.{'A' * len(signature)}", f"{another}.{signature}", "", "x.y", seat):
            with browser(address, cookies={cookie.name: forged}) as forger:
                assert forger.get("/").status_code == 403
                page = Page(address, forger)
                assert page.closed() == UNKNOWN_SEAT
        with browser(address, cookies={cookie.name: server.secret.sign(seat, "admin")}) as forger:
            assert forger.get("/").status_code == 403
        for origin in ("http://evil.example", None):
            headers = {"Cookie": f"{cookie.name}={cookie.value}"} | ({"Origin": origin} if origin else {})
            with (
                pytest.raises(InvalidStatus),
                connect(f"ws://{address}/socket", additional_headers=headers, open_timeout=60),
            ):
                pass


def test_the_pages_have_a_strict_policy(tmp_path: Path) -> None:
    with running(tmp_path) as (_, address), browser(address) as client:
        refused = client.get("/")
        client.get("/join")
        for answer in (refused, client.get("/")):
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert "style=" not in answer.text
            assert not re.search(r"<script(?![^>]*(src=|application/json))", answer.text)
            assert answer.headers["cache-control"] == "no-store"
        for name in ("way.js", "texts.js", "../serving.py", "%2e%2e/serving.py"):
            status = client.get(f"/static/{name}").status_code
            assert status == (404 if "serving" in name else 200)


def test_a_page_of_a_hostile_title_holds_no_script(tmp_path: Path) -> None:
    title = "</title><script>alert(1)</script>"
    with running(tmp_path, title=title) as (_, address), browser(address) as client:
        client.get("/join")
        assert "<script>alert" not in client.get("/").text


def test_everybody_reads_in_their_language(tmp_path: Path) -> None:
    both = {"en": "Yes.", "zh": "好。"}
    options = {"languages": ["en", "zh"], "consent": both, "instructions": both, "check": None}
    with running(tmp_path, **options) as (_, address):
        with browser(address, headers={"Accept-Language": "zh-CN,zh;q=0.9"}) as client:
            assert 'lang="zh"' in client.get("/").text
            client.get("/join")
            assert 'lang="zh"' in client.get("/").text
            with Page(address, client) as page:
                assert page.way["text"].startswith("好。\n\n在您同意之后")
                texts = next(one for one in page.told if one["type"] == "texts")
                assert texts["page"]["consent.yes"] == "我同意参加"
                page.send("language", code="en")
                page.until(language="en")
                assert page.way["text"].startswith("Yes.\n\nWith what you do")
            assert 'lang="en"' in client.get("/").text
        with browser(address) as client:
            client.get("/join?language=zh")
            assert 'lang="zh"' in client.get("/").text


@pytest.mark.alone
def test_a_second_page_is_refused_until_it_asks_for_the_place(tmp_path: Path) -> None:
    with running(tmp_path) as (_, address), browser(address) as client:
        client.get("/join")
        with Page(address, client, "?page=a") as first:
            first.send("consent", given=True)
            first.until(stage="instructions")
            second = Page(address, client, "?page=b")
            assert second.closed() == OCCUPIED
            first.send("ready")  # the first has felt nothing of it
            first.until(stage="practice")
            with Page(address, client, "?page=b&take") as taker:
                assert taker.way["stage"] == "practice"
                assert first.closed() == REPLACED
        assert "practice" in stages_until_let_in(
            address, client
        )  # once the server knows that the other has gone


def stages_until_let_in(address: str, client: httpx.Client) -> list[str]:
    """Come back with the first page, again and again while it is told that the other is open."""
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(ConnectionClosed), Page(address, client, "?page=a") as again:
            return [again.way["stage"]]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_page_that_comes_back_is_no_second_page(tmp_path: Path) -> None:
    with running(tmp_path) as (_, address), browser(address) as client:
        client.get("/join")
        with Page(address, client, "?page=a") as lost:
            with Page(address, client, "?page=a") as back:
                assert back.way["stage"] == "consent"
            assert lost.closed() == REPLACED


def test_a_page_that_floods_is_cut_off_and_may_come_back(tmp_path: Path) -> None:
    with running(tmp_path) as (_, address), browser(address) as client:
        client.get("/join")
        with Page(address, client) as page:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(5000):
                    page.send("release")
            assert page.closed() in (1006, 1008)  # what is still being sent may hide why it was closed
        with Page(address, client) as page:
            assert page.way["stage"] == "consent"


def test_joining_too_often_from_one_address_has_to_wait(tmp_path: Path) -> None:
    with running(tmp_path, people=1000) as (server, address):
        with browser(address) as client:
            answers = []
            for _ in range(70):
                client.cookies.clear()
                answers.append(client.get("/join").status_code)
        assert answers[:60] == [303] * 60
        assert 429 in answers[60:]
        assert len(server.database.rows(sql.select(people))) == answers.count(303)


def test_what_a_page_must_not_say_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (server, address), browser(address) as client:
        client.get("/join")
        with Page(address, client) as page:
            for text in ("{", '{"type":"keep"}', '{"type":"choose","task":"lake"}', '{"type":"undo"}'):
                page.socket.send(text)
            for kind in ("ready", "next", "discard"):
                page.send(kind)
            page.send("answers", chosen=[0])
            page.send("withdraw", keep=True)
            page.send("language", code="xx")
            page.send("hidden", ms=10)
            page.send("consent", given=True)
            page.until(stage="instructions")
            assert [one["type"] for one in page.told].count("error") <= 4
        assert len(server.database.rows(sql.select(consents))) == 1


def test_health_says_whether_people_can_play(tmp_path: Path) -> None:
    with running(tmp_path) as (server, address):
        answer = httpx.get(f"http://{address}/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        server.journal._writer.trouble = "no space left on device"
        answer = httpx.get(f"http://{address}/healthz")
        assert (answer.status_code, answer.json()) == (503, {"status": "saving fails"})
        server.journal._writer.trouble = None


def test_what_the_page_measured_is_in_the_conduct(tmp_path: Path) -> None:
    with running(tmp_path) as (server, address), browser(address) as client:
        client.get("/join")
        with Page(address, client) as page:
            page.to_the_tasks()
            page.send("hidden", ms=1500)
            for code in ACROSS:
                page.send("down", code=code, frame=0, reaction=420, lag=30)
                page.send("up", code=code)
            while page.way["outcome"] is None:
                page.wait("way")
        [row] = server.database.rows(sql.select(conduct))
        assert (row["reaction_ms"], row["lag_ms"], row["hidden_ms"]) == (420, 30, 1500)


def test_who_is_here_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tutelage.crowd.studies import study_server

    monkeypatch.setattr(study_server, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(study_server, "_SEEN_EVERY", 2)
    with running(tmp_path) as (server, address), browser(address) as client:
        client.get("/join")
        [before] = server.database.rows(sql.select(people.c.seen))
        with Page(address, client):
            until(lambda: server.database.rows(sql.select(people.c.seen))[0]["seen"] > before["seen"])


def test_two_studies_do_not_share_a_database(tmp_path: Path) -> None:
    from tutelage.errors import TutelageError

    with running(tmp_path) as (_, address), browser(address) as client:
        client.get("/join")
    with pytest.raises(TutelageError, match="expected a database of study 'other', got one of 'pilot'"):
        serve(tmp_path, study="other")
