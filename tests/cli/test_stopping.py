"""The first Ctrl-C or SIGTERM ends every verb within two seconds, in one line; nothing is left running."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import yaml
from tutelage.agents.evaluation.compare import measure
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.state import STATE, _read
from tutelage.console.progress import VARIABLE as PROGRESS
from tutelage.datasets.formats.exchange import export_store
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import load_suite
from tutelage.foreign_code.trust import VARIABLE as TRUST
from tutelage.tests.support import small_room, toy_slow_pole
from tutelage.tests.support.forked_commands import Command, Forge, until

pytestmark = pytest.mark.alone  # two seconds are two seconds where both cores are there

CONFIG = TrainConfig(size=1, steps=1, batch_steps=64, window=8, threads=1, workers=1, select_episodes=1)
SMALL = ["--size", "1", "--batch-steps", "64", "--window", "8", "--threads", "1", "--workers", "2"]
MANY_STEPS = ["--steps", "100000", "--evaluate-every", "100000"]
INT, TERM = signal.SIGINT, signal.SIGTERM


@dataclass(frozen=True)
class Place:
    """Where everything is that a verb may be given; training has replayed `taught` already, not `store`."""

    suite: Path
    study: Path
    store: Path
    taught: Path
    run: Path
    export: Path
    evaluation: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    (folder / "slow.yaml").write_text(yaml.safe_dump(toy_slow_pole.SUITE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TRUST, toy_slow_pole.MODULE)
        suite = load_suite(str(folder / "slow.yaml"))
        stores = [Store.create(folder / name, suite) for name in ("store", "taught")]
        for store in stores:
            for task in suite:  # parts are what processes share
                simulate(suite, store, {task.id: 12})
        train([stores[1]], folder / "run", CONFIG, evaluate=lambda _: {"pole": 0.5, "post": 0.5})
        export_store(stores[0], "minari", folder / "export")
        measure([folder / "run"], folder / "evaluation", actors=["random"])
        yield Place(
            suite=folder / "slow.yaml",
            study=small_room.write(folder / "study", suite=toy_slow_pole.SUITE),
            store=stores[0].path,
            taught=stores[1].path,
            run=folder / "run",
            export=folder / "export",
            evaluation=folder / "evaluation",
        )


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory, place: Place) -> Iterator[Forge]:
    with Forge(tmp_path_factory.mktemp("notes")) as forge:
        yield forge


SLOW_STEP, SLOW_RESET = {toy_slow_pole.STEP: "0.05"}, {toy_slow_pole.RESET: "600"}
CASES: dict[str, tuple[list[str], dict[str, str], str, str]] = {
    # name: words, how slow the environments are, what is printed when it is in its midst, how to go on
    "simulate": (["simulate", "SUITE", "-o", "OUT"], SLOW_STEP, "playing: ", "plays what is missing"),
    "simulate-alone": (
        ["simulate", "SUITE", "-o", "OUT", "--workers", "1"],
        SLOW_STEP,
        "playing: ",
        "plays what is missing",
    ),
    "simulate-rehearsal": (["simulate", "SUITE", "-o", "OUT"], SLOW_RESET, "trying the tasks", "again"),
    "train": (["train", "TAUGHT", "-o", "OUT", *SMALL, *MANY_STEPS], {}, "steps/s", "go on with --resume"),
    "train-replaying": (["train", "STORE", "-o", "OUT", *SMALL], SLOW_STEP, "replaying: ", "again"),
    "train-selecting": (
        ["train", "TAUGHT", "-o", "OUT", *SMALL, "--steps", "9", "--evaluate-every", "2"],
        SLOW_RESET,
        "playing select seeds",
        "saved at step 2 of 9",
    ),
    "train-self-imitation": (
        ["train", "TAUGHT", "-o", "RUN", "--resume", "--self-imitation", "1", "--workers", "2"],
        SLOW_RESET,
        "trying: ",
        "round 1 of self-imitation begins again",
    ),
    "evaluate": (["evaluate", "RUN", "-o", "OUT"], SLOW_STEP, "evaluating: ", "plays the rest"),
    "evaluate-workers": (
        ["evaluate", "RUN", "-o", "OUT", "--workers", "2"],
        SLOW_STEP,
        "evaluating: ",
        "plays the rest",
    ),
    "import": (["import", "minari", "EXPORT", "-o", "OUT"], SLOW_STEP, "reading: ", "again"),
    "export": (["export", "STORE", "--to", "minari", "-o", "OUT"], SLOW_STEP, "writing: ", "again"),
    "inspect": (["inspect", "STORE"], SLOW_STEP, "replaying: ", "again"),
    "quality": (["quality", "STORE"], SLOW_RESET, "reading: ", "again"),
    "report": (["report", "EVALUATION", "-o", "OUT"], SLOW_STEP, "writing the report: ", "again"),
    "demo": (["demo", "-o", "OUT", "--no-play"], {}, "playing: ", "again"),
    "record-rehearsal": (
        ["record", "SUITE", "-o", "OUT", "--no-browser", "--port", "0"],
        SLOW_RESET,
        "trying the tasks",
        "again",
    ),
    "check": (["serve", "STUDY", "--check"], SLOW_RESET, "trying the tasks", "again"),
}
WAYS = [(INT, True), (INT, False), (TERM, False)]
SELDOM = ("simulate-alone", "record-rehearsal", "train")
"""What others do as well: to play in one process, to be rehearsed, to train."""
WITH_PROCESSES = ("simulate", "train-replaying", "evaluate-workers", "inspect")


def words_of(place: Place, words: list[str], out: Path) -> list[str]:
    outcomes = {
        "SUITE": place.suite,
        "STUDY": place.study / "pilot.yaml",
        "STORE": place.store,
        "TAUGHT": place.taught,
        "RUN": place.run,
        "EXPORT": place.export,
        "EVALUATION": place.evaluation,
        "OUT": out,
    }
    return [str(outcomes.get(word, word)) for word in words]


def stopped(command: Command, number: signal.Signals, group: bool) -> float:
    """Stop a command; returns how long it took, when nothing of it is left."""
    began = time.monotonic()
    left = command.stop(number, group=group, seconds=30)
    took = time.monotonic() - began
    until(lambda: not any(process.is_running() and process.status() != "zombie" for process in left), 1)
    return took


def ways() -> Iterator[Any]:
    """One way a verb, other than its neighbors'; every way of those with processes is left to `make soak`."""
    for name in CASES:
        usual = len(name) % len(WAYS)
        for at, way in enumerate(WAYS):
            if at == usual:
                yield pytest.param(name, *way, marks=[pytest.mark.soak] if name in SELDOM else [])
            elif name in WITH_PROCESSES:
                yield pytest.param(name, *way, marks=pytest.mark.soak)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number", "group"), [*ways()])
def test_a_verb_ends_at_the_first_signal(
    name: str, number: signal.Signals, group: bool, forge: Forge, place: Place, tmp_path: Path
) -> None:
    words, slow, midst, how_to_go_on = CASES[name]
    command = forge.start(*words_of(place, words, tmp_path / "out"), environment={PROGRESS: "0.05", **slow})
    command.wait_for(midst)
    if name in WITH_PROCESSES:
        until(lambda: len(command.family()) > 2, 30)
    took = stopped(command, number, group)
    assert command.status == 128 + number, command.errors
    lines = [line for line in command.errors.splitlines() if not is_progress(line)]
    assert len(lines) == 1, command.errors
    assert lines[0].startswith("tutelage: ")
    assert how_to_go_on in lines[0]
    assert took < 2


def is_progress(line: str) -> bool:
    """Tell a plain line of progress, which says for how many seconds the work goes on."""
    return re.search(r"^tutelage: [^;]*: .*\d s(,.*|$)", line) is not None and "stopped" not in line


@pytest.mark.slow
def test_what_was_played_is_kept_and_the_same_command_plays_the_rest(
    forge: Forge, place: Place, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["simulate", str(place.suite), "-o", str(out), "-n", "220", "--workers", "1"]
    # a hundred episodes make a chunk: it is there when the next one is played
    command = forge.start(*words, environment={PROGRESS: "0.02", toy_slow_pole.STEP: "0.001"})
    command.wait_for("100 of 220")
    stopped(command, INT, True)
    kept = [(episode.task, episode.seed, episode.digest) for episode in Store.open(out).trajectories()]
    assert 0 < len(kept) < 210
    command = forge.start(*words)
    until(lambda: command.status is not None, 60)
    assert command.status == 0, command.errors
    whole = [(episode.task, episode.seed, episode.digest) for episode in Store.open(out).trajectories()]
    assert whole[: len(kept)] == kept
    assert len({(task, seed) for task, seed, _ in whole}) == len(whole) > 210


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_stopped(forge: Forge, place: Place, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = words_of(place, ["train", "TAUGHT", "-o", "OUT", *SMALL, *MANY_STEPS], out)
    command = forge.start(*words, environment={PROGRESS: "0.05"})
    command.wait_for("steps/s")
    assert stopped(command, INT, True) < 2
    assert command.status == 128 + INT
    step = _read(out / STATE)[1]["step"]
    assert f"saved at step {step} of 100000" in command.errors
    command = forge.start("train", place.taught, "-o", out, "--resume", "--steps", str(step + 3))
    until(lambda: command.status is not None, 60)
    assert command.status == 0, command.errors
    assert _read(out / STATE)[1]["step"] == step + 3


@pytest.mark.parametrize(
    ("number", "group"), [WAYS[0], *(pytest.param(*way, marks=pytest.mark.soak) for way in WAYS[1:])]
)
def test_no_browser_is_left_of_processes_that_were_stopped(
    number: signal.Signals, group: bool, forge: Forge, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = forge.start("pages", tmp_path, environment={"TMPDIR": str(temporary)})
    until(lambda: len(list(tmp_path.glob("*.page"))) == 2 or command.status is not None, 90)
    assert any("chrom" in process.name() for process in command.family()), command.errors
    took = stopped(command, number, group)
    assert command.status == 128 + number
    assert command.errors == ""
    assert not list(temporary.glob("tutelage-chromium-*"))
    assert took < 2


@pytest.mark.parametrize(
    ("verb", "number"),
    [
        *(("record", INT), ("serve", TERM)),
        *(pytest.param(*case, marks=pytest.mark.soak) for case in (("record", TERM), ("serve", INT))),
    ],
)
def test_a_server_ends_well_at_the_first_signal(
    verb: str, number: signal.Signals, forge: Forge, place: Place, tmp_path: Path
) -> None:
    words = ["record", "SUITE", "-o", "OUT", "--no-browser", "--port", "0"]
    if verb == "serve":
        words = ["serve", "STUDY", "-o", "OUT", "--port", "0"]
    command = forge.start(*words_of(place, words, tmp_path / "out"))
    command.wait_for("Ctrl-C stops")
    until(lambda: len(command.family()) > 2, 60)  # the processes of environments are coming up
    took = stopped(command, number, True)
    assert (command.status, command.errors) == (0, "")
    assert command.out.rstrip().endswith("Stopped; everything is saved.")
    assert took < 2


def test_looking_through_a_store_ends_at_the_first_signal_while_an_episode_is_played(
    forge: Forge, place: Place
) -> None:
    store = Store.open(place.store).episodes()
    episode, steps = store["episode"][0].as_py(), store["steps"][0].as_py()
    slow = {toy_slow_pole.STEP: "0.4"}
    command = forge.start("browse", place.store, "--no-browser", environment=slow)
    command.wait_for("Ctrl-C stops")
    link = re.search(r"http\S+", command.out)
    assert link
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        client.get(link[0])
        frames = urljoin(link[0], f"/frames/{episode}?first={steps}&count=1")
        with client.stream("GET", frames) as response:
            next(response.iter_raw())  # it tells how far it has come: it is playing
            took = stopped(command, INT, True)
    assert (command.status, command.errors) == (0, "")
    assert took < 2


LOST = """
import os, signal, time
from tutelage.console.signals import Stopped, signals

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

try:
    with signals.installed():
        dying = Dying()
        del dying
        time.sleep(1)
        print("went on")
except Stopped:
    print("stopped")
"""


def test_a_stop_that_a_finalizer_swallows_comes_once_more_and_without_a_word() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("stopped\n", "")
