"""The whole pipeline in one command: a simulated crowd plays, one policy is trained, all are evaluated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..agents.evaluation.compare import EvaluationResult, measure, report_on, select_success
from ..agents.evaluation.evaluate import progress_bars
from ..agents.evaluation.table_files import table_markdown
from ..agents.policy.checkpoint import write_card
from ..agents.training.behavior_cloning import train
from ..agents.training.config import TrainConfig
from ..console.progress import Progress, waiting
from ..console.terminal import SafeConsole
from ..console.wording import counted
from ..datasets.simulation.simulated_crowd import crowd, simulate
from ..datasets.store import Store
from ..datasets.trajectory import Trajectory
from ..envs.suite import Suite, load_suite
from ..envs.task import TEST
from ..files.safe_tree import remove_tree

DEMONSTRATIONS = {
    "goto-red-ball-grey": 3000,
    "goto-local": 3000,
    "cartpole": 150,
    "taxi": 2000,
    "pendulum": 400,
}
"""Episodes a task that the crowd plays, failures included."""

DEMO = TrainConfig(size=3, steps=600, batch_steps=1280, evaluate_every=200)
"""How the demo trains; `--quick` takes `QUICK_STEPS` of them."""

QUICK_STEPS = 90
QUICK_SHARE = 0.1
QUICK_EPISODES = 32


@dataclass(frozen=True)
class DemoResult:
    """What a demo leaves: its report, the kept policy, what was measured, and how long it took."""

    page: Path
    kept: Path
    measured: EvaluationResult
    seconds: float


def run_demo(out: Path, *, quick: bool, play: bool, port: int, seed: int, console: SafeConsole) -> DemoResult:
    """Play, train, evaluate, report; with `play`, serve the recorder on the same test seeds afterwards.

    Everything lands under `out`: `crowd/` (store), `run/` (training), `evaluation/`, `report.html`,
    `people/`. The crowd of an earlier demo is used again.
    """
    if play:  # before ten minutes of work: the recorder needs an extra
        from ..crowd.server import recorder_app  # noqa: F401
    suite = load_suite("first-steps")
    began = time.perf_counter()
    store = _crowd(suite, out / ("crowd-quick" if quick else "crowd"), quick, console)
    run = out / ("run-quick" if quick else "run")
    config = replace(DEMO, seed=seed)
    if quick:
        config = replace(config, steps=QUICK_STEPS, evaluate_every=QUICK_STEPS)
    with _stage(console, "one policy learns from what the crowd did"):
        kept = train(
            [store], run, config, evaluate=select_success(suite, episodes=16 if quick else 32), progress=True
        )
    people = Store.create(out / "people", suite)
    with (
        _stage(console, "policy, expert, crowd and random actions play the same unseen seeds"),
        progress_bars() as bars,
    ):
        episodes = QUICK_EPISODES if quick else suite.episodes
        measured = measure(
            [kept], out / "evaluation", episodes=episodes, people=_played(people), seed=seed, progress=bars
        )
    write_card(kept, table_markdown(measured.rows, suite))
    page = out / "report.html"
    with _stage(console, "the report is written"), waiting("writing the report"):
        _report(out, page, run, store, people)
    console.print(measured.table())
    console.print(f"report: {page}   whole demo: {time.perf_counter() - began:.0f} s")
    if play:
        _invite(suite, out, page, run, store, people, port, console)
    return DemoResult(page, kept, measured, time.perf_counter() - began)


def _crowd(suite: Suite, folder: Path, quick: bool, console: SafeConsole) -> Store:
    share = QUICK_SHARE if quick else 1.0
    counts = {task: max(10, round(count * share)) for task, count in DEMONSTRATIONS.items()}
    if folder.exists():
        store = Store.create(folder, suite)
        console.print(f"{counted(len(store), 'demonstration')} found in {folder}")
        return store
    # renamed when complete: a demo that was stopped in between never leaves half a crowd to learn from
    unfinished = folder.with_name(f"{folder.name}-unfinished")
    remove_tree(unfinished)
    people = len(crowd())
    with (
        _stage(console, f"a simulated crowd of {people} plays"),
        Progress("playing", transient=False) as bars,
    ):
        handles = {task: bars.add(task, count) for task, count in counts.items()}
        simulate(
            suite,
            Store.create(unfinished, suite),
            counts,
            workers=2,
            progress=lambda task, count: bars.advance(count, handles[task]),
        )
    unfinished.rename(folder)
    return Store.open(folder)


def _report(out: Path, page: Path, run: Path, store: Store, people: Store) -> None:
    report_on(
        out / "evaluation", page, runs=[run], stores=[store], people=_played(people), title="First steps"
    )


def _played(people: Store) -> list[Store]:
    """Return the people's store as a list: an empty one as long as nobody has played."""
    return [people] if len(people) else []


def _invite(
    suite: Suite,
    out: Path,
    page: Path,
    run: Path,
    store: Store,
    people: Store,
    port: int,
    console: SafeConsole,
) -> None:
    """Let a person play the very same test seeds; each kept episode rewrites the report with their row."""
    from ..crowd.server.recorder_app import record

    console.print("Your turn: the same seeds, in the browser. Ctrl-C ends it.")

    def kept(_: Trajectory) -> None:
        _report(out, page, run, store, people)

    record(
        suite,
        out / "people",
        seeds=TEST,
        host="127.0.0.1",
        port=port,
        open_browser=True,
        demonstrator=None,
        episodes=10,
        on_kept=kept,
        extra_pages={"/report": page},
        say=console.print,
    )
    _report(out, page, run, store, people)


@contextmanager
def _stage(console: SafeConsole, what: str) -> Iterator[None]:
    console.rule(what, align="left", style="dim")
    began = time.perf_counter()
    yield
    console.print(f"{time.perf_counter() - began:.0f} s", style="dim")
