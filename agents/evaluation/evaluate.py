"""Evaluate actors on a suite: every actor, every task, the same unseen seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...console.progress import Progress
from ...console.wording import counted
from ...datasets.sealed_yaml import seal_of
from ...datasets.trajectory import Trajectory
from ...envs.admission import admit
from ...envs.capabilities import StepsTogether
from ...envs.recorded import NOT_PLAYED, is_recorded_only
from ...envs.suite import Suite
from ...envs.task import SELECT, TEST, SeedRange
from ...envs.task_env import TaskEnv
from ...envs.task_spec import supports
from ...errors import TutelageError
from .actors import Actor, PolicyActor, plays
from .parallel_rollout import ProgressCallback, jobs_of, play
from .rollout import rollout
from .rows import actor_of, failed_rows, failures_of, joined, rows_from
from .saved_evaluation import NewEvaluation


@dataclass(frozen=True)
class Evaluation:
    """Rows, one an episode (see `rows.SCHEMA`), and the episodes.

    `resumed` is the number of episodes reused from an earlier attempt.
    """

    rows: pa.Table
    trajectories: list[Trajectory]
    resumed: int = 0

    @property
    def failures(self) -> dict[tuple[str, str], str]:
        """(task, actor) → error, for those that failed."""
        return failures_of(self.rows)


def evaluate(
    suite: Suite,
    actors: Sequence[Actor],
    *,
    episodes: int | None = None,
    seeds: SeedRange = TEST,
    out: Path | None = None,
    progress: ProgressCallback | None = None,
    batch: int = 256,
    workers: int = 1,
    people: Sequence[Trajectory] = (),
    facts: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Evaluate every actor on the first `episodes` seeds of `seeds`, on every task that it can play.

    `episodes` defaults to the suite's number; `workers` processes share the jobs. `people` are episodes of
    people, whose rows are added. With `out`, the evaluation is written there with `facts` (see
    `saved_evaluation`); an earlier one is replaced at the end, unless it holds people's episodes. Failures of
    environments, including dead worker processes, affect their own episodes only, whose rows hold the error.
    If `facts` identify the actors, the same call resumes an evaluation that was stopped or had failures.
    Raises TutelageError for duplicate actor names, when no actor can play any task, and for a full disk.
    """
    names = [actor.name for actor in actors]
    if len(set(names)) < len(names):
        raise TutelageError(f"expected actors with different names, got {', '.join(names)}; rename one")
    for task in suite:
        if playing := [actor for actor in actors if plays(actor, task)]:
            admit(task)
        for actor in playing:
            if (admit_actor := getattr(actor, "admit", None)) is not None:
                admit_actor(task)
    count = suite.episodes if episodes is None else episodes
    if count < 1:
        raise TutelageError(f"expected at least one episode, got {count}")
    if all(map(is_recorded_only, suite)):
        raise TutelageError(f"{suite.name!r}: {NOT_PLAYED}")
    if not jobs_of(actors, list(suite), [0], batch):
        raise TutelageError(f"expected an actor that can play a task of {suite.name!r}, got none")
    chosen = list(seeds.first(count))
    options: dict[str, Any] = {"batch": batch, "workers": workers, "progress": progress}
    if out is None:
        played, rows, resumed = _measured(suite, actors, chosen, None, options)
        return Evaluation(joined([rows, rows_from(people, "people")]), [*played, *people], resumed)
    with NewEvaluation(out, suite, _identity(suite, actors, facts)) as writing:
        played, rows, resumed = _measured(suite, actors, chosen, writing, options)
        rows = joined([rows, rows_from(people, "people")])
        writing.finish(rows, facts or {})
    return Evaluation(rows, [*played, *people], resumed)


def _measured(
    suite: Suite,
    actors: Sequence[Actor],
    seeds: Sequence[int],
    writing: NewEvaluation | None,
    options: Mapping[str, Any],
) -> tuple[list[Trajectory], pa.Table, int]:
    """Play the missing episodes; returns all episodes and rows, and the number of reused episodes."""
    order = {(task.id, actor.name): index for index, (task, actor) in enumerate(product(suite, actors))}
    seeds_asked = set(seeds)
    existing = [
        episode
        for episode in (writing.existing if writing is not None else [])
        if episode.seed in seeds_asked and (episode.task, actor_of(episode)) in order
    ]
    finished = {(episode.task, actor_of(episode), episode.seed) for episode in existing}
    jobs = jobs_of(actors, list(suite), seeds, options["batch"], finished)
    played, tables = [*existing], [rows_from(existing)]
    if writing is not None:
        writing.add([], tables[0])
    for job, result in play(actors, jobs, suite_name=suite.name, **options):
        actor = actors[job.actor]
        failed = failed_rows(suite.name, job.task.id, actor.name, actor.kind, result.failures)
        tables.append(pa.concat_tables([rows_from(result.trajectories, actor.name), failed]))
        if writing is not None:
            writing.add(result.trajectories, tables[-1])
        played += result.trajectories
    rows = pa.concat_tables(tables)
    places = [
        (order[task, actor], seed)
        for task, actor, seed in zip(
            *(rows[name].to_pylist() for name in ("task", "actor", "seed")), strict=True
        )
    ]
    played.sort(key=lambda episode: (order[episode.task, actor_of(episode)], episode.seed))
    return played, rows.take(sorted(range(len(places)), key=places.__getitem__)), len(existing)


def _identity(suite: Suite, actors: Sequence[Actor], facts: Mapping[str, Any] | None) -> str:
    """Return a hash of everything that determines the episodes of this evaluation; "" without `facts`."""
    if not facts:
        return ""
    parts = {"suite": dict(suite.source), "actors": {actor.name: actor.kind for actor in actors}, **facts}
    return seal_of(parts)


def best_of_select(
    policy: Any,
    suite: Suite,
    episodes: int,
    *,
    environments: dict[str, list[TaskEnv]] | None = None,
    batch: int = 256,
    workers: int = 1,
    tell: Callable[[str, str], None] | None = None,
) -> dict[str, float]:
    """Return a policy's success rate by task on select seeds, to choose a checkpoint.

    An episode whose environment failed is no success; `tell` receives the task and the error. Tasks without
    a success rule are left out. Pass the same dict as `environments` to reuse them; the caller closes them.
    `workers` processes share the tasks that step concurrently. Never reported: a checkpoint chosen by these
    rates looks better on them than it is.
    """

    def failed(task: str, failures: Mapping[int, str]) -> None:
        if failures and tell is not None:
            tell(task, f"{len(failures)} of {counted(episodes, 'episode')}: {next(iter(failures.values()))}")

    actor = PolicyActor(policy)
    seeds = SELECT.first(episodes)
    tasks = [task for task in suite if plays(actor, task) and task.success.is_known]
    rates: dict[str, float] = dict.fromkeys([task.id for task in tasks], 0.0)
    # those of all tasks together would be too many tabs of a browser
    concurrent = [task for task in tasks if supports(task, StepsTogether)]
    jobs = jobs_of([actor], concurrent, seeds, len(seeds))
    for job, result in play([actor], jobs, suite_name=suite.name, batch=batch, workers=workers):
        failed(job.task.id, result.failures)
        rates[job.task.id] = _success(result.trajectories, episodes)
    for task in tasks:
        if task not in concurrent:
            pool = None if environments is None else environments.setdefault(task.id, [])
            failures: dict[int, str] = {}
            episodes_played = rollout(
                actor,
                task,
                seeds,
                batch=batch,
                suite_name=suite.name,
                environments=pool,
                failures=failures,
            )
            failed(task.id, failures)
            rates[task.id] = _success(episodes_played, episodes)
    return rates


@contextmanager
def progress_bars() -> Iterator[ProgressCallback]:
    """Show one bar a task and actor; yields the `progress` argument of `evaluate`."""
    bars: dict[tuple[str, str], int] = {}
    with Progress("evaluating", open_ended=True, transient=False) as bar:

        def report(task: str, actor: str, count: int, total: int, all_episodes: int) -> None:
            bar.expect(all_episodes, "episode")
            if (task, actor) not in bars:
                bars[task, actor] = bar.add(f"{task} · {actor}", total)
            bar.reach(count, bars[task, actor])

        yield report


def _success(episodes: Sequence[Trajectory], count: int) -> float:
    return sum(bool(episode.success) for episode in episodes) / count
