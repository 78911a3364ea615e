"""Training columns: all demonstrations of a task, replayed and concatenated as arrays; optionally on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...envs.capabilities import ReplaysMany
from ...envs.task import RECORD, SeedRange, Task
from ...envs.task_env import TaskEnv
from ...envs.task_spec import supports
from ...errors import TutelageError, nearest
from ...files.finite_json import exact_json
from ..batch_replay import are_valid, replays_many
from ..proof import ReplayResult
from ..replay import Environments, replay_many
from ..store import Progress, Store, select
from ..suite_union import union
from ..trajectory import Trajectory
from ..workers.parallel import spread
from .array_cache import cached_folder
from .array_files import ArrayChunk, ColumnArrays
from .lazy_observations import LazyObservations

_EPISODES_A_JOB = 256
_LAYOUT = 2
"""Version of the cached files: a cache of another layout is not found, and made anew."""


@dataclass(frozen=True)
class TaskArrays:
    """All demonstrations of one task, concatenated.

    `observations`: leaf path → `[N, ...]`, the observation before each of the N actions (an episode's last
    observation is left out: no action follows it). A text leaf is an object array whose elements are
    `str`, one object for all steps that show the same text, or a `TextLeaf` of a cache, which reads the rows
    that it is asked for. `actions` float64 `[N, k]`; episode e is the
    steps `starts[e]` to `starts[e + 1]`, int64 `[E+1]`; `success` bool `[E]`; `demonstrator` E names;
    `returns` float64 `[E]`; `controllers` int8 `[N]`; `legal` bool `[N, n]`, or None without a mask; `seeds`
    int64 `[E]`, or None where they are not known.
    """

    task: Task
    observations: dict[str, np.ndarray]
    actions: np.ndarray
    starts: np.ndarray
    success: np.ndarray
    demonstrator: list[str]
    returns: np.ndarray
    controllers: np.ndarray
    legal: np.ndarray | None = None
    seeds: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True)
class _Job:
    """Some episodes of one row group, and the first step of each task among them in its columns."""

    path: Path
    part: str
    group: int
    rows: list[int]
    firsts: dict[str, int]
    live: frozenset[str]  # tasks with lazy observations


def load_columns(
    stores: Sequence[Store],
    tasks: Sequence[str] | None = None,
    seeds: SeedRange | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    *,
    cache: bool = False,
    kinds: Sequence[str] | None = None,
    demonstrators: Sequence[str] | None = None,
    success: bool | None = None,
    live: bool = False,
) -> dict[str, TaskArrays]:
    """Replay every selected demonstration of the stores into columns, by task id.

    `workers` processes replay; the result does not depend on their number. With `cache` the arrays are
    memory-mapped files (`array_cache`), and the next call with the same parts replays nothing; `Store.forget`
    finds and removes them. With `live`, environments that `capabilities.ReplaysMany` are replayed when a
    batch needs their observations (`lazy_observations`). Raises TutelageError for an episode that does not
    replay as recorded, for a task that no store has, and when no episode is selected.
    """
    tasks_by_id = _tasks(stores, tasks)
    lazy = _lazy_tasks(stores, tasks_by_id) if live else frozenset()
    names = list(tasks_by_id)
    select_rows = partial(
        select, tasks=names, kinds=kinds, demonstrators=demonstrators, seeds=seeds, success=success
    )
    jobs, summary = _plan(stores, names, select_rows, lazy)
    if not jobs:
        where = ", ".join(str(store.path) for store in stores)
        raise TutelageError(f"expected demonstrations in {where}, found none of those asked for; record some")
    rows = {name: summary.filter(pc.equal(summary["task"], name)) for name in tasks_by_id}
    rows = {name: table for name, table in rows.items() if len(table)}
    sizes = {name: int(pc.sum(table["steps"]).as_py()) for name, table in rows.items()}
    if cache:
        arrays = _load_cached(stores, _key(stores, summary, lazy), jobs, sizes, workers, progress)
    else:
        arrays = _fill_arrays(jobs, sizes, None, workers, progress)
    return {
        name: _task_columns(tasks_by_id[name], table, arrays[name], name in lazy)
        for name, table in rows.items()
    }


def _tasks(stores: Sequence[Store], requested: Sequence[str] | None) -> dict[str, Task]:
    """Map task id → Task over all stores; one id must mean the same task in all of them."""
    tasks = {task.id: task for task in union(stores)} if stores else {}
    for name in requested or ():
        if name not in tasks:
            names = ", ".join(tasks)
            raise TutelageError(
                f"expected a task of the stores ({names}), got {name!r}{nearest(name, tasks)}"
            )
    return {name: task for name, task in tasks.items() if requested is None or name in requested}


def _lazy_tasks(stores: Sequence[Store], tasks: Mapping[str, Task]) -> frozenset[str]:
    """Return the tasks whose observations can all be replayed when a batch needs them."""
    lazy = {name for name, task in tasks.items() if supports(task, ReplaysMany)}
    for store in stores:
        episodes = store.episodes()
        lazy -= set(episodes.filter(episodes["stored"])["task"].to_pylist())
    for name in list(lazy):
        with closing(TaskEnv(tasks[name])) as environment:
            if not replays_many(environment, RECORD.start):
                lazy.discard(name)
    return frozenset(lazy)


def _plan(
    stores: Sequence[Store],
    tasks: Sequence[str],
    select_rows: Callable[[pa.Table], list[int]],
    live: frozenset[str],
) -> tuple[list[_Job], pa.Table]:
    """Split the selected episodes into jobs; return these and the summary rows in the same order."""
    jobs: list[_Job] = []
    selected_tables = []
    filled = dict.fromkeys(tasks, 0)
    for store in stores:
        for part, group, table in store.groups():
            selected = select_rows(table)
            names, steps = table["task"].to_pylist(), table["steps"].to_pylist()
            selected_tables.append(table.take(pa.array(selected, pa.int64())))
            for first in range(0, len(selected), _EPISODES_A_JOB):
                rows = selected[first : first + _EPISODES_A_JOB]
                jobs.append(_Job(store.path, part, group, rows, dict(filled), live))
                for row in rows:
                    filled[names[row]] += steps[row]
    return jobs, pa.concat_tables(selected_tables) if selected_tables else pa.table({})


def _task_columns(task: Task, table: pa.Table, arrays: ColumnArrays, live: bool) -> TaskArrays:
    starts = np.concatenate(([0], np.cumsum(table["steps"].to_numpy(), dtype=np.int64)))
    observations: Any = arrays.observations()
    if live:
        observations = LazyObservations(task, table["seed"].to_numpy(), starts, arrays["actions"])
    return TaskArrays(
        task=task,
        observations=observations,
        actions=arrays["actions"],
        starts=starts,
        success=np.array(table["success"].to_pylist(), bool),
        demonstrator=table["demonstrator"].to_pylist(),
        returns=table["return"].to_numpy(),
        controllers=arrays["controllers"],
        legal=arrays.get("legal"),
        seeds=table["seed"].to_numpy(),
    )


def _key(stores: Sequence[Store], summary: pa.Table, live: frozenset[str]) -> str:
    """Return the cache key of the columns: a hash of layout, parts and selected episodes in order."""
    parts = [sorted(store.part_hashes().values()) for store in stores]
    text = exact_json([_LAYOUT, parts, summary["episode"].to_pylist(), sorted(live)])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _load_cached(
    stores: Sequence[Store],
    key: str,
    jobs: list[_Job],
    sizes: dict[str, int],
    workers: int,
    progress: Progress | None,
) -> dict[str, ColumnArrays]:
    """Open the cached columns, filling the cache first; without a writable folder, fill them in memory."""

    def fill(folder: Path) -> None:
        for filled in _fill_arrays(jobs, sizes, folder, workers, progress).values():
            filled.save()

    folder = cached_folder([store.path for store in stores], key, fill)
    if folder is None:
        return _fill_arrays(jobs, sizes, None, workers, progress)
    return {task: ColumnArrays.load(folder / str(index)) for index, task in enumerate(sizes)}


def _fill_arrays(
    jobs: list[_Job], sizes: dict[str, int], folder: Path | None, workers: int, progress: Progress | None
) -> dict[str, ColumnArrays]:
    arrays = {
        task: ColumnArrays(size, folder / str(index) if folder else None)
        for index, (task, size) in enumerate(sizes.items())
    }
    for job, chunks in zip(jobs, spread(_replay_job, jobs, workers), strict=True):
        for task, chunk in chunks.items():
            arrays[task].put(job.firsts[task], chunk)
        if progress:
            progress(len(job.rows))
    return arrays


def _replay_job(job: _Job) -> dict[str, ArrayChunk]:
    """Replay the episodes of a job; return one chunk of steps for each task among them."""
    store = Store.open(job.path)
    replayed: dict[str, list[tuple[Trajectory, ReplayResult]]] = {}
    with Environments(store.suite) as environments:
        episodes = list(store.read_rows(job.part, job.group, job.rows))
        lazy = [episode for episode in episodes if episode.task in job.live]
        for episode in lazy:
            if not are_valid(episode.actions, environments[episode.task].action_space):
                raise TutelageError(
                    f"expected actions of task {episode.task!r} in episode {episode.episode}, got others"
                )
        episodes = [episode for episode in episodes if episode.task not in job.live]
        for episode, result in zip(episodes, replay_many(episodes, environments), strict=True):
            if isinstance(result, TutelageError):
                raise result
            replayed.setdefault(episode.task, []).append((episode, result))
    chunks = {task: ArrayChunk.join(pairs) for task, pairs in replayed.items()}
    for task in {episode.task for episode in lazy}:
        chunks[task] = ArrayChunk.bare([episode for episode in lazy if episode.task == task])
    return chunks
