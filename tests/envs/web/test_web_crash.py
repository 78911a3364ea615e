"""A tab or a browser that dies in mid-episode loses no episode: it is played again, to the same place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.browser import PROGRAM, Browser, find_program
from tutelage.envs.web.devtools import DevToolsCall, TabLost
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.vector import WebVectorEnv
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import trust
from tutelage.tests.envs.web.showing import PAGES, at, named

FORM = str(PAGES / "form.html")


@pytest.fixture
def mortal() -> Iterator[Browser]:
    """Give a browser of the test's own, to be killed."""
    one = Browser(patience=3)
    yield one
    one.close()


def kill(browser: Browser) -> None:
    assert browser.process is not None
    os.killpg(browser.process.pid, signal.SIGKILL)


def crash(env: WebEnv) -> None:
    """Kill the process that the tab's page runs in."""

    def conversation() -> Any:
        try:
            yield [env.episode.tab.call("Page.crash")]
        except TabLost:
            return

    env.browser.talk_alone(conversation())


def hang(env: WebEnv) -> None:
    """Let the page compute for ever from its next timer on."""

    def conversation() -> Any:
        code = "setTimeout(() => { for (;;) {} }, 100)"
        yield [env.episode.tab.call("Runtime.evaluate", {"expression": code})]

    env.browser.talk_alone(conversation())


def nothing(env: WebEnv) -> None:
    pass


@pytest.mark.slow
@pytest.mark.parametrize("fault", [nothing, crash, hang, lambda env: kill(env.browser)])
def test_the_episode_goes_on_as_if_nothing_had_been(mortal: Browser, fault: Callable[[WebEnv], None]) -> None:
    env = WebEnv(FORM, browser=mortal)
    seen, _ = env.reset(seed=1)
    seen, *_ = env.step(WebAction("type", at(seen, id="name"), text="bob"))
    fault(env)
    seen, *_, info = env.step(WebAction("type", at(seen, id="colour"), text="red"))
    assert named(seen, "name").value == "bob"
    assert info["repeats"] == (fault is not nothing)
    assert env.step(WebAction("click", at(seen, id="send")))[1] == 1.0


@pytest.mark.slow
def test_a_browser_killed_at_any_moment_of_a_step_loses_no_episode(mortal: Browser) -> None:
    envs = [WebEnv(FORM, browser=mortal) for _ in range(3)]
    for delay in (0.0, 0.003, 0.01, 0.03):
        begun = WebEnv.reset_together(envs, [1, 2, 3])
        killer = threading.Timer(delay, kill, [mortal])
        killer.start()
        until = time.monotonic() + 3
        generation, steps = mortal.generation, 0
        while mortal.generation == generation and time.monotonic() < until and steps < 25:
            steps += 1
            acted = WebEnv.step_together(
                envs, [WebAction("type", at(begun[0][0], id="name"), text=f"x{steps}")] * 3
            )
            assert [named(one[0], "name").value for one in acted] == [f"x{steps}"] * 3
            time.sleep(0.05)
        killer.join()
        assert mortal.generation == generation + 1


def test_one_tab_crashes_and_the_others_do_not_notice(mortal: Browser) -> None:
    vector = WebVectorEnv(FORM, 3, browser=mortal)
    seen, _ = vector.reset(seed=1)
    name = at({"elements": seen["elements"][0]}, id="name")
    crash(vector.envs[1])
    seen, *_ = vector.step([WebAction("type", name, text=text) for text in ("a", "b", "c")])
    assert [named({"elements": one}, "name").value for one in seen["elements"]] == ["a", "b", "c"]
    assert vector.envs[1].episode.repeats == 1


def test_a_page_that_always_crashes_is_given_up(mortal: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<script>window.task = {begin() { for (;;) {} }}</script>", "utf-8")
    mortal.patience = 0.5
    trust([tmp_path])
    with pytest.raises(
        TutelageError, match=r"expected the page bad to live, but it was lost 4 times on seed 1"
    ):
        WebEnv(str(page), browser=mortal).reset(seed=1)


def test_nothing_of_a_browser_is_left_when_its_python_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from tutelage.envs.web.environment import WebEnv\n"
        "env = WebEnv(sys.argv[1])\nenv.reset(seed=1)\n"
        "print(env.browser.process.pid, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, FORM], stdout=subprocess.PIPE, text=True) as python:
        assert python.stdout is not None
        browser = psutil.Process(int(python.stdout.readline()))
        family = [browser, *browser.children(recursive=True)]
        assert len(family) > 2
        python.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_nothing_of_the_browser_listens(mortal: Browser) -> None:
    WebEnv(FORM, browser=mortal).reset(seed=1)
    assert mortal.process is not None
    browser = psutil.Process(mortal.process.pid)
    sockets = [one for each in (browser, *browser.children(recursive=True)) for one in each.net_connections()]
    assert [one for one in sockets if one.status == psutil.CONN_LISTEN] == []


def test_a_missing_browser_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRAM, "no-such-browser")
    with pytest.raises(TutelageError, match="expected TUTELAGE_CHROMIUM to name a Chromium"):
        find_program()
    monkeypatch.delenv(PROGRAM)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(TutelageError, match="apt install chromium-headless-shell"):
        find_program()


def test_a_browser_that_will_not_run_is_told() -> None:
    with pytest.raises(TutelageError, match="to run, but it ended 4 times in a row"):
        WebEnv(FORM, browser=Browser("/bin/false")).reset(seed=1)


def test_a_refused_call_is_told_as_a_lost_tab(mortal: Browser) -> None:
    def conversation() -> Any:
        yield [DevToolsCall("No.suchMethod")]

    with pytest.raises(TabLost, match="wasn't found"):
        mortal.talk_alone(conversation())
