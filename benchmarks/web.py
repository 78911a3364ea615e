"""Web tasks beside the package `miniwob`, in one run; then memory, then endurance.

Episodes: three tasks solved from their first page to their reward, without screenshots, every one of them
right; ours in one browser with eight tabs that are stepped at once, and `alone` in a single tab; the
package's through selenium and chromedriver (`make bench` makes its virtual environment), with the same
Chromium. Rounds alternate; the median is reported. Memory: what a further tab takes, of many.
Endurance: episodes of random actions over every task, twice over; `lost` are those that did not end, `grown`
is the browser's memory after the second time around beside the first.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np
import psutil
from _figures import figure, tell
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.browser import PROGRAM, Browser, find_program
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.observation import read_columns
from tutelage.envs.web.page_sources import miniwob_tasks

HERE = Path(__file__).parent
PEER_PYTHON = HERE.parent / ".venv" / "miniwob" / "bin" / "python"
TASKS = {"click-test-2": 30, "click-checkboxes-large": 8, "login-user": 12}
"""Tasks, and the package's episodes a round; ours are eight times as many."""
TABS = 8
STEPS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument(
        "--peer", type=Path, default=PEER_PYTHON, help="a Python that has miniwob and selenium"
    )
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    peer = options.peer if options.peer.exists() else None
    figures |= episodes(peer, 3, 3) if options.quick else episodes(peer, 7, 1)
    figures |= memory(5 if options.quick else 20)
    tasks = miniwob_tasks()[::5] if options.quick else miniwob_tasks()
    figures |= endurance(tasks, 52 if options.quick else 2080)
    tell("web", figures, ("miniwob", "gymnasium", "numpy"), options.out)


def episodes(peer: Path | None, rounds: int, share: int) -> dict[str, Any]:
    """Measure episodes a second on three tasks, in rounds of one `share`-th of TASKS."""
    browser = Browser()
    theirs = Peer(peer, browser.program) if peer else None
    figures: dict[str, Any] = {}
    for task, most in TASKS.items():
        count = most // share
        envs = [WebEnv(task, browser=browser) for _ in range(TABS)]
        play(task, envs, range(TABS))
        rates = []
        for _ in range(rounds):
            alone, together = rate(task, envs[:1], 8 * count), rate(task, envs, 8 * count)
            rates.append((alone, together, theirs.rate(task, count) if theirs else 0.0))
        alone, together, beside = (median(column) for column in zip(*rates, strict=True))
        if theirs:
            figures[task] = figure(together, "episodes/s", "miniwob", together / beside, 5)
            figures[f"{task}_alone"] = figure(alone, "episodes/s", "miniwob", alone / beside)
            figures[f"{task}_miniwob"] = figure(beside, "episodes/s")
        else:
            figures[task] = figure(together, "episodes/s")
            figures[f"{task}_alone"] = figure(alone, "episodes/s")
        for env in envs:
            env.close()
    if theirs:
        theirs.close()
        for kind, budget in (("", 8), ("_alone", None)):
            mean = geometric_mean(figures[f"{task}{kind}"]["ratio"] for task in TASKS)
            figures[f"geometric_mean{kind}"] = figure(mean, "of its episodes/s", "miniwob", mean, budget)
    browser.close()
    return figures


class Peer:
    """The package's own environment, in a process of its own."""

    def __init__(self, python: Path, program: str) -> None:
        driver = shutil.which("chromedriver")
        if driver is None:
            sys.exit("expected chromedriver on the PATH, found none; Debian: apt install chromium-driver")
        beside = {"MINIWOB_CHROME_BINARY": binary_of(program), "MINIWOB_CHROMEDRIVER": driver}
        self._process = subprocess.Popen(
            [str(python), str(HERE / "peers" / "miniwob_episodes.py")],
            env=os.environ | beside,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rate(self, task: str, count: int) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(task, count, file=self._process.stdin, flush=True)
        return count / float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def binary_of(program: str) -> str:
    """Return the program itself where Debian puts a script before it, which selenium cannot start."""
    behind = Path("/usr/lib/chromium") / Path(program).name
    return str(behind) if behind.exists() else program


def rate(task: str, envs: list[WebEnv], count: int) -> float:
    began = time.perf_counter()
    for first in range(0, count, len(envs)):
        play(task, envs, range(first, first + len(envs)))
    return count / (time.perf_counter() - began)


def play(task: str, envs: list[WebEnv], seeds: range) -> None:
    """Solve one episode in every tab."""
    begun = WebEnv.reset_together(envs, list(seeds))
    plans = [solution(task, seen["instruction"], read_columns(seen["elements"])) for seen, _ in begun]
    won = 0
    while some := [(env, plan) for env, plan in zip(envs, plans, strict=True) if plan]:
        stepped = WebEnv.step_together([env for env, _ in some], [plan.pop(0) for _, plan in some])
        won += sum(reward == 1 and terminated for _, reward, terminated, *_ in stepped)
    assert won == len(envs), task


def solution(task: str, instruction: str, columns: dict[str, list[Any]]) -> list[WebAction]:
    if task == "click-test-2":
        return [WebAction("click", columns["text"].index("ONE"))]
    if task == "login-user":
        name, password = re.findall(r'"(.*?)"', instruction)
        typed = [("username", name), ("password", password)]
        fields = [WebAction("type", columns["id"].index(field), text=text) for field, text in typed]
        return [*fields, WebAction("click", columns["text"].index("Login"))]
    wanted = instruction.removeprefix("Select ").removesuffix(" and click Submit.").split(", ")
    labels = [columns["parent"][columns["text"].index(text)] for text in wanted if text != "nothing"]
    boxes = [
        place
        for place, (parent, tag) in enumerate(zip(columns["parent"], columns["tag"], strict=True))
        if parent in labels and tag == "INPUT_checkbox"
    ]
    return [*(WebAction("click", box) for box in boxes), WebAction("click", columns["text"].index("Submit"))]


def memory(tabs: int) -> dict[str, Any]:
    """Measure what a further tab takes."""
    browser = Browser()
    envs = [WebEnv("email-inbox", browser=browser)]
    WebEnv.reset_together(envs, [0])
    one = used(browser)
    envs += [WebEnv("email-inbox", browser=browser) for _ in range(tabs)]
    WebEnv.reset_together(envs, list(range(len(envs))))
    each = (used(browser) - one) / tabs
    browser.close()
    return {"memory_of_the_first": figure(one, "MB"), "memory_per_tab": figure(each, "MB")}


def endurance(tasks: tuple[str, ...], count: int) -> dict[str, Any]:
    """Play episodes of random actions over all tasks, twice over, eight tabs at a time."""
    browser = Browser()
    generator = np.random.default_rng(0)
    lost, repeats, sizes = 0, 0, []
    began = time.perf_counter()
    for _ in range(2):
        for first in range(0, len(tasks), TABS):
            envs = [WebEnv(task, browser=browser, max_steps=STEPS) for task in tasks[first : first + TABS]]
            for seed in range(count // len(tasks) // 2):
                lost += wander(envs, seed, generator)
            repeats += sum(env.episode.repeats for env in envs)
            for env in envs:
                env.close()
        sizes.append(used(browser))
    seconds = time.perf_counter() - began
    browser.close()
    played = count // len(tasks) // 2 * 2 * len(tasks)
    return {
        "endurance": figure(played, "episodes"),
        "endurance_rate": figure(played / seconds, "episodes/s"),
        "endurance_lost": figure(lost, "episodes"),
        "endurance_repeated": figure(repeats, "episodes"),
        "endurance_grown": figure(sizes[1] - sizes[0], "MB"),
    }


def wander(envs: list[WebEnv], seed: int, generator: np.random.Generator) -> int:
    """Play one episode of random actions in every tab; returns how many did not end."""
    seen = [one for one, _ in WebEnv.reset_together(envs, [seed] * len(envs))]
    going = dict(enumerate(envs))
    for _ in range(STEPS):
        actions = [some_action(seen[i], generator) for i in going]
        stepped = WebEnv.step_together(list(going.values()), actions)
        for i, (now, _, terminated, truncated, _) in zip(list(going), stepped, strict=True):
            seen[i] = now
            if terminated or truncated:
                del going[i]
    return len(going)


def some_action(seen: dict[str, Any], generator: np.random.Generator) -> WebAction:
    place = int(generator.integers(len(read_columns(seen["elements"])["ref"])))
    choices = [
        *[WebAction("click", place)] * 5,
        WebAction("type", place, text="ann"),
        WebAction("drag", place, dx=20, dy=10),
        WebAction("key", key="Tab"),
        WebAction("scroll", place, amount=50),
    ]
    return choices[int(generator.integers(len(choices)))]


def used(browser: Browser) -> float:
    """Return the memory of a browser's processes that is theirs alone, in MB."""
    assert browser.process is not None
    first = psutil.Process(browser.process.pid)
    total = 0
    for one in (first, *first.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a closed tab's, just ending
            total += one.memory_full_info().uss
    return total / 1e6


if __name__ == "__main__":
    os.environ.setdefault(PROGRAM, find_program())
    main()
