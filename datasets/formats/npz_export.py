"""Export as NumPy archives: one .npz per episode, which `numpy.load` opens without pickle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...envs.spaces import Leaf
from ...envs.task import Task
from ...files.finite_json import json_text
from ..store import Progress, Store
from .export_registry import Export
from .facts import facts_of
from .plain_export import ExportedEpisode, export_plain, safe_name, write_plain


def export_npz(store: Store, out: Path, progress: Progress | None = None) -> list[str]:
    """Write a store as files `episodes/NUMBER.npz`, see `docs/demonstrations.md`; return notes on it."""
    report = [
        "Each episode is a file: actions [T, k], rewards, terminated, truncated, times_ms, controllers, "
        "frames [T], observations/... [T+1, ...], and facts, the UTF-8 bytes of a JSON object."
    ]
    return export_plain(store, "npz", out, report, progress)


def write_npz(store: Store, export: Export, progress: Progress | None = None) -> list[str]:
    """Write one task's folder and its marker to `export.fresh`."""
    return write_plain(store, export, progress, _write)


def _write(
    folder: Path, task: Task, leaves: tuple[Leaf, ...], episodes: Iterator[ExportedEpisode]
) -> list[str]:
    (folder / "episodes").mkdir()
    for number, exported in enumerate(episodes):
        trajectory = exported.trajectory
        terminated, truncated = exported.ends
        arrays = {
            "actions": trajectory.actions,
            "rewards": trajectory.rewards,
            "terminated": terminated,
            "truncated": truncated,
            "times_ms": trajectory.times_ms,
            "controllers": trajectory.controllers,
            "frames": trajectory.frames,
            # bytes, as `forget` searches them for names
            "facts": np.frombuffer(json_text(facts_of(trajectory), is_sorted=True).encode(), np.uint8),
        }
        for leaf in leaves:
            array = exported.observations[leaf.path]
            plain = array.astype(np.str_) if array.dtype == object else array
            arrays[f"observations/{safe_name(leaf.path)}"] = plain
        np.savez(folder / "episodes" / f"{number:06d}.npz", allow_pickle=False, **arrays)
    return []
