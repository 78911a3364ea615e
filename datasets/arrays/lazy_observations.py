"""Observations of grid worlds that are nowhere kept: replayed from seeds and actions when a batch wants them.

A batch of 1,280 steps takes about a millisecond, so training never waits; a million demonstrations take the
memory of their actions alone. That they replay as recorded is what `tutelage inspect` proves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...envs.grid.environment import GridEnv
from ...envs.task import Task
from ...envs.task_env import TaskEnv


class LazyObservations(Mapping[str, "LazyLeaf"]):
    """The leaves of one task's observations; `take` gives rows of all of them from one replay.

    Episode e has the seed `seeds[e]`, `[E]`, and the rows `starts[e]` to `starts[e + 1]`, `[E + 1]`, of
    `actions` `[N, 1]`.
    """

    def __init__(self, task: Task, seeds: np.ndarray, starts: np.ndarray, actions: np.ndarray) -> None:
        world = TaskEnv(task).env.unwrapped
        assert isinstance(world, GridEnv)
        self._world, self._seeds, self._starts, self._actions = world, seeds, starts, actions
        self._rows = np.empty(0, np.int64)
        self._taken: dict[str, np.ndarray] = {}

    def __getitem__(self, path: str) -> LazyLeaf:
        if path not in self._world.observation_space.spaces:  # type: ignore[attr-defined]
            raise KeyError(path)
        return LazyLeaf(self, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._world.observation_space.spaces)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return 3

    @property
    def rows(self) -> int:
        """How many observations there are."""
        return len(self._actions)

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return leaf path → `[S, ...]` of rows `[S]`; the last answer is kept, since leaves ask in turn."""
        if not self._taken or not np.array_equal(rows, self._rows):
            self._rows, self._taken = rows.copy(), self._replayed(rows)
        return self._taken

    def _replayed(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Play the episodes of some rows as far as the last of them."""
        episodes = np.searchsorted(self._starts, rows, side="right") - 1
        played, which = np.unique(episodes, return_inverse=True)
        depths = rows - self._starts[episodes]
        needed = np.zeros(len(played), np.int64)
        np.maximum.at(needed, which, depths)
        begins = np.concatenate(([0], np.cumsum(needed)))
        firsts = self._starts[played]
        steps = np.arange(begins[-1]) + np.repeat(firsts - begins[:-1], needed)
        seen = self._world.step_many(self._seeds[played], begins, self._actions[steps, 0].astype(np.int64))
        at = begins[which] + which + depths
        return {
            "direction": seen.directions[at],
            "image": seen.images[at],
            "mission": np.array(seen.missions, object)[which],
        }


class LazyLeaf:
    """One leaf, with the little of an array that training uses: its length, its first rows, any rows."""

    def __init__(self, whole: LazyObservations, path: str) -> None:
        self._whole, self._path = whole, path

    def __len__(self) -> int:
        return self._whole.rows

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.take(np.arange(self._whole.rows)[rows])

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Return rows `[S]` of the leaf, as `numpy.take` does along the first axis."""
        return self._whole.take(rows)[self._path]
