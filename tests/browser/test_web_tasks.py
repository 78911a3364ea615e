"""Web tasks in the recorder: a person plays a page's picture by mouse, finger and keyboard, as any page."""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, expect
from tutelage.datasets.arrays.sampler import load_columns
from tutelage.datasets.store import Store
from tutelage.envs.spaces import row_to_action
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task import TEST
from tutelage.envs.web.action_space import action_space, to_action
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.browser import shared
from tutelage.envs.web.environment import WebEnv
from tutelage.tests.browser.looks import WIDTHS, every_scheme
from tutelage.tests.browser.test_looks import fits, legible
from tutelage.tests.envs.web.showing import PAGES, named

Serve = Callable[..., str]
Open = Callable[..., Page]
TASKS = ("form", "checklist", "canvas", "menu")


@pytest.fixture
def suite() -> Suite:
    pages = [
        {"id": one, "env": "tests/WebPage-v0", "kwargs": {"task": str(PAGES / f"{one}.html")}}
        for one in TASKS
    ]
    return suite_from({"suite": "pages", "tasks": pages})


@pytest.fixture(autouse=True)
def no_browser_left() -> Iterator[None]:
    yield
    shared().close()


@functools.cache
def first_look(task: str, seed: int) -> dict[str, Any]:
    """Return what a page shows at the beginning of an episode."""
    env = WebEnv(str(PAGES / f"{task}.html"))
    seen, _ = env.reset(seed=seed)
    env.close()
    return seen


class Hand:
    """Somebody's hand over the picture of a page: it points at elements by their ids."""

    def __init__(self, page: Page, task: str, seed: int = 0) -> None:
        self.page = page
        self.seen = first_look(task, seed)
        page.click(f"[data-task={task}]")
        page.wait_for_selector("canvas[data-frame]")

    def at(self, element_id: str) -> tuple[float, float]:
        one = named(self.seen, element_id)
        return self.spot(one.left + one.width / 2, one.top + one.height / 2)

    def spot(self, x: float, y: float) -> tuple[float, float]:
        return spot(self.page, x, y)

    def click(self, element_id: str) -> None:
        self.page.mouse.click(*self.at(element_id))

    def pixel(self, x: int, y: int) -> list[int]:
        data = "getContext('2d').getImageData(x, y, 1, 1).data"
        script = f"([x, y]) => [...document.getElementById('picture').{data}]"
        return self.page.evaluate(script, [x, y])[:3]


def spot(page: Page, x: float, y: float) -> tuple[float, float]:
    """Return where a pixel of the picture is in the window."""
    box = page.locator("#picture").bounding_box()
    assert box is not None
    scale = box["width"] / 160
    assert scale == int(scale) >= 2
    return box["x"] + (int(x) + 0.5) * scale, box["y"] + (int(y) + 0.5) * scale


def picture(page: Page) -> str:
    """Return all that is drawn."""
    return page.evaluate("document.getElementById('picture').toDataURL()")


def changed(page: Page, before: str) -> None:
    """Wait until something else is drawn."""
    page.wait_for_function("before => document.getElementById('picture').toDataURL() !== before", arg=before)


def at_step(page: Page, step: int) -> None:
    expect(page.locator("#step")).to_have_text(re.compile(f"^Step {step} "), timeout=60_000)


def phase(page: Page, name: str) -> None:
    page.wait_for_selector(f"body[data-phase={name}]")


def stored(folder: Path, count: int = 1) -> list[tuple[Any, list[WebAction]]]:
    """Wait for episodes to be stored; returns each with its actions, and checks that it replays."""
    end = time.monotonic() + 60
    while len(found := list(Store.open(folder / "store").trajectories())) < count:
        assert time.monotonic() < end
        time.sleep(0.05)
    store = Store.open(folder / "store")
    assert store.verify() == []
    assert [one.observations for one in found] == [None] * count
    columns = load_columns([store])
    assert sum(len(one) for one in found) == sum(len(one.actions) for one in columns.values())
    space = action_space()
    return [(one, [to_action(row_to_action(space, row)) for row in one.actions]) for one in found]


@pytest.mark.slow
def test_a_form_is_filled_by_mouse_and_keyboard(serve: Serve, open_page: Open, tmp_path: Path) -> None:
    page = open_page(serve())
    hand = Hand(page, "form")
    expect(page.locator("h1:visible")).to_have_text("Call yourself ann, choose green and send.")
    hand.click("name")
    at_step(page, 1)
    page.keyboard.press("Control+A")
    at_step(page, 2)
    page.keyboard.type("xknn")  # k, x and u would be commands in another task
    for _ in range(4):
        page.keyboard.press("Backspace")
    page.keyboard.type("ann")
    at_step(page, 2)  # it shows, and is no step yet
    hand.click("colour")
    at_step(page, 3)
    page.get_by_role("dialog").get_by_role("button", name="green").click()
    at_step(page, 4)
    hand.click("send")
    phase(page, "finished")
    expect(page.locator("#verdict")).to_contain_text("Success")
    page.get_by_role("button", name="Keep").click()
    [(one, actions)] = stored(tmp_path)
    assert one.success
    assert [action.verb for action in actions] == ["click", "key", "type", "type", "click"]
    assert [action.text for action in actions if action.verb == "type"] == ["ann", "green"]


def test_letters_show_at_once_and_wait_for_the_rest(serve: Serve, open_page: Open) -> None:
    page = open_page(serve())
    hand = Hand(page, "menu")
    hand.click("word")
    at_step(page, 1)
    drawn = "document.getElementById('picture').toDataURL()"
    before = page.evaluate(drawn)
    page.keyboard.press("w")
    page.wait_for_function(f"before => {drawn} !== before", arg=before)
    at_step(page, 1)
    expect(page.locator("#saved")).to_have_text("Saved to step 1")
    page.reload()  # which ends the typing: it is a step, and saved
    at_step(page, 2)
    expect(page.locator("#saved")).to_have_text("Saved to step 2")


@pytest.mark.slow
def test_a_page_is_drawn_on_by_dragging(serve: Serve, open_page: Open, tmp_path: Path) -> None:
    page = open_page(serve())
    hand = Hand(page, "canvas")
    assert hand.pixel(12, 12) == [255, 0, 0]
    page.mouse.move(*hand.spot(10, 10))
    page.mouse.down()
    page.mouse.move(*hand.spot(60, 40), steps=5)
    page.mouse.move(*hand.spot(1, 40), steps=5)
    page.mouse.up()
    phase(page, "finished")
    page.get_by_role("button", name="Keep").click()
    [(one, actions)] = stored(tmp_path)
    assert one.rewards.tolist() == [0.5]
    assert [(action.verb, action.dx, action.dy) for action in actions] == [("drag", -9, 30)]


@pytest.mark.slow
def test_a_menu_opens_under_a_pointer_that_rests(serve: Serve, open_page: Open, tmp_path: Path) -> None:
    page = open_page(serve())
    hand = Hand(page, "menu")
    page.mouse.move(*hand.at("beside"))
    time.sleep(0.4)  # a rest where nothing happens
    closed = picture(page)
    page.mouse.move(*hand.at("file"))
    expect(page.locator("#step")).to_have_text(re.compile("^Step 0 "))
    changed(page, closed)
    page.mouse.move(*hand.spot(65, 25), steps=2)
    page.mouse.click(*hand.spot(65, 25))
    phase(page, "finished")
    expect(page.locator("#verdict")).to_contain_text("Success")
    page.get_by_role("button", name="Keep").click()
    [(one, actions)] = stored(tmp_path)
    assert one.success
    assert [action.verb for action in actions] == ["hover", "click"]


@pytest.mark.slow
def test_a_finger_taps_and_is_asked_for_text(serve: Serve, open_page: Open, tmp_path: Path) -> None:
    page = open_page(serve(), viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True)
    hand = Hand(page, "form")
    page.touchscreen.tap(*hand.at("name"))
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("textbox")).to_have_value("nobody")
    dialog.get_by_role("textbox").fill("ann")
    dialog.get_by_role("button", name="OK").tap()
    at_step(page, 2)
    page.touchscreen.tap(*hand.at("colour"))
    dialog.get_by_role("button", name="green").tap()
    at_step(page, 3)
    page.touchscreen.tap(*hand.at("send"))
    phase(page, "finished")
    page.get_by_role("button", name="Keep").tap()
    [(one, _)] = stored(tmp_path)
    assert one.success


def test_a_test_seed_gives_no_second_try(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(seeds=TEST, episodes=1))
    Hand(page, "checklist", TEST.start)
    expect(page.get_by_role("group", name="This episode").get_by_role("button")).to_have_text(
        ["Give up", "Tasks"]
    )
    page.keyboard.type("kxru")
    expect(page.locator("#step")).to_have_text(re.compile("^Step 0 "))
    phase(page, "playing")


@pytest.mark.slow
def test_the_wheel_scrolls_and_escape_gives_the_keyboard_back(serve: Serve, open_page: Open) -> None:
    page = open_page(serve())
    hand = Hand(page, "checklist")
    page.mouse.move(*hand.spot(60, 50))
    unscrolled = picture(page)
    page.mouse.wheel(0, 100)
    changed(page, unscrolled)
    hand.click("list")
    at_step(page, 2)
    page.get_by_role("button", name="Wait a second").click()
    at_step(page, 3)
    page.keyboard.press("Tab")
    at_step(page, 4)
    expect(page.get_by_role("application")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("application")).not_to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#step")).to_have_text(re.compile("^Step 4 "))


@pytest.mark.slow
def test_a_browser_that_dies_in_the_midst_of_typing_costs_nothing(
    serve: Serve, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(serve())
    hand = Hand(page, "menu")
    shared().close()
    hand.click("word")
    at_step(page, 1)
    for letter in "op":
        before = picture(page)
        page.keyboard.type(letter)
        changed(page, before)
    kill_the_pages()
    page.keyboard.type("en")
    phase(page, "finished")
    page.get_by_role("button", name="Keep").click()
    [(one, actions)] = stored(tmp_path)
    assert [action.text for action in actions] == ["", "open"]
    assert one.rewards.tolist() == [0, 0.5]


def kill_the_pages() -> None:
    """Kill the browsers that the recorder's processes show pages in."""
    killed = 0
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it went with another
            if "tutelage-chromium-" in " ".join(one.cmdline()):
                one.kill()
                killed += 1
    assert killed


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_is_legible(serve: Serve, open_page: Open, width: int) -> None:
    page = open_page(serve(), viewport={"width": width, "height": 800})

    def look() -> None:
        for scheme in every_scheme(page):
            fits(page)
            legible(page, scheme)

    hand = Hand(page, "form")
    look()
    hand.click("colour")
    expect(page.get_by_role("dialog", name="Choose one")).to_be_visible()
    look()
    page.keyboard.press("Escape")
    hand.click("day")
    expect(page.get_by_role("textbox", name="Date, such as 12/31/2017")).to_be_focused()
    look()
    page.keyboard.type("06/15/2016")
    page.keyboard.press("Enter")
    at_step(page, 1)
