"""Quality while a study runs: the evidence of its people, from what the ledger has of their episodes."""

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
"""So long what the median person does is taken as known: all episodes are read for it."""

_COLUMNS = [conduct.c[one.name] for one in fields(EpisodeStats)]


class LiveQuality:
    """The verdicts on a study's people. Calls block for the disk: call them from a worker thread.

    A verdict on one person reads that person's episodes only, so it can be asked for after each episode.
    """

    def __init__(
        self,
        ledger: StudyDatabase,
        study: str,
        required: QualityThresholds = NOTHING_REQUIRED,
        tolerance: float = TOLERANCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._study = ledger, study
        self._required, self._tolerance = required, tolerance
        self._clock = clock
        self._crowd, self._read_at = MedianStats(), -FRESH_SECONDS

    def evidence(self, person: str) -> DemonstratorStats | None:
        """Gather the evidence on one person; None before their first episode that counts."""
        rows = self._rows(people.c.person == person)
        return evidence(rows, self._usual(), self._tolerance).get(person)

    def verdict(self, person: str) -> Verdict | None:
        """Judge one person; None before their first episode that counts."""
        one = self.evidence(person)
        return None if one is None else quality(one, self._required)

    def verdicts(self) -> dict[str, Verdict]:
        """Judge everyone of the study who has played."""
        gathered = evidence(self._rows(), self._usual(), self._tolerance)
        return {person: quality(one, self._required) for person, one in gathered.items()}

    def _usual(self) -> MedianStats:
        now = self._clock()
        if now - self._read_at >= FRESH_SECONDS:
            self._crowd, self._read_at = usual(self._rows(), self._tolerance), now
        return self._crowd

    def _rows(self, *where: sql.ColumnElement[bool]) -> list[EpisodeStats]:
        query = sql.select(*_COLUMNS).join_from(conduct, people, conduct.c.person == people.c.person)
        return [
            EpisodeStats(**row)
            for row in self._ledger.rows(query.where(people.c.study == self._study, *where))
        ]


def write_down(ledger: StudyDatabase, one: EpisodeStats) -> None:
    """Write an episode's conduct into the ledger, once: a second time changes nothing."""
    with ledger.write() as connection:
        known = sql.select(conduct.c.episode).where(conduct.c.episode == one.episode)
        if connection.execute(known).first() is None:
            connection.execute(conduct.insert(), {**asdict(one), "at": time.time()})
