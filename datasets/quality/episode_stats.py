"""Per-episode behavior statistics: computed when an episode ends in a study, or later from a store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ...envs.task import Task
from ..store import Progress, Store
from ..trajectory import CONTROLLERS, Trajectory
from .expert_lengths import expert_steps

FAST_MS = 100
"""Lower bound of human reaction time, in ms (Luce, "Response Times", 1986)."""

IDLE_MS = 10_000
"""A longer pause, in ms, counts as idle, in tasks that wait for a key."""

PEOPLE = ("person", "simulated")
"""Trajectory kinds that count as demonstrators."""

_MOST_COMPARED = 30  # most solved episodes per person that are compared with the expert's


@dataclass(frozen=True, slots=True)
class EpisodeStats:
    """One episode, as a row of the study database's table `conduct`.

    `success` is None in a task without a success rule; the tasks of a study have one. `expert_steps` is the
    expert's number of steps on this seed. `reaction_ms` is the median time from a frame to the key press that
    answered it; `fast_share` is the share of key presses within FAST_MS. Both are defined only for tasks that
    wait for a key (in real time: None and 0). `idle_share` is the share of time in pauses longer than
    IDLE_MS; in real time, the share of steps without a key. `repeat_share` is the share of actions equal to
    the one before. `hidden_ms` is the time that the page was hidden, `lag_ms` the median time from a key
    press to its frame; both are reported by the page.
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
    """Compute the statistics of one episode; values that only the page or the study knows are arguments."""
    times, actions = trajectory.times_ms, trajectory.actions
    by_person = trajectory.controllers == CONTROLLERS.index("person")
    gaps = np.diff(times, prepend=0)
    waits = task.fps is None
    keys = gaps[by_person] if waits else gaps[:0]
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
    """Compute the statistics of every demonstrator's episode in a store, in the store's order.

    With `experts`, where the suite names an expert, it plays the seeds of solved episodes too, at most thirty
    per person. `progress(n)` is called as episodes are read.
    """
    rows = []
    for trajectory in store.trajectories(kinds=PEOPLE):
        rows.append(conduct_of(trajectory, store.suite[trajectory.task]))
        if progress:
            progress(1)
    if not experts:
        return rows
    needed = expert_steps(store.suite, _seeds_to_compare(rows))
    return [replace(row, expert_steps=needed.get((row.task, row.seed))) for row in rows]


def _seeds_to_compare(rows: Iterable[EpisodeStats]) -> dict[str, list[int]]:
    """Select each person's lowest solved seeds by task: a deterministic function of the data."""
    seeds: dict[str, set[int]] = {}
    count: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: (row.person, row.task, row.seed)):
        if row.success and count.get(row.person, 0) < _MOST_COMPARED:
            count[row.person] = count.get(row.person, 0) + 1
            seeds.setdefault(row.task, set()).add(row.seed)
    return {task: sorted(task_seeds) for task, task_seeds in seeds.items()}


def _long_pauses(gaps: np.ndarray) -> float:
    total = float(gaps.sum())
    return float(gaps[gaps > IDLE_MS].sum()) / total if total else 0.0


def _without_key(actions: np.ndarray, task: Task) -> float:
    """Return the share of steps with the idle action; 0 in a task without one."""
    if task.idle is None:
        return 0.0
    idle = np.asarray(task.idle, float).ravel()
    return float(np.mean((actions == idle).all(1))) if idle.shape == actions.shape[1:] else 0.0
