"""How somebody played one episode: measured once it has ended, while a study runs or later from a store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ...envs.task import Task
from ..store import Progress, Store
from ..trajectory import CONTROLLERS, Trajectory
from .expert_lengths import expert_steps

FAST_MS = 100
"""Nobody reacts to what is seen in less (Luce, "Response Times", 1986)."""

IDLE_MS = 10_000
"""A pause that is longer is idleness, where a task waits for a key."""

PEOPLE = ("person", "simulated")
"""Kinds of trajectories that demonstrators made."""

_BESIDE_EXPERT = 30  # solved episodes of a person that are set beside the expert's


@dataclass(frozen=True, slots=True)
class EpisodeStats:
    """One episode, as the ledger's table `conduct` keeps it.

    `success` is None where no rule says what a success is; the tasks of a study have one.
    `expert_steps` is what the expert needs on this seed. `reaction_ms` is the median time from a picture to
    the key that answered it and `fast_share` the share of keys that came within FAST_MS; in real time, where
    nothing waits for a key, there are none. `idle_share` is the share of the time that went in pauses longer
    than IDLE_MS; in real time the share of steps without a key. `repeat_share` is the share of actions that
    are the one before again. `hidden_ms` is how long the page was hidden, `lag_ms` the median time from a key
    to its picture: only the page knows these.
    """

    episode: str
    person: str
    task: str
    seed: int
    success: bool | None
    steps: int
    seconds: float
    role: str = ""
    expert_steps: int | None = None
    reaction_ms: float | None = None
    fast_share: float = 0.0
    idle_share: float = 0.0
    repeat_share: float = 0.0
    hidden_ms: float = 0.0
    lag_ms: float | None = None


def conduct_of(
    trajectory: Trajectory,
    task: Task,
    *,
    role: str = "",
    expert_steps: int | None = None,
    hidden_ms: float = 0.0,
    lag_ms: float | None = None,
) -> EpisodeStats:
    """Measure one episode; what only the page or the study knows is handed in."""
    times, actions = trajectory.times_ms, trajectory.actions
    theirs = trajectory.controllers == CONTROLLERS.index("person")
    gaps = np.diff(times, prepend=0)
    waits = task.fps is None
    keys = gaps[theirs] if waits else gaps[:0]
    return EpisodeStats(
        episode=trajectory.episode,
        person=trajectory.demonstrator,
        task=trajectory.task,
        seed=trajectory.seed,
        success=trajectory.success,
        steps=len(trajectory),
        seconds=trajectory.seconds,
        role=role,
        expert_steps=expert_steps,
        reaction_ms=float(np.median(keys)) if len(keys) else None,
        fast_share=float(np.mean(keys < FAST_MS)) if len(keys) else 0.0,
        idle_share=_long_pauses(gaps) if waits else _without_key(actions, task),
        repeat_share=float(np.mean((actions[1:] == actions[:-1]).all(1))) if len(actions) > 1 else 0.0,
        hidden_ms=hidden_ms,
        lag_ms=lag_ms,
    )


def conduct_in(store: Store, *, experts: bool = True, progress: Progress | None = None) -> list[EpisodeStats]:
    """Measure every episode of a store that a demonstrator made, in the store's order.

    With `experts`, the expert plays the seeds of solved episodes too, at most thirty a person, where the
    suite names one. `progress(n)` is called as episodes are read.
    """
    rows = []
    for one in store.trajectories(kinds=PEOPLE):
        rows.append(conduct_of(one, store.suite[one.task]))
        if progress:
            progress(1)
    if not experts:
        return rows
    needed = expert_steps(store.suite, _beside_expert(rows))
    return [replace(one, expert_steps=needed.get((one.task, one.seed))) for one in rows]


def _beside_expert(rows: Iterable[EpisodeStats]) -> dict[str, list[int]]:
    """Choose each person's first solved seeds (the lowest), so that the choice is one of the data alone."""
    seeds: dict[str, set[int]] = {}
    count: dict[str, int] = {}
    for one in sorted(rows, key=lambda one: (one.person, one.task, one.seed)):
        if one.success and count.get(one.person, 0) < _BESIDE_EXPERT:
            count[one.person] = count.get(one.person, 0) + 1
            seeds.setdefault(one.task, set()).add(one.seed)
    return {task: sorted(some) for task, some in seeds.items()}


def _long_pauses(gaps: np.ndarray) -> float:
    total = float(gaps.sum())
    return float(gaps[gaps > IDLE_MS].sum()) / total if total else 0.0


def _without_key(actions: np.ndarray, task: Task) -> float:
    """Return the share of steps with the idle action; a task need not have one."""
    if task.idle is None:
        return 0.0
    idle = np.asarray(task.idle, float).ravel()
    return float(np.mean((actions == idle).all(1))) if idle.shape == actions.shape[1:] else 0.0
