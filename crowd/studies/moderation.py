"""Who may go on: whether a study is paused, and who of its people is paused or banned, each with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import sqlalchemy as sql

from ...errors import TutelageError
from ..storage.study_tables import StudyDatabase, events

DECISIONS = ("pause", "resume", "ban")
"""What whoever runs a study may decide of everyone or one person; a ban is for one person, and for good."""

ENDED = "ended"
"""The kind of event by which every server hears that a person's way was ended from outside; its reason is
the outcome."""

LONGEST_REASON = 500


def clean_reason(reason: str) -> str:
    """Return a reason with single spaces; raises TutelageError for none, and for one that is too long."""
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= LONGEST_REASON:
        raise TutelageError(f"expected a reason of 1 to {LONGEST_REASON} letters, got {len(reason)}; say why")
    return reason


@dataclass(frozen=True)
class ModerationState:
    """What stands now: `reason` is that of the study's pause; the mappings give pseudonym → reason, or for
    those whose way was `ended` from outside, pseudonym → outcome."""

    paused: bool = False
    reason: str = ""
    waiting: Mapping[str, str] = field(default_factory=dict)
    banned: Mapping[str, str] = field(default_factory=dict)
    ended: Mapping[str, str] = field(default_factory=dict)

    def of(self, person: str) -> str:
        """Say where one person stands, whatever the whole study does: "", "paused" or "banned"."""
        return "banned" if person in self.banned else "paused" if person in self.waiting else ""

    def after(self, what: str, person: str, reason: str) -> ModerationState:
        """Return what stands after one more decision."""
        if not person:
            paused = what == "pause"
            return replace(self, paused=paused, reason=reason if paused else "")
        if what == ENDED:
            return replace(self, ended={**self.ended, person: reason})
        waiting = {one: why for one, why in self.waiting.items() if one != person}
        banned = dict(self.banned)
        if what == "pause":
            waiting[person] = reason
        elif what == "ban":
            banned[person] = reason
        return replace(self, waiting=waiting, banned=banned)


def standing(ledger: StudyDatabase, study: str) -> ModerationState:
    """Read what stands now, from the events; cheap enough to ask once a second. Blocks for the disk."""
    now = ModerationState()
    for row in ledger.rows(
        sql.select(events.c.what, events.c.person, events.c.reason)
        .where(events.c.study == study, events.c.what.in_((*DECISIONS, ENDED)))
        .order_by(events.c.id)
    ):
        now = now.after(**row)
    return now


def decide(ledger: StudyDatabase, study: str, what: str, person: str = "", reason: str = "") -> None:
    """Pause, resume or ban: write the event that every server of the study will read.

    Raises TutelageError without a reason, for a stranger, and where nothing would change.
    """
    if what not in DECISIONS:
        raise TutelageError(f"expected a decision of {', '.join(DECISIONS)}, got {what!r}")
    reason = clean_reason(reason)
    if what == "ban" and not person:
        raise TutelageError("expected one person to ban, got the whole study; pause it instead")
    if person:
        known = ledger.person(person=person)
        if known is None or known.study != study:
            raise TutelageError(f"expected a person of study {study!r}, got {person!r}")
    now = standing(ledger, study)
    if person in now.banned:
        raise TutelageError(f"expected someone who may still play, got {person!r}: a ban is for good")
    stopped = now.of(person) == "paused" if person else now.paused
    if what != "ban" and stopped == (what == "pause"):
        raise TutelageError(
            f"expected something to {what}, got what is {'paused' if stopped else 'running'} already"
        )
    ledger.note(study, what, person, reason)
