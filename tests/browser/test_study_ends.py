"""A study in a real browser: how it may end, how it looks and sounds, and many people at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import sqlalchemy as sql
from playwright.sync_api import Page, expect
from tutelage.crowd.storage.study_tables import conduct, consents
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.datasets.store import Store
from tutelage.tests.browser.lake import at, cross, episode, give_up, onward, to_the_tasks
from tutelage.tests.browser.looks import every_look, serious_findings
from tutelage.tests.browser.test_looks import fits, legible
from tutelage.tests.support.study_page import ACROSS

Open = Callable[..., Page]
Serve = Callable[..., AbstractContextManager[tuple[StudyServer, str]]]


@pytest.mark.slow
def test_who_leaves_is_asked_and_what_they_did_goes(serve_study: Serve, join: Open, tmp_path: Path) -> None:
    with serve_study() as (server, address):
        page = join(address)
        expect(page.locator("#leave")).to_be_hidden()
        to_the_tasks(page)
        cross(page)
        onward(page)
        episode(page, 2)
        page.click("#leave")
        expect(page.get_by_role("dialog", name="Leave the study?")).to_be_visible()
        page.keyboard.press("ArrowUp")  # is about the answer in the dialog, and no step of the task
        page.get_by_role("button", name="Stay").click()
        expect(page.locator("#step")).to_have_attribute("data-step", "0")
        expect(page.locator("#field")).to_be_focused()
        page.click("#leave")
        page.get_by_label("Remove it").check()
        page.locator("#leaving").get_by_role("button", name="Leave").click()
        at(page, "done")
        expect(page.locator("h1:visible")).to_have_text("You have left the study")
        expect(page.locator("main")).to_contain_text("What you did is removed")
        assert [row["decision"] for row in server.database.rows(sql.select(consents))] == [
            "given",
            "withdrawn",
        ]
    assert len(Store.open(tmp_path / "out")) == 0


@pytest.mark.slow
def test_giving_up_declining_and_failing_are_said_kindly(serve_study: Serve, join: Open) -> None:
    with serve_study() as (_, address):
        page = join(address)
        page.click("[data-choice=decline]")
        at(page, "done")
        expect(page.locator("h1:visible")).to_have_text("Thank you for considering it")
        page = join(address)
        page.click("[data-choice=agree]")
        page.click("[data-choice=ready]")
        at(page, "practice")
        give_up(page)
        expect(page.locator("#verdict")).to_have_text("Given up")
        page.click("[data-choice=next]")
        cross(page)
        onward(page)
        page.check("input[value='1']")
        page.click("[data-choice=answer]")
        expect(page.get_by_role("alert").filter(has_text="This is your last attempt")).to_be_visible()
        page.wait_for_timeout(450)  # a second press at once would be a double click
        page.check("input[value='1']")
        page.click("[data-choice=answer]")
        at(page, "done")
        expect(page.locator("h1:visible")).to_have_text("This is as far as it goes")


def look(page: Page) -> None:
    """See that what is shown fits, is legible and has no serious finding, narrow and wide, light and dark."""
    for scheme in every_look(page):
        fits(page)
        legible(page, scheme)
        assert serious_findings(page) == []


@pytest.mark.slow
def test_every_stage_fits_is_legible_and_has_no_serious_finding(serve_study: Serve, join: Open) -> None:
    with serve_study(limits={"episode_seconds": 59}) as (_, address):
        page = join(address)
        look(page)
        page.click("[data-choice=agree]")
        at(page, "instructions")
        look(page)
        page.click("[data-choice=ready]")
        at(page, "practice")
        expect(page.locator("#clock")).to_contain_text("left")
        look(page)
        cross(page)
        look(page)
        onward(page)
        at(page, "check")
        look(page)
        page.click("summary")
        page.click("[data-choice=answer]")
        look(page)
        page.check("input[value='0']")
        page.click("[data-choice=answer]")
        at(page, "play")
        look(page)
        cross(page)
        look(page)
        onward(page)
        episode(page, 2)
        give_up(page)
        look(page)
        onward(page)
        at(page, "rest")
        look(page)
        onward(page)
        at(page, "play")
        page.click("#leave")
        look(page)
        page.keyboard.press("Escape")
        second = page.context.new_page()
        second.goto(page.url)
        expect(second.locator("#elsewhere")).to_be_visible()
        look(second)
        page.locator("#field").focus()
        cross(page)
        onward(page)
        at(page, "done")
        look(page)
        page.context.clear_cookies()
        refused = page.context.request.get(page.url)
        assert refused.status == 403


@pytest.mark.slow
@pytest.mark.parametrize("people", [3, pytest.param(12, marks=pytest.mark.soak)])
def test_many_people_at_once(serve_study: Serve, join: Open, people: int) -> None:
    with serve_study(episodes=2, breaks=None, check=None) as (server, address):
        pages = [join(address) for _ in range(people)]
        for page in pages:
            page.click("[data-choice=agree]")
        for page in pages:
            page.click("[data-choice=ready]")
        for _ in range(3):  # practice, and two tasks
            for page in pages:
                page.wait_for_selector("#outcome", state="hidden")
                page.wait_for_selector("canvas[data-frame]:visible")
            for number, code in enumerate(ACROSS, 1):  # in turns, so that all are in the midst of it at once
                for page in pages:
                    page.keyboard.press(code)
                for page in pages if number < len(ACROSS) else ():
                    expect(page.locator("#step")).to_have_attribute("data-step", str(number))
            for page in pages:
                expect(page.locator("#outcome")).to_be_visible()
                expect(page.locator("#verdict")).to_contain_text(re.compile("Well done|Success"))
            for page in pages:
                onward(page) if page is pages[0] else page.keyboard.press("Enter")
        for page in pages:
            at(page, "done")
        rows = server.database.rows(sql.select(conduct))
        assert len(rows) == 2 * people
        assert len({row["person"] for row in rows}) == people
        assert len({row["seed"] for row in rows}) == 2 * people
