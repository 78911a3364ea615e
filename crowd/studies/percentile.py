"""How an attempt compares with those of others, and whether somebody does well enough to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sql

from ...datasets.quality.demonstrator_stats import TOLERANCE, MedianStats, evidence
from ...datasets.quality.episode_stats import EpisodeStats
from ...datasets.quality.verdict import NOTHING_REQUIRED, QualityThresholds, quality
from ..storage.study_tables import StudyDatabase, conduct
from .study import Study

ENOUGH = 20
"""A percentile is shown once so many attempts of others are known."""

_MEASURED = [one.name for one in fields(EpisodeStats)]


def better_than(ledger: StudyDatabase, row: Mapping[str, Any]) -> int | None:
    """Return which share of others' attempts at the task a solved one is strictly better than, in percent.

    A solved attempt is better than every failed one, and than a solved one that took more steps: more
    steps for each that the expert needs on its seed, where the expert's length is known for both (seeds
    differ in how far there is to go). Equal ones are not beaten; the share is rounded down. Practice does
    not count, nor do a person's own attempts. None for a failure, and while there are fewer than ENOUGH.

    Covers how directly it was solved; says nothing of how fast, and of nobody's name.
    """
    if not row["success"]:
        return None
    longer = conduct.c.steps > row["steps"]
    if row["expert_steps"]:
        relative = conduct.c.steps * row["expert_steps"] > row["steps"] * conduct.c.expert_steps
        longer = sql.case((conduct.c.expert_steps > 0, relative), else_=longer)
    worse = sql.case((sql.or_(conduct.c.success.is_(False), longer), 1), else_=0)
    others = (
        (conduct.c.task == row["task"]) & (conduct.c.person != row["person"]) & (conduct.c.role != "practice")
    )
    with ledger.engine.connect() as connection:
        query = sql.select(sql.func.count(), sql.func.sum(worse)).select_from(conduct).where(others)
        count, beaten = (int(one or 0) for one in connection.execute(query).one())
    return 100 * beaten // count if count >= ENOUGH else None


def falls_short(rows: Sequence[Mapping[str, Any]], study: Study) -> str:
    """Say in what a person's episodes, rows of `conduct`, miss the requirement; "" for in nothing.

    This is the one place where that is decided: as everyone's quality is judged, see `quality.quality`, so
    nobody is judged before so many episodes, and nobody by what may be chance.
    """
    if study.quality is None or not rows:
        return ""
    played = [EpisodeStats(**{name: row[name] for name in _MEASURED}) for row in rows]
    [gathered] = evidence(played, MedianStats(), study.gold.tolerance if study.gold else TOLERANCE).values()
    verdict = quality(gathered, required_of(study))
    return "; ".join(verdict.reasons) if verdict.met is False else ""


def required_of(study: Study) -> QualityThresholds:
    """Say what a study asks of its people, as `quality` judges them."""
    if study.quality is None:
        return NOTHING_REQUIRED
    return QualityThresholds(study.quality.after, study.quality.success or 0.0, study.quality.gold or 0.0)
