"""A browser for a process of tests, and pages of ours opened in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tutelage.envs.web.browser import Browser
from tutelage.envs.web.environment import WebEnv
from tutelage.tests.envs.web.showing import PAGES


@pytest.fixture(scope="session")
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
