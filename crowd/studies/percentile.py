"""Percentile of an attempt among others', and the quality requirement of a study."""

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
"""The number of others' attempts from which a percentile is shown."""

_MEASURED = [column.name for column in fields(EpisodeStats)]


def better_than(database: StudyDatabase, row: Mapping[str, Any]) -> int | None:
    """Return the percentage of others' attempts at the task that a solved attempt strictly beats.

    A solved attempt beats every failed one, and every solved one with more steps: more steps relative to the
    expert's on its seed, if the expert's length is known for both (seeds differ in distance). Ties are not
    beaten; the percentage is rounded down. Practice and a person's own attempts do not count. None for a
    failure, and below ENOUGH attempts.

    Covers how directly the task was solved, not how fast; reveals no names.
    """
    if not row["success"]:
        return None
    longer = conduct.c.steps > row["steps"]
    if row["expert_steps"]:
        relative = conduct.c.steps * row["expert_steps"] > row["steps"] * conduct.c.expert_steps
        longer = sql.case((conduct.c.expert_steps > 0, relative), else_=longer)
    worse = sql.case((sql.or_(conduct.c.success.is_(False), longer), 1), else_=0)
    is_other_attempt = (
        (conduct.c.task == row["task"]) & (conduct.c.person != row["person"]) & (conduct.c.role != "practice")
    )
    with database.engine.connect() as connection:
        query = sql.select(sql.func.count(), sql.func.sum(worse)).select_from(conduct).where(is_other_attempt)
        count, beaten = (int(value or 0) for value in connection.execute(query).one())
    return 100 * beaten // count if count >= ENOUGH else None


def falls_short(rows: Sequence[Mapping[str, Any]], study: Study) -> str:
    """Say how a person's episodes, rows of `conduct`, miss the requirement; "" if they do not.

    The only place of this decision, by the rules of all quality verdicts, see `verdict.quality`: a person is
    judged only after a minimum of episodes, and not by what may be chance.
    """
    if study.quality is None or not rows:
        return ""
    stats = [EpisodeStats(**{name: row[name] for name in _MEASURED}) for row in rows]
    [person_stats] = evidence(
        stats, MedianStats(), study.gold.tolerance if study.gold else TOLERANCE
    ).values()
    verdict = quality(person_stats, required_of(study))
    return "; ".join(verdict.reasons) if verdict.met is False else ""


def required_of(study: Study) -> QualityThresholds:
    """Return the quality that a study requires of its people."""
    if study.quality is None:
        return NOTHING_REQUIRED
    return QualityThresholds(study.quality.after, study.quality.success or 0.0, study.quality.gold or 0.0)
