"""What one episode says about how it was played: a row of the ledger's `conduct`, from the journal's steps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sql

from ...envs.task import Task
from ..journal import EpisodeRecord, StepRecord
from .ledger import conduct

IDLE_MS = 10_000
"""A pause that is longer is idleness, where a task waits for a key."""


def conduct_row(
    record: EpisodeRecord,
    steps: Sequence[StepRecord],
    task: Task,
    *,
    success: bool,
    expert_steps: int | None = None,
    reactions_ms: Sequence[int] = (),
    lags_ms: Sequence[int] = (),
    hidden_ms: float = 0.0,
) -> dict[str, Any]:
    """Measure an episode that is over.

    `reactions_ms` and `lags_ms` are what the page measured; without the first, the time between two steps
    stands for it. In real time, where nothing waits for a key, there is no reaction to measure: what is
    idle there is a step without a key, and elsewhere the time that goes in pauses longer than IDLE_MS.
    """
    gaps = np.diff(np.array([step.time_ms for step in steps], float), prepend=0)
    actions = [tuple(step.action) for step in steps]
    waits = task.fps is None
    reactions = (list(reactions_ms) or gaps.tolist()) if waits else []
    idle = _long_pauses(gaps) if waits else _share([_is_idle(action, task) for action in actions])
    return {
        "episode": record.episode,
        "person": record.demonstrator,
        "role": record.role,
        "task": record.task,
        "seed": record.seed,
        "success": success,
        "steps": len(steps),
        "seconds": steps[-1].time_ms / 1000 if steps else 0.0,
        "expert_steps": expert_steps,
        "reaction_ms": float(np.median(reactions)) if reactions else None,
        "idle_share": idle,
        "repeat_share": _share([one == other for one, other in zip(actions, actions[1:], strict=False)]),
        "hidden_ms": hidden_ms,
        "lag_ms": float(np.median(lags_ms)) if lags_ms else None,
        "at": time.time(),
    }


def has_succeeded(record: EpisodeRecord, steps: Sequence[StepRecord], task: Task) -> bool:
    """Say from the journal alone whether an episode that is over was solved."""
    if not steps or record.given_up or not (steps[-1].terminated or steps[-1].truncated):
        return False
    return task.success(
        reward=steps[-1].reward,
        total=sum(step.reward for step in steps),
        terminated=steps[-1].terminated,
        truncated=steps[-1].truncated,
        steps=len(steps),
    )


def write_down(connection: sql.Connection, row: Mapping[str, Any]) -> None:
    """Add a row of `conduct`, once: a second time changes nothing."""
    known = sql.select(conduct.c.episode).where(conduct.c.episode == row["episode"])
    if connection.execute(known).first() is None:
        connection.execute(conduct.insert(), dict(row))


def rows_of(connection: sql.Connection, person: str) -> list[dict[str, Any]]:
    """Read what a person has played that counts, in order."""
    query = sql.select(conduct).where(conduct.c.person == person, conduct.c.role != "practice")
    return [dict(row) for row in connection.execute(query.order_by(conduct.c.at)).mappings()]


def _long_pauses(gaps: np.ndarray) -> float:
    total = float(gaps.sum())
    return float(gaps[gaps > IDLE_MS].sum()) / total if total else 0.0


def _is_idle(action: Sequence[float], task: Task) -> bool:
    return task.idle is not None and bool(np.array_equal(np.asarray(task.idle, float).ravel(), action))


def _share(marks: Sequence[bool]) -> float:
    return sum(marks) / len(marks) if marks else 0.0
