"""A study's figures for Prometheus: what its database and the heartbeats of all its servers add up to.

Any server gives the same answer, so one of them is scraped, whichever a proxy chooses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import sqlalchemy as sql

from ...errors import TutelageError
from ..cluster.seat_leases import DEAD_AFTER_SECONDS
from ..server.server_metrics import BOUNDS_MS
from ..storage.study_tables import StudyDatabase, conduct, people, servers
from .monitor import StudyTargets, people_now

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ImportError:
    raise TutelageError(
        "expected prometheus-client for a study's figures, found none; pip install 'tutelage[study]'"
    ) from None

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(ledger: StudyDatabase, plan: StudyTargets) -> bytes:
    """Return the text that Prometheus scrapes. Blocks for the disk."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(ledger, plan))
    return generate_latest(registry)


class _Figures(Collector):
    """Asks the database whenever it is collected; the registry wants an object."""

    def __init__(self, ledger: StudyDatabase, plan: StudyTargets) -> None:
        self._ledger = ledger
        self._plan = plan

    def collect(self) -> Iterator[Metric]:
        now = time.time()
        yield from _people(self._ledger, self._plan, now)
        yield _episodes(self._ledger, self._plan)
        beats = self._ledger.rows(sql.select(servers))
        yield from _counted(beats)
        yield from _alive([row for row in beats if row["seen"] > now - DEAD_AFTER_SECONDS])


def _people(ledger: StudyDatabase, plan: StudyTargets, now: float) -> Iterator[Metric]:
    counts = people_now(ledger, plan, now)
    for name, what, label, of in (
        ("tutelage_people", "People underway, by the stage they are at", "stage", "underway"),
        ("tutelage_people_here", "People whose page is open now, by stage", "stage", "here"),
        ("tutelage_people_ended", "People who have ended", "outcome", "outcomes"),
    ):
        family = GaugeMetricFamily(name, what, labels=[label])
        for key, value in counts[of].items():
            family.add_metric([key], value)
        yield family


def _episodes(ledger: StudyDatabase, plan: StudyTargets) -> Metric:
    played = CounterMetricFamily("tutelage_episodes", "Episodes finished", labels=["task", "outcome"])
    rows = ledger.rows(
        sql.select(conduct.c.task, conduct.c.success, sql.func.count().label("n"))
        .join(people, people.c.person == conduct.c.person)
        .where(people.c.study == plan.study)
        .group_by(conduct.c.task, conduct.c.success)
        .order_by(conduct.c.task, conduct.c.success)
    )
    for row in rows:
        played.add_metric([row["task"], "success" if row["success"] else "failure"], row["n"])
    return played


def _counted(beats: list[dict[str, Any]]) -> Iterator[Metric]:
    """Tell what each server has counted; with a label, one that starts anew is not all of them."""
    steps = CounterMetricFamily("tutelage_steps", "Steps of environments", labels=["server"])
    restarts = CounterMetricFamily(
        "tutelage_worker_restarts", "Worker processes that ended or hung", labels=["server"]
    )
    lag = HistogramMetricFamily(
        "tutelage_lag_seconds", "From a key to its picture on the page, as pages tell", labels=["server"]
    )
    for one in beats:
        name, figures = [one["server"]], one["figures"]
        steps.add_metric(name, figures.get("steps", 0))
        restarts.add_metric(name, figures.get("restarts", 0))
        lag.add_metric(name, _buckets(figures.get("lag", ())), figures.get("lag_sum_ms", 0.0) / 1000)
    yield from (steps, restarts, lag)


def _buckets(lag: Sequence[int]) -> list[tuple[str, float]]:
    names = [*(f"{bound / 1000:g}" for bound in BOUNDS_MS), "+Inf"]
    counts = [*lag, *[0] * (len(names) - len(lag))]
    return [(name, float(below)) for name, below in zip(names, accumulate(counts), strict=True)]


def _alive(beats: list[dict[str, Any]]) -> Iterator[Metric]:
    seats = GaugeMetricFamily("tutelage_seats_open", "Seats with an open page", labels=["server"])
    trouble = GaugeMetricFamily("tutelage_journal_trouble", "1 while a server cannot save", labels=["server"])
    for one in beats:
        seats.add_metric([one["server"]], one["figures"].get("seats", 0))
        trouble.add_metric([one["server"]], float(bool(one["figures"].get("trouble"))))
    yield GaugeMetricFamily("tutelage_servers", "Servers alive", value=len(beats))
    yield from (seats, trouble)
