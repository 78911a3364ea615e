"""How an episode ended can still be seen at its outcome, on a page that was loaded anew."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.tests.browser.lake import at, give_up, onward

Serve = Callable[..., AbstractContextManager[tuple[StudyServer, str]]]


def picture(page: Page) -> str:
    page.wait_for_selector("canvas[data-frame]:visible")
    return str(page.evaluate("document.getElementById('picture').toDataURL()"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "keys"),
    [
        ("goto-red-ball-grey", ["ArrowLeft", "ArrowLeft", "ArrowUp"]),  # tiles
        ("taxi", ["ArrowDown", "ArrowUp", "ArrowUp"]),  # an image
        ("cartpole", ["ArrowLeft"]),  # shapes, in real time
    ],
)
def test_the_last_picture_is_there_after_a_reload(
    serve_study: Serve, join: Callable[..., Page], task: str, keys: list[str]
) -> None:
    plain = {"languages": None, "words": None, "title": None, "pay": None, "breaks": None, "check": None}
    changes: dict[str, Any] = {**plain, "suite": "first-steps", "tasks": {task: {}}, "practice": None}
    with serve_study(**changes, consent="Yes?", instructions="Play.", episodes=2) as (_, address):
        page = join(address)
        page.click("[data-choice=agree]")
        page.click("[data-choice=ready]")
        at(page, "play")
        page.wait_for_selector("canvas[data-frame]:visible")
        first = picture(page)
        for number, code in enumerate(keys, 1):
            page.keyboard.press(code)
            if task != "cartpole":
                expect(page.locator("#step")).to_have_attribute("data-step", str(number))
        if task != "cartpole":
            give_up(page)
        expect(page.locator("#outcome")).to_be_visible()
        step = page.locator("#step").get_attribute("data-step") or ""
        expect(page.locator("#picture")).to_have_attribute(
            "data-frame", step
        )  # the last one is on the screen
        last = picture(page)
        assert last != first
        page.reload()
        expect(page.locator("#outcome")).to_be_visible()
        assert picture(page) == last
        assert page.locator("#verdict").inner_text()
        onward(page)
        expect(page.locator("#outcome")).to_be_hidden()
        expect(page.locator("#picture")).not_to_have_attribute("data-frame", step)  # a new one is drawn
        assert picture(page) != last
