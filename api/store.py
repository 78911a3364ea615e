"""Demonstrations for programs: a store as a sequence of episodes, selections, arrays, Torch datasets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from ..console.wording import counted
from ..datasets.arrays.array_subset import episodes_of
from ..datasets.arrays.task_arrays import load_columns
from ..datasets.simulation.simulated_crowd import crowd
from ..datasets.simulation.simulated_crowd import simulate as play
from ..datasets.store import Store as StoreOnDisk
from ..datasets.trajectory import Trajectory
from ..envs.admission import admit
from ..envs.spaces import rows_to_actions, unflatten_batch
from ..envs.task import SEED_RANGES
from ..envs.task_env import TaskEnv
from ..errors import TutelageError, nearest
from .suites import SuiteSource, load_suite

if TYPE_CHECKING:
    from torch.utils.data import Dataset


@dataclass(frozen=True, eq=False)
class Episodes(Sequence[Trajectory]):
    """Some episodes of a store, in the order in which they were added: a sequence of `Trajectory`.

    Each condition is None where it does not matter: `task`, `demonstrator`, `kind` (of actor) and `success`.
    """

    store: StoreOnDisk
    task: str | None = None
    demonstrator: str | None = None
    kind: str | None = None
    success: bool | None = None

    def __len__(self) -> int:
        return sum(len(rows) for _, _, rows in self._places)

    def __iter__(self) -> Iterator[Trajectory]:
        for part, group, rows in self._places:
            yield from self.store.read_rows(part, group, rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        position = range(len(self))[index]  # raises IndexError, and counts from the end where negative
        for part, group, rows in self._places:
            if position < len(rows):
                return next(self.store.read_rows(part, group, [rows[position]]))
            position -= len(rows)
        raise IndexError(index)

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'episode')} of {self.store.path}>"

    def filter(
        self,
        task: str | None = None,
        *,
        demonstrator: str | None = None,
        kind: str | None = None,
        success: bool | None = None,
    ) -> Episodes:
        """Return the episodes that also meet these conditions.

        `kind` is one of person, simulated, expert, policy, chance; `success` is the outcome by the task's
        rule. Raises TutelageError for a task that the suite does not have.
        """
        if task is not None:
            self.store.suite[task]
        return Episodes(
            self.store,
            self.task if task is None else task,
            self.demonstrator if demonstrator is None else demonstrator,
            self.kind if kind is None else kind,
            self.success if success is None else success,
        )

    def arrays(self, task: str | None = None) -> Arrays:
        """Return the episodes of one task, end to end, as arrays; see `Arrays`.

        The task may be left out where the suite or the selection has only one. Raises TutelageError where
        there is no episode of it.
        """
        chosen = self.filter(task) if task is not None else self
        names = [chosen.task] if chosen.task else [listed.id for listed in self.store.suite]
        if len(names) > 1:
            raise TutelageError(f"expected the task whose arrays are wanted, one of {', '.join(names)}")
        chosen = chosen.filter(names[0])
        if not len(chosen):
            raise TutelageError(f"expected episodes of task {names[0]!r} in {self.store.path}, found none")
        return Arrays(chosen)

    def torch(self, task: str | None = None) -> Dataset[Any]:
        """Return the steps of one task's episodes as a map-style `torch.utils.data.Dataset`.

        An item is (observation, action) of one step, as the spaces have them: NumPy values, which Torch's
        `DataLoader` collates into tensors.
        """
        from ..agents.training.step_dataset import StepDataset

        arrays = self.arrays(task)
        return StepDataset(arrays.observations, arrays.actions, len(arrays))

    @cached_property
    def _places(self) -> list[tuple[str, int, list[int]]]:
        """List (part, row group, rows) of the episodes that meet the conditions."""
        conditions = {
            "task": self.task,
            "demonstrator": self.demonstrator,
            "kind": self.kind,
            "success": self.success,
        }
        places = []
        for part, group, table in self.store.groups():
            table = table.append_column("_row", [list(range(len(table)))])
            for column, value in conditions.items():
                if value is not None:
                    table = table.filter(pc.equal(table[column], value))
            if len(table):
                places.append((part, group, table["_row"].to_pylist()))
        return places


class Arrays:
    """All steps of some episodes of one task, one episode after another; N steps, E episodes.

    Observations are replayed when they are first asked for; everything else is read from the store.
    """

    def __init__(self, episodes: Episodes) -> None:
        self.task = episodes.store.suite[str(episodes.task)]
        self._episodes = episodes
        read = list(episodes)
        self.episode_starts = np.cumsum([0, *map(len, read)])
        """int64 `[E + 1]`: episode e is the steps `episode_starts[e]` to `episode_starts[e + 1]`."""
        self.rewards = np.concatenate([episode.rewards for episode in read])
        """float64 `[N]`."""
        self.seeds = np.array([episode.seed for episode in read])
        self.terminated = np.array([episode.terminated for episode in read])
        self.truncated = np.array([episode.truncated for episode in read])
        self.success = [episode.success for episode in read]
        """`[E]`, None where the task has no success rule."""
        self.demonstrators = [episode.demonstrator for episode in read]
        self._rows = np.concatenate([episode.actions for episode in read])

    def __len__(self) -> int:
        return len(self.rewards)

    @cached_property
    def actions(self) -> Any:
        """`[N, ...]` in the dtype and structure of the action space: int64 of Discrete, float32 of Box."""
        return rows_to_actions(self._spaces[1], self._rows)

    @cached_property
    def observations(self) -> Any:
        """`[N, ...]`, what was seen when each action was taken, in the structure of the observation space.

        Leaves are NumPy arrays; those of text are object arrays of `str`. Raises TutelageError for an
        episode that does not replay, Untrusted for an environment whose module is not trusted.
        """
        selection = self._episodes
        kinds = [selection.kind] if selection.kind else None
        columns = load_columns([selection.store], [self.task.id], kinds=kinds, cache=True)[self.task.id]
        everything = selection.store.episodes()
        everything = everything.filter(pc.equal(everything["task"], self.task.id))
        if selection.kind:
            everything = everything.filter(pc.equal(everything["kind"], selection.kind))
        keep = np.ones(len(everything), bool)
        for column in ("demonstrator", "success"):
            value = getattr(selection, column)
            if value is not None:
                keep &= np.array([entry == value for entry in everything[column].to_pylist()], bool)
        if not keep.all():
            columns = episodes_of(columns, np.flatnonzero(keep))
        flat = {path: leaf[: len(self)] for path, leaf in columns.observations.items()}
        return unflatten_batch(self._spaces[0], flat)

    @cached_property
    def _spaces(self) -> tuple[Any, Any]:
        admit(self.task)
        environment = TaskEnv(self.task)
        try:
            return environment.observation_space, environment.action_space
        finally:
            environment.env.close()


class Store(StoreOnDisk):
    """Demonstrations on disk: a sequence of episodes, each a `Trajectory`, that several processes may extend.

    `Store.open(path)` opens one, `Store.create(path, suite)` makes one, `append` adds episodes, `verify`
    proves by replay that all are as they were recorded.
    """

    def __iter__(self) -> Iterator[Trajectory]:
        return iter(Episodes(self))

    def __getitem__(self, index: Any) -> Any:
        return Episodes(self)[index]

    def filter(
        self,
        task: str | None = None,
        *,
        demonstrator: str | None = None,
        kind: str | None = None,
        success: bool | None = None,
    ) -> Episodes:
        """Return the episodes that meet all conditions given; see `Episodes.filter`."""
        return Episodes(self).filter(task, demonstrator=demonstrator, kind=kind, success=success)

    def arrays(self, task: str | None = None) -> Arrays:
        """Return the episodes of one task, end to end, as arrays; see `Arrays`."""
        return Episodes(self).arrays(task)

    def torch(self, task: str | None = None) -> Dataset[Any]:
        """Return the steps of one task's episodes as a Torch dataset; see `Episodes.torch`."""
        return Episodes(self).torch(task)


def simulate(
    suite: SuiteSource,
    out: str | Path,
    demonstrations: int = 1000,
    *,
    tasks: Sequence[str] | None = None,
    who: Sequence[str] | None = None,
    seeds: str = "record",
    skip: int = 0,
    workers: int = 1,
) -> Store:
    """Let a simulated crowd play, prove each episode by replay, and return the store at `out`.

    `demonstrations` counts episodes in all, dealt evenly to `tasks` (default: all of the suite). `who` lists
    profiles (careful, noisy, slow, lazy, mistaken, hostile) or expert; default: the usual mixture. `seeds`
    is record, select or test, after the first `skip` of them. The same call plays what is missing. More than
    one of `workers` starts processes: call it under `if __name__ == "__main__":`. Raises TutelageError where
    a task has no expert, or its environment fails.
    """
    chosen = load_suite(suite)
    names = [chosen[name].id for name in tasks] if tasks else [listed.id for listed in chosen]
    if demonstrations < len(names):
        raise TutelageError(
            f"expected at least {counted(len(names), 'demonstration')}, one a task, got {demonstrations}"
        )
    if seeds not in SEED_RANGES:
        raise TutelageError(
            f"expected seeds from {', '.join(SEED_RANGES)}, got {seeds!r}{nearest(seeds, SEED_RANGES)}"
        )
    counts = {name: (demonstrations + index) // len(names) for index, name in enumerate(reversed(names))}
    demonstrators = crowd(dict.fromkeys(who, 1)) if who else None
    store = Store.create(Path(out), chosen)
    play(
        chosen,
        store,
        counts,
        demonstrators=demonstrators,
        seeds=SEED_RANGES[seeds],
        skip=skip,
        workers=workers,
    )
    return store
