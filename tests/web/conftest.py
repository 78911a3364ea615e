"""Pages of our own, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tutelage.envs.web.browser import Browser
from tutelage.envs.web.elements import Element, read_elements
from tutelage.envs.web.environment import WebEnv

PAGES = Path(__file__).parent / "pages"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    one = Browser()
    yield one
    one.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., WebEnv]]:
    """Give a way to open a page of ours as an environment."""
    made: list[WebEnv] = []

    def run(page: str, **options: Any) -> WebEnv:
        made.append(WebEnv(str(PAGES / f"{page}.html"), browser=browser, **options))
        return made[-1]

    yield run
    for one in made:
        one.close()


def elements(observation: dict[str, Any]) -> tuple[Element, ...]:
    return read_elements(observation["elements"])


def at(observation: dict[str, Any], **wanted: Any) -> int:
    """Return the place of the first element with these attributes."""
    return next(
        place
        for place, one in enumerate(elements(observation))
        if all(getattr(one, name) == value for name, value in wanted.items())
    )


def named(observation: dict[str, Any], element_id: str) -> Element:
    return elements(observation)[at(observation, id=element_id)]
