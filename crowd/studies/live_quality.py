"""Quality verdicts while a study runs, from the database's episode statistics."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, fields

import sqlalchemy as sql

from ...datasets.quality.demonstrator_stats import TOLERANCE, DemonstratorStats, MedianStats, evidence, usual
from ...datasets.quality.episode_stats import EpisodeStats
from ...datasets.quality.verdict import NOTHING_REQUIRED, QualityThresholds, Verdict, quality
from ..storage.study_tables import StudyDatabase, conduct, people

FRESH_SECONDS = 30.0
"""Lifetime of the cached medians of all people, which require reading every episode."""

_COLUMNS = [conduct.c[column.name] for column in fields(EpisodeStats)]


class LiveQuality:
    """The verdicts on a study's people. Calls block for the disk: call them from a worker thread.

    A verdict on one person reads that person's episodes only, so it can be requested after each episode.
    """

    def __init__(
        self,
        database: StudyDatabase,
        study: str,
        required: QualityThresholds = NOTHING_REQUIRED,
        tolerance: float = TOLERANCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._study = database, study
        self._required, self._tolerance = required, tolerance
        self._clock = clock
        self._medians, self._read_at = MedianStats(), -FRESH_SECONDS

    def evidence(self, person: str) -> DemonstratorStats | None:
        """Collect the statistics of one person; None before their first episode that counts."""
        rows = self._rows(people.c.person == person)
        return evidence(rows, self._current_medians(), self._tolerance).get(person)

    def verdict(self, person: str) -> Verdict | None:
        """Judge one person; None before their first episode that counts."""
        stats = self.evidence(person)
        return None if stats is None else quality(stats, self._required)

    def verdicts(self) -> dict[str, Verdict]:
        """Judge everyone of the study who has played."""
        stats_by_person = evidence(self._rows(), self._current_medians(), self._tolerance)
        return {person: quality(stats, self._required) for person, stats in stats_by_person.items()}

    def _current_medians(self) -> MedianStats:
        now = self._clock()
        if now - self._read_at >= FRESH_SECONDS:
            self._medians, self._read_at = usual(self._rows(), self._tolerance), now
        return self._medians

    def _rows(self, *where: sql.ColumnElement[bool]) -> list[EpisodeStats]:
        query = sql.select(*_COLUMNS).join_from(conduct, people, conduct.c.person == people.c.person)
        return [
            EpisodeStats(**row)
            for row in self._database.rows(query.where(people.c.study == self._study, *where))
        ]


def write_down(database: StudyDatabase, stats: EpisodeStats) -> None:
    """Insert an episode's statistics into the database, once: a second call changes nothing."""
    with database.write() as connection:
        query = sql.select(conduct.c.episode).where(conduct.c.episode == stats.episode)
        if connection.execute(query).first() is None:
            connection.execute(conduct.insert(), {**asdict(stats), "at": time.time()})
