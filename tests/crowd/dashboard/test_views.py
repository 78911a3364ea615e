"""The dashboard's routes: who gets in, what comes out, and what never does."""

from __future__ import annotations

import concurrent.futures
import json
import struct
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tutelage.crowd.dashboard.live_view import NOBODY, SIGNED_OUT
from tutelage.crowd.hosting.frame_codec import unpack
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.crowd.storage.journal_tables import episodes, step_checksum, steps
from tutelage.crowd.storage.row_checksums import seal_rows
from tutelage.tests.crowd.dashboard.conftest import Browser
from tutelage.tests.support.busy import Busy
from tutelage.tests.support.busy_server import Served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

CROWD = {"careful": 10, "hostile": 1}
READ = ("figures", "people", "records.zip", "demonstrations.zip")


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


def test_an_episode_is_played_again_picture_by_picture(inside: Browser, busy_study: Busy) -> None:
    for task in ("goto-local", "taxi"):
        episode = next(busy_study.store.trajectories(task))
        told, frames = parts(inside.get(f"replay/{episode.episode}").content)
        assert [each["type"] for each in told] == ["episode", "end"]
        assert told[0]["task"] == task
        assert told[0]["times"] == episode.times_ms.tolist()
        assert len(told[0]["actions"]) == len(episode)
        assert told[0]["instruction"]
        assert told[1]["why"] == ""
        assert len(frames) == len(episode) + 1
        assert frames[0]
        assert [unpack(frame)[1] for frame in frames if frame] == [
            at for at, frame in enumerate(frames) if frame
        ]
        assert (
            inside.get(f"replay/{episode.episode}").content == inside.get(f"replay/{episode.episode}").content
        )


def test_replays_at_once_come_one_after_another_and_all_arrive(inside: Browser, busy_study: Busy) -> None:
    episodes = [trajectory.episode for trajectory in busy_study.store.trajectories("goto-red-ball-grey")][:6]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        streams = list(pool.map(lambda name: inside.get(f"replay/{name}").content, episodes * 2))
    assert streams[:6] == streams[6:]
    assert all(parts(stream)[0][-1] == {"type": "end", "why": ""} for stream in streams)


def test_an_episode_that_only_the_store_has_is_played_too_and_a_changed_one_is_called_that(
    inside: Browser, busy_study: Busy
) -> None:
    first, second, third = list(busy_study.store.trajectories("goto-local"))[-3:]
    with busy_study.journal.engine.begin() as connection:
        connection.execute(sql.text("DELETE FROM episodes WHERE episode = :name"), {"name": first.episode})
        is_second = episodes.c.episode == second.episode
        connection.execute(episodes.update().where(is_second).values(seed=episodes.c.seed + 1))
        is_third = steps.c.episode == third.episode
        connection.execute(steps.update().where(is_third).values(digest=b"x", checksum=None))
        seal_rows(connection, steps, step_checksum)
    told, frames = parts(inside.get(f"replay/{first.episode}").content)
    assert told[-1]["why"] == ""
    assert len(frames) == len(first) + 1
    told, _ = parts(inside.get(f"replay/{second.episode}").content)
    assert told[-1]["why"].startswith(("Not exact", "The environment has changed"))
    told, _ = parts(inside.get(f"replay/{third.episode}").content)
    assert told[-1]["why"].startswith("Not exact")


def test_what_was_forgotten_is_shown_no_more(inside: Browser, busy_study: Busy) -> None:
    name = busy_study.names[-1]
    episodes = [trajectory.episode for trajectory in busy_study.store.trajectories(demonstrators=[name])]
    assert inside.get(f"replay/{episodes[0]}").is_success
    busy_study.store.forget(name)
    with busy_study.journal.engine.begin() as connection:
        connection.execute(sql.text("DELETE FROM episodes WHERE demonstrator = :name"), {"name": name})
    assert inside.get(f"replay/{episodes[0]}").status_code == 404


def cookie_of(browser: Browser) -> str:
    return "; ".join(f"{each.name}={each.value}" for each in browser.http.cookies.jar)


def watching(browser: Browser, person: str, cookie: str) -> Any:
    url = browser.url.replace("http", "ws") + f"/watch/{person}"
    return connect(url, additional_headers={"Cookie": cookie, "Origin": browser.origin}, open_timeout=60)


def until(socket: Any, kind: str) -> Any:
    """Read on until a message of a kind, or a frame, has come."""
    while True:
        message = socket.recv(timeout=60)
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
    inside: Browser, busy_study: Busy, served: Served
) -> None:
    other = next(name for name in busy_study.playing if name != served.watched)
    seat = str(busy_study.database.person(person=other).seat)  # type: ignore[union-attr]
    kept = next(busy_study.store.trajectories("goto-local"))
    record = EpisodeRecord(seat, other, kept.suite, kept.task, kept.env, kept.seed, b"", kept.kwargs)
    steps = busy_study.journal.steps(kept.episode)
    with watching(inside, other, cookie_of(inside)) as watcher:
        assert until(watcher, "away")
        busy_study.journal.begin(record).result()
        busy_study.journal.append(record.episode, steps[0]).result()
        assert until(watcher, "state")["episode"]["instruction"]
        assert unpack(until(watcher, "frame"))[1] == 0
        assert until(watcher, "step")["step"] == 1
        for step in steps[1:]:
            busy_study.journal.append(record.episode, step).result()
        _, frames = parts(inside.get(f"replay/{kept.episode}").content)
        shown = {unpack(frame)[1]: frame for frame in frames if frame}
        last = max(shown)
        while unpack(seen := until(watcher, "frame"))[1] < last:
            watcher.send(json.dumps({"type": "shown", "frame": unpack(seen)[1]}))
        assert seen == shown[last]
        busy_study.journal.mark(record.episode, "kept").result()
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
        socket.recv(timeout=60)
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
