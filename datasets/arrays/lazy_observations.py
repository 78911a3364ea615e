"""Lazy observations: replayed from seeds and actions when a batch needs them (`capabilities.ReplaysMany`).

Replaying a batch of 1,280 steps of a grid takes about a millisecond, so training does not wait; a million
demonstrations use the memory of their actions alone. `tutelage inspect` proves that they replay as recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...envs.spaces import leaves
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ..batch_replay import replayed


class LazyObservations(Mapping[str, "LazyLeaf"]):
    """The leaves of one task's observations; `take` gives rows of all of them from one replay.

    Episode e has the seed `seeds[e]`, `[E]`, and the rows `starts[e]` to `starts[e + 1]`, `[E + 1]`, of
    `actions` `[N, k]`.
    """

    def __init__(self, task: Task, seeds: np.ndarray, starts: np.ndarray, actions: np.ndarray) -> None:
        self._task_env = TaskEnv(task)
        self._paths = [leaf.path for leaf in leaves(self._task_env.observation_space)]
        self._seeds, self._starts, self._actions = seeds, starts, actions
        self._rows = np.empty(0, np.int64)
        self._cached: dict[str, np.ndarray] = {}

    def __getitem__(self, path: str) -> LazyLeaf:
        if path not in self._paths:
            raise KeyError(path)
        return LazyLeaf(self, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def rows(self) -> int:
        """Number of observations, N."""
        return len(self._actions)

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return leaf path → `[S, ...]` of rows `[S]`; the last result is cached: leaves ask in turn."""
        if not self._cached or not np.array_equal(rows, self._rows):
            self._rows, self._cached = rows.copy(), self._replay(rows)
        return self._cached

    def _replay(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Replay the episodes of the given rows, each up to its last row."""
        episodes = np.searchsorted(self._starts, rows, side="right") - 1
        unique_episodes, position = np.unique(episodes, return_inverse=True)
        depths = rows - self._starts[episodes]
        steps_needed = np.zeros(len(unique_episodes), np.int64)
        np.maximum.at(steps_needed, position, depths)
        begins = np.concatenate(([0], np.cumsum(steps_needed)))
        firsts = self._starts[unique_episodes]
        steps = np.arange(begins[-1]) + np.repeat(firsts - begins[:-1], steps_needed)
        batch = replayed(
            self._task_env, self._seeds[unique_episodes], begins, np.asarray(self._actions[steps], np.float64)
        )
        indices = begins[position] + position + depths
        return {path: batch.observations[path][indices] for path in self._paths}


class LazyLeaf:
    """One leaf, with the part of the array interface that training uses: length, slices, rows."""

    def __init__(self, observations: LazyObservations, path: str) -> None:
        self._observations, self._path = observations, path

    def __len__(self) -> int:
        return self._observations.rows

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.take(np.arange(self._observations.rows)[rows])

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Return rows `[S]` of the leaf, as `numpy.take` does along the first axis."""
        return self._observations.take(rows)[self._path]
