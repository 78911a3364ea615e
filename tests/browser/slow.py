"""A suite of the slow toy, and what tests of the page do with it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect
from tutelage.envs.suite import Suite, suite_from

SLOW = "tutelage.tests.support.toy_slow:toys/Slow-v0"
KEYS = {"ArrowLeft": 0, "ArrowRight": 1, "ArrowUp": 2, "Space": 3}


def slow(name: str, **given: Any) -> dict[str, Any]:
    """Describe a task of the slow toy; what is no key of a task is an argument of the toy."""
    keys: dict[str, Any] = {key: given.pop(key) for key in ("pace", "max_steps", "controls") if key in given}
    return {"id": name, "env": SLOW, "kwargs": given, "controls": KEYS, "success": "truncated", **keys}


def slow_suite(*tasks: dict[str, Any]) -> Suite:
    return suite_from({"suite": "slow", "tasks": list(tasks)})


def opened(page: Page, task: str) -> None:
    page.click(f"[data-task={task}]")
    page.wait_for_selector("canvas[data-frame]:visible")


def at_step(page: Page, step: int) -> None:
    expect(page.locator("#step")).to_have_attribute("data-step", str(step))


def press(page: Page, code: str, times: int = 1) -> None:
    """Press a key several times, each time on the picture that the press before gave."""
    for _ in range(times):
        step = int(page.get_attribute("#step", "data-step") or 0)
        page.keyboard.press(code)
        at_step(page, step + 1)
