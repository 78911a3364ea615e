"""Pay in a real browser: with the consent, as it grows, at the end, and on the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import sqlalchemy as sql
from playwright.sync_api import Page, expect
from tutelage.crowd.dashboard.admin_token import make_admin
from tutelage.crowd.storage.study_records import answers, devices
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.tests.browser.lake import at, cross, give_up
from tutelage.tests.browser.looks import WIDTHS, every_look, serious_findings
from tutelage.tests.browser.test_looks import fits, legible

Open = Callable[..., Page]
Serve = Callable[..., AbstractContextManager[tuple[StudyServer, str]]]

BONUS = {"by": "threshold", "amounts": {1: 0.25, 2: 0.75}}
PAY = {"currency": "GBP", "base": 1, "bonus": BONUS, "text": "Paid within a week."}
STUDY: dict[str, Any] = {
    "episodes": 2,
    "breaks": {"every": 1},
    "pay": PAY,
    "practice": {"tasks": ["lake", "pole"], "until": "finished"},
    "languages": ["en"],
    "title": "Over the lake",
    "consent": "You agree to be recorded.",
    "instructions": "Cross the lake.",
    "check": {"questions": [{"ask": "Where to?", "answers": ["Across", "Home"], "correct": 0}]},
    "words": {},
}


def looks_well(page: Page) -> None:
    """See that what is shown fits, is legible and has a name, on wide and narrow screens, light and dark."""
    for scheme in every_look(page):
        fits(page)
        legible(page, scheme)
        if page.viewport_size == {"width": WIDTHS[-1], "height": 800}:
            assert serious_findings(page) == []


@pytest.mark.slow
def test_pay_is_read_beforehand_as_it_grows_and_at_the_end(serve_study: Serve, join: Open) -> None:
    with serve_study(**STUDY) as (server, address):
        page = join(address)
        expect(page.get_by_text("You are paid 1.00 GBP once you have completed the study.")).to_be_visible()
        expect(page.get_by_role("listitem").filter(has_text="At least 2 solved: 0.75 GBP")).to_be_visible()
        expect(page.get_by_text("the kind of device, the browser")).to_be_visible()
        looks_well(page)
        page.click("[data-choice=agree]")
        page.click("[data-choice=ready]")
        for number, task in ((1, "Lake"), (2, "Pole")):
            expect(page.locator("#count")).to_have_text(f"{task}: Practice {number} of 2")
            looks_well(page)
            give_up(page)
            page.click("[data-choice=next]:visible")
        page.check("input[value='0']")
        page.click("[data-choice=answer]")
        at(page, "play")
        expect(page.locator("#bonus")).to_have_text("Your bonus so far: 0.00 GBP of at most 0.75 GBP")
        cross(page)
        expect(page.locator("#bonus")).to_have_text("Your bonus so far: 0.25 GBP of at most 0.75 GBP")
        expect(page.locator("#announcer")).to_contain_text("Your bonus so far: 0.25 GBP")
        looks_well(page)
        page.click("[data-choice=next]:visible")
        at(page, "rest")
        expect(page.get_by_text("Your bonus so far: 0.25 GBP of at most 0.75 GBP").last).to_be_visible()
        looks_well(page)
        page.wait_for_timeout(450)  # a second press at once would be a double click
        page.click("[data-choice=next]:visible")
        at(page, "play")
        give_up(page)
        page.click("[data-choice=next]:visible")
        at(page, "done")
        expect(
            page.get_by_text("Your pay: 1.25 GBP, that is 1.00 GBP and a bonus of 0.25 GBP.")
        ).to_be_visible()
        looks_well(page)
        [device] = server.database.rows(sql.select(devices))
        assert (
            device["device"],
            device["browser"],
            device["width"],
            device["height"],
            device["language"],
        ) == (
            "desktop",
            "Chrome",
            1200,
            800,
            "en",
        )
        assert [row["correct"] for row in server.database.rows(sql.select(answers))] == [True]
        _look_up(page, address, make_admin(server.folder))


def _look_up(page: Page, address: str, token: str | None) -> None:
    """Find the person on the dashboard by completion code, and see what they are owed."""
    page.goto(f"http://{address}/admin")
    page.fill("#token", token or "")
    page.keyboard.press("Enter")
    rows = page.locator("#people tbody tr")
    expect(rows).to_have_count(1)
    for word, count in (("nothing like it", 0), ("LAKE123", 1)):
        page.fill("#find", word)
        expect(rows).to_have_count(count)
    rows.get_by_role("button").click()
    expect(page.locator("#person-state")).to_contain_text("code LAKE123")
    payments = page.locator("#payments tr")
    expect(payments).to_have_count(2)
    expect(payments.nth(1)).to_contain_text("0.25 GBP")
    expect(payments.nth(1)).to_contain_text("1 of 2 tasks solved")
    looks_well(page)


@pytest.mark.slow
def test_who_declines_reads_what_is_kept(serve_study: Serve, join: Open) -> None:
    with serve_study(**STUDY) as (server, address):
        page = join(address)
        page.click("[data-choice=decline]")
        at(page, "done")
        expect(page.get_by_text("All that is kept is your pseudonym")).to_be_visible()
        looks_well(page)
        assert server.database.rows(sql.select(devices)) == []
