"""Batched rollouts: all environments of a task step together, with one call of the actor a step."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Sequence

import numpy as np

from ...datasets.episode_builder import EpisodeBuilder
from ...datasets.trajectory import Trajectory, controller_of
from ...datasets.versions import versions_of
from ...envs.capabilities import FewAtOnce
from ...envs.spaces import action_to_row
from ...envs.task import Task
from ...envs.task_env import StepResult, TaskEnv
from ...envs.task_spec import class_of
from ...errors import TutelageError
from .actors import Actor
from .broken import FailedEpisodes

FAILURES = 3
"""After so many failed episodes in a row, those of whole batches, the others would fail too."""

GAVE_UP = "gave up"
"""`notes` of an episode whose actor gave up; such an episode is neither terminated nor truncated."""


def rollout(
    actor: Actor,
    task: Task,
    seeds: Sequence[int],
    *,
    batch: int = 256,
    suite_name: str,
    progress: Callable[[int], None] | None = None,
    environments: list[TaskEnv] | None = None,
    keep: bool = False,
    failures: dict[int, str] | None = None,
) -> list[Trajectory]:
    """Play one episode a seed and return the trajectories, in the order of `seeds`.

    At most `batch` environments exist at once, or as many as their class allows (`FewAtOnce`); a finished
    one waits for the rest. A list passed as `environments` is extended as needed and left open for reuse.
    `progress` receives the number of episodes that have just ended. With `keep`, trajectories store their
    observations; otherwise a replay reconstructs them. `times_ms` is the cumulative thinking time: the
    duration of each `act` over the number of episodes alive, without the environment's time; simulated
    demonstrators report their own.
    An actor that gives up fails: its trajectory is neither terminated nor truncated, with GAVE_UP as notes;
    if it gave up before its first action, one idle (or zero) action is taken, since an episode has a step.
    With `failures`, an error of an environment ends only its episode: seed → error is added to `failures`,
    and there is no trajectory. Batches in which every episode failed, of FAILURES episodes together or more,
    end the rollout.
    Raises TutelageError when an environment passed in belongs to another task.
    """
    pool = [] if environments is None else environments
    batch = min(batch, getattr(actor, "batch", batch), _most_together(task) or batch)
    for environment in pool:
        if environment.task != task:
            raise TutelageError(f"expected environments of {task.id!r}, got one of {environment.task.id!r}")
    played: list[Trajectory] = []
    failed_in_a_row = 0
    try:
        for start in range(0, len(seeds), batch):
            chunk = [int(seed) for seed in seeds[start : start + batch]]
            broken = FailedEpisodes(task, chunk, strict=failures is None)
            with broken.environment(range(len(chunk)), "when it was made"):
                while len(pool) < len(chunk):
                    pool.append(TaskEnv(task))
            if len(broken.reasons) < len(chunk):
                played += _play(actor, task, pool[: len(chunk)], chunk, suite_name, progress, keep, broken)
            if not broken.reasons:
                failed_in_a_row = 0
                continue
            _drop(pool)  # their state after a failure is unknown
            assert failures is not None
            failures.update(broken.by_seed())
            failed_in_a_row = failed_in_a_row + len(chunk) if len(broken.reasons) == len(chunk) else 0
            if failed_in_a_row >= FAILURES:
                rest = [int(seed) for seed in seeds[start + batch :]]
                failures.update(dict.fromkeys(rest, broken.reasons[0]))
                break
    finally:
        if environments is None:
            for environment in pool:
                environment.close()
    return played


def _most_together(task: Task) -> int | None:
    made_by = class_of(task)
    return made_by.most_together() if made_by is not None and issubclass(made_by, FewAtOnce) else None


def _drop(pool: list[TaskEnv]) -> None:
    """Close and remove environments; ignores their errors."""
    for environment in pool:
        with contextlib.suppress(Exception):
            environment.close()
    pool.clear()


def _play(
    actor: Actor,
    task: Task,
    environments: Sequence[TaskEnv],
    seeds: Sequence[int],
    suite_name: str,
    progress: Callable[[int], None] | None,
    keep: bool,
    broken: FailedEpisodes,
) -> list[Trajectory]:
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    steps = broken.reset(environments, seeds)
    alive = broken.alive
    if progress and not alive.all():
        progress(len(broken.reasons))
    if not alive.any():
        return []
    with broken.actor(range(len(seeds)), actor.name):
        actor.begin(environments, task, seeds)
    names = getattr(actor, "demonstrators", None) or [actor.name] * len(seeds)
    controller = controller_of(actor.kind)
    builders = [
        EpisodeBuilder(seed, name, actor.kind, controller, keep)
        for seed, name in zip(seeds, names, strict=True)
    ]
    for i in np.flatnonzero(alive):
        builders[i].start(steps[i])
    alive &= broken.alive
    while alive.any():
        before = time.perf_counter()
        with broken.actor(np.flatnonzero(alive).tolist(), actor.name):
            rows = actor.act(steps, alive)
        if not (alive & broken.alive).any():
            break
        living = np.flatnonzero(alive)
        mean_ms = (time.perf_counter() - before) * 1000 / len(living)
        reported_ms = getattr(actor, "thought_ms", None)
        thought_ms = np.full(len(seeds), mean_ms) if reported_ms is None else reported_ms
        _advance(environments, living, steps, rows, builders, thought_ms, broken)
        alive[living] = [not (builders[i].notes or steps[i].done or i in broken.reasons) for i in living]
        if progress and (ended := len(living) - int(alive.sum())):
            progress(ended)
    versions = versions_of(environments[0])
    return [
        builder.build(environment, suite_name, versions, started=started)
        for i, (builder, environment) in enumerate(zip(builders, environments, strict=True))
        if i not in broken.reasons
    ]


def _advance(
    environments: Sequence[TaskEnv],
    living: np.ndarray,
    steps: list[StepResult],
    rows: np.ndarray,
    builders: Sequence[EpisodeBuilder],
    thought_ms: np.ndarray,
    broken: FailedEpisodes,
) -> None:
    """Step the environments in `living` and record the steps; an actor that gives up takes no step."""
    acting: dict[int, np.ndarray] = {}
    for i in living.tolist():
        if not np.isnan(rows[i]).any():
            acting[i] = rows[i]
            continue
        builders[i].notes = GAVE_UP
        if not builders[i].actions:
            with broken.environment([i], "when its keys were asked for"):
                acting[i] = _idle_action(environments[i])
    for i, step in broken.step(environments, acting).items():
        steps[i] = step
        time_ms = builders[i].time_ms + float(thought_ms[i])
        builders[i].add(np.array(acting[i], np.float64), step, time_ms)


def _idle_action(environment: TaskEnv) -> np.ndarray:
    idle = environment.controls().idle
    if idle is not None:
        return np.array(idle)
    space = environment.action_space
    return np.zeros_like(action_to_row(space, space.sample()))
