"""A study in a real browser: the whole way by keys and by touch, and every return to it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import sqlalchemy as sql
from playwright.sync_api import Page, expect
from tutelage.crowd.server.recorder_app import listen
from tutelage.crowd.server.study_app import make_server
from tutelage.crowd.storage.study_tables import conduct, consents, people
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.datasets.store import Store
from tutelage.tests.browser.lake import STUDY, at, cross, episode, onward, to_the_tasks
from tutelage.tests.browser.test_looks import fits
from tutelage.tests.support.study_page import ACROSS
from tutelage.tests.support.toy_study import serve as opened

Open = Callable[..., Page]
Serve = Callable[..., AbstractContextManager[tuple[StudyServer, str]]]


@pytest.mark.slow
def test_the_whole_way_by_keys_and_a_reload_at_every_stage(
    serve_study: Serve, join: Open, tmp_path: Path
) -> None:
    with serve_study() as (server, address):
        page = join(address)
        press = page.keyboard.press

        def reload(stage: str) -> None:
            page.reload()
            at(page, stage)

        reload("consent")
        expect(page.locator("h1:visible")).to_have_text("Before you begin")
        expect(page.locator("h1:visible")).to_be_focused()
        expect(page.get_by_text("One pound.")).to_be_visible()
        for _ in range(2):  # past the link in the text
            press("Tab")
        expect(page.get_by_role("button", name="I agree to take part")).to_be_focused()
        press("Enter")
        at(page, "instructions")
        reload("instructions")
        expect(page.get_by_role("listitem").filter(has_text="←")).to_have_count(1)
        press("Enter")
        at(page, "practice")
        expect(page.locator("#field")).to_be_focused()
        press(ACROSS[0])
        expect(page.locator("#saved")).to_have_attribute("data-saved", "1")
        reload("practice")
        expect(page.locator("#step")).to_have_attribute("data-step", "1")
        cross(page, 1)
        expect(page.locator("#verdict")).to_contain_text("Well done")
        reload("practice")
        expect(page.locator("#verdict")).to_contain_text("Well done")
        onward(page)
        at(page, "check")
        reload("check")
        press("Tab")  # from the heading to the first question
        press("ArrowDown")
        press("Enter")
        expect(page.get_by_role("alert").filter(has_text="One answer is not right")).to_be_visible()
        reload("check")
        expect(page.get_by_role("alert").filter(has_text="This is your last attempt")).to_be_visible()
        press("Tab")
        press("Space")
        press("Enter")
        at(page, "play")
        for number in (1, 2, 3):
            episode(page, number)
            press(ACROSS[0])
            expect(page.locator("#saved")).to_have_attribute("data-saved", "1")
            reload("play")
            cross(page, 1)
            expect(page.locator("#verdict")).to_contain_text("Success")
            expect(page.locator("#announcer")).to_contain_text("Success. 6 steps")
            reload("play")
            expect(page.locator("#verdict")).to_contain_text("Success")
            onward(page)
            if number == 2:
                at(page, "rest")
                reload("rest")
                expect(page.locator("h1:visible")).to_be_focused()
                expect(page.get_by_text("2 tasks done, 1 to go.")).to_be_visible()
                press("Enter")
        at(page, "done")
        reload("done")
        expect(page.locator("h1:visible")).to_have_text("Thank you. You are done")
        expect(page.locator(".code:not(#confirm-code)")).to_have_text("LAKE123")
        rows = server.database.rows(sql.select(conduct))
        assert [(row["success"], row["steps"]) for row in rows] == [(True, 6)] * 3
        assert all(row["reaction_ms"] is not None and row["lag_ms"] is not None for row in rows)
    assert len(Store.open(tmp_path / "out")) == 3


@pytest.mark.slow
def test_the_whole_way_by_touch_on_a_small_screen_in_chinese(serve_study: Serve, join: Open) -> None:
    with serve_study(episodes=2, breaks={"every": 1}) as (server, address):
        touch = {"has_touch": True, "is_mobile": True, "locale": "zh-CN"}
        page = join(address, viewport={"width": 400, "height": 800}, **touch)
        assert page.locator("html").get_attribute("lang") == "zh"
        expect(page.locator("h1:visible")).to_have_text("开始之前")

        def cross_by_touch() -> None:
            page.wait_for_selector("canvas[data-frame]:visible")
            fits(page)
            for number, code in enumerate(ACROSS, 1):
                page.locator(f"[data-codes={code}]").tap()
                if number < len(ACROSS):
                    expect(page.locator("#step")).to_have_text(f"第 {number} 步，最多 100 步")
            expect(page.locator("#outcome")).to_be_visible()
            page.locator("[data-choice=next]:visible").tap()

        page.locator("[data-choice=agree]").tap()
        fits(page)
        page.wait_for_timeout(600)  # a second tap at once would be a double tap
        page.locator("[data-choice=ready]").tap()
        at(page, "practice")
        cross_by_touch()
        at(page, "check")
        page.locator("[data-choice=answer]").tap()
        expect(page.get_by_role("alert").filter(has_text="请回答每一个问题")).to_be_visible()
        page.get_by_text("对岸").tap()
        page.locator("[data-choice=answer]").tap()
        at(page, "play")
        cross_by_touch()
        at(page, "rest")
        fits(page)
        page.wait_for_timeout(600)  # a second tap at once would be a double tap
        page.locator("[data-choice=next]:visible").tap()
        at(page, "play")
        cross_by_touch()
        at(page, "done")
        expect(page.locator("h1:visible")).to_have_text("谢谢您，全部完成了")
        english = re.compile("[A-Za-z]{4,}")
        left = english.findall(page.inner_text("main") + page.inner_text("header"))
        assert set(left) <= {"LAKE", "English"}
        [agreed] = server.database.rows(sql.select(consents))
        assert agreed["language"] == "zh"
        assert agreed["consent"] == server.study.consent_version("zh")


@pytest.mark.slow
def test_the_language_changes_at_any_time(serve_study: Serve, join: Open) -> None:
    with serve_study() as (server, address):
        page = join(address)
        page.click("[data-language=zh]")
        expect(page.locator("h1:visible")).to_have_text("开始之前")
        expect(page.get_by_text("一英镑。")).to_be_visible()
        assert page.locator("html").get_attribute("lang") == "zh"
        expect(page.locator("[data-language=zh]")).to_have_attribute("aria-pressed", "true")
        page.click("[data-language=en]")
        expect(page.locator("h1:visible")).to_have_text("Before you begin")
        to_the_tasks(page)
        page.keyboard.press(ACROSS[0])
        page.click("[data-language=zh]")
        expect(page.locator("#count")).to_have_text("任务 1 / 3")
        expect(page.locator("#connection")).to_have_text("已连接")
        page.locator("#field").focus()
        cross(page, 1)
        expect(page.locator("#verdict")).to_contain_text("成功")
        page.click("[data-language=en]")
        expect(page.locator("#verdict")).to_contain_text("Success")
        assert [row["language"] for row in server.database.rows(sql.select(people))] == ["en"]


@pytest.mark.slow
def test_a_second_tab_is_refused_kindly_and_may_take_over(serve_study: Serve, join: Open) -> None:
    with serve_study() as (_, address):
        page = join(address)
        to_the_tasks(page)
        page.keyboard.press(ACROSS[0])
        second = page.context.new_page()
        second.goto(f"http://{address}/")
        expect(second.get_by_role("heading", name="This study is open in another tab")).to_be_visible()
        page.keyboard.press(ACROSS[1])
        expect(page.locator("#step")).to_have_attribute("data-step", "2")
        second.get_by_role("button", name="Move here").click()
        expect(second.locator("#step")).to_have_attribute("data-step", "2")
        expect(page.get_by_role("heading", name="You are playing in another tab")).to_be_visible()
        second.keyboard.press(ACROSS[2])
        expect(second.locator("#step")).to_have_attribute("data-step", "3")
        page.get_by_role("button", name="Play here").click()
        expect(page.locator("#step")).to_have_attribute("data-step", "3")


@pytest.mark.slow
def test_the_page_comes_back_to_the_same_step_when_the_server_does(
    serve_study: Serve, join: Open, tmp_path: Path
) -> None:

    with serve_study() as (_, address):
        page = join(address)
        to_the_tasks(page)
        page.keyboard.press(ACROSS[0])
        expect(page.locator("#saved")).to_have_attribute("data-saved", "1")
    expect(page.locator("#connection")).to_have_text("Connection lost, trying again")
    with listen("127.0.0.1", int(address.split(":")[1])) as listening:
        again = make_server(opened(tmp_path, **STUDY))
        thread = threading.Thread(target=again.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            expect(page.locator("#connection")).to_have_text("Connected", timeout=60_000)
            expect(page.locator("#step")).to_have_attribute("data-step", "1")
            cross(page, 1)
        finally:
            again.should_exit = True
            thread.join()
