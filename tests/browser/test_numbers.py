"""Rewards and returns that are not finite, in a real page: it goes on, and shows "–"."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from playwright.sync_api import Browser, Page, WebSocketRoute, expect
from tutelage.crowd.dashboard.admin_token import make_admin
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite, suite_from
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.browser.lake import at, onward
from tutelage.tests.browser.test_page import stored
from tutelage.tests.support.study_page import running
from tutelage.tests.support.toy_numbers import MODULE, SUITE

MESSAGES = ('{"type": "step", "step": NaN}', "{", "7", "null", '{"type": "other"}', '{"text": "no type"}')
"""What a page cannot use."""


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, MODULE)


@pytest.fixture
def suite(trusted: None) -> Suite:
    return suite_from(SUITE)


def press(page: Page, keys: str, start: int = 0) -> None:
    """Press keys one by one, each on the picture that the one before gave."""
    page.wait_for_selector(f"#picture[data-frame='{start}']")
    for step, key in enumerate(keys, start + 1):
        page.keyboard.press(key)
        page.wait_for_selector(f"#picture[data-frame='{step}']")


@pytest.mark.slow
def test_a_return_that_is_not_finite_locks_nobody_out(
    serve: Callable[..., str], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page(serve())
    page.click("[data-task=numbers]")
    expect(page.locator("#caps")).to_contain_text("missing")
    press(page, "bc")
    page.reload()
    expect(page.locator("#step")).to_have_attribute("data-step", "2")
    press(page, "da", start=2)
    figures = page.locator("#figures")
    expect(figures).to_contain_text("Return – · 4 steps")
    page.reload()
    expect(figures).to_contain_text("Return – · 4 steps")
    page.wait_for_timeout(450)  # keys of the game have to settle
    page.click("[data-choice=keep]")
    (episode,) = stored(tmp_path, 1)
    np.testing.assert_array_equal(episode.rewards, [np.nan, np.inf, -np.inf, 1.0])
    assert episode.observations is None, "expected NaN to be proven equal to NaN by replay"
    page.wait_for_selector("#picture[data-frame='0']")  # the next demonstration
    press(page, "aaaa")
    expect(figures).to_contain_text("Return 4 · 4 steps")


@pytest.mark.slow
def test_one_bad_message_ends_nothing(serve: Callable[..., str], browser: Browser) -> None:
    context = browser.new_context()
    with contextlib.closing(context):
        page = context.new_page()
        page.set_default_timeout(60_000)
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))

        def disturb(route: WebSocketRoute) -> None:
            server = route.connect_to_server()

            def forward(message: str | bytes) -> None:
                for bad in MESSAGES:
                    route.send(bad)
                route.send(message)

            server.on_message(forward)

        page.route_web_socket(re.compile("/socket"), disturb)
        page.goto(serve())
        page.click("[data-task=numbers]")
        press(page, "aaaa")
        expect(page.locator("#figures")).to_contain_text("Return 4")
        assert not failures


@pytest.mark.slow
def test_a_study_and_its_dashboard_go_on(join: Callable[..., Page], browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "numbers.yaml").write_text(yaml.safe_dump(SUITE), "utf-8")
    study = {"suite": "numbers.yaml", "tasks": {"numbers": {}}, "practice": None, "check": None}
    with running(tmp_path, episodes=2, **study) as (server, address):
        page = join(address)
        page.click("[data-choice=agree]")
        page.click("[data-choice=ready]")
        at(page, "play")
        press(page, "bc")
        page.reload()
        at(page, "play")
        expect(page.locator("#step")).to_have_attribute("data-step", "2")
        press(page, "da", start=2)
        expect(page.locator("#verdict")).to_contain_text("Success")
        page.reload()
        expect(page.locator("#verdict")).to_contain_text("Success")
        onward(page)
        expect(page.locator("#count")).to_have_text("Task 2 of 2")
        expect(page.locator("#outcome")).to_be_hidden()
        board = page.context.new_page()
        board.on("pageerror", lambda error: pytest.fail(str(error)))
        board.goto(f"http://{address}/admin")
        board.fill("#token", make_admin(server.folder) or "")
        board.keyboard.press("Enter")
        board.wait_for_selector("#board:visible")
        board.locator("#people tbody tr button").first.click()
        board.get_by_role("button", name="Replay Numbers, seed 0", exact=True).click()
        moment = board.locator("#moment")
        expect(moment).to_have_text(re.compile("^step 4 of 4"))  # it plays by itself, to its end
        expect(board.locator("#player").get_by_role("button", name="Play")).to_be_visible()
        for step in (1, 2, 3):
            board.get_by_label("Step", exact=True).fill(str(step))
            expect(moment).to_have_text(re.compile(f"^step {step} of 4 · reward – "))
        board.get_by_label("Step", exact=True).fill("4")
        expect(moment).to_have_text(re.compile("^step 4 of 4 · reward 1 "))
        expect(board.locator("#screen-note")).to_have_text("")
        press(page, "aaaa")
        onward(page)
        at(page, "done")
    totals = Store.open(tmp_path / "out").episodes()["return"].to_pylist()
    assert np.isnan(totals[0])
    assert totals[1] == 4.0
