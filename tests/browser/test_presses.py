"""A press means one thing: giving up is asked for, a second tab pauses, a double tap is one."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from playwright.sync_api import Page, expect
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.envs.task import TEST
from tutelage.tests.browser.lake import to_the_tasks
from tutelage.tests.browser.slow import at_step, opened, press
from tutelage.tests.browser.test_page import at_least, phase

Serve = Callable[..., str]
Open = Callable[..., Page]
ASKED = "dialog#giving[open]"
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def settled(page: Page) -> None:
    """Wait until what is pressed counts as an answer to a question that has just come up."""
    page.wait_for_timeout(450)


@pytest.mark.slow
def test_giving_up_is_asked_for_and_no_key_of_a_game_says_yes(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(seeds=TEST))
    opened(page, "goto-red-ball-grey")
    press(page, "ArrowLeft")
    page.dblclick("[data-choice=discard]")
    page.wait_for_selector(ASKED)
    expect(page.get_by_role("button", name="Go on playing")).to_be_focused()
    settled(page)
    for key in ("ArrowLeft", "ArrowUp", "x", "k", "r", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator(ASKED)).to_be_visible()
    page.keyboard.press("Enter")  # what has the focus is: no
    expect(page.locator(ASKED)).to_have_count(0)
    at_step(page, 1)
    page.keyboard.press("x")
    page.wait_for_selector(ASKED)
    page.keyboard.press("Escape")
    expect(page.locator(ASKED)).to_have_count(0)
    expect(page.locator("#field")).to_be_focused()
    press(page, "ArrowRight")
    page.keyboard.press("x")
    page.wait_for_selector(ASKED)
    settled(page)
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Give up").last).to_be_focused()
    page.keyboard.press("Enter")
    at_step(page, 0)
    expect(page.locator("#count")).to_have_text("demonstration 2")
    page.keyboard.press("Escape")
    phase(page, "choosing")
    expect(page.locator("[data-task=goto-red-ball-grey]")).to_contain_text("1 given up")


def test_what_moves_by_itself_waits_for_the_answer(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(seeds=TEST))
    opened(page, "pendulum")
    page.keyboard.press("ArrowRight")
    phase(page, "playing")
    page.click("[data-choice=discard]")
    page.wait_for_selector(ASKED)
    phase(page, "paused")
    page.get_by_role("button", name="Go on playing").click()
    expect(page.locator(ASKED)).to_have_count(0)
    phase(page, "paused")
    page.keyboard.press("ArrowRight")
    phase(page, "playing")


@pytest.mark.slow
def test_a_study_asks_too_by_touch(
    serve_study: Callable[..., AbstractContextManager[tuple[StudyServer, str]]], join: Open
) -> None:
    with serve_study() as (_, address):
        page = join(address, has_touch=True, viewport={"width": 667, "height": 375})
        to_the_tasks(page)
        page.tap("[data-choice=discard]")
        page.wait_for_selector(ASKED)
        page.tap("#giving-no")
        expect(page.locator(ASKED)).to_have_count(0)
        expect(page.locator("#outcome")).to_be_hidden()
        settled(page)
        page.tap("[data-choice=discard]")
        page.wait_for_selector(ASKED)
        settled(page)
        page.tap("#giving-yes")
        expect(page.locator("#verdict")).to_have_text("Given up")


@pytest.mark.slow
def test_a_second_tab_pauses_what_runs_and_both_say_so(serve: Serve, open_page: Open) -> None:
    url = serve()
    page = open_page(url)
    opened(page, "pendulum")
    page.keyboard.down("ArrowRight")
    at_least(page, 3)
    second = page.context.new_page()
    second.goto(url)
    phase(second, "paused")
    expect(second.locator("#curtain-text")).to_have_text("Paused")
    expect(second.get_by_text("This was open in another tab, which has stopped.")).to_be_visible()
    expect(page.get_by_role("heading", name="You are playing in another tab")).to_be_visible()
    expect(page.locator("#elsewhere-why")).to_contain_text("was paused")
    second.keyboard.press("g")
    phase(second, "playing")
    at_least(second, 5)
    page.get_by_role("button", name="Play here").click()
    phase(page, "paused")
    expect(second.get_by_role("heading", name="You are playing in another tab")).to_be_visible()
    page.keyboard.press("g")
    phase(page, "playing")


@pytest.mark.slow
def test_touch_is_told_to_tap_and_a_double_tap_keeps_once(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(), has_touch=True, is_mobile=True, viewport={"width": 844, "height": 390})
    page.tap("[data-task=cartpole]")
    curtain = page.locator("#curtain-text")
    expect(curtain).to_have_text("Tap to start")
    page.tap("#curtain")
    phase(page, "finished")
    box = page.locator("[data-choice=keep]").bounding_box()
    assert box is not None
    for _ in range(2):
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#count")).to_have_text("demonstration 2")
    expect(curtain).to_have_text("Tap to start")
    page.keyboard.press("Shift")
    expect(curtain).to_have_text("Press any key to start")
    assert page.locator(".note").count() == 0


@pytest.mark.slow
def test_a_page_out_of_sight_and_the_way_back_lose_nothing(serve: Serve, open_page: Open) -> None:
    page = open_page(serve())
    opened(page, "pendulum")
    page.keyboard.press("ArrowRight")
    phase(page, "playing")
    at_least(page, 2)
    page.evaluate(HIDE, True)
    phase(page, "paused")
    page.evaluate(HIDE, False)
    page.keyboard.press("Escape")
    phase(page, "choosing")
    assert page.locator(".note").count() == 0
    opened(page, "goto-red-ball-grey")
    press(page, "ArrowLeft")
    expect(page.locator("#saved")).to_have_text("Saved to step 1")
    page.go_back()
    page.go_forward()
    phase(page, "playing")
    at_step(page, 1)
    page.wait_for_selector("canvas[data-frame]:visible")
    press(page, "ArrowRight")
    expect(page.locator("#count")).to_have_text(re.compile("demonstration 1$"))
