"""What a page is sent: a picture says in passing what is on disk, and a slow page is not flooded."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from tutelage.crowd.hosting.frame_codec import SHAPES, unpack
from tutelage.crowd.storage.study_tables import conduct
from tutelage.envs.suite import Suite, suite_from
from tutelage.tests.crowd.server.test_recorder_app import LAKE, POLE, TO_THE_GOAL, Page, serving, wait_for
from tutelage.tests.support.study_page import Page as StudyPage
from tutelage.tests.support.study_page import browser, running

LAG_SECONDS = 0.12


@pytest.fixture
def suite() -> Suite:
    return suite_from({"suite": "small", "tasks": [LAKE, POLE]})


def test_a_page_hears_soon_that_its_last_step_is_on_disk(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path / "out") as address, Page(address) as page:
        page.send("choose", task="lake")
        page.until("playing")
        page.press(TO_THE_GOAL[0])
        page.until_saved(1)  # by itself: nothing else is done that could tell
        told = [one["type"] for one in page.told]
        # either the picture came after the commit, or a message of its own did
        assert told.count("saved") == (unpack(page.frames[-1])[2] == 0)


def test_while_pictures_come_they_tell_what_is_on_disk(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path / "out") as address, Page(address) as page:
        page.send("choose", task="pole")
        page.until("ready")
        page.press("ArrowRight")
        page.until("playing")
        saved = []
        for at in range(12):  # longer than a page waits to be told
            page.press(("ArrowLeft", "ArrowRight")[at % 2])
            step = page.wait("step")
            saved.append(step["saved"])
            page.send("shown", frame=step["step"])
        assert [one["type"] for one in page.told].count("saved") == 0
        assert saved == sorted(saved)
        assert saved[-1] > 3
        assert {unpack(frame)[0].kind for frame in page.frames} == {SHAPES}


def test_a_page_that_shows_nothing_is_sent_three_pictures_and_then_the_newest(
    suite: Suite, tmp_path: Path
) -> None:
    with serving(suite, tmp_path / "out") as address, Page(address) as page:
        page.send("choose", task="pole")
        page.until("ready")
        page.press("ArrowRight")
        page.until("playing")
        numbers = [page.wait("step")["step"] for _ in range(3)]
        file = sqlite3.connect(tmp_path / "out" / "journal.sqlite")
        with contextlib.closing(file):
            wait_for(lambda: file.execute("select max(step) from steps").fetchone()[0] >= numbers[-1] + 4)
        page.send("shown", frame=numbers[-1])
        newest = page.wait("step", "state")
        assert newest["type"] == "step"
        assert newest["step"] > numbers[-1] + 2


def test_in_real_time_lag_is_from_a_key_to_the_word_that_its_picture_is_seen(tmp_path: Path) -> None:
    only_the_pole: dict[str, Any] = {"tasks": {"pole": {}}, "practice": None, "check": None, "episodes": 1}
    with running(tmp_path, **only_the_pole) as (server, address), browser(address) as client:
        client.get("/join")
        with StudyPage(address, client) as page:
            page.send("consent", given=True)
            page.until(stage="instructions")
            page.send("ready")
            page.until(stage="play")
            page.press(["ArrowLeft"])
            keys = 0
            while page.way["outcome"] is None:
                message = page.socket.recv(timeout=60)
                if isinstance(message, str):
                    told = json.loads(message)
                    page.way = told if told["type"] == "way" else page.way
                    continue
                keys += 1
                frame = unpack(message)[1]
                page.send("down", code="ArrowLeft", frame=frame)
                page.send("up", code="ArrowLeft")
                time.sleep(LAG_SECONDS)  # a slow way, or a slow page
                page.send("shown", frame=frame)
        [row] = server.database.rows(sql.select(conduct))
    assert keys > 2
    assert row["reaction_ms"] is None  # a picture of real time asks for nothing
    # the server reads both messages, each a little late perhaps; a frame comes with the
    # next step, and waits for those that are still on their way
    assert LAG_SECONDS * 500 <= row["lag_ms"] < 5 * LAG_SECONDS * 1000
    assert sum(server.metrics.figures()["lag"]) > 0
