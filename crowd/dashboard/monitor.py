"""What the database says of a study: who is here, how it goes, task by task and person by person.

Reads only; everything blocks for the disk. Shares come with Wilson intervals (scipy), which cover the draw of
episodes as if they did not depend on each other; those of one person do, so they are a little too narrow.
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
from ..cluster.seat_leases import DEAD_AFTER_SECONDS
from ..server.server_metrics import add_up, quantiles
from ..storage.study_tables import STAGES, StudyDatabase, claims, conduct, events, people, servers
from ..studies.moderation import ModerationState, standing
from ..studies.study import Study

HERE_SECONDS = 60
"""Whoever was seen so lately, and has no outcome, counts as being here now."""

WINDOWS = {"hour": (3600, 60), "day": (86_400, 900), "week": (604_800, 7200)}
"""How far back the curves go, and the seconds that one of their points stands for."""

WANTED = ("demonstration", "repeat", "baseline")
"""Roles that count towards a task's quota."""

_RATE_SECONDS = 300
_LATEST = 60
COUNTS = conduct.c.role != "practice"


@dataclass(frozen=True)
class StudyTargets:
    """What a study asks for, as far as its monitor must know.

    `quotas` gives the tasks that are played and the demonstrations wanted of each, None for no end;
    `tolerance` is how many times the expert's steps a gold episode may take.
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
        """Take what must be known from a study's file."""
        return cls(
            study=study.name,
            suite=study.suite,
            title=study.say(study.title, study.languages[0]),
            people=study.people,
            episodes=study.episodes,
            quotas={one.id: study.quotas[one.id].quota if study.quotas else None for one in study.tasks},
            tolerance=study.gold.tolerance if study.gold else TOLERANCE,
            baseline=study.is_baseline,
        )


def figures(
    ledger: StudyDatabase, plan: StudyTargets, window: str = "hour", now: float | None = None
) -> dict[str, Any]:
    """Return everything the top of the dashboard shows, ready for JSON; `window` is a key of WINDOWS."""
    now = time.time() if now is None else now
    stands = standing(ledger, plan.study)
    tasks = _tasks(ledger, plan, now)
    beats = _servers(ledger, now)
    return {
        "at": now,
        "study": _study(plan, stands),
        "people": people_now(ledger, plan, now),
        "success": share(sum(one["successes"] for one in tasks), sum(one["n"] for one in tasks)),
        "curves": _curves(ledger, plan, window, now),
        "lag": quantiles(add_up(one["latest"] for one in beats if one["alive"])),
        "tasks": tasks,
        "servers": beats,
        "events": latest_events(ledger, plan.study),
    }


def _study(plan: StudyTargets, stands: ModerationState) -> dict[str, Any]:
    return {
        "name": plan.study,
        "title": plan.title or plan.study,
        "suite": plan.suite.name,
        "people": plan.people,
        "episodes": plan.episodes,
        "baseline": plan.baseline,
        "paused": stands.paused,
        "reason": stands.reason,
    }


def people_now(ledger: StudyDatabase, plan: StudyTargets, now: float) -> dict[str, Any]:
    """Count people by stage, those that are here now by stage, and those that have ended by outcome."""
    here = sql.cast((people.c.seen > now - HERE_SECONDS) & (people.c.outcome == ""), sql.Integer)
    rows = ledger.rows(
        sql.select(
            people.c.stage,
            people.c.outcome,
            sql.func.count().label("n"),
            sql.func.sum(here).label("here"),
        )
        .where(people.c.study == plan.study)
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


def _curves(ledger: StudyDatabase, plan: StudyTargets, window: str, now: float) -> dict[str, Any]:
    """Count episodes and take lag's percentiles over time; the last point is the one still filling."""
    seconds, step = WINDOWS[window]
    first = (int(now) // step + 1) * step - seconds
    rows = _finished(ledger, plan, first)
    at, success, lag = (np.array([row[i] for row in rows], float) for i in range(3))
    place = ((at - first) // step).astype(int)
    points = seconds // step
    kept = (place >= 0) & (place < points)
    return {
        "window": window,
        "first": first,
        "step": step,
        "episodes": np.bincount(place[kept], minlength=points).tolist(),
        "successes": np.bincount(place[kept], success[kept], minlength=points).astype(int).tolist(),
        "lag": _percentiles_over_time(lag[kept], place[kept], points),
        "rate": float((at > now - _RATE_SECONDS).sum() * 60 / _RATE_SECONDS),
    }


def _finished(
    ledger: StudyDatabase, plan: StudyTargets, since: float
) -> list[tuple[float, bool, float | None]]:
    query = (
        sql.select(conduct.c.at, conduct.c.success, conduct.c.lag_ms)
        .join(people, people.c.person == conduct.c.person)
        .where(people.c.study == plan.study, COUNTS, conduct.c.at >= min(since, time.time() - _RATE_SECONDS))
    )
    with ledger.engine.connect() as connection:
        return [(one[0], one[1], one[2]) for one in connection.execute(query)]


def _percentiles_over_time(lag: np.ndarray, place: np.ndarray, points: int) -> list[list[float | None]]:
    """Take a point's percentiles, each where its values are enough to have one."""
    known = ~np.isnan(lag)
    order = np.argsort(place[known], kind="stable")
    parts = np.split(lag[known][order], np.searchsorted(place[known][order], np.arange(1, points)))
    return [_percentiles(part) for part in parts]


def _percentiles(values: np.ndarray) -> list[float | None]:
    wanted = ((50, 1), (95, 20), (99, 100))
    return [
        round(float(np.percentile(values, one)), 1) if len(values) >= least else None for one, least in wanted
    ]


def _tasks(ledger: StudyDatabase, plan: StudyTargets, now: float) -> list[dict[str, Any]]:
    played = {row["task"]: row for row in ledger.rows(_by_task(plan))}
    claimed = _claimed(ledger, plan, now)
    rows = []
    for task in plan.suite:
        if plan.quotas and task.id not in plan.quotas and task.id not in played:
            continue
        one = played.get(task.id, {})
        n, successes = int(one.get("n") or 0), int(one.get("successes") or 0)
        quota = plan.quotas.get(task.id)
        done, held = claimed[task.id, "done"], claimed[task.id, "held"]
        rows.append(
            {
                "task": task.id,
                "n": n,
                "successes": successes,
                "share": share(successes, n),
                "length": rounded(one.get("length"), 2),
                "seconds": rounded(one.get("seconds"), 1),
                "quota": quota,
                "done": done,
                "held": held,
                "left": None if quota is None else max(0, quota - done - held),
            }
        )
    return rows


def _by_task(plan: StudyTargets) -> sql.Select[Any]:
    return (
        sql.select(
            conduct.c.task,
            sql.func.count().label("n"),
            sql.func.sum(sql.cast(conduct.c.success, sql.Integer)).label("successes"),
            sql.func.avg(LENGTH).label("length"),
            sql.func.avg(conduct.c.seconds).label("seconds"),
        )
        .join(people, people.c.person == conduct.c.person)
        .where(people.c.study == plan.study, COUNTS)
        .group_by(conduct.c.task)
    )


LENGTH = sql.case(
    (conduct.c.success & (conduct.c.expert_steps > 0), conduct.c.steps * 1.0 / conduct.c.expert_steps)
)
"""A solved episode's steps against the expert's on the same seed; NULL where there is nothing to compare."""


def _claimed(ledger: StudyDatabase, plan: StudyTargets, now: float) -> Counter[tuple[str, str]]:
    """Count what is done and what is being played, by task and state; a claim that ran out is neither."""
    rows = ledger.rows(
        sql.select(claims.c.task, claims.c.state, sql.func.count().label("n"))
        .where(claims.c.study == plan.study, claims.c.role.in_(WANTED))
        .where((claims.c.state == "done") | (claims.c.until > now))
        .group_by(claims.c.task, claims.c.state)
    )
    return Counter({(row["task"], row["state"]): row["n"] for row in rows})


def _servers(ledger: StudyDatabase, now: float) -> list[dict[str, Any]]:
    rows = ledger.rows(sql.select(servers).where(servers.c.seen > now - 86_400).order_by(servers.c.started))
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


def latest_events(ledger: StudyDatabase, study: str, person: str | None = None) -> list[dict[str, Any]]:
    """Return the latest events, newest first; never their details, which are other rooms' own."""
    columns = (events.c.id, events.c.at, events.c.person, events.c.what, events.c.reason)
    query = sql.select(*columns).where(events.c.study == study).order_by(events.c.id.desc()).limit(_LATEST)
    return ledger.rows(query if person is None else query.where(events.c.person == person))


@lru_cache(maxsize=1 << 14)
def share(successes: int, n: int) -> Mapping[str, float] | None:
    """Return a share with its 95 % Wilson interval, or None of nothing."""
    from scipy import stats  # here: it takes most of a second

    if not n:
        return None
    found = stats.binomtest(int(successes), int(n)).proportion_ci(0.95, method="wilson")
    return {"share": successes / n, "low": float(found.low), "high": float(found.high), "n": int(n)}


def rounded(value: Any, digits: int) -> float | None:
    """Round what a database gave, which may be nothing."""
    return None if value is None else round(float(value), digits)
