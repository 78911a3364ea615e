"""Tasks of miniwob are solved as a person would: calendars, menus, lists, trees, drawings, waiting pages."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from typing import Any

import pytest
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.browser import Browser
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.observation import Element
from tutelage.envs.web.page_sources import miniwob_tasks
from tutelage.tests.envs.web.showing import elements

if not miniwob_tasks():
    pytest.skip("needs the package miniwob: pip install 'tutelage[web]'", allow_module_level=True)

Wanted = Callable[[Element], bool]


class Person:
    """Somebody who looks for elements and does something to them, until the page ends the episode."""

    def __init__(self, env: WebEnv, seed: int) -> None:
        self._env = env
        self.seen, _ = env.reset(seed=seed)
        self.words: str = self.seen["instruction"]
        self.reward, self.done = 0.0, False

    def places(self, wanted: Wanted) -> list[int]:
        return [place for place, one in enumerate(elements(self.seen)) if wanted(one)]

    def see(self, wanted: Wanted) -> list[Element]:
        return [one for one in elements(self.seen) if wanted(one)]

    def do(self, verb: Any, query: Wanted, **more: Any) -> None:
        if not self.done:
            action = WebAction(verb, self.places(query)[0], **more)
            self.seen, self.reward, self.done, *_ = self._env.step(action)

    def quoted(self) -> str:
        return re.findall(r'"(.*?)"', self.words)[0]

    def submit(self) -> None:
        self.do("click", lambda one: one.text == "Submit")


def text(*wanted: str) -> Wanted:
    return lambda one: one.text in wanted


def classed(name: str) -> Wanted:
    return lambda one: name in one.classes.split()


def turn_to(person: Person) -> None:
    """Turn an open calendar to the day that is asked for, and click it."""
    month, day = map(int, re.findall(r"(\d+)/(\d+)/\d{4}", person.words)[0])
    while True:
        shown = list(calendar.month_name).index(person.see(classed("ui-datepicker-month"))[0].text)
        if shown == month:
            break
        person.do("click", classed("ui-datepicker-prev" if shown > month else "ui-datepicker-next"))
    person.do("click", lambda one: one.tag == "A" and one.text == str(day))


def choose_date(person: Person) -> None:
    person.do("click", lambda one: one.tag == "INPUT_text")
    turn_to(person)
    person.submit()


def click_menu(person: Person) -> None:
    *way, last = person.words.removeprefix("Select ").split(">")
    for name in way:
        person.do("hover", text(name))
    person.do("click", text(last))


def click_pie(person: Person) -> None:
    person.do("click", text("+"))
    person.do("click", lambda one: one.tag == "tspan" and one.text == person.quoted())


def click_scroll_list(person: Person) -> None:
    named = person.words.removeprefix("Select ").partition(" from the scroll list")[0]
    person.do("type", lambda one: one.tag == "SELECT", text=named)
    person.submit()


def use_autocomplete(person: Person) -> None:
    begin, *end = re.findall(r'"(.*?)"', person.words)
    person.do("type", lambda one: one.tag == "INPUT_text", text=begin)
    like = re.compile(f"{re.escape(begin)}.*{re.escape(end[0]) if end else ''}")
    person.do("click", lambda one: "ui-menu-item" in one.classes and like.fullmatch(one.text) is not None)
    person.submit()


def use_spinner(person: Person) -> None:
    number = int(re.findall(r"-?\d+", person.words)[0])
    for _ in range(abs(number)):
        person.do("click", classed("ui-spinner-up" if number > 0 else "ui-spinner-down"))
    person.submit()


def guess_number(person: Person) -> None:
    low, high = 0, 9
    while not person.done:
        guess = (low + high) // 2
        person.do("type", lambda one: one.tag.startswith("INPUT"), text=str(guess))
        person.submit()
        if any("lower than" in one.text for one in elements(person.seen)):
            high = guess - 1
        else:
            low = guess + 1


def navigate_tree(person: Person) -> None:
    named = person.quoted()
    while not person.done:
        here = bool(person.places(text(named)))
        person.do("click", text(named) if here else classed("expandable-hitarea"))


def book_flight(person: Person) -> None:
    origin, target = re.findall(r"from: (.*?) to: (.*?) on", person.words)[0]
    for field, place in (("flight-from", origin), ("flight-to", target)):
        person.do("type", lambda one, field=field: one.id == field, text=place)
        person.do("click", lambda one, place=place: "ui-menu-item" in one.classes and place in one.text)
    person.do("click", lambda one: one.id == "datepicker")
    turn_to(person)
    person.do("click", lambda one: one.id == "search")
    offers = person.see(lambda one: one.tag == "BUTTON" and "flight-price" in one.classes)
    lengths = [duration(one.text) for one in person.see(classed("time-duration"))]
    prices = [int(re.sub(r"\D", "", one.text)) for one in offers]
    worth = prices if "cheapest" in person.words else lengths
    person.do("click", lambda one: one.ref == offers[worth.index(min(worth))].ref)


def duration(words: str) -> int:
    hours, minutes = re.findall(r"(\d+)h (\d+)m", words)[0]
    return 60 * int(hours) + int(minutes)


WAYS = (
    *(choose_date, click_menu, click_pie, click_scroll_list, use_autocomplete, use_spinner),
    *(guess_number, navigate_tree, book_flight),
)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_person_solves(browser: Browser, way: Callable[[Person], None]) -> None:
    env = WebEnv(way.__name__.replace("_", "-"), browser=browser)
    for seed in range(4):
        person = Person(env, seed)
        way(person)
        assert (person.reward, person.done) == (1.0, True), person.words
    env.close()
