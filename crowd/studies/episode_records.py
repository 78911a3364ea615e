"""Statistics of one episode: a row of the table `conduct`, measured from the journal's steps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import sqlalchemy as sql

from ...datasets.quality.episode_stats import FAST_MS, EpisodeStats, conduct_of
from ...datasets.trajectory import Trajectory
from ...envs.task import Task
from ..recruiting.bonus import ScoredEpisode, points_of
from ..storage.journal_records import EpisodeRecord, StepRecord
from ..storage.study_records import answers, devices, points
from ..storage.study_tables import conduct


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
    """Measure a finished episode, see `episode_stats.conduct_of`.

    `reactions_ms` and `lags_ms` are the page's measurements, on one machine's clock: if there are any, they
    replace the server's measurements, which include network delays.
    """
    lag = float(np.median(lags_ms)) if lags_ms else None
    if steps:
        trajectory = _trajectory(record, steps, success)
        stats = conduct_of(
            trajectory, task, role=record.role, expert_steps=expert_steps, hidden_ms=hidden_ms, lag_ms=lag
        )
        row = asdict(stats)
    else:
        empty = EpisodeStats(
            record.episode, record.demonstrator, record.task, record.seed, success, 0, 0.0, record.role
        )
        row = asdict(empty) | {"expert_steps": expert_steps, "hidden_ms": hidden_ms}
    if reactions_ms and task.fps is None:
        fast = sum(reaction < FAST_MS for reaction in reactions_ms) / len(reactions_ms)
        row |= {"reaction_ms": float(np.median(reactions_ms)), "fast_share": fast}
    return row | {"at": time.time(), "points": points_of(step.reward for step in steps)}


def has_succeeded(record: EpisodeRecord, steps: Sequence[StepRecord], task: Task) -> bool:
    """Say from the journal alone whether a finished episode was solved."""
    if not steps or record.given_up or not (steps[-1].terminated or steps[-1].truncated):
        return False
    last = steps[-1]
    if last.success is not None:
        return last.success
    rewards = [step.reward for step in steps]  # a step of an older journal
    return bool(task.success.judge(rewards, last.terminated, last.truncated, {}))


def write_down(connection: sql.Connection, row: Mapping[str, Any]) -> None:
    """Insert a row of `conduct`, and the episode's points, once: a second call changes nothing."""
    present = sql.select(conduct.c.episode).where(conduct.c.episode == row["episode"])
    if connection.execute(present).first() is None:
        measured = {name: value for name, value in row.items() if name != "points"}
        connection.execute(conduct.insert(), measured)
        points_row = {name: row[name] for name in ("episode", "person", "points")}
        connection.execute(points.insert(), points_row)


def rows_of(connection: sql.Connection, person: str) -> list[dict[str, Any]]:
    """Read a person's episodes that count, in order."""
    query = sql.select(conduct, points.c.points).outerjoin(points, points.c.episode == conduct.c.episode)
    query = query.where(conduct.c.person == person, conduct.c.role != "practice")
    return [dict(row) for row in connection.execute(query.order_by(conduct.c.at)).mappings()]


def counted(rows: Sequence[Mapping[str, Any]]) -> list[ScoredEpisode]:
    """Return the bonus's view of a person's episodes, rows of `rows_of`."""
    return [ScoredEpisode(bool(row["success"]), int(row["points"] or 0)) for row in rows]


def _trajectory(record: EpisodeRecord, steps: Sequence[StepRecord], success: bool) -> Trajectory:
    return Trajectory(
        suite=record.suite,
        task=record.task,
        env=record.env,
        seed=record.seed,
        demonstrator=record.demonstrator,
        kind=record.kind,
        actions=np.array([step.action for step in steps], np.float64),
        rewards=np.array([step.reward for step in steps], np.float64),
        times_ms=np.array([step.time_ms for step in steps], np.int32),
        controllers=np.array([step.controller for step in steps], np.int8),
        frames=np.array([step.frame for step in steps], np.int32),
        terminated=steps[-1].terminated,
        truncated=steps[-1].truncated,
        success=success,
        digest=steps[-1].digest,
        episode=record.episode,
    )


def delete_person_rows(connection: sql.Connection, person: str) -> None:
    """Delete every row about a person's episodes, answers and devices, at their request."""
    for table in (conduct, points, answers, devices):
        connection.execute(table.delete().where(table.c.person == person))
