"""A study that leads over a frozen lake, and how its pages are gone through."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect
from tutelage.tests.support.study_page import ACROSS

LONG = {
    "en": "First part.\n\n- one\n- **two**\n\nMore at [a page](https://example.org).",
    "zh": "第一部分。\n\n- 一\n- **二**",
}
STUDY: dict[str, Any] = {
    "languages": ["en", "zh"],
    "title": {"en": "Over the lake", "zh": "过湖"},
    "people": 20,
    "episodes": 3,
    "consent": LONG,
    "instructions": LONG,
    "check": {
        "questions": [
            {
                "ask": {"en": "Where to?", "zh": "去哪里？"},
                "answers": [{"en": "Across", "zh": "对岸"}, {"en": "Home", "zh": "回家"}],
                "correct": 0,
            }
        ]
    },
    "breaks": {"every": 2},
    "pay": {"currency": "GBP", "base": 1, "text": {"en": "One pound.", "zh": "一英镑。"}},
    "words": {"zh": {"lake": "过湖"}},
    "recruiting": {"codes": {"completed": "LAKE123"}},
}


def at(page: Page, stage: str) -> None:
    page.wait_for_selector(f"body[data-stage={stage}]")


def cross(page: Page, start: int = 0) -> None:
    """Cross the lake by keys, each on the picture that the one before gave."""
    expect(page.locator("#outcome")).to_be_hidden()
    page.wait_for_selector("canvas[data-frame]:visible")
    for number, code in enumerate(ACROSS[start:-1], start + 1):
        page.keyboard.press(code)
        expect(page.locator("#step")).to_have_attribute("data-step", str(number))
    page.keyboard.press(ACROSS[-1])
    expect(page.locator("#outcome")).to_be_visible()


def onward(page: Page) -> None:
    """Go on by Enter, once the keys of the task have settled."""
    page.wait_for_timeout(450)
    page.keyboard.press("Enter")


def give_up(page: Page) -> None:
    """Give an episode up, and say yes once the question has settled."""
    page.click("[data-choice=discard]")
    page.wait_for_timeout(450)
    page.click("#giving-yes")


def episode(page: Page, number: int) -> None:
    expect(page.locator("#count")).to_have_text(f"Task {number} of 3")
    expect(page.locator("#outcome")).to_be_hidden()


def to_the_tasks(page: Page) -> None:
    page.click("[data-choice=agree]")
    page.click("[data-choice=ready]")
    at(page, "practice")
    cross(page)
    onward(page)
    page.check("input[value='0']")
    page.click("[data-choice=answer]")
    at(page, "play")
    episode(page, 1)
