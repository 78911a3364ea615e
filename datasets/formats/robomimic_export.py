"""Export in the HDF5 layout of robomimic v0.3 and newer (robomimic.github.io/docs/datasets/overview.html)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...envs.spaces import Leaf, is_text
from ...envs.task import Task
from ...errors import TutelageError
from ...files.finite_json import json_text
from ..store import Progress, Store
from .export_registry import Export
from .facts import facts_of
from .hdf5_process import Hdf5Process
from .plain_export import ExportedEpisode, export_plain, flat_names, texts_of, write_plain
from .robomimic_storage import add_demos, begin

FILE = "demo.hdf5"
_GYMNASIUM = 2
"""The number of Gym environments in robomimic's `EnvType`."""
_BATCH_BYTES = 16 << 20


def export_robomimic(store: Store, out: Path, progress: Progress | None = None) -> list[str]:
    """Write a store as one `demo.hdf5` per task; return what the format cannot hold, as sentences."""
    report = [
        "robomimic learns continuous actions in [-1, 1]: actions are written as they are, a Discrete one as "
        "its number; scale or encode them for its policies.",
        "What is not robomimic's stands beside it: demo_N/tutelage holds facts as JSON, times, controllers, "
        "frames and texts.",
    ]
    return export_plain(store, "robomimic", out, report, progress)


def write_robomimic(store: Store, export: Export, progress: Progress | None = None) -> list[str]:
    """Write one task's file and its marker to `export.fresh`; return which observations are not numeric."""
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise TutelageError(f"expected h5py for this, got: {error}; pip install 'tutelage[minari]'") from None
    return write_plain(store, export, progress, _write)


def _write(
    folder: Path, task: Task, leaves: tuple[Leaf, ...], episodes: Iterator[ExportedEpisode]
) -> list[str]:
    numbers = [leaf for leaf in leaves if not is_text(leaf.space)]
    keys = flat_names(leaf.path for leaf in numbers)
    about = {"env_name": task.env, "type": _GYMNASIUM, "env_kwargs": dict(task.kwargs)}
    waiting: list[dict[str, Any]] = []
    first = size = 0
    with Hdf5Process(folder) as process:
        process.call(begin, folder / FILE, json_text(about))
        for exported in episodes:
            waiting.append(_demo(exported, keys, texts_of(exported, leaves)))
            size += sum(array.nbytes for array in exported.observations.values())
            if size >= _BATCH_BYTES:
                process.call(add_demos, folder / FILE, first, waiting)
                first, waiting, size = first + len(waiting), [], 0
        process.call(add_demos, folder / FILE, first, waiting)
    texts = [leaf.path or "observation" for leaf in leaves if is_text(leaf.space)]
    if not texts:
        return []
    return [f"robomimic reads no text: {', '.join(texts)} of {task.id} stands in demo_N/tutelage/texts."]


def _demo(exported: ExportedEpisode, keys: dict[str, str], texts: dict[str, list[str]]) -> dict[str, Any]:
    """Return one episode in the form that `robomimic_storage.add_demos` takes."""
    trajectory = exported.trajectory
    terminated, truncated = exported.ends
    return {
        "actions": trajectory.actions,
        "rewards": trajectory.rewards,
        "dones": (terminated | truncated).astype(np.int64),
        "obs": {key: exported.observations[path][:-1] for path, key in keys.items()},
        "next_obs": {key: exported.observations[path][1:] for path, key in keys.items()},
        "tutelage": {
            "times_ms": trajectory.times_ms,
            "controllers": trajectory.controllers,
            "frames": trajectory.frames,
        },
        "texts": {name: texts[path] for path, name in flat_names(texts).items()},
        "facts": json_text(facts_of(trajectory), is_sorted=True),
    }
