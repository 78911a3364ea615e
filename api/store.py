"""Demonstrations for programs: a store as a sequence of episodes, selections, arrays, Torch datasets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..console.wording import counted
from ..datasets.arrays.task_arrays import load_columns
from ..datasets.simulation.simulated_crowd import crowd, deal
from ..datasets.simulation.simulated_crowd import simulate as play
from ..datasets.store import Store as StoreOnDisk
from ..datasets.store import select
from ..datasets.trajectory import Trajectory
from ..envs.admission import admit
from ..envs.spaces import rows_to_actions, unflatten_batch
from ..envs.task import seed_range
from ..envs.task_env import TaskEnv
from ..errors import TutelageError
from .suites import SuiteSource, load_suite

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class Selectable:
    """What a store and a selection of its episodes have in common: narrower selections, arrays, datasets."""

    def _all(self) -> Episodes:
        raise NotImplementedError

    def filter(
        self,
        task: str | None = None,
        *,
        demonstrator: str | None = None,
        kind: str | None = None,
        success: bool | None = None,
    ) -> Episodes:
        """Return the episodes that meet all conditions given, beside those met already.

        `kind` is one of person, simulated, expert, policy, chance; `success` is the outcome by the task's
        rule. Raises TutelageError for a task that the suite does not have.
        """
        episodes = self._all()
        if task is not None:
            episodes.store.suite[task]
        return Episodes(
            episodes.store,
            episodes.task if task is None else task,
            episodes.demonstrator if demonstrator is None else demonstrator,
            episodes.kind if kind is None else kind,
            episodes.success if success is None else success,
        )

    def arrays(self, task: str | None = None) -> Arrays:
        """Return the episodes of one task, end to end, as arrays; see `Arrays`.

        The task may be left out where the suite or the selection has only one. Raises TutelageError where
        there is no episode of it.
        """
        episodes = self.filter(task)
        names = [episodes.task] if episodes.task else [listed.id for listed in episodes.store.suite]
        if len(names) > 1:
            raise TutelageError(f"expected the task whose arrays are wanted, one of {', '.join(names)}")
        episodes = episodes.filter(names[0])
        if not len(episodes):
            raise TutelageError(
                f"expected episodes of task {names[0]!r} in {episodes.store.path}, found none"
            )
        return Arrays(episodes)

    def torch(self, task: str | None = None) -> Dataset[Any]:
        """Return the steps of one task's episodes as a map-style `torch.utils.data.Dataset`.

        An item is (observation, action) of one step, as the spaces have them: NumPy values, which Torch's
        `DataLoader` collates into tensors.
        """
        from ..agents.training.step_dataset import StepDataset

        arrays = self.arrays(task)
        return StepDataset(arrays.observations, arrays.actions, len(arrays))


@dataclass(frozen=True, eq=False)
class Episodes(Selectable, Sequence[Trajectory]):
    """Some episodes of a store, in the order in which they were added: a sequence of `Trajectory`.

    Each condition is None where it does not matter: `task`, `demonstrator`, `kind` (of actor) and `success`.
    """

    store: StoreOnDisk
    task: str | None = None
    demonstrator: str | None = None
    kind: str | None = None
    success: bool | None = None

    def _all(self) -> Episodes:
        return self

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

    @property
    def conditions(self) -> dict[str, Any]:
        """The conditions but the task, as `datasets.store.select` takes them."""
        return {
            "kinds": [self.kind] if self.kind else None,
            "demonstrators": [self.demonstrator] if self.demonstrator else None,
            "success": self.success,
        }

    @cached_property
    def _places(self) -> list[tuple[str, int, list[int]]]:
        """List (part, row group, rows) of the episodes that meet the conditions."""
        tasks = [self.task] if self.task else None
        groups = self.store.groups()
        places = [(part, group, select(table, tasks, **self.conditions)) for part, group, table in groups]
        return [place for place in places if place[2]]


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
        store, conditions = self._episodes.store, self._episodes.conditions
        columns = load_columns([store], [self.task.id], cache=True, **conditions)[self.task.id]
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


class Store(Selectable, StoreOnDisk):
    """Demonstrations on disk: a sequence of episodes, each a `Trajectory`, that several processes may extend.

    `Store.open(path)` opens one, `Store.create(path, suite)` makes one, `append` adds episodes, `verify`
    proves by replay that all are as they were recorded.
    """

    def _all(self) -> Episodes:
        return Episodes(self)

    def __iter__(self) -> Iterator[Trajectory]:
        return iter(self._all())

    def __getitem__(self, index: Any) -> Any:
        return self._all()[index]


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
    demonstrators = crowd(dict.fromkeys(who, 1)) if who else None
    store = Store.create(Path(out), chosen)
    play(
        chosen,
        store,
        deal(demonstrations, names),
        demonstrators=demonstrators,
        seeds=seed_range(seeds),
        skip=skip,
        workers=workers,
    )
    return store
