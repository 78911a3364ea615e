"""Tasks of miniwob, played in the recorder by mouse and keyboard: solved, stored, and the same again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.observation import Element, read_elements
from tutelage.envs.web.page_sources import miniwob_tasks
from tutelage.tests.browser.test_web_tasks import at_step, phase, spot, stored

if not miniwob_tasks():
    pytest.skip("needs the package miniwob: pip install 'tutelage[web]'", allow_module_level=True)

Wanted = Callable[[Element], bool]


class Hand:
    """Somebody's hand at the recorder, and eyes that know where things are: another tab does the same."""

    def __init__(self, page: Page, task: str) -> None:
        self.page, self.steps = page, 0
        self.env = WebEnv(task)
        self.seen, _ = self.env.reset(seed=0)
        page.click(f"[data-task={task}]")
        page.wait_for_selector("canvas[data-frame]")

    @property
    def words(self) -> str:
        return self.seen["instruction"]

    def find(self, wanted: Wanted) -> tuple[int, Element]:
        return next((at, one) for at, one in enumerate(read_elements(self.seen["elements"])) if wanted(one))

    def move(self, wanted: Wanted) -> None:
        _, one = self.find(wanted)
        self.page.mouse.move(*spot(self.page, one.left + one.width / 2, one.top + one.height / 2))

    def click(self, element: Wanted) -> None:
        self.move(element)
        self.page.mouse.down()
        self.page.mouse.up()
        self.know(WebAction("click", self.find(element)[0]))

    def type(self, element: Wanted, text: str) -> None:
        """Type into a field that was clicked; it is a step when something else is done."""
        self.page.keyboard.type(text)
        self.know(WebAction("type", self.find(element)[0], text=text))

    def know(self, action: WebAction) -> None:
        self.seen, *_ = self.env.step(action)


def tagged(tag: str) -> Wanted:
    return lambda one: one.tag == tag


def reads(text: str) -> Wanted:
    return lambda one: one.text == text


def click_button(hand: Hand) -> None:
    named = re.findall(r'"(.*?)"', hand.words)[0]
    hand.click(lambda one: one.tag == "BUTTON" and one.text == named)


def enter_text(hand: Hand) -> None:
    hand.click(tagged("INPUT_text"))
    hand.type(tagged("INPUT_text"), re.findall(r'"(.*?)"', hand.words)[0])
    hand.click(reads("Submit"))


def use_autocomplete(hand: Hand) -> None:
    begin, *end = re.findall(r'"(.*?)"', hand.words)
    like = re.compile(f"{re.escape(begin)}.*{re.escape(end[0]) if end else ''}")
    hand.click(tagged("INPUT_text"))
    hand.type(tagged("INPUT_text"), begin)
    hand.click(lambda one: "ui-menu-item" in one.classes and like.fullmatch(one.text) is not None)
    hand.click(reads("Submit"))


def choose_list(hand: Hand) -> None:
    named = re.findall(r"Select (.*?) from", hand.words)[0]
    hand.move(tagged("SELECT"))
    hand.page.mouse.down()
    hand.page.mouse.up()
    hand.page.get_by_role("dialog").get_by_role("button", name=named, exact=True).click()
    hand.know(WebAction("type", hand.find(tagged("SELECT"))[0], text=named))
    at_step(hand.page, 1)
    hand.click(reads("Submit"))


def click_menu(hand: Hand) -> None:
    *way, last = hand.words.removeprefix("Select ").split(">")
    for name in way:
        hand.move(reads(name))
        hand.page.wait_for_timeout(700)  # longer than a pointer must rest
        hand.know(WebAction("hover", hand.find(reads(name))[0]))
    hand.click(reads(last))


WAYS = (click_button, enter_text, use_autocomplete, choose_list, click_menu)
NAMES = {way: way.__name__.replace("_", "-") for way in WAYS}


@pytest.fixture
def suite() -> Suite:
    tasks = [
        {"id": name, "env": f"tutelage/web.{name}-v0", "success": "reward > 0"} for name in NAMES.values()
    ]
    return suite_from({"suite": "by-hand", "tasks": tasks})


@pytest.mark.slow
def test_tasks_are_solved_by_hand(
    serve: Callable[..., str], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page(serve(episodes=1))
    for count, way in enumerate(WAYS, 1):
        hand = Hand(page, NAMES[way])
        way(hand)
        phase(page, "finished")
        assert page.inner_text("#verdict") == "✓ Success", hand.words
        page.get_by_role("button", name="Keep").click()
        phase(page, "choosing")
        hand.env.close()
        verbs: dict[str, Any] = {
            one.task: [action.verb for action in did] for one, did in stored(tmp_path, count)
        }
    assert verbs == {
        "click-button": ["click"],
        "enter-text": ["click", "type", "click"],
        "use-autocomplete": ["click", "type", "click", "click"],
        "choose-list": ["type", "click"],
        "click-menu": verbs["click-menu"],
    }
    assert set(verbs["click-menu"]) <= {"hover", "click"}
