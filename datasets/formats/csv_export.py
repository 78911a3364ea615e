"""Export as CSV: `episodes.csv`, one line per episode, and `steps.csv`, one line per step."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...console.printable import csv_cell
from ...envs.spaces import Leaf, is_text
from ...envs.task import Task
from ..store import Progress, Store
from ..trajectory import CONTROLLERS
from .export_registry import Export
from .facts import PLAIN, facts_of
from .plain_export import ExportedEpisode, export_plain, write_plain

MOST_NUMBERS = 64
"""Most numbers of a leaf that become columns; a leaf with more is left out."""


def export_csv(store: Store, out: Path, progress: Progress | None = None) -> list[str]:
    """Write a store as CSV files; return what they cannot hold, one sentence per entry."""
    report = [
        "steps.csv has a line for each step (what was seen, and the action that followed) and one for what "
        "was seen last, without an action.",
        "Text that a spreadsheet would compute begins with an apostrophe; control characters are escapes.",
    ]
    return export_plain(store, "csv", out, report, progress)


def write_csv(store: Store, export: Export, progress: Progress | None = None) -> list[str]:
    """Write one task's files and their marker to `export.fresh`; return which observations are left out."""
    return write_plain(store, export, progress, _write)


def _write(
    folder: Path, task: Task, leaves: tuple[Leaf, ...], episodes: Iterator[ExportedEpisode]
) -> list[str]:
    written_leaves = [leaf for leaf in leaves if is_text(leaf.space) or _leaf_size(leaf) <= MOST_NUMBERS]
    observation_columns = [name for leaf in written_leaves for name in _columns(leaf)]
    with (
        (folder / "episodes.csv").open("w", encoding="utf-8", newline="") as episodes_file,
        (folder / "steps.csv").open("w", encoding="utf-8", newline="") as steps_file,
    ):
        episode_lines, step_lines = csv.writer(episodes_file), csv.writer(steps_file)
        for number, exported in enumerate(episodes):
            facts = dict.fromkeys((*PLAIN, "steps_per_second", "infos"), "") | facts_of(exported.trajectory)
            facts.pop("fingerprints")
            size = exported.trajectory.actions.shape[1]
            if not number:
                episode_lines.writerow([*facts, "steps"])
                actions = [f"action[{index}]" for index in range(size)]
                step_lines.writerow(
                    map(csv_cell, ["episode", "step", *_STEP, *actions, *observation_columns])
                )
            episode_lines.writerow(map(csv_cell, [*facts.values(), len(exported.trajectory)]))
            for line in _steps(exported, written_leaves):
                step_lines.writerow(map(csv_cell, line))
    omitted = [leaf.path or "observation" for leaf in leaves if leaf not in written_leaves]
    if not omitted:
        return []
    return [f"CSV holds no pictures: {', '.join(omitted)} of {task.id} is left out; export to npz for it."]


_STEP = ("time_ms", "controller", "frame", "reward", "terminated", "truncated")


def _steps(exported: ExportedEpisode, written_leaves: list[Leaf]) -> Iterator[list[Any]]:
    """Yield the lines of an episode: T with an action, and one with the last observation only."""
    trajectory = exported.trajectory
    terminated, truncated = exported.ends
    columns = [_cells(exported.observations[leaf.path], leaf) for leaf in written_leaves]
    for index in range(len(trajectory) + 1):
        cells = [value for column in columns for value in column[index]]
        if index == len(trajectory):
            yield [trajectory.episode, index, *([""] * (len(_STEP) + trajectory.actions.shape[1])), *cells]
            continue
        timing = [
            int(trajectory.times_ms[index]),
            CONTROLLERS[int(trajectory.controllers[index])],
            int(trajectory.frames[index]),
        ]
        ends = [float(trajectory.rewards[index]), bool(terminated[index]), bool(truncated[index])]
        yield [trajectory.episode, index, *timing, *ends, *trajectory.actions[index].tolist(), *cells]


def _cells(array: np.ndarray, leaf: Leaf) -> list[list[Any]]:
    """Return a leaf's cells by line; floats print as the shortest text that parses to the same number."""
    if is_text(leaf.space):
        return [[str(text)] for text in array.tolist()]
    return [row.tolist() for row in array.reshape(len(array), -1)]


def _columns(leaf: Leaf) -> list[str]:
    name = f"observation.{leaf.path}" if leaf.path else "observation"
    if is_text(leaf.space) or _leaf_size(leaf) == 1:
        return [name]
    return [f"{name}[{index}]" for index in range(_leaf_size(leaf))]


def _leaf_size(leaf: Leaf) -> int:
    return int(np.prod(leaf.space.shape or (), dtype=np.int64))
