"""How the page tells an episode: failed by the registry's rule, or its return where no rule is known."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from tutelage.envs.suite import Suite, load_suite, suite_from


@pytest.fixture
def suite() -> Suite:
    (pole,) = load_suite("CartPole-v1").source["tasks"]
    unrated = {"id": "unrated", "env": "FrozenLake-v1", "success": "unknown", "max_steps": 2}
    unrated |= {"controls": {"ArrowLeft": 0}, "pace": "turn"}
    return suite_from({"suite": "bare", "tasks": [pole, unrated]})


@pytest.mark.slow
def test_a_pole_that_fell_is_no_success_and_without_a_rule_the_return_is_told(
    serve: Callable[..., str], open_page: Callable[..., Page]
) -> None:
    page = open_page(serve())
    page.click("[data-task=CartPole-v1]")
    page.wait_for_selector("#play:visible")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("body[data-phase=finished]")
    expect(page.locator("#verdict")).to_have_text("Not this time")
    page.keyboard.press("x")
    page.wait_for_selector("body:not([data-phase=finished])")
    page.keyboard.press("Escape")

    other = open_page(page.url)
    other.click("[data-task=unrated]")
    other.wait_for_selector("#play:visible")
    for step in ("1", "2"):
        other.keyboard.press("ArrowLeft")
        expect(other.locator("#step")).to_have_attribute("data-step", step)
    other.wait_for_selector("body[data-phase=finished]")
    expect(other.locator("#verdict")).to_have_text("Finished · return 0")
    expect(other.locator("#figures")).to_contain_text(re.compile(r"^2\s+steps"))  # the return is said above
    assert other.get_attribute("#outcome", "data-success") == "null"
