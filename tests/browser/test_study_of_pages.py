"""A study whose tasks are web pages: it says how they are played, and people play them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, expect
from tutelage.datasets.store import Store
from tutelage.tests.browser.lake import at, onward
from tutelage.tests.browser.test_web_tasks import spot
from tutelage.tests.envs.web.showing import PAGES
from tutelage.tests.support.study_page import running

MENU = {
    "id": "menu",
    "env": "tests/WebPage-v0",
    "kwargs": {"task": str(PAGES / "menu.html")},
    "success": "reward > 0",
}


@pytest.mark.slow
def test_a_study_leads_through_web_pages(tmp_path: Path, join: Callable[..., Page]) -> None:
    (tmp_path / "pages.yaml").write_text(yaml.safe_dump({"suite": "pages", "tasks": [MENU]}), "utf-8")
    pages = {"suite": "pages.yaml", "tasks": {"menu": {}}, "practice": None, "check": None, "episodes": 2}
    with running(tmp_path, **pages) as (_, address):
        page = join(address)
        page.click("[data-choice=agree]")
        at(page, "instructions")
        expect(page.locator("#way-body")).to_contain_text("Use the picture like any page")
        expect(page.locator("#way-body")).not_to_contain_text("buttons below the picture")
        page.click("[data-choice=ready]")
        at(page, "play")
        for number in (1, 2):
            expect(page.locator("#count")).to_have_text(f"Task {number} of 2")
            expect(page.locator("#step")).to_have_attribute("data-step", "0")
            page.wait_for_selector("canvas[data-frame]:visible")
            page.mouse.click(*spot(page, 40, 50))
            expect(page.locator("#step")).to_have_attribute("data-step", "1")
            page.keyboard.type("open", delay=20)
            expect(page.locator("#outcome")).to_be_visible()
            expect(page.locator("#verdict")).to_contain_text("Success")
            onward(page)
        at(page, "done")
    stores = [Store.open(one.parent) for one in tmp_path.rglob("dataset.yaml")]
    assert [one.success for store in stores for one in store.trajectories()] == [True, True]
    assert all(store.verify() == [] for store in stores)
