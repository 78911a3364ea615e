"""Export as CSV: `episodes.csv`, a line an episode, and `steps.csv`, a line a step."""

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
"""Numbers of an observation that become columns; a leaf that has more is left out."""


def export_csv(store: Store, out: Path, progress: Progress | None = None) -> list[str]:
    """Write a store as CSV files; returns what they cannot hold, sentence by sentence."""
    report = [
        "steps.csv has a line for each step (what was seen, and the action that followed) and one for what "
        "was seen last, without an action.",
        "Text that a spreadsheet would compute begins with an apostrophe; control characters are escapes.",
    ]
    return export_plain(store, "csv", out, report, progress)


def write_csv(store: Store, export: Export, progress: Progress | None = None) -> list[str]:
    """Write one task's files and their marker to `export.fresh`; returns which observations are left out."""
    return write_plain(store, export, progress, _write)


def _write(
    folder: Path, task: Task, leaves: tuple[Leaf, ...], episodes: Iterator[ExportedEpisode]
) -> list[str]:
    kept = [leaf for leaf in leaves if is_text(leaf.space) or _size(leaf) <= MOST_NUMBERS]
    seen = [name for leaf in kept for name in _columns(leaf)]
    with (
        (folder / "episodes.csv").open("w", encoding="utf-8", newline="") as first,
        (folder / "steps.csv").open("w", encoding="utf-8", newline="") as second,
    ):
        about, steps = csv.writer(first), csv.writer(second)
        for number, shown in enumerate(episodes):
            facts = dict.fromkeys((*PLAIN, "steps_per_second", "infos"), "") | facts_of(shown.trajectory)
            facts.pop("fingerprints")
            size = shown.trajectory.actions.shape[1]
            if not number:
                about.writerow([*facts, "steps"])
                actions = [f"action[{at}]" for at in range(size)]
                steps.writerow(map(csv_cell, ["episode", "step", *_STEP, *actions, *seen]))
            about.writerow(map(csv_cell, [*facts.values(), len(shown.trajectory)]))
            for line in _steps(shown, kept):
                steps.writerow(map(csv_cell, line))
    left = [leaf.path or "observation" for leaf in leaves if leaf not in kept]
    if not left:
        return []
    return [f"CSV holds no pictures: {', '.join(left)} of {task.id} is left out; export to npz for it."]


_STEP = ("time_ms", "controller", "frame", "reward", "terminated", "truncated")


def _steps(shown: ExportedEpisode, kept: list[Leaf]) -> Iterator[list[Any]]:
    """Yield the lines of an episode: T with an action, and one with the last observation only."""
    trajectory = shown.trajectory
    terminated, truncated = shown.ends
    columns = [_values(shown.observations[leaf.path], leaf) for leaf in kept]
    for at in range(len(trajectory) + 1):
        seen = [value for column in columns for value in column[at]]
        if at == len(trajectory):
            yield [trajectory.episode, at, *([""] * (len(_STEP) + trajectory.actions.shape[1])), *seen]
            continue
        about = [
            int(trajectory.times_ms[at]),
            CONTROLLERS[int(trajectory.controllers[at])],
            int(trajectory.frames[at]),
        ]
        ends = [float(trajectory.rewards[at]), bool(terminated[at]), bool(truncated[at])]
        yield [trajectory.episode, at, *about, *ends, *trajectory.actions[at].tolist(), *seen]


def _values(array: np.ndarray, leaf: Leaf) -> list[list[Any]]:
    """Return a leaf's cells, line by line; floats as the shortest text that reads back as the same number."""
    if is_text(leaf.space):
        return [[str(text)] for text in array.tolist()]
    return [row.tolist() for row in array.reshape(len(array), -1)]


def _columns(leaf: Leaf) -> list[str]:
    name = f"observation.{leaf.path}" if leaf.path else "observation"
    if is_text(leaf.space) or _size(leaf) == 1:
        return [name]
    return [f"{name}[{at}]" for at in range(_size(leaf))]


def _size(leaf: Leaf) -> int:
    return int(np.prod(leaf.space.shape or (), dtype=np.int64))
