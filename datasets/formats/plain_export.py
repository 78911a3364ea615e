"""Exports that other tools read without tutelage: one folder per task; episodes are proven by replay."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from gymnasium import Space, spaces

from ...console.wording import counted
from ...envs.spaces import Leaf, is_text, leaves
from ...envs.task import Task
from ...errors import TutelageError
from ...files.atomic_files import disk_errors
from ...files.safe_tree import sync_tree
from ..recorded_only import is_absent
from ..replay import Environments, replay_proven
from ..store import Progress, Store
from ..trajectory import Trajectory
from .all_or_none import export_datasets
from .export_marker import write_marker
from .export_registry import Export


@dataclass(frozen=True)
class ExportedEpisode:
    """One episode of an export: its trajectory, and its observations, leaf path → `[T+1, ...]`."""

    trajectory: Trajectory
    observations: dict[str, np.ndarray]

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the terminated and truncated flag of each step, `[T]` bool."""
        last = np.arange(len(self.trajectory)) == len(self.trajectory) - 1
        return last & self.trajectory.terminated, last & self.trajectory.truncated


def export_plain(
    store: Store, to: str, out: Path, report: list[str], progress: Progress | None = None
) -> list[str]:
    """Write a store in a plain format: in `out`, or `out/TASK` for several tasks; all or nothing.

    Returns `report`, and for each task what the format cannot hold. Raises TutelageError for an empty store.
    """
    task_ids = set(store.episodes()["task"].to_pylist())
    tasks = [task for task in store.suite if task.id in task_ids]
    if not tasks:
        raise TutelageError(f"expected demonstrations in {store.path}, found none; record some")
    places = {task.id: (task.id, out if len(tasks) == 1 else out / task.id) for task in tasks}
    if len(tasks) > 1:
        report = [f"Each of {counted(len(tasks), 'task')} became a folder of its own.", *report]
    return report + export_datasets(store, to, places, progress)


def write_plain(
    store: Store,
    export: Export,
    progress: Progress | None,
    write: Callable[[Path, Task, tuple[Leaf, ...], Iterator[ExportedEpisode]], list[str]],
) -> list[str]:
    """Write one task's folder and its marker to `export.fresh`; return what the format cannot hold.

    `write` receives the folder, the task, the leaves of its observations, and an iterator of its episodes.
    """
    count = 0

    def exported(environments: Environments) -> Iterator[ExportedEpisode]:
        nonlocal count
        for trajectory in store.trajectories(task=export.task):
            yield ExportedEpisode(trajectory, replay_proven(trajectory, environments).observations)
            count += 1
            if progress:
                progress(1)

    with disk_errors(export.folder), Environments(store.suite) as environments:
        export.fresh.mkdir(parents=True)
        task = store.suite[export.task]
        recorded = _recorded_leaves(store, task) if is_absent(task) else ()
        observation_leaves = recorded or leaves(environments[task.id].observation_space)
        report = write(export.fresh, task, observation_leaves, exported(environments))
        write_marker(export.fresh, export.to, export.token, export.task, count, store.suite.source)
        sync_tree(export.fresh)
    return report


def _recorded_leaves(store: Store, task: Task) -> tuple[Leaf, ...]:
    """List the leaves of stored observations, with spaces inferred from the arrays; () without any."""
    first = next(store.trajectories(task=task.id))
    return tuple(Leaf(path, _space_of(array)) for path, array in (first.observations or {}).items())


def _space_of(array: np.ndarray) -> Space[Any]:
    """Return a space for the values of `[T+1, ...]`; the length of text is unknown."""
    if array.dtype.kind in "UO":
        return spaces.Text(max_length=4096, min_length=0)
    if array.dtype.kind == "b":
        return spaces.MultiBinary(array.shape[1:])
    limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
    return spaces.Box(limits.min, limits.max, array.shape[1:], array.dtype.type)


def safe_name(path: str) -> str:
    """Encode a leaf's path as a name that is unambiguous in any archive; "" is "observation".

    Everything but letters, digits, "_", "-", ".", "~" and "/" is percent-encoded, as are leading dots of a
    part.
    """
    parts = [quote(part, safe="") for part in path.split("/")]
    named = "/".join(re.sub(r"^\.+", lambda dots: "%2E" * len(dots[0]), part) for part in parts)
    return named or "observation"


def flat_names(paths: Iterable[str]) -> dict[str, str]:
    """Name leaves without slashes: "a/b" is "a.b", or "a%2Fb" where "a.b" would be ambiguous."""
    names = {path: safe_name(path).replace("/", ".") for path in paths}
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {
        path: safe_name(path).replace("/", "%2F") if name in twice else name for path, name in names.items()
    }


def texts_of(exported: ExportedEpisode, leaves: tuple[Leaf, ...]) -> dict[str, list[str]]:
    """Return the observations that are text, by leaf path."""
    return {leaf.path: exported.observations[leaf.path].tolist() for leaf in leaves if is_text(leaf.space)}
