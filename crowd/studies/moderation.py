"""Moderation: whether a study is paused, and which of its people are paused or banned, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import sqlalchemy as sql

from ...errors import TutelageError
from ..storage.study_tables import StudyDatabase, events

DECISIONS = ("pause", "resume", "ban")
"""Moderation decisions about everyone or one person; a ban is for one person, and permanent."""

ENDED = "ended"
"""The kind of event that tells every server that a person's participation was ended from outside.

Its reason is the outcome.
"""

LONGEST_REASON = 500


def clean_reason(reason: str) -> str:
    """Return a reason with single spaces; raises TutelageError for an empty or a long one."""
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= LONGEST_REASON:
        raise TutelageError(f"expected a reason of 1 to {LONGEST_REASON} letters, got {len(reason)}; say why")
    return reason


@dataclass(frozen=True)
class ModerationState:
    """The current moderation: `reason` is that of the study's pause.

    The mappings give pseudonym → reason, or for `ended`, participation ended from outside, pseudonym →
    outcome.
    """

    paused: bool = False
    reason: str = ""
    waiting: Mapping[str, str] = field(default_factory=dict)
    banned: Mapping[str, str] = field(default_factory=dict)
    ended: Mapping[str, str] = field(default_factory=dict)

    def of(self, person: str) -> str:
        """Return the state of one person, independent of the study's: "", "paused" or "banned"."""
        return "banned" if person in self.banned else "paused" if person in self.waiting else ""

    def after(self, what: str, person: str, reason: str) -> ModerationState:
        """Return the state after one more decision."""
        if not person:
            paused = what == "pause"
            return replace(self, paused=paused, reason=reason if paused else "")
        if what == ENDED:
            return replace(self, ended={**self.ended, person: reason})
        waiting = {
            paused_person: pause_reason
            for paused_person, pause_reason in self.waiting.items()
            if paused_person != person
        }
        banned = dict(self.banned)
        if what == "pause":
            waiting[person] = reason
        elif what == "ban":
            banned[person] = reason
        return replace(self, waiting=waiting, banned=banned)


def moderation_state(database: StudyDatabase, study: str) -> ModerationState:
    """Read the current state from the events; cheap enough for once per second. Blocks for the disk."""
    state = ModerationState()
    for row in database.rows(
        sql.select(events.c.what, events.c.person, events.c.reason)
        .where(events.c.study == study, events.c.what.in_((*DECISIONS, ENDED)))
        .order_by(events.c.id)
    ):
        state = state.after(**row)
    return state


def decide(database: StudyDatabase, study: str, what: str, person: str = "", reason: str = "") -> None:
    """Pause, resume or ban: write the event that every server of the study will read.

    Raises TutelageError without a reason, for a person of another study, and if nothing would change.
    """
    if what not in DECISIONS:
        raise TutelageError(f"expected a decision of {', '.join(DECISIONS)}, got {what!r}")
    reason = clean_reason(reason)
    if what == "ban" and not person:
        raise TutelageError("expected one person to ban, got the whole study; pause it instead")
    if person:
        participant = database.person(person=person)
        if participant is None or participant.study != study:
            raise TutelageError(f"expected a person of study {study!r}, got {person!r}")
    state = moderation_state(database, study)
    if person in state.banned:
        raise TutelageError(f"expected someone who may still play, got {person!r}: a ban is for good")
    stopped = state.of(person) == "paused" if person else state.paused
    if what != "ban" and stopped == (what == "pause"):
        raise TutelageError(
            f"expected something to {what}, got what is {'paused' if stopped else 'running'} already"
        )
    database.note(study, what, person, reason)
