"""The participants of a study: one summary row each, and the details of one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sql

from ..recruiting.payment_table import entries
from ..storage.journal import Journal
from ..storage.study_tables import StudyDatabase, conduct, consents, people
from ..studies.moderation import ModerationState, moderation_state
from .monitor import COUNTS, HERE_SECONDS, LENGTH, StudyTargets, latest_events, rounded, share

_EPISODES = 300


class ParticipantFinding(Protocol):
    """One sentence about a person, the measure it is about, and whether it counts against them."""

    @property
    def measure(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def against(self) -> bool: ...


class ParticipantAssessment(Protocol):
    """The assessment of one person: a score in [0, 1], all findings, and the reasons against them."""

    @property
    def score(self) -> float | None: ...
    @property
    def findings(self) -> Sequence[ParticipantFinding]: ...
    @property
    def reasons(self) -> Sequence[str]: ...


Judge = Callable[[], Mapping[str, ParticipantAssessment]]
"""Returns the assessment of every person by pseudonym; may block for the disk."""


def list_participants(
    database: StudyDatabase,
    targets: StudyTargets,
    assessments: Mapping[str, ParticipantAssessment] | None = None,
    now: float | None = None,
) -> dict[str, Any]:
    """List all participants with how they play, the latest to join first. Blocks for the disk."""
    now = time.time() if now is None else now
    moderation = moderation_state(database, targets.study)
    assessments = assessments or {}
    totals = {row["person"]: row for row in database.rows(_totals_query(targets))}
    rows = database.rows(
        sql.select(people).where(people.c.study == targets.study).order_by(people.c.joined.desc())
    )
    return {
        "at": now,
        "people": [
            _row(row, totals.get(row["person"], {}), assessments.get(row["person"]), moderation, now)
            for row in rows
        ],
    }


def _totals_query(targets: StudyTargets, person: str | None = None) -> sql.Select[Any]:
    """Sum up conduct by person, without practice."""
    gold = conduct.c.role == "gold"
    passed = gold & conduct.c.success & (conduct.c.steps <= targets.tolerance * conduct.c.expert_steps)
    query = (
        sql.select(
            conduct.c.person,
            sql.func.count().label("n"),
            _count_where(conduct.c.success).label("successes"),
            _count_where(gold).label("gold"),
            _count_where(passed).label("passed"),
            sql.func.avg(LENGTH).label("length"),
            sql.func.avg(conduct.c.seconds).label("seconds"),
            sql.func.avg(conduct.c.reaction_ms).label("reaction"),
            sql.func.avg(conduct.c.idle_share).label("idle"),
            sql.func.avg(conduct.c.repeat_share).label("repeats"),
            sql.func.sum(conduct.c.hidden_ms).label("hidden"),
            sql.func.avg(conduct.c.lag_ms).label("lag"),
        )
        .join(people, people.c.person == conduct.c.person)
        .where(people.c.study == targets.study, COUNTS)
        .group_by(conduct.c.person)
    )
    return query if person is None else query.where(conduct.c.person == person)


def _count_where(condition: Any) -> Any:
    return sql.func.sum(sql.case((condition, 1), else_=0))


def _row(
    row: Mapping[str, Any],
    totals: Mapping[str, Any],
    assessment: ParticipantAssessment | None,
    moderation: ModerationState,
    now: float,
) -> dict[str, Any]:
    person, n = row["person"], int(totals.get("n") or 0)
    stand = moderation.of(person)
    return {
        "person": person,
        "stage": row["stage"],
        "outcome": row["outcome"],
        "language": row["language"],
        "source": row["source"],
        "joined": row["joined"],
        "seen": row["seen"],
        "ended": row["ended"],
        "here": not row["outcome"] and row["seen"] > now - HERE_SECONDS,
        "standing": stand,
        "why": moderation.banned.get(person) or moderation.waiting.get(person, ""),
        "episodes": n,
        "success": share(int(totals.get("successes") or 0), n),
        "gold": [int(totals.get("passed") or 0), int(totals.get("gold") or 0)],
        "length": rounded(totals.get("length"), 2),
        "seconds": rounded(totals.get("seconds"), 1),
        "reaction": rounded(totals.get("reaction"), 0),
        "idle": rounded(totals.get("idle"), 3),
        "repeats": rounded(totals.get("repeats"), 3),
        "hidden": rounded(totals.get("hidden"), 0),
        "lag": rounded(totals.get("lag"), 1),
        "score": None if assessment is None or assessment.score is None else rounded(assessment.score, 3),
        "reasons": [] if assessment is None else list(assessment.reasons),
        "marks": {finding.measure: finding.sentence for finding in assessment.findings if finding.against}
        if assessment
        else {},
    }


def describe_participant(
    database: StudyDatabase,
    journal: Journal,
    targets: StudyTargets,
    person: str,
    assessment: ParticipantAssessment | None = None,
) -> dict[str, Any] | None:
    """Return a person's row with consents, episodes (latest first) and events; None if unknown here."""
    rows = database.rows(sql.select(people).where(people.c.person == person, people.c.study == targets.study))
    if not rows:
        return None
    now = time.time()
    totals = database.rows(_totals_query(targets, person))
    return {
        "at": now,
        **_row(
            rows[0], totals[0] if totals else {}, assessment, moderation_state(database, targets.study), now
        ),
        "code": rows[0]["code"],
        "payments": entries(database, targets.study, person),
        "findings": _findings(assessment),
        "consents": database.rows(
            sql.select(consents.c.decision, consents.c.consent, consents.c.language, consents.c.at)
            .where(consents.c.person == person, consents.c.study == targets.study)
            .order_by(consents.c.id)
        ),
        "played": _episodes(database, journal, person),
        "events": latest_events(database, targets.study, person),
    }


def _findings(assessment: ParticipantAssessment | None) -> list[dict[str, Any]]:
    findings = assessment.findings if assessment else ()
    return [
        {"measure": finding.measure, "sentence": finding.sentence, "against": finding.against}
        for finding in findings
    ]


def _episodes(database: StudyDatabase, journal: Journal, person: str) -> list[dict[str, Any]]:
    """List every episode of a person, in any state, with its conduct where known."""
    conduct_rows = {
        row["episode"]: row for row in database.rows(sql.select(conduct).where(conduct.c.person == person))
    }
    episodes = []
    for record in reversed(journal.episodes(demonstrator=person)[-_EPISODES:]):
        stats = conduct_rows.get(record.episode, {})
        episodes.append(
            {
                "episode": record.episode,
                "task": record.task,
                "seed": record.seed,
                "state": record.state,
                "started": record.started,
                "role": stats.get("role", ""),
                "success": stats.get("success"),
                "steps": stats.get("steps"),
                "expert": stats.get("expert_steps"),
                "seconds": rounded(stats.get("seconds"), 1),
            }
        )
    return episodes
