"""What a page requests of its own folder arrives within the action that it was requested in."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.devtools import DevToolsCall
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.origin import Origin
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import trust
from tutelage.tests.envs.web.showing import PAGES, at

ARRIVALS = {
    "several": "requests.html:true, panes.html:true, menu.html:true",
    "picture": "5 wide",
    "late": "word, word again",
    "missing": "not there, no picture",
    "turns": "twenty turns",
    "old": "old word",
    "again": "five words",
    "drawn": "drawn",
}
UNORDERED = {
    "code": {"7px", "code"},
    "markup": {"picture", "source", "input", "svg", "style", "attribute"},
    "local": {"read", "blob", "image/png", "2 wide"},
}


@pytest.fixture(scope="module", params=["at once", "late"])
def env(request: pytest.FixtureRequest) -> Iterator[WebEnv]:
    """Give the page; its files come at once, or each after a while."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "late":
            answer = Origin.answer

            def answer_late(self: Origin, paused: Mapping[str, Any]) -> DevToolsCall:
                time.sleep(0.05)
                return answer(self, paused)

            patch.setattr(Origin, "answer", answer_late)
        env = WebEnv(str(PAGES / "requests.html"))
        yield env
        env.close()


def press(env: WebEnv, *names: str) -> list[str]:
    """Press buttons in a new episode; returns what the page told after each."""
    observation, _ = env.reset(seed=3)
    told = [observation["instruction"]]
    for name in names:
        observation, *_ = env.step(WebAction("click", at(observation, id=name)))
        told.append(observation["instruction"])
    return told


def test_an_episode_begins_with_what_the_page_waits_for(env: WebEnv) -> None:
    assert press(env) == ["word 3"]


@pytest.mark.parametrize("name", ARRIVALS)
def test_a_request_arrives_within_its_action(env: WebEnv, name: str) -> None:
    assert press(env, name)[-1] == f"word 3, {ARRIVALS[name]}"


@pytest.mark.parametrize("name", UNORDERED)
def test_parts_of_several_kinds_arrive_within_their_action(env: WebEnv, name: str) -> None:
    first, *told = press(env, name)[-1].split(", ")
    assert (first, set(told)) == ("word 3", UNORDERED[name])
    assert len(told) == len(UNORDERED[name])


def test_nothing_is_waited_for_that_never_arrives(env: WebEnv) -> None:
    began = time.monotonic()
    assert press(env, "never", "late") == ["word 3", "word 3, asked", "word 3, asked, word, word again"]
    assert time.monotonic() - began < 9, "the page gives up after ten seconds"


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        (
            "throw new Error('no items')",
            r"lost 4 times on seed 3 after 0 actions: Error: no items \(own.html:\d+:\d+\)$",
        ),
        ("await new Promise(() => {})", "Error: begin took more than 60 s of the page's time$"),
    ],
)
def test_a_page_that_cannot_begin_is_one_line(begin: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "own.html").write_text(
        f"<!DOCTYPE html><button>go</button><script>window.task = {{ async begin() {{ {begin}; }},"
        "instruction: () => '', outcome: () => ({ done: false, reward: 0 }) };</script>"
    )
    trust([tmp_path])
    env = WebEnv(str(tmp_path / "own.html"))
    with pytest.raises(TutelageError, match=words):
        env.reset(seed=3)
    env.close()


@pytest.mark.slow
def test_a_page_that_requests_endlessly_is_played_all_the_same() -> None:
    env = WebEnv(str(PAGES / "requests.html"))
    assert press(env, "endless", "endless", "late")[-1].startswith("word 3")
    env.close()
