"""Whatever hands do to a page, another tab shows the same after the actions that it came to."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tutelage.envs.capabilities import HumanInput
from tutelage.envs.web.browser import Browser
from tutelage.envs.web.environment import WebEnv
from tutelage.tests.envs.web.showing import PAGES
from tutelage.tests.envs.web.sitting import Sitting

EDGES = (0.0, 159.5)
"""Where the mouse meets the bars of what scrolls, and the ends of the page."""
gestures = st.builds(
    HumanInput,
    st.sampled_from(
        ["click", "tap", "press", "move", "release", "hover", "wheel", "key", "fill", "wait", "rest"]
    ),
    x=st.sampled_from(EDGES) | st.floats(0, 160) | st.floats(0, 4096),
    y=st.floats(0, 110) | st.floats(0, 300),
    amount=st.integers(-4096, 4096),
    key=st.sampled_from(
        [*"ab Z1", "Enter", "Tab", "Backspace", "ArrowDown", "Dead", "F5", "\0", "é", "", "End"]
    ),
    held=st.lists(st.sampled_from(["Alt", "Control", "Meta", "Shift"]), max_size=2).map(tuple),
    text=st.text(max_size=210),
)


def fumbled(env: WebEnv, done: list[HumanInput], seed: int) -> Sitting:
    """Do all of that, as far as the episode goes."""
    person = Sitting(env, seed)
    for gesture in done:
        person.do(**{name: getattr(gesture, name) for name in ("kind", *vars(gesture))})
        if person.done:
            return person
    person.do("rest")
    return person


def _fumble(browser: Browser, page: str, examples: int) -> None:
    env = WebEnv(str(PAGES / f"{page}.html"), browser=browser)

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None, deadline=None)
    @example(
        [HumanInput("click"), HumanInput("click", x=270, y=61)], 0
    )  # on the bar of a list, which is seen scrolled
    @example([HumanInput("press", x=150, y=61), HumanInput("move", x=150, y=80), HumanInput("hover")], 0)
    @example([HumanInput("key", key="1"), HumanInput("key", key="End")], 0)  # a key by itself, amid letters
    @example(
        [HumanInput("press", x=46, y=80), HumanInput("move", y=156), HumanInput("click", y=40)], 65
    )  # a selection
    @given(st.lists(gestures, max_size=15), st.integers(0, 99))
    def fumble(done: list[HumanInput], seed: int) -> None:
        fumbled(env, done, seed).check()

    fumble()
    env.close()


ALL_PAGES = [path.stem for path in sorted(PAGES.glob("*.html"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", ALL_PAGES)
def test_whatever_hands_do_another_tab_shows_the_same(browser: Browser, page: str) -> None:
    _fumble(browser, page, 3)


@pytest.mark.soak
@pytest.mark.parametrize("page", ALL_PAGES)
def test_whatever_hands_do_another_tab_shows_the_same_a_thousand_times(browser: Browser, page: str) -> None:
    _fumble(browser, page, 1000)
