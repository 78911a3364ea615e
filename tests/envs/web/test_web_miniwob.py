"""The pages of the package miniwob: the same seed gives what the package's own start gives, every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import pytest
from tutelage.envs.suite import load_suite
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.browser import Browser
from tutelage.envs.web.devtools import Conversation, DevToolsCall
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.page_session import PageView
from tutelage.envs.web.page_sources import find_page, miniwob_tasks
from tutelage.envs.web.registration import web_id
from tutelage.envs.web.tab import Tab
from tutelage.errors import TutelageError
from tutelage.tests.envs.web.showing import at, elements, named, play

if not miniwob_tasks():
    pytest.skip("needs the package miniwob: pip install 'tutelage[web]'", allow_module_level=True)

SEED = 11
TOGETHER = 16
BY_THE_CLOCK = {"chase-circle", "click-pie", "moving-items", "simon-says", "stock-market"}
"""Pages that move by themselves: what they show depends on when one looks."""
OWN_LISTING = """(() => {
  const rows = [];
  const visit = (node, parent) => {
    const at = rows.length;
    const classes = typeof node.classes === "string" ? node.classes : "SVG_CLASS";
    const isLine = node.tag === "t";
    rows.push([
      parent, node.tag, node.text || "", node.value === undefined ? null : String(node.value),
      isLine ? "" : node.id, isLine ? "" : classes, node.left, node.top, node.width, node.height,
    ]);
    for (const child of node.children) visit(child, at);
  };
  visit(core.getDOMInfo(), -1);
  return [core.getUtterance(), rows];
})()"""
COLUMNS = ("parent", "tag", "text", "value", "id", "classes", "left", "top", "width", "height")
Shown = tuple[str, list[list[Any]]]


def by_the_package(tasks: Sequence[str]) -> Conversation[list[Shown]]:
    """Open pages bare in turn, start each as the package does, and list it with the package's own code."""
    (target,) = yield [DevToolsCall("Target.createTarget", {"url": "about:blank"})]
    (attached,) = yield [
        DevToolsCall("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
    ]
    session = attached["sessionId"]

    def evaluate(code: str) -> Conversation[Any]:
        params = {"expression": code, "returnByValue": True, "awaitPromise": True}
        (answer,) = yield [DevToolsCall("Runtime.evaluate", params, session)]
        return answer["result"].get("value")

    size = {"width": 500, "height": 240, "deviceScaleFactor": 1, "mobile": False}
    yield [DevToolsCall("Emulation.setDeviceMetricsOverride", size, session)]
    shown: list[Shown] = []
    for task in tasks:
        url = find_page(task).path.as_uri()
        yield [DevToolsCall("Page.navigate", {"url": url}, session)]
        is_there = (
            f"location.href === '{url}' && document.readyState === 'complete' && typeof core === 'object'"
        )
        while not (yield from evaluate(is_there)):
            yield from evaluate("new Promise((done) => setTimeout(done, 20))")
        yield from evaluate("new Promise((done) => setTimeout(done, 50))")
        start = "core.setDataMode('train'); core.startEpisodeReal()"
        yield from evaluate(f"core.endEpisode(0); Math.seedrandom({SEED}); {start}")
        # pictures that styles name come only now
        yield from evaluate("new Promise((done) => setTimeout(done, 150))")
        utterance, rows = yield from evaluate(OWN_LISTING)
        # as the package's own environment reads it: some pages tell the fields apart, too
        shown.append((utterance["utterance"] if isinstance(utterance, dict) else utterance, rows))
    yield [DevToolsCall("Target.closeTarget", {"targetId": target["targetId"]})]
    return shown


def by_us(browser: Browser, task: str) -> Conversation[Shown]:
    tab = Tab(browser, find_page(task))
    yield from tab.open()
    look: PageView = yield from tab.begin(SEED)
    yield from tab.close()
    return look.instruction, [
        list(row) for row in zip(*(look.columns[name] for name in COLUMNS), strict=True)
    ]


def alike(mine: Shown, theirs: Shown) -> bool:
    """Compare all but the body's width, which is the window's, and the date that a terminal shows."""
    return mine[0] == theirs[0] and all(
        one[:6] == other[:6] and one[6:] == pytest.approx(other[6:], abs=0.01)
        for one, other in zip(mine[1], theirs[1], strict=True)
        if one[1] != "BODY" and not one[2].startswith("Last login:")
    )


@pytest.fixture(scope="module")
def pages(browser: Browser) -> dict[str, tuple[Shown, Shown]]:
    tasks = miniwob_tasks()
    mine: list[Shown] = []
    for begin in range(0, len(tasks), TOGETHER):
        mine += browser.talk([by_us(browser, task) for task in tasks[begin : begin + TOGETHER]])
    bare = browser.talk([by_the_package(tasks[begin::TOGETHER]) for begin in range(TOGETHER)])
    theirs: dict[str, Shown] = {}
    for begin, listed in enumerate(bare):
        theirs |= zip(tasks[begin::TOGETHER], listed, strict=True)
    return {task: (page, theirs[task]) for task, page in zip(tasks, mine, strict=True)}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_instruction_in_every_task(
    pages: dict[str, tuple[Shown, Shown]],
) -> None:
    unlike = [task for task, (mine, theirs) in pages.items() if mine[0] != theirs[0]]
    assert len(pages) >= 126
    assert unlike == []


def test_the_same_seed_gives_the_same_page_in_every_task_but_those_that_move(
    pages: dict[str, tuple[Shown, Shown]],
) -> None:
    still = {task: pair for task, pair in pages.items() if task not in BY_THE_CLOCK}
    assert [task for task, (mine, theirs) in still.items() if not alike(mine, theirs)] == []


def test_every_task_is_registered_and_in_the_suite_of_all() -> None:
    assert all(web_id(task) in gymnasium.registry for task in miniwob_tasks())
    assert {task.id for task in load_suite("web-all")} == set(miniwob_tasks())
    assert len(list(load_suite("web"))) == 56
    assert {task.id for task in load_suite("web")} <= set(miniwob_tasks())


def scripted(task: str) -> list[tuple[dict[str, Any], WebAction]]:
    """Return what solves a task on seed 3: what to look for, and what to do to it."""
    return {
        "click-test": [({"tag": "BUTTON"}, WebAction("click"))],
        "choose-list": [
            ({"tag": "SELECT"}, WebAction("type", text="{}")),
            ({"tag": "BUTTON"}, WebAction("click")),
        ],
        "enter-date": [
            ({"tag": "INPUT_date"}, WebAction("type", text="{}")),
            ({"tag": "BUTTON"}, WebAction("click")),
        ],
        "enter-time": [
            ({"tag": "INPUT_time"}, WebAction("type", text="{}")),
            ({"tag": "BUTTON"}, WebAction("click")),
        ],
        "focus-text": [({"tag": "INPUT_text"}, WebAction("click"))],
    }[task]


@pytest.mark.parametrize(
    ("task", "before", "after"),
    [
        ("click-test", "", ""),
        ("choose-list", "Select ", " from the list"),
        ("enter-date", "Enter ", " as the date"),
        ("enter-time", "Enter ", " as the time"),
        ("focus-text", "", ""),
    ],
)
def test_a_task_is_solved_and_its_reward_is_not_scaled_by_time(
    browser: Browser, task: str, before: str, after: str
) -> None:
    env = WebEnv(task, browser=browser)
    for seed in range(3, 8):
        seen, _ = env.reset(seed=seed)
        words = seen["instruction"].removeprefix(before).partition(after)[0] if after else ""
        for query, what in scripted(task):
            action = WebAction(what.verb, at(seen, **query), text=what.text.format(words))
            seen, reward, terminated, *_ = env.step(action)
        assert (reward, terminated) == (1.0, True)
    env.close()


@pytest.mark.slow
def test_episodes_leave_no_trace(browser: Browser) -> None:
    """The tasks whose page would remember, and one of each kind of action that leaves something."""
    for task in ("scroll-text", "use-slider", "click-menu", "book-flight", "social-media", "email-inbox"):
        fresh, used = WebEnv(task, browser=browser), WebEnv(task, browser=browser)
        expected, _ = fresh.reset(seed=2)
        for seed in range(3):
            seen, _ = used.reset(seed=seed)
            last = len(elements(seen)) - 1
            for action in (
                WebAction("click", last),
                WebAction("scroll", last, amount=50),
                WebAction("type", last, text="x"),
            ):
                used.step(action)
        assert used.reset(seed=2)[0] == expected
        fresh.close()
        used.close()


@pytest.mark.exam
@pytest.mark.parametrize("task", miniwob_tasks())
def test_whatever_is_done_the_next_episode_is_as_in_a_fresh_tab(browser: Browser, task: str) -> None:
    used, fresh = WebEnv(task, browser=browser), WebEnv(task, browser=browser)
    for seed in range(4):
        play(used, seed, steps=12)
    assert play(used, 9, steps=12) == play(fresh, 9, steps=12)
    used.close()
    fresh.close()


def test_many_tasks_are_played_at_once(browser: Browser) -> None:
    envs = [WebEnv(task, browser=browser) for task in ("click-button", "login-user", "tic-tac-toe")]
    WebEnv.reset_together(envs, [1, 2, 3])
    stepped = WebEnv.step_together(
        envs, [WebAction("click", 3), WebAction("type", 6, text="ann"), WebAction("click", 5)]
    )
    assert named(stepped[1][0], "username").value == "ann"
    for env in envs:
        env.close()


def test_a_task_is_played_through_gymnasium_and_as_a_task_of_a_suite() -> None:
    environment = TaskEnv(load_suite("web")["click-test-2"])
    step = environment.reset(1)
    assert environment.limit == 30
    assert environment.instruction == "Click button ONE."
    assert step.observation["instruction"] == "Click button ONE."
    environment.close()


def test_an_unknown_task_is_told() -> None:
    with pytest.raises(
        TutelageError, match="expected a task of miniwob, got 'clik-test'; did you mean 'click-test"
    ):
        find_page("clik-test")


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    """Close the browser that Gymnasium's environments share."""
    yield
    from tutelage.envs.web.browser import shared

    shared().close()
