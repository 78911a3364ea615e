"""Actors play tasks, one task after another, or several at once in processes of their own."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from multiprocessing import parent_process
from typing import Any

from ...datasets.spreading import spread
from ...datasets.trajectory import Trajectory
from ...envs.gymnasium_task import TaskEnvironment
from ...envs.task import Task
from .actors import Actor, plays
from .rollout import rollout

Report = Callable[[str, str, int, int], None]
"""Told the task, the actor, how many of its episodes have ended and how many there are."""


def play(
    actors: Sequence[Actor],
    tasks: Sequence[Task],
    seeds: Sequence[int],
    *,
    suite_name: str,
    batch: int = 256,
    workers: int = 1,
    progress: Report | None = None,
) -> Iterator[tuple[Task, Actor, list[Trajectory]]]:
    """Give the episodes of every task and every actor that plays it, in this order, as they come.

    With several `workers`, `progress` hears of an actor's episodes when they have all ended.
    """
    if workers <= 1:
        for task in tasks:
            yield from _one_by_one(actors, task, seeds, suite_name, batch, progress)
        return
    work = partial(_in_a_process, pack(list(actors)), seeds, suite_name, batch)
    for task, played in zip(tasks, spread(work, tasks, workers), strict=True):
        for actor, some in zip((one for one in actors if plays(one, task)), played, strict=True):
            if progress:
                progress(task.id, actor.name, len(some), len(some))
            yield task, actor, some


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


def _in_a_process(
    packed: bytes, seeds: Sequence[int], suite_name: str, batch: int, task: Task
) -> list[list[Trajectory]]:
    played = _one_by_one(unpack(packed), task, seeds, suite_name, batch, None)
    return [some for _, _, some in played]


def _one_by_one(
    actors: Sequence[Actor],
    task: Task,
    seeds: Sequence[int],
    suite_name: str,
    batch: int,
    progress: Report | None,
) -> Iterator[tuple[Task, Actor, list[Trajectory]]]:
    """Let actors play in the same environments, one after another."""
    pool: list[TaskEnvironment] = []
    try:
        for actor in (one for one in actors if plays(one, task)):
            some = rollout(
                actor,
                task,
                seeds,
                batch=batch,
                suite_name=suite_name,
                environments=pool,
                progress=_counting(progress, task.id, actor.name, len(seeds)),
            )
            yield task, actor, some
    finally:
        for environment in pool:
            environment.close()


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
