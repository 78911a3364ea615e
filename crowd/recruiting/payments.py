"""Settlement at Prolific: a submission is completed by its code, approved, and its bonus paid once.

Nothing is reported before all of the person's episodes are in the store. Every step is an event, written so
that a crash at any moment, or a second server, repeats only what Prolific ignores when it is repeated. Paying
is the exception: the intention is on disk before the request is sent, and an intention with an unknown result
is resolved by reading Prolific ("bonus_payments" of the submission), and is repeated only after a day.
Prolific pays "in the following minutes" (docs.prolific.com, Pay bonuses).

The resulting changes of the person's payments are recorded in the transaction of their event, with Prolific's
answer; see `payment_table`.

Not covered: a payment that Prolific accepts and later fails to make (its page shows these); a bonus of the
same amount that is paid by hand in the minute of a crash, which is taken for ours.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import sqlalchemy as sql

from ...errors import TutelageError
from ..storage.journal import Journal
from ..storage.study_tables import PersonRecord, StudyDatabase, events, identities, people
from ..translations import Translations, load_texts
from .admission import Recruiting
from .event_chain import ConcurrentAppend, EventChain
from .payment_table import PaymentChange, latest
from .prolific import HANDED_IN, ProlificClient, ProlificError, Submission

KINDS = (
    "complete",  # reported by its code
    "ask-return",  # no code: they were asked to return the submission
    "approve",
    "reject",
    "bonus-set-up",  # details: bulk, pence
    "bonus-paying",  # about to be paid; details: bulk, pence, before
    "bonus-refused",  # certainly not paid
    "bonus",  # paid; details: pence
    "by-hand",  # to be resolved by hand on Prolific's page
    "settled",
)
RESULTS = ("open", "unsaved", "waiting", "by-hand", "settled")
"""Results of `settle`.

No outcome yet; episodes not in the store yet; an external step is missing (the person or a reviewer must act,
a payment must show); over; over.
"""

RETURNS = ("failed-check", "poor-quality", "timed-out", "full", "withdrew")
"""Outcomes whose participants are asked to return their submission if the study has no code for them.

The reason is the text `return.OUTCOME`, in the language that they took part in.
"""

PATIENCE = 24 * 3600.0
"""Seconds after which a payment that has not appeared was never made."""

_log = logging.getLogger("tutelage.crowd")
_PAUSE = 3600.0  # seconds between two attempts to pay what was refused, as for an empty wallet
_UNSAVED = ("open", "finished", "kept")


def unsaved(journal: Journal, person: str) -> int:
    """Count a person's episodes that are neither in the store nor given up."""
    journal.flush()
    return sum(len(journal.episodes(demonstrator=person, state=state)) for state in _UNSAVED)


class Payments:
    """Settles with the people that Prolific sent to a study. Calls block: call them from a worker thread.

    The amounts owed are in the database since each person completed. `texts` returns a language's texts.
    """

    def __init__(
        self,
        database: StudyDatabase,
        journal: Journal,
        client: ProlificClient,
        recruiting: Recruiting,
        study: str,
        texts: Callable[[str], Translations] = load_texts,
    ) -> None:
        if recruiting.prolific is None:
            raise TutelageError("expected a study that recruits at Prolific, got recruiting without prolific")
        self._database = database
        self._journal = journal
        self._client = client
        self._codes = recruiting.codes
        self._prolific = recruiting.prolific
        self._study = study
        self._texts = texts
        self._not_before: dict[str, float] = {}

    def settle(self, person: str, now: float | None = None) -> str:
        """Do what is still due for a person; returns one of RESULTS.

        Safe to repeat. Raises ProlificError when Prolific is unavailable: call later.
        """
        now = time.time() if now is None else now
        participant = self._database.person(person=person)
        if participant is None or participant.source != self._prolific.name or not participant.outcome:
            return "open"
        self._database.check(person)  # a payment or rejection cannot be taken back
        chain = self._chain(person)
        if chain.has("settled"):
            return "settled"
        if chain.last["what"] == "by-hand":
            return "by-hand"
        if unsaved(self._journal, person):
            return "unsaved"
        try:
            return self._settle(participant, chain, now)
        except ConcurrentAppend:
            return "waiting"

    def settle_due(self, now: float | None = None) -> dict[str, str]:
        """Settle with everyone who has an outcome; returns person → result, or the error.

        A person who has to wait is checked again after five minutes.
        """
        now = time.time() if now is None else now
        results = {}
        for person in self._unsettled_people():
            if self._not_before.get(person, now) > now:
                continue
            try:
                results[person] = self.settle(person, now)
            except TutelageError as error:
                results[person] = str(error)
            except sql.exc.SQLAlchemyError:
                raise  # no one can be settled with
            except Exception as error:  # an unforeseen answer must not delay the others
                results[person] = type(error).__name__
                _log.exception("settling with %s failed", person)
            if results[person] not in ("settled", "unsaved"):
                self._not_before[person] = now + 300
        return results

    def approve(self, person: str, now: float | None = None) -> None:
        """Record an approval by hand, after a review of the person's work."""
        answer = self._client.approve(self._session(person))
        self._record_event(person, "approve", now, pay=_approval_changes(answer, "by hand"))

    def ask_return(self, person: str, reason: str, now: float | None = None) -> None:
        """Ask a person to return their submission, for a reason that they can read."""
        self._client.ask_return(self._session(person), reason)
        self._record_event(person, "ask-return", now, reason)

    def reject(self, person: str, message: str, category: str, now: float | None = None) -> None:
        """Reject a person's submission by hand: this server never does so by itself.

        Raises TutelageError unless Prolific's rules are met, and the rejected share of all submissions handed
        in stays within the study's own `rejections`.
        """
        statuses = [submission.status for submission in self._client.submissions(self._prolific.study)]
        rejected = statuses.count("REJECTED") + 1
        total = sum(status in HANDED_IN for status in statuses) + rejected - 1
        if rejected > self._prolific.rejections * total:
            raise TutelageError(
                f"expected at most {self._prolific.rejections:.0%} of {total} submissions to be rejected, "
                f"got {rejected}; ask for a return instead, or raise `rejections` in the study file"
            )
        answer = self._client.reject(self._session(person), message, category)
        self._record_event(person, "reject", now, category, pay=_refusal_changes(category, answer))

    def _settle(self, participant: PersonRecord, chain: EventChain, now: float) -> str:
        session = self._session(participant.person)
        steps = (
            lambda: self._report(participant, session, chain, now),
            lambda: self._review(participant, session, chain, now),
            lambda: self._pay(participant, session, chain, now),
        )
        for step in steps:
            try:
                if not step():
                    break
            except ProlificError as error:
                if not error.is_final or chain.last["what"].startswith("bonus"):
                    raise
                chain.add("by-hand", now, str(error))
                break
        else:
            chain.add("settled", now)
        last = str(chain.last["what"])
        return last if last in ("settled", "by-hand") else "waiting"

    def _report(self, participant: PersonRecord, session: str, chain: EventChain, now: float) -> bool:
        """Report the outcome to Prolific; each step returns whether the next one may follow."""
        if chain.has("complete"):
            return True
        code = self._codes.get(participant.outcome, "")
        submission = self._client.submission(session)
        status = submission.status
        if status in ("RETURNED", "REJECTED"):
            reason = f"{status} at Prolific"
            chain.add("settled", now, reason, pay=_refusal_changes(reason, submission))
            return False
        if status == "UNKNOWN":
            return False  # an intermediate state at Prolific
        if status in HANDED_IN:
            chain.add("complete", now, "at Prolific", outcome=participant.outcome)
        elif code and self._prolific.complete == "server":
            self._client.complete(session, code)
            chain.add("complete", now, outcome=participant.outcome)
        elif code and status != "TIMED-OUT":
            return False  # the person has yet to follow the link on the last page
        elif not code and participant.outcome in RETURNS:
            reason = self._texts(participant.language).say(f"return.{participant.outcome}")
            self._client.ask_return(session, reason)
            chain.add("ask-return", now, participant.outcome)
            chain.add("settled", now)
            return False
        else:
            chain.add("by-hand", now, f"{participant.outcome}, {status} at Prolific")
            return False
        return True

    def _review(self, participant: PersonRecord, session: str, chain: EventChain, now: float) -> bool:
        """Approve completed submissions, or wait for their review."""
        if participant.outcome != "completed" or chain.has("approve"):
            return True
        if self._prolific.approve:
            chain.add("approve", now, pay=_approval_changes(self._client.approve(session), "by the study"))
            return True
        submission = self._client.submission(session)
        if submission.status == "APPROVED":
            chain.add("approve", now, "at Prolific", pay=_approval_changes(submission, "at Prolific"))
        elif submission.status in ("RETURNED", "REJECTED"):
            reason = f"{submission.status} at Prolific"
            chain.add("settled", now, reason, pay=_refusal_changes(reason, submission))
        return submission.status == "APPROVED"

    def _pay(self, participant: PersonRecord, session: str, chain: EventChain, now: float) -> bool:
        """Take the bonus one step further; True once nothing is left to do."""
        if participant.outcome != "completed" or chain.has("bonus"):
            return True
        last_event, bonus_owed = chain.last, latest(self._database, participant.person).get("bonus")
        if last_event["what"] == "bonus-paying":
            return self._resolve_payment(session, chain, now)
        if bonus_owed is None:
            return True
        if bonus_owed["state"] == "paid":  # by hand, in the meantime
            chain.add("bonus", now, "by hand", pence=bonus_owed["amount"])
            return True
        if last_event["what"] == "bonus-refused" and now - last_event["at"] < _PAUSE:
            return False
        if last_event["what"] != "bonus-set-up":
            self._set_up_bonus(session, chain, bonus_owed["amount"], now)
        return self._pay_once(session, chain, now)

    def _set_up_bonus(self, session: str, chain: EventChain, pence: int, now: float) -> None:
        try:
            bulk = self._client.set_up_bonus(self._prolific.study, {session: Decimal(pence).scaleb(-2)})
        except ProlificError as error:
            if error.is_final:
                chain.add("bonus-refused", now, str(error), pay=_bonus_change("refused", str(error)))
            raise
        pay = _bonus_change("approved", "set up at Prolific", {"bulk": bulk})
        chain.add("bonus-set-up", now, pay=pay, bulk=bulk, pence=pence)

    def _pay_once(self, session: str, chain: EventChain, now: float) -> bool:
        bonus = chain.last["details"]
        paid_before = self._client.submission(session).bonuses.count(bonus["pence"])
        chain.add("bonus-paying", now, **bonus, before=paid_before)
        try:
            self._client.pay_bonus(bonus["bulk"])
        except ProlificError as error:
            if error.undone:
                chain.add("bonus-refused", now, str(error), pay=_bonus_change("refused", str(error)))
                raise
            return False  # it may have been paid: a later look at Prolific decides
        pay = _bonus_change("paid", "accepted by Prolific", {"bulk": bonus["bulk"]})
        chain.add("bonus", now, pay=pay, pence=bonus["pence"])
        return True

    def _resolve_payment(self, session: str, chain: EventChain, now: float) -> bool:
        """Resolve a payment whose result is unknown."""
        bonus, since = chain.last["details"], chain.last["at"]
        bonuses = self._client.submission(session).bonuses
        answer = {"bulk": bonus["bulk"], "bonuses": list(bonuses)}
        if bonuses.count(bonus["pence"]) > bonus["before"]:
            reason = "seen at Prolific"
            chain.add("bonus", now, reason, pay=_bonus_change("paid", reason, answer), pence=bonus["pence"])
            return True
        if now - since > PATIENCE:
            reason = "not seen at Prolific after a day"
            chain.add("bonus-refused", now, reason, pay=_bonus_change("refused", reason, answer))
        return False

    def _unsettled_people(self) -> list[str]:
        settled_people = sql.select(events.c.person).where(
            events.c.study == self._study, events.c.what == "settled"
        )
        query = sql.select(people.c.person).where(
            people.c.study == self._study,
            people.c.source == self._prolific.name,
            people.c.outcome != "",
            people.c.person.not_in(settled_people),
        )
        return [row["person"] for row in self._database.rows(query.order_by(people.c.ended, people.c.person))]

    def _session(self, person: str) -> str:
        return session_of(self._database, person)

    def _chain(self, person: str) -> EventChain:
        return EventChain(self._database, self._study, person, KINDS)

    def _record_event(
        self,
        person: str,
        what: str,
        now: float | None,
        reason: str = "",
        pay: list[PaymentChange] | None = None,
    ) -> None:
        recorded_at = time.time() if now is None else now
        while True:
            with contextlib.suppress(ConcurrentAppend):
                return self._chain(person).add(what, recorded_at, reason, pay=pay or [])


def session_of(database: StudyDatabase, person: str) -> str:
    """Return the id of a person's submission; raises TutelageError if it was erased."""
    for row in database.rows(sql.select(identities.c.ids).where(identities.c.person == person)):
        if session := row["ids"].get("session"):
            return str(session)
    raise TutelageError(f"expected Prolific's ids of {person}, got none: they were forgotten")


def _approval_changes(answer: Submission, reason: str) -> list[PaymentChange]:
    """Return the payment changes of an approved submission: Prolific then pays its reward."""
    details = {"status": answer.status}
    changes = [PaymentChange("base", "approved", reason, details)]
    return (
        [*changes, PaymentChange("base", "paid", "approved at Prolific", details)]
        if answer.status == "APPROVED"
        else changes
    )


def _refusal_changes(reason: str, answer: Submission) -> list[PaymentChange]:
    """Return the payment changes of a returned or rejected submission: nothing of it is paid."""
    return [PaymentChange(kind, "refused", reason, {"status": answer.status}) for kind in ("base", "bonus")]


def _bonus_change(state: str, reason: str, answer: dict[str, Any] | None = None) -> list[PaymentChange]:
    return [PaymentChange("bonus", state, reason, answer or {})]
