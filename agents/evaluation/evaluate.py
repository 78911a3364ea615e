"""Measure actors on a suite: every actor, every task, the same unseen seeds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...datasets.store import Store
from ...datasets.trajectory import Trajectory
from ...envs.errors import TutelageError
from ...envs.gymnasium_task import TaskEnvironment
from ...envs.suite import Suite
from ...envs.task import SELECT, TEST, SeedRange
from ...envs.web.registration import is_web
from .actors import Actor, PolicyActor, plays
from .rollout import rollout
from .rows import joined, rows_from, write_rows

Report = Callable[[str, str, int, int], None]
"""Told the task, the actor, how many of its episodes have ended and how many there are."""


@dataclass(frozen=True)
class Evaluation:
    """One row an episode (see `rows.SCHEMA`), and the episodes themselves."""

    rows: pa.Table
    trajectories: list[Trajectory]


def evaluate(
    suite: Suite,
    actors: Sequence[Actor],
    *,
    episodes: int | None = None,
    seeds: SeedRange = TEST,
    out: Path | None = None,
    progress: Report | None = None,
    batch: int = 256,
) -> Evaluation:
    """Let every actor play the first `episodes` seeds of `seeds` on every task that it can play.

    `episodes` is the suite's own number if not given. With `out`, `rows.parquet` and a store `episodes`
    are written there; those of an earlier evaluation are replaced, unless people's are among them.
    Raises TutelageError for two actors of one name, or when no actor can play any task.
    """
    names = [one.name for one in actors]
    if len(set(names)) < len(names):
        raise TutelageError(f"expected actors with different names, got {', '.join(names)}; rename one")
    count = suite.episodes if episodes is None else episodes
    if count < 1:
        raise TutelageError(f"expected at least one episode, got {count}")
    store = None if out is None else _fresh_store(out / "episodes", suite)
    played: list[Trajectory] = []
    tables: list[pa.Table] = []
    for task in suite:
        pool: list[TaskEnvironment] = []
        try:
            for actor in (one for one in actors if plays(one, task)):
                some = rollout(
                    actor,
                    task,
                    seeds.first(count),
                    batch=batch,
                    suite_name=suite.name,
                    environments=pool,
                    progress=_counting(progress, task.id, actor.name, count),
                )
                if store is not None:
                    store.append(some)
                played += some
                tables.append(rows_from(some, actor.name))
        finally:
            for environment in pool:
                environment.close()
    if not played:
        raise TutelageError(f"expected an actor that can play a task of {suite.name!r}, got none")
    rows = joined(tables)
    if out is not None:
        write_rows(out / "rows.parquet", rows)
    return Evaluation(rows, played)


def best_of_select(
    policy: Any,
    suite: Suite,
    episodes: int,
    *,
    environments: dict[str, list[TaskEnvironment]] | None = None,
    batch: int = 256,
) -> dict[str, float]:
    """Return a policy's success rate by task on select seeds, for the choice of a checkpoint.

    Hand in the same dict as `environments` every time and they are made once; closing them is up to the
    caller. Never reported: a checkpoint chosen by these numbers looks better on them than it is.
    """
    actor = PolicyActor(policy)
    rates: dict[str, float] = {}
    for task in (one for one in suite if plays(actor, one)):
        # tabs are not kept: those of all tasks would be too many
        pool = None if environments is None or is_web(task.env) else environments.setdefault(task.id, [])
        seeds = SELECT.first(episodes)
        some = rollout(actor, task, seeds, batch=batch, suite_name=suite.name, environments=pool)
        rates[task.id] = sum(one.success for one in some) / len(some)
    return rates


@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[Report]:
    """Show one bar a task and actor while `evaluate` runs: pass what this yields as its `progress`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    bars: dict[tuple[str, str], Any] = {}
    shown = Progress(*columns, console=console)

    def report(task: str, actor: str, done: int, total: int) -> None:
        if not bars:  # not before there is something to show: an error should stand alone
            shown.start()
        if (task, actor) not in bars:
            bars[task, actor] = shown.add_task(f"{task} · {actor}", total=total)
        shown.update(bars[task, actor], completed=done)

    try:
        yield report
    finally:
        if bars:
            shown.stop()


def _counting(progress: Report | None, task: str, actor: str, total: int) -> Callable[[int], None] | None:
    if progress is None:
        return None
    done = 0
    progress(task, actor, 0, total)

    def count(ended: int) -> None:
        nonlocal done
        done += ended
        progress(task, actor, done, total)

    return count


def _fresh_store(path: Path, suite: Suite) -> Store:
    if (path / "dataset.yaml").exists():
        kinds = set(Store.open(path).episodes()["kind"].to_pylist())
        if "person" in kinds:
            raise TutelageError(f"expected a folder without people's episodes, got {path}; choose another")
        shutil.rmtree(path)
    return Store.create(path, suite)
