"""The people of a study, one row each with how they play, and everything about one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sql

from ..recruiting.payment_table import entries
from ..storage.journal import Journal
from ..storage.study_tables import StudyDatabase, conduct, consents, people
from ..studies.moderation import ModerationState, standing
from .monitor import COUNTS, HERE_SECONDS, LENGTH, StudyTargets, latest_events, rounded, share

_EPISODES = 300


class ParticipantFinding(Protocol):
    """One sentence about a person, what it is about, and whether it speaks against them."""

    @property
    def measure(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def against(self) -> bool: ...


class ParticipantAssessment(Protocol):
    """What is thought of one person: a score in [0, 1], all that was found, and what speaks against them."""

    @property
    def score(self) -> float | None: ...
    @property
    def findings(self) -> Sequence[ParticipantFinding]: ...
    @property
    def reasons(self) -> Sequence[str]: ...


Judge = Callable[[], Mapping[str, ParticipantAssessment]]
"""Gives what is thought of every person by their pseudonym; may block for the disk."""


def roster(
    ledger: StudyDatabase,
    plan: StudyTargets,
    judged: Mapping[str, ParticipantAssessment] | None = None,
    now: float | None = None,
) -> dict[str, Any]:
    """List everyone with how they play, those who came last first. Blocks for the disk."""
    now = time.time() if now is None else now
    stands = standing(ledger, plan.study)
    judged = judged or {}
    played = {row["person"]: row for row in ledger.rows(_played(plan))}
    rows = ledger.rows(
        sql.select(people).where(people.c.study == plan.study).order_by(people.c.joined.desc())
    )
    return {
        "at": now,
        "people": [
            _row(row, played.get(row["person"], {}), judged.get(row["person"]), stands, now) for row in rows
        ],
    }


def _played(plan: StudyTargets, person: str | None = None) -> sql.Select[Any]:
    """Sum up conduct by person; practice counts for nothing."""
    gold = conduct.c.role == "gold"
    passed = gold & conduct.c.success & (conduct.c.steps <= plan.tolerance * conduct.c.expert_steps)
    query = (
        sql.select(
            conduct.c.person,
            sql.func.count().label("n"),
            _count(conduct.c.success).label("successes"),
            _count(gold).label("gold"),
            _count(passed).label("passed"),
            sql.func.avg(LENGTH).label("length"),
            sql.func.avg(conduct.c.seconds).label("seconds"),
            sql.func.avg(conduct.c.reaction_ms).label("reaction"),
            sql.func.avg(conduct.c.idle_share).label("idle"),
            sql.func.avg(conduct.c.repeat_share).label("repeats"),
            sql.func.sum(conduct.c.hidden_ms).label("hidden"),
            sql.func.avg(conduct.c.lag_ms).label("lag"),
        )
        .join(people, people.c.person == conduct.c.person)
        .where(people.c.study == plan.study, COUNTS)
        .group_by(conduct.c.person)
    )
    return query if person is None else query.where(conduct.c.person == person)


def _count(which: Any) -> Any:
    return sql.func.sum(sql.case((which, 1), else_=0))


def _row(
    row: Mapping[str, Any],
    played: Mapping[str, Any],
    judged: ParticipantAssessment | None,
    stands: ModerationState,
    now: float,
) -> dict[str, Any]:
    person, n = row["person"], int(played.get("n") or 0)
    stand = stands.of(person)
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
        "why": stands.banned.get(person) or stands.waiting.get(person, ""),
        "episodes": n,
        "success": share(int(played.get("successes") or 0), n),
        "gold": [int(played.get("passed") or 0), int(played.get("gold") or 0)],
        "length": rounded(played.get("length"), 2),
        "seconds": rounded(played.get("seconds"), 1),
        "reaction": rounded(played.get("reaction"), 0),
        "idle": rounded(played.get("idle"), 3),
        "repeats": rounded(played.get("repeats"), 3),
        "hidden": rounded(played.get("hidden"), 0),
        "lag": rounded(played.get("lag"), 1),
        "score": None if judged is None or judged.score is None else rounded(judged.score, 3),
        "reasons": [] if judged is None else list(judged.reasons),
        "marks": {one.measure: one.sentence for one in judged.findings if one.against} if judged else {},
    }


def one_person(
    ledger: StudyDatabase,
    journal: Journal,
    plan: StudyTargets,
    person: str,
    judged: ParticipantAssessment | None = None,
) -> dict[str, Any] | None:
    """Return a person's row with their consents, episodes (latest first) and events; None if unknown here."""
    rows = ledger.rows(sql.select(people).where(people.c.person == person, people.c.study == plan.study))
    if not rows:
        return None
    now = time.time()
    played = ledger.rows(_played(plan, person))
    return {
        "at": now,
        **_row(rows[0], played[0] if played else {}, judged, standing(ledger, plan.study), now),
        "code": rows[0]["code"],
        "payments": entries(ledger, plan.study, person),
        "findings": _findings(judged),
        "consents": ledger.rows(
            sql.select(consents.c.decision, consents.c.consent, consents.c.language, consents.c.at)
            .where(consents.c.person == person, consents.c.study == plan.study)
            .order_by(consents.c.id)
        ),
        "played": _episodes(ledger, journal, person),
        "events": latest_events(ledger, plan.study, person),
    }


def _findings(judged: ParticipantAssessment | None) -> list[dict[str, Any]]:
    findings = judged.findings if judged else ()
    return [{"measure": one.measure, "sentence": one.sentence, "against": one.against} for one in findings]


def _episodes(ledger: StudyDatabase, journal: Journal, person: str) -> list[dict[str, Any]]:
    """List what a person played, whatever became of it, with what is known of how."""
    known = {
        row["episode"]: row for row in ledger.rows(sql.select(conduct).where(conduct.c.person == person))
    }
    listed = []
    for one in reversed(journal.episodes(demonstrator=person)[-_EPISODES:]):
        how = known.get(one.episode, {})
        listed.append(
            {
                "episode": one.episode,
                "task": one.task,
                "seed": one.seed,
                "state": one.state,
                "started": one.started,
                "role": how.get("role", ""),
                "success": how.get("success"),
                "steps": how.get("steps"),
                "expert": how.get("expert_steps"),
                "seconds": rounded(how.get("seconds"), 1),
            }
        )
    return listed
