"""A study's metrics for Prometheus: totals of its database and of all servers' heartbeats.

Every server gives the same answer, so only one is scraped, whichever a proxy chooses.
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


def exposition(database: StudyDatabase, targets: StudyTargets) -> bytes:
    """Return the text that Prometheus scrapes. Blocks for the disk."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(database, targets))
    return generate_latest(registry)


class _Figures(Collector):
    """Queries the database on each collection; the registry requires an object."""

    def __init__(self, database: StudyDatabase, targets: StudyTargets) -> None:
        self._database = database
        self._targets = targets

    def collect(self) -> Iterator[Metric]:
        now = time.time()
        yield from _people(self._database, self._targets, now)
        yield _episodes(self._database, self._targets)
        beats = self._database.rows(sql.select(servers))
        yield from _server_counters(beats)
        yield from _server_gauges([beat for beat in beats if beat["seen"] > now - DEAD_AFTER_SECONDS])


def _people(database: StudyDatabase, targets: StudyTargets, now: float) -> Iterator[Metric]:
    counts = people_now(database, targets, now)
    for name, help_text, label, count_key in (
        ("tutelage_people", "People underway, by the stage they are at", "stage", "underway"),
        ("tutelage_people_here", "People whose page is open now, by stage", "stage", "here"),
        ("tutelage_people_ended", "People who have ended", "outcome", "outcomes"),
    ):
        family = GaugeMetricFamily(name, help_text, labels=[label])
        for key, value in counts[count_key].items():
            family.add_metric([key], value)
        yield family


def _episodes(database: StudyDatabase, targets: StudyTargets) -> Metric:
    finished = CounterMetricFamily("tutelage_episodes", "Episodes finished", labels=["task", "outcome"])
    rows = database.rows(
        sql.select(conduct.c.task, conduct.c.success, sql.func.count().label("n"))
        .join(people, people.c.person == conduct.c.person)
        .where(people.c.study == targets.study)
        .group_by(conduct.c.task, conduct.c.success)
        .order_by(conduct.c.task, conduct.c.success)
    )
    for row in rows:
        finished.add_metric([row["task"], "success" if row["success"] else "failure"], row["n"])
    return finished


def _server_counters(beats: list[dict[str, Any]]) -> Iterator[Metric]:
    """Yield each server's counters, labeled by server so that one that restarts resets its own only."""
    steps = CounterMetricFamily("tutelage_steps", "Steps of environments", labels=["server"])
    restarts = CounterMetricFamily(
        "tutelage_worker_restarts", "Worker processes that ended or hung", labels=["server"]
    )
    lag = HistogramMetricFamily(
        "tutelage_lag_seconds", "From a key to its picture on the page, as pages tell", labels=["server"]
    )
    for beat in beats:
        labels, figures = [beat["server"]], beat["figures"]
        steps.add_metric(labels, figures.get("steps", 0))
        restarts.add_metric(labels, figures.get("restarts", 0))
        lag.add_metric(labels, _buckets(figures.get("lag", ())), figures.get("lag_sum_ms", 0.0) / 1000)
    yield from (steps, restarts, lag)


def _buckets(lag: Sequence[int]) -> list[tuple[str, float]]:
    names = [*(f"{bound / 1000:g}" for bound in BOUNDS_MS), "+Inf"]
    counts = [*lag, *[0] * (len(names) - len(lag))]
    return [(name, float(below)) for name, below in zip(names, accumulate(counts), strict=True)]


def _server_gauges(beats: list[dict[str, Any]]) -> Iterator[Metric]:
    seats = GaugeMetricFamily("tutelage_seats_open", "Seats with an open page", labels=["server"])
    trouble = GaugeMetricFamily("tutelage_journal_trouble", "1 while a server cannot save", labels=["server"])
    for beat in beats:
        seats.add_metric([beat["server"]], beat["figures"].get("seats", 0))
        trouble.add_metric([beat["server"]], float(bool(beat["figures"].get("trouble"))))
    yield GaugeMetricFamily("tutelage_servers", "Servers alive", value=len(beats))
    yield from (seats, trouble)
