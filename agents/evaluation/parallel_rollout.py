"""Roll out actors on tasks, job by job or in several processes."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import parent_process
from typing import Any

from ...datasets.trajectory import Trajectory
from ...datasets.workers.parallel import JobDied, spread_safely
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from .actors import Actor, plays
from .rollout import rollout

ProgressCallback = Callable[[str, str, int, int, int], None]
"""Receives task, actor, its finished episodes, its number of episodes, and the number of all episodes."""


@dataclass(frozen=True)
class RolloutJob:
    """Seeds that one actor (an index) plays on one task: the unit of work, writing and resuming."""

    task: Task
    actor: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class RolloutResult:
    """Result of a job: the episodes, and seed → error for seeds without one."""

    trajectories: list[Trajectory]
    failures: Mapping[int, str]


def jobs_of(
    actors: Sequence[Actor],
    tasks: Sequence[Task],
    seeds: Sequence[int],
    batch: int,
    finished: Container[tuple[str, str, int]] = (),
) -> list[RolloutJob]:
    """Return jobs of at most `batch` seeds for all actors and tasks but `finished` (task, actor, seed)."""
    blocks = [seeds[start : start + batch] for start in range(0, len(seeds), batch)]
    jobs = [
        RolloutJob(task, index, tuple(seed for seed in block if (task.id, actor.name, seed) not in finished))
        for task in tasks
        for index, actor in enumerate(actors)
        if plays(actor, task)
        for block in blocks
    ]
    return [job for job in jobs if job.seeds]


def play(
    actors: Sequence[Actor],
    jobs: Sequence[RolloutJob],
    *,
    suite_name: str,
    batch: int = 256,
    workers: int = 1,
    progress: ProgressCallback | None = None,
) -> Iterator[tuple[RolloutJob, RolloutResult]]:
    """Yield every job with its result, in the order of the jobs.

    Failing environments, and with several `workers` dying processes, are listed in `RolloutResult.failures`.
    With several `workers`, `progress` is called when all episodes of a job have ended.
    """
    counts = EpisodeCounts(actors, jobs, progress)
    if workers <= 1:
        with closing(_EnvironmentPool()) as pool:
            for job in jobs:
                yield job, _run_job(actors[job.actor], job, suite_name, batch, pool, counts.of(job))
        return
    work = partial(_run_in_worker, pack(list(actors)), suite_name, batch)
    for job, result in zip(jobs, spread_safely(work, jobs, workers), strict=True):
        if isinstance(result, JobDied):
            result = RolloutResult([], dict.fromkeys(job.seeds, str(result)))
        counts.of(job)(len(job.seeds))
        yield job, result


def pack(thing: Any) -> bytes:
    """Pickle what every job needs, such as a policy; see `unpack`."""
    return pickle.dumps(thing)


@lru_cache(maxsize=1)
def unpack(packed: bytes) -> Any:
    """Unpickle once a process; a worker process uses one torch thread, since workers share the cores."""
    if parent_process() is not None:
        import torch

        torch.set_num_threads(1)
    return pickle.loads(packed)


class _EnvironmentPool:
    """Environments of the current task, reused by all its actors."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._environments: list[TaskEnv] = []

    def of(self, task: Task) -> list[TaskEnv]:
        """Return the environments of a task; closes those of another task."""
        if task != self._task:
            self.close()
            self._task = task
        return self._environments

    def close(self) -> None:
        """Close all environments and ignore their errors."""
        for environment in self._environments:
            with suppress(Exception):
                environment.close()
        self._environments.clear()


@lru_cache(maxsize=1)
def _pool_of_this_process() -> _EnvironmentPool:
    return _EnvironmentPool()


def _run_in_worker(packed: bytes, suite_name: str, batch: int, job: RolloutJob) -> RolloutResult:
    actors: Sequence[Actor] = unpack(packed)
    return _run_job(actors[job.actor], job, suite_name, batch, _pool_of_this_process(), None)


def _run_job(
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
    """Counts finished episodes by task and actor, and reports them to a ProgressCallback."""

    def __init__(
        self, actors: Sequence[Actor], jobs: Sequence[RolloutJob], report: ProgressCallback | None
    ) -> None:
        self._names = [actor.name for actor in actors]
        self._report = report
        self._ended: Counter[tuple[str, int]] = Counter()
        self._totals: Counter[tuple[str, int]] = Counter()
        for job in jobs:
            self._totals[job.task.id, job.actor] += len(job.seeds)

    def of(self, job: RolloutJob) -> Callable[[int], None]:
        """Return the function to call with the number of episodes of a job that have just ended."""
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
