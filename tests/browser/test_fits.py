"""Picture and controls fit the window, whatever its size and the picture's shape, also when it changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.envs.suite import Suite
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.browser.lake import cross, to_the_tasks
from tutelage.tests.browser.slow import opened, press, slow, slow_suite
from tutelage.tests.browser.test_page import phase

SIZES = {
    "desktop": (1280, 800),
    "phone": (400, 800),
    "phone held sideways": (844, 390),
    "small phone held sideways": (667, 375),
    "desktop at 200 %": (640, 400),
}
MANY = {f"Key{letter}": action for action, letter in enumerate("ABCDEFGHIJLMNOPQST")}
OUTSIDE = """() => {
  const found = [];
  for (const node of document.querySelectorAll("#picture, #step, .cap, .choice, #verdict")) {
    if (!node.checkVisibility() || node.closest("dialog, .foot")) continue;
    const { left, top, right, bottom } = node.getBoundingClientRect();
    const deck = node.closest(".deck")?.getBoundingClientRect().bottom ?? innerHeight;
    const low = Math.min(innerHeight, deck) + 0.5;
    const inside = left >= 0 && top >= 0 && right <= innerWidth + 0.5 && bottom <= low;
    if (!inside || right - left < 1) found.push(node.id || node.textContent);
  }
  return found;
}"""
"""Names what is not wholly in the window."""
LONGER_SIDE = "Math.max(...['width', 'height'].map((side) => picture.getBoundingClientRect()[side]))"
SCROLLS = "document.documentElement.scrollHeight - innerHeight"


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setenv(VARIABLE, "tutelage.tests.support.toy_slow")
    return slow_suite(
        slow("wide", size=[800, 100], max_steps=2),
        slow("tall", size=[100, 420], max_steps=2),
        slow("usual", size=[600, 400], max_steps=2),
        slow("many", size=[160, 210], max_steps=2, actions=len(MANY), controls=MANY),
    )


def resized(page: Page, size: tuple[int, int]) -> None:
    """Change the window, and wait until the picture has followed."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.slow
def test_picture_and_controls_fit_every_window(
    serve: Callable[..., str], open_page: Callable[..., Page]
) -> None:
    page = open_page(serve())
    for task, key in (("wide", "ArrowLeft"), ("tall", "ArrowLeft"), ("usual", "ArrowLeft"), ("many", "a")):
        opened(page, task)
        for name, size in SIZES.items():
            resized(page, size)
            caps = page.locator(".cap").count()
            if caps < 8 or name in ("desktop", "phone"):
                assert page.evaluate(OUTSIDE) == [], (task, name)
            assert page.evaluate(SCROLLS) <= 0, (task, name)
            assert page.evaluate(LONGER_SIDE) >= 100, (task, name)
        press(page, key)
        page.keyboard.press(key)
        phase(page, "finished")
        for name, size in SIZES.items():
            resized(page, size)
            assert page.evaluate(OUTSIDE) == [], (task, name, "finished")
        page.click("[data-choice=leave]")
        phase(page, "choosing")


@pytest.mark.slow
def test_a_study_fits_too_and_its_way_out_is_there(
    serve_study: Callable[..., AbstractContextManager[tuple[StudyServer, str]]],
    join: Callable[..., Page],
    tmp_path: Path,
) -> None:
    with serve_study() as (_, address):
        page = join(address)
        to_the_tasks(page)
        for name, size in SIZES.items():
            resized(page, size)
            assert page.evaluate(OUTSIDE) == [], name
            page.locator("#leave").scroll_into_view_if_needed()
            assert page.locator("#leave").is_visible(), name
            page.evaluate("scrollTo(0, 0)")
        cross(page)
        for name, size in SIZES.items():
            resized(page, size)
            assert page.evaluate(OUTSIDE) == [], (name, "finished")
