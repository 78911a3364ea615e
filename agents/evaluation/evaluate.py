"""Measure actors on a suite: every actor, every task, the same unseen seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...datasets.trajectory import Trajectory
from ...envs.admission import admit
from ...envs.errors import TutelageError
from ...envs.gymnasium_task import TaskEnvironment
from ...envs.progress import Progress
from ...envs.suite import Suite
from ...envs.task import SELECT, TEST, SeedRange
from ...envs.web.registration import is_web
from .actors import Actor, PolicyActor, plays
from .play import Report, play
from .rollout import rollout
from .rows import joined, rows_from
from .saved_evaluation import NewEvaluation


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
    workers: int = 1,
    people: Sequence[Trajectory] = (),
    facts: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Let every actor play the first `episodes` seeds of `seeds` on every task that it can play.

    `episodes` is the suite's own number if not given; `workers` processes share the tasks. `people` are
    episodes of people, whose rows are added. With `out`, the evaluation is written there, with `facts` about
    it (see `saved_evaluation`); an earlier one is replaced when all is there, unless people's episodes are
    in it.
    Raises TutelageError for two actors of one name, when no actor can play any task, and for a full disk.
    """
    names = [actor.name for actor in actors]
    if len(set(names)) < len(names):
        raise TutelageError(f"expected actors with different names, got {', '.join(names)}; rename one")
    for task in suite:
        if any(plays(actor, task) for actor in actors):
            admit(task)
    count = suite.episodes if episodes is None else episodes
    if count < 1:
        raise TutelageError(f"expected at least one episode, got {count}")
    asked = seeds.first(count)
    with nullcontext() if out is None else NewEvaluation(out, suite) as writing:
        played: list[Trajectory] = []
        tables: list[pa.Table] = []
        for _, actor, trajectories in play(
            actors,
            list(suite),
            asked,
            suite_name=suite.name,
            batch=batch,
            workers=workers,
            progress=progress,
        ):
            if writing is not None:
                writing.store.append(trajectories)
            played += trajectories
            tables.append(rows_from(trajectories, actor.name))
        if not played:
            raise TutelageError(f"expected an actor that can play a task of {suite.name!r}, got none")
        rows = joined([*tables, rows_from(people, "people")])
        if writing is not None:
            writing.finish(rows, facts or {})
    return Evaluation(rows, [*played, *people])


def best_of_select(
    policy: Any,
    suite: Suite,
    episodes: int,
    *,
    environments: dict[str, list[TaskEnvironment]] | None = None,
    batch: int = 256,
    workers: int = 1,
) -> dict[str, float]:
    """Return a policy's success rate by task on select seeds, for the choice of a checkpoint.

    Hand in the same dict as `environments` every time and they are made once; closing them is up to the
    caller; each of `workers` processes plays some of the web pages. Never reported: a checkpoint chosen by
    these numbers looks better on them than it is.
    """
    actor = PolicyActor(policy)
    seeds = SELECT.first(episodes)
    tasks = [one for one in suite if plays(actor, one)]
    rates: dict[str, float] = dict.fromkeys([one.id for one in tasks], 0.0)
    # tabs are not kept: those of all tasks would be too many
    pages = [one for one in tasks if is_web(one.env)]
    for task, _, some in play([actor], pages, seeds, suite_name=suite.name, batch=batch, workers=workers):
        rates[task.id] = _success(some)
    for task in tasks:
        if task not in pages:
            pool = None if environments is None else environments.setdefault(task.id, [])
            some = rollout(actor, task, seeds, batch=batch, suite_name=suite.name, environments=pool)
            rates[task.id] = _success(some)
    return rates


@contextmanager
def progress_bars() -> Iterator[Report]:
    """Show one bar a task and actor while `evaluate` runs: pass what this yields as its `progress`."""
    bars: dict[tuple[str, str], int] = {}
    with Progress("evaluating", open_ended=True, transient=False) as shown:

        def report(task: str, actor: str, done: int, total: int) -> None:
            if (task, actor) not in bars:
                bars[task, actor] = shown.add(f"{task} · {actor}", total)
            shown.reach(done, bars[task, actor])

        yield report


def _success(episodes: Sequence[Trajectory]) -> float:
    return sum(one.success for one in episodes) / len(episodes)
