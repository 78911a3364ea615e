"""Training columns: all demonstrations of a task, replayed, end to end, as arrays; kept on disk if wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...envs.task import SeedRange, Task
from ...errors import TutelageError, nearest
from ...files.finite_json import exact_json
from ..parallel import spread
from ..proof import ReplayResult
from ..replay import Environments, are_choices, is_grid, replay_many
from ..store import Progress, Store, select
from ..suite_union import union
from ..trajectory import Trajectory
from .array_cache import cached_folder
from .array_files import ArrayChunk, ColumnArrays
from .lazy_observations import LazyObservations

_EPISODES_A_JOB = 256
_LAYOUT = 1


@dataclass(frozen=True)
class TaskArrays:
    """All demonstrations of one task, one after another.

    `observations`: leaf path → `[N, ...]`, what was seen when each of the N actions was taken (an episode's
    last observation is not there: nobody acted on it). A text leaf is an object array whose elements are
    `str`, one object for all steps that show the same text. `actions` float64 `[N, k]`; episode e is the
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
    """Some episodes of one row group, and the step at which each task's share of them begins."""

    path: Path
    part: str
    group: int
    rows: list[int]
    firsts: dict[str, int]
    live: frozenset[str]  # tasks whose observations are replayed only when they are wanted


def load_columns(
    stores: Sequence[Store],
    tasks: Sequence[str] | None = None,
    seeds: SeedRange | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    *,
    cache: bool = False,
    kinds: Sequence[str] | None = None,
    live: bool = False,
) -> dict[str, TaskArrays]:
    """Replay every chosen demonstration of the stores into columns, by task id.

    `workers` processes replay; the result does not depend on how many. With `cache`
    the arrays are memory-mapped files (`column_cache`), and the next call with the same parts replays
    nothing; `Store.forget` finds and removes them, wherever they are. With `live`, grid
    worlds are replayed when a batch wants their observations (`live_columns`). Raises TutelageError
    for an episode that does not replay as recorded, for a task that no store has, and when nothing is
    there to load.
    """
    known = _tasks(stores, tasks)
    quick = frozenset(one for one, task in known.items() if live and is_grid(task))
    jobs, summary = _plan(stores, list(known), kinds, seeds, quick)
    if not jobs:
        where = ", ".join(str(store.path) for store in stores)
        raise TutelageError(f"expected demonstrations in {where}, found none of those asked for; record some")
    rows = {one: summary.filter(pc.equal(summary["task"], one)) for one in known}
    rows = {one: table for one, table in rows.items() if len(table)}
    sizes = {one: int(pc.sum(table["steps"]).as_py()) for one, table in rows.items()}
    if cache:
        arrays = _cached(stores, _key(stores, summary, quick), jobs, sizes, workers, progress)
    else:
        arrays = _filled(jobs, sizes, None, workers, progress)
    return {one: _task_columns(known[one], table, arrays[one], one in quick) for one, table in rows.items()}


def _tasks(stores: Sequence[Store], asked: Sequence[str] | None) -> dict[str, Task]:
    """Map task id → Task over all stores; the same id must mean the same task everywhere."""
    tasks = {task.id: task for task in union(stores)} if stores else {}
    for name in asked or ():
        if name not in tasks:
            names = ", ".join(tasks)
            raise TutelageError(
                f"expected a task of the stores ({names}), got {name!r}{nearest(name, tasks)}"
            )
    return {name: task for name, task in tasks.items() if asked is None or name in asked}


def _plan(
    stores: Sequence[Store],
    tasks: Sequence[str],
    kinds: Sequence[str] | None,
    seeds: SeedRange | None,
    live: frozenset[str],
) -> tuple[list[_Job], pa.Table]:
    """Cut the chosen episodes into jobs, and give their summary rows in the same order."""
    jobs: list[_Job] = []
    chosen_tables = []
    filled = dict.fromkeys(tasks, 0)
    for store in stores:
        for part, group, table in store.groups():
            chosen = select(table, tasks, kinds, None, seeds)
            names, steps = table["task"].to_pylist(), table["steps"].to_pylist()
            chosen_tables.append(table.take(pa.array(chosen, pa.int64())))
            for at in range(0, len(chosen), _EPISODES_A_JOB):
                rows = chosen[at : at + _EPISODES_A_JOB]
                jobs.append(_Job(store.path, part, group, rows, dict(filled), live))
                for row in rows:
                    filled[names[row]] += steps[row]
    return jobs, pa.concat_tables(chosen_tables) if chosen_tables else pa.table({})


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
    """Name what the columns were made from: the layout, the parts, the chosen episodes in order."""
    parts = [sorted(store.part_hashes().values()) for store in stores]
    text = exact_json([_LAYOUT, parts, summary["episode"].to_pylist(), sorted(live)])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _cached(
    stores: Sequence[Store],
    key: str,
    jobs: list[_Job],
    sizes: dict[str, int],
    workers: int,
    progress: Progress | None,
) -> dict[str, ColumnArrays]:
    """Open the columns that are kept, or fill them first; in memory where they can be kept nowhere."""

    def fill(folder: Path) -> None:
        for filled in _filled(jobs, sizes, folder, workers, progress).values():
            filled.save()

    folder = cached_folder([store.path for store in stores], key, fill)
    if folder is None:
        return _filled(jobs, sizes, None, workers, progress)
    return {task: ColumnArrays.load(folder / str(at)) for at, task in enumerate(sizes)}


def _filled(
    jobs: list[_Job], sizes: dict[str, int], folder: Path | None, workers: int, progress: Progress | None
) -> dict[str, ColumnArrays]:
    arrays = {
        task: ColumnArrays(size, folder / str(at) if folder else None)
        for at, (task, size) in enumerate(sizes.items())
    }
    for job, chunks in zip(jobs, spread(_replay_job, jobs, workers), strict=True):
        for task, chunk in chunks.items():
            arrays[task].put(job.firsts[task], chunk)
        if progress:
            progress(len(job.rows))
    return arrays


def _replay_job(job: _Job) -> dict[str, ArrayChunk]:
    """Replay some episodes; return one chunk of steps for each task among them."""
    store = Store.open(job.path)
    played: dict[str, list[tuple[Trajectory, ReplayResult]]] = {}
    with Environments(store.suite) as environments:
        episodes = list(store.read_rows(job.part, job.group, job.rows))
        unseen = [episode for episode in episodes if episode.task in job.live]
        for episode in unseen:
            if not are_choices(episode.actions, environments[episode.task].action_space):
                raise TutelageError(
                    f"expected actions of task {episode.task!r} in episode {episode.episode}, got others"
                )
        episodes = [episode for episode in episodes if episode.task not in job.live]
        for episode, again in zip(episodes, replay_many(episodes, environments), strict=True):
            if isinstance(again, TutelageError):
                raise again
            played.setdefault(episode.task, []).append((episode, again))
    chunks = {task: ArrayChunk.join(pairs) for task, pairs in played.items()}
    for task in {episode.task for episode in unseen}:
        chunks[task] = ArrayChunk.bare([episode for episode in unseen if episode.task == task])
    return chunks
