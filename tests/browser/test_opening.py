"""What takes its time says so: opening a task, failing to, playing an episode again, coming back."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.browser.slow import at_step, opened, press, slow, slow_suite
from tutelage.tests.browser.test_page import phase, stored

Open = Callable[..., Page]
Running = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def shut(tmp_path: Path) -> Path:
    return tmp_path / "shut"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return tmp_path / "broken"


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch, shut: Path, broken: Path) -> Suite:
    monkeypatch.setenv(VARIABLE, os.pathsep.join(("tutelage.tests.support.toy_slow", str(shut.parent))))
    files = {"shut": str(shut), "broken": str(broken)}
    return slow_suite(slow("bar-one", **files), slow("long", step_seconds=0.01, **files))


@pytest.mark.slow
def test_what_is_opened_is_named_at_once_and_once(
    serve: Callable[..., str], open_page: Open, shut: Path
) -> None:
    page = open_page(serve())
    shut.write_text("0")
    page.dblclick("[data-task=bar-one]")
    expect(page.get_by_role("heading", name="Bar one", level=1)).to_be_visible()
    expect(page.get_by_role("progressbar", name="Progress of opening")).to_be_visible()
    expect(page.locator("#opening-text")).to_have_text("Opening")
    expect(page.get_by_role("status").filter(has_text="Bar one. Opening")).to_have_count(1)
    page.keyboard.press("Escape")  # asks for nothing
    shut.unlink()
    phase(page, "playing")
    expect(page.locator("#opening")).to_be_hidden()
    press(page, "ArrowLeft")  # and every answer to the double click has come
    expect(page.locator("#count")).to_have_text("demonstration 1")
    assert page.locator(".note").count() == 0


def test_what_cannot_be_opened_says_why_in_its_place(
    serve: Callable[..., str], open_page: Open, broken: Path
) -> None:
    page = open_page(serve())
    broken.touch()
    page.click("[data-task=bar-one]")
    alarm = page.locator("li:has([data-task=bar-one])").get_by_role("alert")
    expect(alarm).to_contain_text("This could not be opened.")
    expect(alarm).to_contain_text("the simulator is not running")
    expect(page.locator("[data-task=bar-one]")).to_be_focused()
    assert page.locator(".note").count() == 0
    broken.unlink()
    page.click("[data-task=bar-one]")
    phase(page, "playing")
    page.keyboard.press("Escape")
    phase(page, "choosing")
    expect(page.get_by_role("alert").filter(visible=True)).to_have_count(0)


@pytest.mark.slow
def test_an_undo_tells_how_far_it_is_and_where_it_ended(
    serve: Callable[..., str], open_page: Open, shut: Path
) -> None:
    page = open_page(serve())
    opened(page, "long")
    press(page, "ArrowRight", 40)
    page.keyboard.press("x")
    at_step(page, 0)
    shut.write_text("30")  # on the way back, the 30th step waits
    page.keyboard.press("u")
    expect(page.locator("#veil-text")).to_have_text(
        re.compile(r"Going back to where it was: step [12]\d? of 40")
    )
    expect(page.locator("#veil")).to_be_visible()
    shut.unlink()
    at_step(page, 40)
    expect(page.locator("#veil")).to_be_hidden()
    expect(page.get_by_text("It is back, at step 40.")).to_be_visible()
    press(page, "ArrowRight")


@pytest.mark.slow
def test_the_page_is_connected_when_the_picture_is_there_again(
    running: Running, open_page: Open, shut: Path, tmp_path: Path
) -> None:
    with running() as url:
        page = open_page(url)
        opened(page, "bar-one")
        press(page, "ArrowLeft", 3)
        expect(page.locator("#saved")).to_have_text("Saved to step 3")
    connection = page.locator("#connection")
    expect(connection).to_have_attribute("data-state", "lost")
    expect(page.locator("#veil")).to_have_text("Connection lost, trying again")
    page.keyboard.press("ArrowRight")  # goes nowhere
    shut.write_text("2")  # the second step waits on the way back
    with running(port=int(url.split(":")[-1].strip("/"))):
        expect(page.locator("#veil-text")).to_have_text(re.compile("Going back to where it was"))
        expect(connection).to_have_attribute("data-state", "lost")
        page.keyboard.press("ArrowRight")  # on a picture that stands still: meant for nothing that will be
        shut.unlink()
        expect(connection).to_have_attribute("data-state", "open")
        expect(page.locator("#veil")).to_be_hidden()
        at_step(page, 3)
        press(page, "ArrowLeft")
        page.click("[data-choice=leave]")
        phase(page, "choosing")


def test_pressing_twice_keeps_once_and_discards_once(
    serve: Callable[..., str], open_page: Open, tmp_path: Path
) -> None:
    page = open_page(serve())
    opened(page, "bar-one")
    press(page, "ArrowLeft", 2)
    page.dblclick("[data-choice=discard]")
    expect(page.locator("#step")).to_have_attribute("data-step", "0")
    press(page, "ArrowRight")
    page.keyboard.press("u")
    at_step(page, 2)  # one was discarded, and that one is back
    for _ in range(3):
        page.keyboard.press("r")
    at_step(page, 0)
    expect(page.locator("#count")).to_have_text("demonstration 1, try 2")
    press(page, "ArrowLeft")
    assert page.locator(".note:not(:has-text('It is back'))").count() == 0
    assert len(Store.open(tmp_path / "store")) == 0
    assert stored(tmp_path, 0) == []
