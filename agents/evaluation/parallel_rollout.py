"""Actors play tasks, one job after another, or several at once in processes of their own."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import parent_process
from typing import Any

from ...datasets.parallel import JobDied, spread_safely
from ...datasets.trajectory import Trajectory
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from .actors import Actor, plays
from .rollout import rollout

Report = Callable[[str, str, int, int, int], None]
"""Told the task, the actor, how many of its episodes have ended, how many there are, and how many of all."""


@dataclass(frozen=True)
class RolloutJob:
    """Some seeds that one actor plays on one task: what is computed, written and made up for at once."""

    task: Task
    actor: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class RolloutResult:
    """What came of a job: the episodes, and seed → what went wrong where there is none."""

    trajectories: list[Trajectory]
    failures: Mapping[int, str]


def jobs_of(
    actors: Sequence[Actor],
    tasks: Sequence[Task],
    seeds: Sequence[int],
    batch: int,
    done: Container[tuple[str, str, int]] = (),
) -> list[RolloutJob]:
    """Cut what actors are to play into jobs of a batch each, without what is `done`: (task, actor, seed)."""
    blocks = [seeds[at : at + batch] for at in range(0, len(seeds), batch)]
    left = [
        RolloutJob(task, at, tuple(seed for seed in block if (task.id, actor.name, seed) not in done))
        for task in tasks
        for at, actor in enumerate(actors)
        if plays(actor, task)
        for block in blocks
    ]
    return [job for job in left if job.seeds]


def play(
    actors: Sequence[Actor],
    jobs: Sequence[RolloutJob],
    *,
    suite_name: str,
    batch: int = 256,
    workers: int = 1,
    progress: Report | None = None,
) -> Iterator[tuple[RolloutJob, RolloutResult]]:
    """Give what comes of every job, in their order, as it comes.

    Failing environments, and with several `workers` dying processes, are listed in `RolloutResult.failures`.
    With several `workers`, `progress` hears of a job's episodes when they have all ended.
    """
    counts = EpisodeCounts(actors, jobs, progress)
    if workers <= 1:
        with closing(_EnvironmentPool()) as pool:
            for job in jobs:
                yield job, _played(actors[job.actor], job, suite_name, batch, pool, counts.of(job))
        return
    work = partial(_in_a_process, pack(list(actors)), suite_name, batch)
    for job, result in zip(jobs, spread_safely(work, jobs, workers), strict=True):
        if isinstance(result, JobDied):
            result = RolloutResult([], dict.fromkeys(job.seeds, str(result)))
        counts.of(job)(len(job.seeds))
        yield job, result


def pack(thing: Any) -> bytes:
    """Make bytes of what every job needs, such as a policy: a process reads the same bytes once."""
    return pickle.dumps(thing)


@lru_cache(maxsize=1)
def unpack(packed: bytes) -> Any:
    """Give back what was packed, in a process that shares its cores with others of its kind."""
    if parent_process() is not None:
        import torch

        torch.set_num_threads(1)
    return pickle.loads(packed)


class _EnvironmentPool:
    """The environments of the task that was played last: all its actors play in the same ones."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._made: list[TaskEnv] = []

    def of(self, task: Task) -> list[TaskEnv]:
        """Return what there is for a task, after closing what there is for another."""
        if task != self._task:
            self.close()
            self._task = task
        return self._made

    def close(self) -> None:
        """Close all, whatever they raise."""
        for environment in self._made:
            with suppress(Exception):
                environment.close()
        self._made.clear()


@lru_cache(maxsize=1)
def _pool_of_this_process() -> _EnvironmentPool:
    return _EnvironmentPool()


def _in_a_process(packed: bytes, suite_name: str, batch: int, job: RolloutJob) -> RolloutResult:
    actors: Sequence[Actor] = unpack(packed)
    return _played(actors[job.actor], job, suite_name, batch, _pool_of_this_process(), None)


def _played(
    actor: Actor,
    job: RolloutJob,
    suite_name: str,
    batch: int,
    pool: _EnvironmentPool,
    progress: Callable[[int], None] | None,
) -> RolloutResult:
    failures: dict[int, str] = {}
    episodes = rollout(
        actor,
        job.task,
        job.seeds,
        batch=batch,
        suite_name=suite_name,
        environments=pool.of(job.task),
        progress=progress,
        failures=failures,
    )
    return RolloutResult(episodes, failures)


class EpisodeCounts:
    """How many episodes of each task and actor have ended, told to a Report."""

    def __init__(self, actors: Sequence[Actor], jobs: Sequence[RolloutJob], report: Report | None) -> None:
        self._names = [actor.name for actor in actors]
        self._report = report
        self._ended: Counter[tuple[str, int]] = Counter()
        self._totals: Counter[tuple[str, int]] = Counter()
        for job in jobs:
            self._totals[job.task.id, job.actor] += len(job.seeds)

    def of(self, job: RolloutJob) -> Callable[[int], None]:
        """Return what counts episodes of a job as they end."""
        pair = (job.task.id, job.actor)

        def count(ended: int) -> None:
            self._ended[pair] += ended
            if self._report is not None:
                total = self._totals.total()
                self._report(
                    job.task.id, self._names[job.actor], self._ended[pair], self._totals[pair], total
                )

        if not self._ended[pair]:
            count(0)
        return count
