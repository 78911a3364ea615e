"""The dashboard's routes: who gets in, what comes out, and what never does."""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import io
import json
import stat
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tutelage.datasets.crowd.admin import HASH, SESSION_SECONDS, Admin, Attempts, make_admin
from tutelage.datasets.crowd.frames import unpack
from tutelage.datasets.crowd.ledger import events, people
from tutelage.datasets.crowd.secret import Secret
from tutelage.datasets.crowd.standing import standing
from tutelage.datasets.crowd.watching import NOBODY, SIGNED_OUT
from tutelage.datasets.journal import EpisodeRecord
from tutelage.datasets.store import Store
from tutelage.tests.busy import EXTERNAL, Busy, Served, busy, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

CROWD = {"careful": 10, "hostile": 1}
READ = ("figures", "people", "records.zip", "demonstrations.zip")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    with busy(tmp_path_factory.mktemp("busy"), counts=CROWD) as made:
        yield made


@pytest.fixture(scope="module")
def served(one: Busy) -> Iterator[Served]:
    with serving(one) as at:
        yield at


class Browser:
    """A browser of whoever runs the study: keeps its cookie, and says whose page it is."""

    def __init__(self, served: Served) -> None:
        self.url, self.origin = served.url, served.url.removesuffix("/admin")
        self.http = httpx.Client(timeout=60)
        self.csrf = ""

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(f"{self.url}/{path}", **options)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        sent = {"Origin": self.origin, "X-CSRF-Token": self.csrf, **headers}
        return self.http.post(
            f"{self.url}/{path}", content=body if isinstance(body, bytes) else json.dumps(body), headers=sent
        )

    def arrive(self) -> bool:
        read = self.get("session").json()
        self.csrf = read["csrf"]
        return bool(read["signedIn"])

    def sign_in(self, token: str) -> httpx.Response:
        self.arrive()
        response = self.post("login", {"token": token})
        if response.is_success:
            self.csrf = response.json()["csrf"]
        return response


@pytest.fixture
def open_browser() -> Iterator[Callable[[Served], Browser]]:
    """Give a way to open a browser; all are closed in the end."""
    with contextlib.ExitStack() as stack:

        def make(served: Served) -> Browser:
            made = Browser(served)
            stack.enter_context(made.http)
            return made

        yield make


@pytest.fixture
def browser(served: Served, open_browser: Callable[[Served], Browser]) -> Browser:
    return open_browser(served)


@pytest.fixture
def inside(served: Served, browser: Browser) -> Browser:
    assert browser.sign_in(served.token).is_success
    return browser


def test_the_token_is_seen_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    token = make_admin(folder)
    assert token is not None
    assert len(token) >= 40
    assert make_admin(folder) is None
    file = folder / HASH
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token not in file.read_text()
    admin = Admin(folder, Secret.load(folder))
    assert admin.knows(token)
    assert not admin.knows(token + "x")
    assert not admin.knows("")
    another = make_admin(folder, new=True)
    assert admin.knows(str(another))
    assert not admin.knows(token)
    assert list(folder.glob(".*")) == []


def test_a_session_ends_by_itself_and_with_its_token(tmp_path: Path) -> None:
    now = [1000.0]
    make_admin(tmp_path)
    admin = Admin(tmp_path, Secret.load(tmp_path), lambda: now[0])
    cookie = admin.sign_in()
    assert admin.session(cookie) is not None
    assert admin.session(admin.visit()) is None
    assert admin.session(cookie[:-1] + ("A" if cookie[-1] != "A" else "B")) is None
    assert admin.session("") is admin.session("session:a:9999999999:b.c") is None
    now[0] += SESSION_SECONDS - 1
    assert admin.session(cookie) is not None
    now[0] += 1
    assert admin.session(cookie) is None
    now[0] = 1000.0
    make_admin(tmp_path, new=True)
    assert admin.session(cookie) is None
    (tmp_path / HASH).unlink()
    assert admin.session(admin.sign_in()) is None
    assert not admin.knows("")


def test_wrong_tokens_cost_an_address_its_next_attempts_and_no_memory() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(8):
        assert attempts.wait("a") == 0
        attempts.wrong("a")
    assert attempts.wait("a") == 60
    assert attempts.wait("b") == 0
    now[0] = 59.0
    assert attempts.wait("a") == 1
    now[0] = 61.0
    assert attempts.wait("a") == 0
    for address in range(10_000):
        attempts.wrong(str(address))
    assert len(attempts._wrong) <= 4096


@pytest.mark.parametrize("path", [*READ, "people/person-1", "replay/abc", "figures?window=week"])
def test_nothing_is_told_to_whoever_is_not_signed_in(browser: Browser, path: str) -> None:
    assert browser.get(path).status_code == 401
    assert not browser.arrive()
    assert browser.get(path).status_code == 401


def test_nothing_is_done_for_whoever_is_not_signed_in(browser: Browser) -> None:
    browser.arrive()
    assert browser.post("decide", {"what": "pause", "reason": "mischief"}).status_code == 401
    assert browser.post("logout", {}).status_code == 401


def test_the_page_and_all_its_parts_hold_no_script_or_style_of_their_own(browser: Browser) -> None:
    response = browser.http.get(browser.url)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert response.headers["cache-control"] == "no-store"
    for wrong in ("<style", " style=", " onclick", "javascript:", "<script>"):
        assert wrong not in response.text
    for part in ("dashboard.js", "dashboard.css", "charts.js", "people.js", "person.js", "player.js"):
        assert browser.http.get(f"{browser.origin}/static/{part}").is_success


def test_a_sign_in_gives_a_cookie_that_no_script_and_no_other_site_can_use(
    served: Served, browser: Browser, one: Busy
) -> None:
    response = browser.sign_in(served.token)
    cookie = response.headers["set-cookie"].lower()
    for wanted in ("httponly", "samesite=strict", "path=/admin", f"max-age={SESSION_SECONDS}"):
        assert wanted in cookie
    assert served.token not in str(response.headers) + response.text
    assert browser.arrive()
    assert all(browser.get(path).is_success for path in READ)
    assert all(browser.get(path).headers["cache-control"] == "no-store" for path in READ)
    latest = one.ledger.rows(sql.select(events.c.what).order_by(events.c.id.desc()).limit(1))
    assert latest == [{"what": "sign-in"}]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"X-CSRF-Token": ""}, 403),
        ({"X-CSRF-Token": "0" * 32 + ".AAAA"}, 403),
        ({"X-CSRF-Token": "ünsinn"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
    ],
)
def test_only_our_own_page_may_post(inside: Browser, change: dict[str, str], status: int) -> None:
    encoded = {name: value.encode() for name, value in change.items()}
    response = inside.post("decide", {"what": "pause", "reason": "mischief"}, **encoded)  # type: ignore[arg-type]
    assert response.status_code == status


def test_a_csrf_token_is_good_for_its_own_browser_only(
    served: Served, inside: Browser, open_browser: Callable[[Served], Browser]
) -> None:
    other = open_browser(served)
    other.arrive()
    inside.csrf = other.csrf
    assert inside.post("decide", {"what": "pause", "reason": "mischief"}).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"what": 3}', 400),
        (b'{"what": "pause", "reason": "\\u0000"}', 400),
        (b'{"what": "pause", "reason": "\\ud800"}', 400),
        (b"\xff", 400),
        (b"[" * 4000, 400),
        (b'{"what": "pause", "reason": "' + b"x" * 5000 + b'"}', 413),
        (b'{"what": "pause"}', 409),
        (b'{"what": "ban", "reason": "all"}', 409),
        (b'{"what": "pause", "person": "nobody", "reason": "who"}', 409),
    ],
)
def test_what_cannot_be_read_or_done_is_refused_in_words(inside: Browser, body: bytes, status: int) -> None:
    response = inside.post("decide", body)
    assert response.status_code == status
    assert response.text.startswith("expected ")


def test_wrong_tokens_are_refused_then_slowed_down(
    one: Busy, tmp_path: Path, open_browser: Callable[[Served], Browser]
) -> None:
    with serving(replace(one, folder=tmp_path)) as at:
        browser = open_browser(at)
        statuses = [browser.sign_in("guess").status_code for _ in range(10)]
        assert statuses == [403] * 8 + [429] * 2
        response = browser.sign_in(at.token)
        assert response.status_code == 429
        assert 0 < int(response.headers["retry-after"]) <= 61
        response = browser.http.get(
            f"{browser.origin}/metrics", headers={"Authorization": f"Bearer {at.token}"}
        )
        assert response.status_code == 429


def test_signing_out_ends_the_session_wherever_its_cookie_may_be(
    inside: Browser, served: Served, open_browser: Callable[[Served], Browser]
) -> None:
    [cookie] = [f"{one.name}={one.value}" for one in inside.http.cookies.jar]
    thief = open_browser(served)
    assert thief.get("figures", headers={"Cookie": cookie}).is_success
    assert inside.post("logout", {}).status_code == 204
    assert inside.get("figures").status_code == 401
    assert thief.get("figures", headers={"Cookie": cookie}).status_code == 401
    inside.arrive()
    assert inside.sign_in(served.token).is_success


def test_many_dashboards_cost_no_more_than_one(inside: Browser, one: Busy) -> None:
    asked: list[str] = []
    sql.event.listen(
        one.ledger.engine, "before_cursor_execute", lambda *given: asked.append(given[2]), named=False
    )
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda _: inside.get("figures").content, range(64)))
        seconds = time.monotonic() - began
    curves = [statement for statement in asked if "conduct.lag_ms" in statement]
    assert len(curves) <= 1 + seconds
    assert len({json.loads(answer)["at"] for answer in answers}) <= len(curves) + 1  # one may be from before


def test_a_decision_counts_at_once_and_is_on_record(inside: Browser, one: Busy) -> None:
    person = one.playing[0]
    assert inside.post("decide", {"what": "pause", "reason": "lunch"}).status_code == 204
    assert standing(one.ledger, one.study.name).paused
    assert inside.get("figures").json()["study"]["paused"]
    assert inside.post("decide", {"what": "resume", "reason": "back"}).status_code == 204
    assert inside.post("decide", {"what": "pause", "person": person, "reason": "a word"}).status_code == 204
    [row] = [each for each in inside.get("people").json()["people"] if each["person"] == person]
    assert (row["standing"], row["why"]) == ("paused", "a word")
    told = inside.get(f"people/{person}").json()
    assert told["events"][0]["reason"] == "a word"
    assert inside.post("decide", {"what": "resume", "person": person, "reason": "done"}).status_code == 204
    assert standing(one.ledger, one.study.name).of(person) == ""


def test_records_leave_as_csv_without_anything_that_leads_to_a_name(inside: Browser, one: Busy) -> None:
    archive = zipfile.ZipFile(io.BytesIO(inside.get("records.zip").content))
    files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(files) == {"people.csv", "consents.csv", "conduct.csv", "events.csv"}
    rows = {name: list(csv.DictReader(io.StringIO(text))) for name, text in files.items()}
    assert {row["person"] for row in rows["people.csv"]} >= set(one.names)
    assert len(rows["conduct.csv"]) == len(one.store)
    assert {row["what"] for row in rows["events.csv"]} >= {"pause", "resume", "sign-in"}
    everything = "".join(files.values())
    seats = [row["seat"] for row in one.ledger.rows(sql.select(people.c.seat))]
    for secret in (EXTERNAL, "SECRET-CODE", *seats):
        assert secret not in everything


def test_more_rows_than_one_piece_are_all_exported_once(inside: Browser, one: Busy) -> None:
    with one.ledger.write() as connection:
        many = [
            {
                "study": one.study.name,
                "person": "",
                "what": "note",
                "reason": str(at),
                "details": {},
                "at": 0.0,
            }
            for at in range(2500)
        ]
        connection.execute(events.insert(), many)
    archive = zipfile.ZipFile(io.BytesIO(inside.get("records.zip").content))
    rows = list(csv.DictReader(io.StringIO(archive.read("events.csv").decode())))
    assert [row["reason"] for row in rows if row["what"] == "note"] == [str(at) for at in range(2500)]


def test_demonstrations_leave_as_a_store_that_opens_again(inside: Browser, one: Busy, tmp_path: Path) -> None:
    zipfile.ZipFile(io.BytesIO(inside.get("demonstrations.zip").content)).extractall(tmp_path)
    store = Store.open(tmp_path / one.store.path.name)
    assert sorted(store.episodes()["episode"].to_pylist()) == sorted(
        one.store.episodes()["episode"].to_pylist()
    )
    assert store.verify() == []


def parts(stream: bytes) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Take a replay's stream apart: what is told, and the frames."""
    told, frames, at = [], [], 0
    while at < len(stream):
        kind, size = struct.unpack_from("<BI", stream, at)
        body = stream[at + 5 : at + 5 + size]
        at += 5 + size
        if kind == 1:
            told.append(json.loads(body))
        else:
            frames.append(body)
    return told, frames


def test_an_episode_is_played_again_picture_by_picture(inside: Browser, one: Busy) -> None:
    for task in ("goto-local", "taxi"):
        episode = next(one.store.trajectories(task))
        told, frames = parts(inside.get(f"replay/{episode.episode}").content)
        assert [each["type"] for each in told] == ["episode", "end"]
        assert told[0]["task"] == task
        assert told[0]["times"] == episode.times_ms.tolist()
        assert len(told[0]["actions"]) == len(episode)
        assert told[0]["instruction"]
        assert told[1]["why"] == ""
        assert len(frames) == len(episode) + 1
        assert frames[0]
        assert [unpack(frame)[1] for frame in frames if frame] == [at for at, one in enumerate(frames) if one]
        assert (
            inside.get(f"replay/{episode.episode}").content == inside.get(f"replay/{episode.episode}").content
        )


def test_replays_at_once_come_one_after_another_and_all_arrive(inside: Browser, one: Busy) -> None:
    episodes = [each.episode for each in one.store.trajectories("goto-red-ball-grey")][:6]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        streams = list(pool.map(lambda name: inside.get(f"replay/{name}").content, episodes * 2))
    assert streams[:6] == streams[6:]
    assert all(parts(stream)[0][-1] == {"type": "end", "why": ""} for stream in streams)


def test_an_episode_that_only_the_store_has_is_played_too_and_a_changed_one_is_called_that(
    inside: Browser, one: Busy
) -> None:
    first, second, third = list(one.store.trajectories("goto-local"))[-3:]
    with one.journal.engine.begin() as connection:
        connection.execute(sql.text("DELETE FROM episodes WHERE episode = :name"), {"name": first.episode})
        connection.execute(
            sql.text("UPDATE episodes SET seed = seed + 1 WHERE episode = :name"), {"name": second.episode}
        )
        connection.execute(
            sql.text("UPDATE steps SET digest = :proof WHERE episode = :name"),
            {"name": third.episode, "proof": b"x"},
        )
    told, frames = parts(inside.get(f"replay/{first.episode}").content)
    assert told[-1]["why"] == ""
    assert len(frames) == len(first) + 1
    told, _ = parts(inside.get(f"replay/{second.episode}").content)
    assert told[-1]["why"].startswith(("Not exact", "The environment has changed"))
    told, _ = parts(inside.get(f"replay/{third.episode}").content)
    assert told[-1]["why"].startswith("Not exact")


def test_what_was_forgotten_is_shown_no_more(inside: Browser, one: Busy) -> None:
    name = one.names[-1]
    episodes = [each.episode for each in one.store.trajectories(demonstrators=[name])]
    assert inside.get(f"replay/{episodes[0]}").is_success
    one.store.forget(name)
    with one.journal.engine.begin() as connection:
        connection.execute(sql.text("DELETE FROM episodes WHERE demonstrator = :name"), {"name": name})
    assert inside.get(f"replay/{episodes[0]}").status_code == 404


def cookie_of(browser: Browser) -> str:
    return "; ".join(f"{each.name}={each.value}" for each in browser.http.cookies.jar)


def watching(browser: Browser, person: str, cookie: str) -> Any:
    url = browser.url.replace("http", "ws") + f"/watch/{person}"
    return connect(url, additional_headers={"Cookie": cookie, "Origin": browser.origin})


def until(socket: Any, kind: str) -> Any:
    """Read on until a message of a kind, or a frame, has come."""
    while True:
        message = socket.recv(timeout=20)
        if isinstance(message, bytes) and kind == "frame":
            return message
        if isinstance(message, str) and json.loads(message)["type"] == kind:
            return json.loads(message)


def test_whoever_watches_sees_what_the_person_sees_and_changes_nothing(
    inside: Browser, served: Served
) -> None:
    address = f"{inside.origin.replace('http', 'ws')}/socket"
    with (
        watching(inside, served.watched, cookie_of(inside)) as watcher,
        connect(address, additional_headers={"Origin": inside.origin}) as page,
    ):
        until(page, "state")
        page.send(json.dumps({"type": "choose", "task": "goto-local"}))
        shown = until(page, "frame")
        assert until(watcher, "frame") == shown
        for frame, code in enumerate(("ArrowLeft", "ArrowLeft", "ArrowRight")):
            page.send(json.dumps({"type": "down", "code": code, "frame": frame}))
            shown = until(page, "frame")
            page.send(json.dumps({"type": "shown", "frame": frame + 1}))
            seen = until(watcher, "frame")
            assert seen == shown
            watcher.send(json.dumps({"type": "shown", "frame": unpack(seen)[1]}))
        for mischief in (
            {"type": "down", "code": "ArrowLeft", "frame": 3},
            {"type": "leave"},
            {"type": "x"},
            [],
        ):
            watcher.send(json.dumps(mischief))
        watcher.send("{")
        page.send(json.dumps({"type": "down", "code": "ArrowLeft", "frame": 3}))
        assert unpack(until(page, "frame"))[1] == 4  # of the watcher's keys there is no trace
        assert unpack(until(watcher, "frame"))[1] == 4
        with watching(inside, served.watched, cookie_of(inside)) as late:
            assert until(late, "state")["episode"]["step"] == 4
            assert unpack(until(late, "frame"))[1] == 4


def test_a_seat_at_another_server_is_watched_through_the_journal(
    inside: Browser, one: Busy, served: Served
) -> None:
    other = next(name for name in one.playing if name != served.watched)
    seat = str(one.ledger.person(person=other).seat)  # type: ignore[union-attr]
    kept = next(one.store.trajectories("goto-local"))
    record = EpisodeRecord(seat, other, kept.suite, kept.task, kept.env, kept.seed, b"", kept.kwargs)
    steps = one.journal.steps(kept.episode)
    with watching(inside, other, cookie_of(inside)) as watcher:
        assert until(watcher, "away")
        one.journal.begin(record).result()
        one.journal.append(record.episode, steps[0]).result()
        assert until(watcher, "state")["episode"]["instruction"]
        assert unpack(until(watcher, "frame"))[3] == 0
        assert until(watcher, "step")["step"] == 1
        for step in steps[1:]:
            one.journal.append(record.episode, step).result()
        _, frames = parts(inside.get(f"replay/{kept.episode}").content)
        shown = {unpack(frame)[3]: frame for frame in frames if frame}
        last = max(shown)
        while unpack(seen := until(watcher, "frame"))[3] < last:
            watcher.send(json.dumps({"type": "shown", "frame": unpack(seen)[3]}))
        assert seen == shown[last]
        one.journal.mark(record.episode, "kept").result()
        assert until(watcher, "away")


@pytest.mark.parametrize(
    ("person", "cookie", "code"),
    [
        ("{watched}", "", SIGNED_OUT),
        ("{watched}", "admin-00000000=x.y", SIGNED_OUT),
        ("nobody", "{cookie}", NOBODY),
    ],
)
def test_only_whoever_is_signed_in_may_watch_and_only_our_people(
    inside: Browser, served: Served, person: str, cookie: str, code: int
) -> None:
    person, cookie = person.format(watched=served.watched), cookie.format(cookie=cookie_of(inside))
    with watching(inside, person, cookie) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


def test_metrics_are_for_the_bearer_of_the_token(served: Served, browser: Browser) -> None:
    url = f"{browser.origin}/metrics"
    assert browser.http.get(url).status_code == 401
    assert browser.http.get(url, headers={"Authorization": "Basic eDp5"}).status_code == 401
    assert browser.http.get(url, headers={"Authorization": "Bearer guess"}).status_code == 403
    response = browser.http.get(url, headers={"Authorization": f"Bearer {served.token}"})
    assert response.is_success
    assert response.headers["content-type"].startswith("text/plain")
    assert "tutelage_people{" in response.text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["people/{}", "replay/{}", "figures?window={}", "{}", "people/{}/{}"]),
    text=st.text(max_size=40),
    body=st.binary(max_size=60)
    | st.dictionaries(st.text(max_size=9), st.text(max_size=20)).map(json.dumps).map(str.encode),
)
def test_nothing_that_is_asked_for_breaks_the_server(
    inside: Browser, path: str, text: str, body: bytes
) -> None:
    asked = path.replace("{}", quote(text, safe=""))
    for response in (inside.get(asked), inside.post("decide", body), inside.post(asked, body)):
        assert response.status_code < 500
        assert "Traceback" not in response.text
