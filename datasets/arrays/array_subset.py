"""Subsets of training columns by episode, in any order, as views: observations are not copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .task_arrays import TaskArrays


def episodes_of(columns: TaskArrays, episodes: Sequence[int] | np.ndarray) -> TaskArrays:
    """Return columns of the given episodes, in the given order."""
    indices = np.asarray(episodes, np.int64)
    lengths = np.diff(columns.starts)[indices]
    starts = np.concatenate(([0], np.cumsum(lengths)))
    rows = np.arange(starts[-1]) + np.repeat(columns.starts[indices] - starts[:-1], lengths)
    observations: Any = {path: _LeafSubset(leaf, rows) for path, leaf in columns.observations.items()}
    return replace(
        columns,
        observations=observations,
        actions=columns.actions.take(rows, axis=0),
        starts=starts,
        success=columns.success[indices],
        demonstrator=[columns.demonstrator[index] for index in indices],
        returns=columns.returns[indices],
        controllers=columns.controllers.take(rows),
        legal=None if columns.legal is None else columns.legal.take(rows, axis=0),
        seeds=None if columns.seeds is None else columns.seeds[indices],
    )


class _LeafSubset:
    """Selected rows of one leaf, with the part of the array interface that training uses."""

    def __init__(self, leaf: Any, rows: np.ndarray) -> None:
        self._leaf, self._rows = leaf, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self._leaf.take(self._rows[rows], axis=0)

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Return rows `[S]` of the leaf, as `numpy.take` does along the first axis."""
        return self._leaf.take(self._rows[rows], axis=0)
