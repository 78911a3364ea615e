"""Behavior of actors beyond success: repetition, idling, action entropy, detours against the expert."""

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
"""Most episodes of a task and actor that are replayed to measure `still_rate`."""

SAMPLED_STEPS = 3000
"""Steps after which no further episode is replayed."""

DEMONSTRATIONS = 200
"""Most demonstrations of a task and store that are measured."""

BINS = 16
"""Equal bins of each continuous action for its entropy."""


@dataclass(frozen=True)
class Diagnostics:
    """Behavior of one actor on one task; nan for a quantity that cannot be measured.

    `repeat_rate`: share of steps whose action equals the previous one (first steps excluded). `still_rate`:
    share of steps that left the observation unchanged, bit for bit, in `replayed` episodes. `entropy`: bits
    of the actions of all steps, of at most `most_entropy`. `detour`: steps over the expert's steps, on the
    seeds that both solved.
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
    """Measure the behavior of every actor and of the demonstrations on every task.

    Trajectories are matched to actors by their episode ids. Training demonstrations appear as the actor
    "demonstrations", from at most DEMONSTRATIONS episodes a task and store.
    Does not cover: whether a behavior does harm. Going straight ahead is repetition too.
    """
    diagnoses: list[Diagnostics] = []
    by_id = {trajectory.episode: trajectory for trajectory in trajectories}
    for task in (task for task in suite if task.id in comparison.tasks):
        try:
            diagnoses += _diagnose_task(task, comparison, by_id, stores)
        except Untrusted:
            raise
        except Exception:  # a failing environment has no diagnostics
            continue
    return diagnoses


def _diagnose_task(
    task: Task, comparison: Comparison, by_id: dict[str, Trajectory], stores: Sequence[Store]
) -> list[Diagnostics]:
    environment = TaskEnv(task)
    try:
        return [
            _diagnosis(task, actor, episodes, environment, _detour(comparison, task.id, actor))
            for actor, episodes in _episodes_by_actor(task, comparison, by_id, stores)
        ]
    finally:
        environment.close()


def repeat_rate(actions: Iterable[np.ndarray]) -> float:
    """Return the share of actions equal to the previous one, from arrays `[T, k]` an episode; nan if none."""
    same = [(rows[1:] == rows[:-1]).all(axis=1) for rows in actions]
    return _share(same)


def still_rate(observations: Iterable[dict[str, np.ndarray]]) -> float:
    """Return the share of steps that changed no leaf, from observations `[T+1, ...]` an episode."""
    return _share([_unchanged(episode) for episode in observations])


def entropy(actions: np.ndarray, space: spaces.Space) -> tuple[float, float]:
    """Return the entropy of actions `[N, k]` in bits, and its maximum.

    Plug-in estimate over distinct actions; a Box is cut into BINS equal bins between its bounds (between the
    extreme actions where it has none). Biased low for few steps; ignores the order of actions.
    """
    if isinstance(space, spaces.Box):
        actions = _binned(actions, space)
        most = actions.shape[1] * np.log2(BINS)
    else:
        most = _most(space, actions)
    _, counts = np.unique(actions, axis=0, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0, float(most)


def _episodes_by_actor(
    task: Task, comparison: Comparison, by_id: dict[str, Trajectory], stores: Sequence[Store]
) -> Iterator[tuple[str, list[Trajectory]]]:
    """Yield each actor's episodes of a task, then the training demonstrations."""
    for actor in comparison.actors:
        if (task.id, actor) in comparison.episodes:
            ids = comparison.episodes[task.id, actor].ids.tolist()
            episodes = [by_id[episode] for episode in ids if episode in by_id]
            if episodes:
                yield actor, episodes
    taught = [
        episode
        for store in stores
        for episode in islice(store.trajectories(task=task.id, seeds=RECORD), DEMONSTRATIONS)
    ]
    if taught:
        yield "demonstrations", taught


def _diagnosis(
    task: Task, actor: str, episodes: list[Trajectory], environment: TaskEnv, detour: float
) -> Diagnostics:
    sample = _sample(episodes)
    bits, bound = entropy(np.concatenate([episode.actions for episode in episodes]), environment.action_space)
    return Diagnostics(
        task=task.id,
        actor=actor,
        episodes=len(episodes),
        replayed=len(sample),
        repeat_rate=repeat_rate([episode.actions for episode in episodes]),
        still_rate=still_rate([replay(episode, environment).observations for episode in sample]),
        entropy=bits,
        most_entropy=bound,
        detour=detour,
    )


def _sample(episodes: Sequence[Trajectory]) -> list[Trajectory]:
    """Return evenly spaced episodes, at most SAMPLE and about SAMPLED_STEPS steps."""
    spaced = episodes[:: max(1, len(episodes) // SAMPLE)][:SAMPLE]
    before = np.cumsum([0, *map(len, spaced)])[:-1]
    return [episode for episode, steps in zip(spaced, before, strict=True) if steps < SAMPLED_STEPS]


def _detour(comparison: Comparison, task: str, actor: str) -> float:
    experts = [name for name in comparison.actors if comparison.kinds[name] == "expert"]
    if not experts or actor not in comparison.kinds:
        return float("nan")
    actor_rows, expert_rows = comparison.shared(task, actor, experts[0])
    if not actor_rows.size:
        return float("nan")
    played, expert = comparison.episodes[task, actor], comparison.episodes[task, experts[0]]
    solved = played.success[actor_rows] & expert.success[expert_rows]
    if not solved.any():
        return float("nan")
    return float(played.steps[actor_rows][solved].sum() / expert.steps[expert_rows][solved].sum())


def _share(flags: Sequence[np.ndarray]) -> float:
    total = sum(array.size for array in flags)
    return float(sum(int(array.sum()) for array in flags) / total) if total else float("nan")


def _unchanged(observations: dict[str, np.ndarray]) -> np.ndarray:
    same = [(leaf[1:] == leaf[:-1]).reshape(len(leaf) - 1, -1).all(axis=1) for leaf in observations.values()]
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
