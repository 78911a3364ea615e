"""A task that is too slow says so while it is played, to the eye and to the ear."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from tutelage.envs.suite import Suite
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.browser.slow import opened, slow, slow_suite
from tutelage.tests.browser.test_page import phase


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setenv(VARIABLE, "tutelage.tests.support.toy_slow")
    return slow_suite(slow("late", step_seconds=0.05, pace={"fps": 50, "idle": 0}), slow("own-pace"))


@pytest.mark.slow
def test_the_rate_reached_stands_beside_the_rate_asked_for(
    serve: Callable[..., str], open_page: Callable[..., Page]
) -> None:
    page = open_page(serve())
    opened(page, "late")
    expect(page.locator("#pace")).to_be_hidden()
    page.keyboard.press("ArrowLeft")
    phase(page, "playing")
    expect(page.locator("#pace")).to_have_text(re.compile(r"^(\d(\.\d)?|1\d|20) of 50 steps a second$"))
    expect(page.locator("#pace")).to_have_attribute("data-slow", "true")
    expect(page.get_by_role("status").filter(has_text="This runs slower than it should: ")).to_have_count(1)
    page.keyboard.press("Escape")
    phase(page, "paused")
    page.keyboard.press("Escape")
    phase(page, "choosing")
    opened(page, "own-pace")
    expect(page.locator("#pace")).to_be_hidden()
