"""How an actor plays, not only how well: repetition, standing still, variety, detours against the expert."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from gymnasium import spaces

from ...datasets.replay import replay
from ...datasets.trajectory import Trajectory
from ...envs.suite import Suite
from ...envs.task import RECORD, Task
from ...envs.task_env import TaskEnv
from ...foreign_code.trust import Untrusted
from .comparison import Comparison

if TYPE_CHECKING:
    from ...datasets.store import Store

SAMPLE = 24
"""Episodes of a task and actor that are replayed, at most, to see whether the world stood still."""

SAMPLED_STEPS = 3000
"""Steps after which no further episode is replayed for that."""

DEMONSTRATIONS = 200
"""Demonstrations of a task that stand for all of them in the comparison."""

BINS = 16
"""Equal parts that each continuous action is sorted into before its entropy is taken."""


@dataclass(frozen=True)
class Diagnostics:
    """One actor's habits on one task; nan where a habit cannot be measured.

    `repeat_rate`: share of steps whose action is the one before (an episode's first step not counted).
    `still_rate`: share of steps after which the observation was the same as before, bit for bit, from
    `replayed` episodes. `entropy`: bits of the actions taken, over all steps together, of at most
    `most_entropy`. `detour`: steps taken over the expert's, on the seeds that both solved.
    """

    task: str
    actor: str
    episodes: int
    replayed: int
    repeat_rate: float
    still_rate: float
    entropy: float
    most_entropy: float
    detour: float


def diagnose(
    suite: Suite,
    comparison: Comparison,
    trajectories: Sequence[Trajectory],
    stores: Sequence[Store] = (),
) -> list[Diagnostics]:
    """Measure every actor's habits on every task, and the demonstrations' beside them.

    Trajectories are matched to actors by their episode ids. The demonstrations (what the policy was
    taught with) come as an actor of that name, from at most DEMONSTRATIONS episodes a task and store.
    Does not cover: whether a habit does harm. Going straight on is repetition too.
    """
    diagnoses: list[Diagnostics] = []
    by_id = {one.episode: one for one in trajectories}
    for task in (one for one in suite if one.id in comparison.tasks):
        try:
            diagnoses += _of_task(task, comparison, by_id, stores)
        except Untrusted:
            raise
        except Exception:  # an environment that fails has no habits to tell; the table says so
            continue
    return diagnoses


def _of_task(
    task: Task, comparison: Comparison, by_id: dict[str, Trajectory], stores: Sequence[Store]
) -> list[Diagnostics]:
    environment = TaskEnv(task)
    try:
        return [
            _diagnosis(task, actor, episodes, environment, _detour(comparison, task.id, actor))
            for actor, episodes in _played(task, comparison, by_id, stores)
        ]
    finally:
        environment.close()


def repeat_rate(actions: Iterable[np.ndarray]) -> float:
    """Return the share of actions `[T, k]` equal to the one before, over all episodes; nan without any."""
    same = [(one[1:] == one[:-1]).all(axis=1) for one in actions]
    return _share(same)


def still_rate(observations: Iterable[dict[str, np.ndarray]]) -> float:
    """Return the share of steps that changed nothing, from stacked observations `[T+1, ...]` an episode."""
    return _share([_unchanged(one) for one in observations])


def entropy(actions: np.ndarray, space: spaces.Space) -> tuple[float, float]:
    """Return the bits of the actions `[N, k]` taken, and the most there could be.

    The plug-in estimate over distinct actions; a Box is cut into BINS equal parts from its lowest to its
    highest bound (or action seen, where it has no bound). Too low for few steps, and blind to order.
    """
    if isinstance(space, spaces.Box):
        actions = _binned(actions, space)
        most = actions.shape[1] * np.log2(BINS)
    else:
        most = _most(space, actions)
    _, counts = np.unique(actions, axis=0, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0, float(most)


def _played(
    task: Task, comparison: Comparison, by_id: dict[str, Trajectory], stores: Sequence[Store]
) -> Iterator[tuple[str, list[Trajectory]]]:
    """Yield every actor's episodes of a task, then the demonstrations it was taught with."""
    for actor in comparison.actors:
        if (task.id, actor) in comparison.episodes:
            ids = comparison.episodes[task.id, actor].ids.tolist()
            some = [by_id[one] for one in ids if one in by_id]
            if some:
                yield actor, some
    taught = [
        one
        for store in stores
        for one in islice(store.trajectories(task=task.id, seeds=RECORD), DEMONSTRATIONS)
    ]
    if taught:
        yield "demonstrations", taught


def _diagnosis(
    task: Task, actor: str, some: list[Trajectory], environment: TaskEnv, detour: float
) -> Diagnostics:
    sample = _sample(some)
    bits, most = entropy(np.concatenate([one.actions for one in some]), environment.action_space)
    return Diagnostics(
        task=task.id,
        actor=actor,
        episodes=len(some),
        replayed=len(sample),
        repeat_rate=repeat_rate([one.actions for one in some]),
        still_rate=still_rate([replay(one, environment).observations for one in sample]),
        entropy=bits,
        most_entropy=most,
        detour=detour,
    )


def _sample(some: Sequence[Trajectory]) -> list[Trajectory]:
    """Take every so-many-th episode until there are enough of them, or enough steps."""
    spread = some[:: max(1, len(some) // SAMPLE)][:SAMPLE]
    before = np.cumsum([0, *map(len, spread)])[:-1]
    return [one for one, steps in zip(spread, before, strict=True) if steps < SAMPLED_STEPS]


def _detour(comparison: Comparison, task: str, actor: str) -> float:
    experts = [one for one in comparison.actors if comparison.kinds[one] == "expert"]
    if not experts or actor not in comparison.kinds:
        return float("nan")
    at, beside = comparison.shared(task, actor, experts[0])
    if not at.size:
        return float("nan")
    mine, theirs = comparison.episodes[task, actor], comparison.episodes[task, experts[0]]
    solved = mine.success[at] & theirs.success[beside]
    if not solved.any():
        return float("nan")
    return float(mine.steps[at][solved].sum() / theirs.steps[beside][solved].sum())


def _share(flags: Sequence[np.ndarray]) -> float:
    total = sum(one.size for one in flags)
    return float(sum(int(one.sum()) for one in flags) / total) if total else float("nan")


def _unchanged(observations: dict[str, np.ndarray]) -> np.ndarray:
    same = [(one[1:] == one[:-1]).reshape(len(one) - 1, -1).all(axis=1) for one in observations.values()]
    return np.asarray(np.logical_and.reduce(same))


def _binned(actions: np.ndarray, space: spaces.Box) -> np.ndarray:
    low = np.where(np.isfinite(space.low.ravel()), space.low.ravel(), actions.min(axis=0))
    high = np.where(np.isfinite(space.high.ravel()), space.high.ravel(), actions.max(axis=0))
    width = np.where(high > low, high - low, 1.0)
    return np.clip(((actions - low) / width * BINS).astype(np.int64), 0, BINS - 1)


def _most(space: spaces.Space, actions: np.ndarray) -> float:
    if isinstance(space, spaces.Discrete):
        return float(np.log2(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return float(np.log2(space.nvec.astype(float)).sum())
    if isinstance(space, spaces.MultiBinary):
        return float(actions.shape[1])
    return float("nan")
