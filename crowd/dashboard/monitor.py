"""Live statistics of a study from its database: who is present, and results by task and person.

Reads only; everything blocks for the disk. Shares have Wilson intervals (scipy), which assume independent
episodes; episodes of one person are dependent, so the intervals are slightly too narrow.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import sqlalchemy as sql

from ...datasets.quality.demonstrator_stats import TOLERANCE
from ...envs.suite import Suite
from ...intervals import wilson
from ..cluster.seat_leases import DEAD_AFTER_SECONDS
from ..server.server_metrics import quantiles, sum_histograms
from ..storage.study_tables import STAGES, StudyDatabase, claims, conduct, events, people, servers
from ..studies.moderation import ModerationState, moderation_state
from ..studies.study import Study

HERE_SECONDS = 60
"""A person without an outcome who was seen this recently counts as present."""

WINDOWS = {"hour": (3600, 60), "day": (86_400, 900), "week": (604_800, 7200)}
"""Length of the curves, and the seconds per point."""

WANTED = ("demonstration", "repeat", "baseline")
"""Roles that count towards a task's quota."""

_RATE_SECONDS = 300
_LATEST = 60
COUNTS = conduct.c.role != "practice"


@dataclass(frozen=True)
class StudyTargets:
    """What a study asks for, as far as its monitor must know.

    `quotas` maps the tasks that are played to the number of demonstrations wanted, None for no limit;
    `tolerance` is the largest accepted ratio of a gold episode's steps to the expert's.
    """

    study: str
    suite: Suite
    title: str = ""
    people: int | None = None
    episodes: int | None = None
    quotas: Mapping[str, int | None] = field(default_factory=dict)
    tolerance: float = TOLERANCE
    baseline: bool = False

    @classmethod
    def of(cls, study: Study) -> StudyTargets:
        """Take the targets from a study."""
        return cls(
            study=study.name,
            suite=study.suite,
            title=study.say(study.title, study.languages[0]),
            people=study.people,
            episodes=study.episodes,
            quotas={task.id: study.quotas[task.id].quota if study.quotas else None for task in study.tasks},
            tolerance=study.gold.tolerance if study.gold else TOLERANCE,
            baseline=study.is_baseline,
        )


def figures(
    database: StudyDatabase, targets: StudyTargets, window: str = "hour", now: float | None = None
) -> dict[str, Any]:
    """Return the data of the dashboard's overview as JSON values; `window` is a key of WINDOWS."""
    now = time.time() if now is None else now
    moderation = moderation_state(database, targets.study)
    tasks = _tasks(database, targets, now)
    beats = _servers(database, now)
    return {
        "at": now,
        "study": _study(targets, moderation),
        "people": people_now(database, targets, now),
        "success": share(sum(row["successes"] for row in tasks), sum(row["n"] for row in tasks)),
        "curves": _curves(database, targets, window, now),
        "lag": quantiles(sum_histograms(row["latest"] for row in beats if row["alive"])),
        "tasks": tasks,
        "servers": beats,
        "events": latest_events(database, targets.study),
    }


def _study(targets: StudyTargets, moderation: ModerationState) -> dict[str, Any]:
    return {
        "name": targets.study,
        "title": targets.title or targets.study,
        "suite": targets.suite.name,
        "people": targets.people,
        "episodes": targets.episodes,
        "baseline": targets.baseline,
        "paused": moderation.paused,
        "reason": moderation.reason,
    }


def people_now(database: StudyDatabase, targets: StudyTargets, now: float) -> dict[str, Any]:
    """Count people by stage, those present now by stage, and those that have ended by outcome."""
    is_here = sql.cast((people.c.seen > now - HERE_SECONDS) & (people.c.outcome == ""), sql.Integer)
    rows = database.rows(
        sql.select(
            people.c.stage,
            people.c.outcome,
            sql.func.count().label("n"),
            sql.func.sum(is_here).label("here"),
        )
        .where(people.c.study == targets.study)
        .group_by(people.c.stage, people.c.outcome)
    )
    here_now: Counter[str] = Counter()
    underway: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for row in rows:
        here_now[row["stage"]] += row["here"]
        (outcomes if row["outcome"] else underway)[row["outcome"] or row["stage"]] += row["n"]
    return {
        "joined": sum(row["n"] for row in rows),
        "here": {stage: here_now[stage] for stage in STAGES if stage != "done"},
        "underway": {stage: underway[stage] for stage in STAGES if stage != "done"},
        "outcomes": dict(outcomes),
    }


def _curves(database: StudyDatabase, targets: StudyTargets, window: str, now: float) -> dict[str, Any]:
    """Count episodes and take lag percentiles over time; the last point is still filling."""
    seconds, step = WINDOWS[window]
    first = (int(now) // step + 1) * step - seconds
    rows = _finished_episodes(database, targets, first)
    times, success, lag = (np.array([row[column] for row in rows], float) for column in range(3))
    point_index = ((times - first) // step).astype(int)
    points = seconds // step
    in_window = (point_index >= 0) & (point_index < points)
    return {
        "window": window,
        "first": first,
        "step": step,
        "episodes": np.bincount(point_index[in_window], minlength=points).tolist(),
        "successes": np.bincount(point_index[in_window], success[in_window], minlength=points)
        .astype(int)
        .tolist(),
        "lag": _percentiles_over_time(lag[in_window], point_index[in_window], points),
        "rate": float((times > now - _RATE_SECONDS).sum() * 60 / _RATE_SECONDS),
    }


def _finished_episodes(
    database: StudyDatabase, targets: StudyTargets, since: float
) -> list[tuple[float, bool, float | None]]:
    query = (
        sql.select(conduct.c.at, conduct.c.success, conduct.c.lag_ms)
        .join(people, people.c.person == conduct.c.person)
        .where(
            people.c.study == targets.study, COUNTS, conduct.c.at >= min(since, time.time() - _RATE_SECONDS)
        )
    )
    with database.engine.connect() as connection:
        return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def _percentiles_over_time(lag: np.ndarray, point_index: np.ndarray, points: int) -> list[list[float | None]]:
    """Return the percentiles of each point; None where it has too few values."""
    is_measured = ~np.isnan(lag)
    order = np.argsort(point_index[is_measured], kind="stable")
    parts = np.split(
        lag[is_measured][order], np.searchsorted(point_index[is_measured][order], np.arange(1, points))
    )
    return [_percentiles(part) for part in parts]


def _percentiles(values: np.ndarray) -> list[float | None]:
    percentiles = ((50, 1), (95, 20), (99, 100))
    return [
        round(float(np.percentile(values, percentile)), 1) if len(values) >= least else None
        for percentile, least in percentiles
    ]


def _tasks(database: StudyDatabase, targets: StudyTargets, now: float) -> list[dict[str, Any]]:
    played = {row["task"]: row for row in database.rows(_task_totals_query(targets))}
    claimed = _count_claims(database, targets, now)
    rows = []
    for task in targets.suite:
        if targets.quotas and task.id not in targets.quotas and task.id not in played:
            continue
        totals = played.get(task.id, {})
        n, successes = int(totals.get("n") or 0), int(totals.get("successes") or 0)
        quota = targets.quotas.get(task.id)
        completed, held = claimed[task.id, "done"], claimed[task.id, "held"]
        rows.append(
            {
                "task": task.id,
                "n": n,
                "successes": successes,
                "share": share(successes, n),
                "length": rounded(totals.get("length"), 2),
                "seconds": rounded(totals.get("seconds"), 1),
                "quota": quota,
                "done": completed,
                "held": held,
                "left": None if quota is None else max(0, quota - completed - held),
            }
        )
    return rows


def _task_totals_query(targets: StudyTargets) -> sql.Select[Any]:
    return (
        sql.select(
            conduct.c.task,
            sql.func.count().label("n"),
            sql.func.sum(sql.cast(conduct.c.success, sql.Integer)).label("successes"),
            sql.func.avg(LENGTH).label("length"),
            sql.func.avg(conduct.c.seconds).label("seconds"),
        )
        .join(people, people.c.person == conduct.c.person)
        .where(people.c.study == targets.study, COUNTS)
        .group_by(conduct.c.task)
    )


LENGTH = sql.case(
    (conduct.c.success & (conduct.c.expert_steps > 0), conduct.c.steps * 1.0 / conduct.c.expert_steps)
)
"""A solved episode's steps relative to the expert's on the same seed; NULL if there is nothing to compare."""


def _count_claims(database: StudyDatabase, targets: StudyTargets, now: float) -> Counter[tuple[str, str]]:
    """Count finished and held claims by task and state; an expired claim is neither."""
    rows = database.rows(
        sql.select(claims.c.task, claims.c.state, sql.func.count().label("n"))
        .where(claims.c.study == targets.study, claims.c.role.in_(WANTED))
        .where((claims.c.state == "done") | (claims.c.until > now))
        .group_by(claims.c.task, claims.c.state)
    )
    return Counter({(row["task"], row["state"]): row["n"] for row in rows})


def _servers(database: StudyDatabase, now: float) -> list[dict[str, Any]]:
    rows = database.rows(sql.select(servers).where(servers.c.seen > now - 86_400).order_by(servers.c.started))
    return [
        {
            "server": row["server"],
            "started": row["started"],
            "seen": row["seen"],
            "alive": row["seen"] > now - DEAD_AFTER_SECONDS,
            "seats": row["figures"].get("seats", 0),
            "steps": row["figures"].get("steps", 0),
            "restarts": row["figures"].get("restarts", 0),
            "trouble": row["figures"].get("trouble", ""),
            "latest": row["figures"].get("latest", []),
            "lag": quantiles(row["figures"].get("latest", [])),
        }
        for row in rows
    ]


def latest_events(database: StudyDatabase, study: str, person: str | None = None) -> list[dict[str, Any]]:
    """Return the latest events, newest first, without their details, which other modules own."""
    columns = (events.c.id, events.c.at, events.c.person, events.c.what, events.c.reason)
    query = sql.select(*columns).where(events.c.study == study).order_by(events.c.id.desc()).limit(_LATEST)
    return database.rows(query if person is None else query.where(events.c.person == person))


@lru_cache(maxsize=1 << 14)
def share(successes: int, n: int) -> Mapping[str, float] | None:
    """Return a share with its 95 % Wilson interval; None for n = 0."""
    if not n:
        return None
    interval = wilson(int(successes), int(n))
    return {"share": interval.estimate, "low": interval.low, "high": interval.high, "n": interval.n}


def rounded(value: Any, digits: int) -> float | None:
    """Round a value from a database; None stays None."""
    return None if value is None else round(float(value), digits)
