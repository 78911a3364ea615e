"""A study's figures for Prometheus: what its database and the heartbeats of all its servers add up to.

Any server gives the same answer, so one of them is scraped, whichever a proxy chooses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sql

from ...envs.errors import TutelageError
from .ledger import STAGES, Ledger, conduct, people, servers
from .meter import BOUNDS_MS
from .monitor import ALIVE_SECONDS, HERE_SECONDS, Plan

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


def exposition(ledger: Ledger, plan: Plan) -> bytes:
    """Return the text that Prometheus scrapes. Blocks for the disk."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(ledger, plan))
    return generate_latest(registry)


class _Figures(Collector):
    """Asks the database whenever it is collected; the registry wants an object."""

    def __init__(self, ledger: Ledger, plan: Plan) -> None:
        self._ledger = ledger
        self._plan = plan

    def collect(self) -> Iterator[Metric]:
        now = time.time()
        yield from _people(self._ledger, self._plan, now)
        yield _episodes(self._ledger, self._plan)
        beats = self._ledger.rows(sql.select(servers))
        yield from _counted([row["figures"] for row in beats])
        yield from _alive([row["figures"] for row in beats if row["seen"] > now - ALIVE_SECONDS])


def _people(ledger: Ledger, plan: Plan, now: float) -> Iterator[Metric]:
    here = sql.cast((people.c.seen > now - HERE_SECONDS) & (people.c.outcome == ""), sql.Integer)
    rows = ledger.rows(
        sql.select(
            people.c.stage, people.c.outcome, sql.func.count().label("n"), sql.func.sum(here).label("here")
        )
        .where(people.c.study == plan.study)
        .group_by(people.c.stage, people.c.outcome)
    )
    stages = GaugeMetricFamily("tutelage_people", "People by the stage they are at", labels=["stage"])
    present = GaugeMetricFamily("tutelage_people_here", "People here now, by stage", labels=["stage"])
    for stage in STAGES:
        at = [row for row in rows if row["stage"] == stage]
        stages.add_metric([stage], sum(row["n"] for row in at))
        present.add_metric([stage], sum(row["here"] for row in at))
    ended = GaugeMetricFamily("tutelage_people_ended", "People who have ended", labels=["outcome"])
    for outcome in sorted({row["outcome"] for row in rows} - {""}):
        ended.add_metric([outcome], sum(row["n"] for row in rows if row["outcome"] == outcome))
    yield from (stages, present, ended)


def _episodes(ledger: Ledger, plan: Plan) -> Metric:
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


def _counted(figures: list[dict[str, Any]]) -> Iterator[Metric]:
    """Add up what servers counted, gone ones too: so the sums never fall."""
    yield CounterMetricFamily("tutelage_steps", "Steps of environments", value=_sum(figures, "steps"))
    yield CounterMetricFamily(
        "tutelage_worker_restarts", "Worker processes started anew", value=_sum(figures, "restarts")
    )
    below, buckets = 0, []
    for at, bound in enumerate((*BOUNDS_MS, None)):
        below += sum(one["lag"][at] for one in figures if len(one.get("lag", ())) > at)
        buckets.append(("+Inf" if bound is None else f"{bound / 1000:g}", float(below)))
    lag = HistogramMetricFamily("tutelage_lag_seconds", "From a key to the page's word that it shows the frame")
    lag.add_metric([], buckets, sum_value=_sum(figures, "lag_sum_ms") / 1000)
    yield lag


def _alive(figures: list[dict[str, Any]]) -> Iterator[Metric]:
    yield GaugeMetricFamily("tutelage_servers", "Servers alive", value=len(figures))
    yield GaugeMetricFamily("tutelage_seats_open", "Seats with an open page", value=_sum(figures, "seats"))
    trouble = sum(bool(one.get("trouble")) for one in figures)
    yield GaugeMetricFamily("tutelage_journal_trouble", "Servers that cannot save now", value=trouble)


def _sum(figures: list[dict[str, Any]], name: str) -> float:
    return float(sum(one.get(name, 0) for one in figures))
