"""What a person's outcome means at Prolific: completed by its code, approved, and a bonus paid once.

Nothing is reported before everything the person did is in the store. Every step is an event, written so
that a crash at any moment, or a second server, repeats only what Prolific ignores when it is repeated.
Paying is not among that: the intention is on disk before the request is sent, and an intention whose end is
unknown is settled by looking at Prolific ("bonus_payments" of the submission), never by paying again
before a day has passed. Prolific pays "in the following minutes" (docs.prolific.com, Pay bonuses).

What all this means for the person's payments goes into the ledger in the transaction of its event, with what
Prolific answered; see `payments`.

Not covered: a payment that Prolific accepts and later fails to make (its page shows these); a bonus of the
very same amount that somebody pays by hand in the minute of a crash, which is taken for ours.
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
    "ask-return",  # no code: they were asked to give the place back
    "approve",
    "reject",
    "bonus-set-up",  # details: bulk, pence
    "bonus-paying",  # about to be paid; details: bulk, pence, before
    "bonus-refused",  # certainly not paid
    "bonus",  # paid; details: pence
    "by-hand",  # somebody has to look at Prolific's page
    "settled",
)
RESULTS = ("open", "unsaved", "waiting", "by-hand", "settled")
"""What `settle` gives: no outcome yet; episodes not in the store yet; something outside must happen first
(the person or a reviewer must act, a payment must show); over; over."""

RETURNS = ("failed-check", "poor-quality", "timed-out", "full", "withdrew")
"""Outcomes whose people are asked to return their submission, where a study has no code for them: the reason
is the text `return.OUTCOME`, in the language that they took part in."""

PATIENCE = 24 * 3600.0
"""Seconds after which a payment that nobody has seen was never made."""

_log = logging.getLogger("tutelage.crowd")
_PAUSE = 3600.0  # seconds between two tries to pay what was refused: an empty wallet, say
_UNSAVED = ("open", "finished", "kept")


def unsaved(journal: Journal, person: str) -> int:
    """Count a person's episodes that are not in the store, and not given up either."""
    journal.flush()
    return sum(len(journal.episodes(demonstrator=person, state=state)) for state in _UNSAVED)


class Payments:
    """Settles with the people that Prolific sent to a study. Calls block: call them from a worker thread.

    What each person is owed is in the ledger since they completed. `texts` gives a language's texts.
    """

    def __init__(
        self,
        ledger: StudyDatabase,
        journal: Journal,
        client: ProlificClient,
        recruiting: Recruiting,
        study: str,
        texts: Callable[[str], Translations] = load_texts,
    ) -> None:
        if recruiting.prolific is None:
            raise TutelageError("expected a study that recruits at Prolific, got recruiting without prolific")
        self._ledger = ledger
        self._journal = journal
        self._client = client
        self._codes = recruiting.codes
        self._prolific = recruiting.prolific
        self._study = study
        self._texts = texts
        self._not_before: dict[str, float] = {}

    def settle(self, person: str, now: float | None = None) -> str:
        """Do whatever is still due for a person, and give one of RESULTS.

        May be called again and again. Raises ProlificError when Prolific is not to be had: call later.
        """
        now = time.time() if now is None else now
        found = self._ledger.person(person=person)
        if found is None or found.source != self._prolific.name or not found.outcome:
            return "open"
        self._ledger.check(person)  # what is paid or rejected cannot be taken back
        chain = self._chain(person)
        if chain.has("settled"):
            return "settled"
        if chain.last["what"] == "by-hand":
            return "by-hand"
        if unsaved(self._journal, person):
            return "unsaved"
        try:
            return self._settle(found, chain, now)
        except ConcurrentAppend:
            return "waiting"

    def settle_due(self, now: float | None = None) -> dict[str, str]:
        """Settle with everyone who has an outcome; gives person → result, or what is in the way.

        Whoever has to wait is looked at again after five minutes.
        """
        now = time.time() if now is None else now
        results = {}
        for person in self._due():
            if self._not_before.get(person, now) > now:
                continue
            try:
                results[person] = self.settle(person, now)
            except TutelageError as error:
                results[person] = str(error)
            except sql.exc.SQLAlchemyError:
                raise  # nobody can be settled with
            except Exception as error:  # an answer that nobody has foreseen must not keep the others waiting
                results[person] = type(error).__name__
                _log.exception("settling with %s failed", person)
            if results[person] not in ("settled", "unsaved"):
                self._not_before[person] = now + 300
        return results

    def approve(self, person: str, now: float | None = None) -> None:
        """Approve by hand: somebody has looked at what the person did."""
        answer = self._client.approve(self._session(person))
        self._note(person, "approve", now, pay=_approved(answer, "by hand"))

    def ask_return(self, person: str, reason: str, now: float | None = None) -> None:
        """Ask a person to return their submission, for a reason that they can read."""
        self._client.ask_return(self._session(person), reason)
        self._note(person, "ask-return", now, reason)

    def reject(self, person: str, message: str, category: str, now: float | None = None) -> None:
        """Reject a person's submission by hand: this server never does it by itself.

        Raises TutelageError unless Prolific's rules are met, and at most the study's own share
        (`rejections`) of all who handed in would have been rejected.
        """
        statuses = [one.status for one in self._client.submissions(self._prolific.study)]
        rejected = statuses.count("REJECTED") + 1
        done = sum(status in HANDED_IN for status in statuses) + rejected - 1
        if rejected > self._prolific.rejections * done:
            raise TutelageError(
                f"expected at most {self._prolific.rejections:.0%} of {done} submissions to be rejected, got "
                f"{rejected}; ask for a return instead, or raise `rejections` in the study file"
            )
        answer = self._client.reject(self._session(person), message, category)
        self._note(person, "reject", now, category, pay=_refused(category, answer))

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

    def _report(self, found: PersonRecord, session: str, chain: EventChain, now: float) -> bool:
        """Tell Prolific how it ended; each step says whether the next one may follow."""
        if chain.has("complete"):
            return True
        code = self._codes.get(found.outcome, "")
        submission = self._client.submission(session)
        status = submission.status
        if status in ("RETURNED", "REJECTED"):
            reason = f"{status} at Prolific"
            chain.add("settled", now, reason, pay=_refused(reason, submission))
            return False
        if status == "UNKNOWN":
            return False  # Prolific is in the middle of something
        if status in HANDED_IN:
            chain.add("complete", now, "at Prolific", outcome=found.outcome)
        elif code and self._prolific.complete == "server":
            self._client.complete(session, code)
            chain.add("complete", now, outcome=found.outcome)
        elif code and status != "TIMED-OUT":
            return False  # the person has yet to follow the link on the last page
        elif not code and found.outcome in RETURNS:
            reason = self._texts(found.language).say(f"return.{found.outcome}")
            self._client.ask_return(session, reason)
            chain.add("ask-return", now, found.outcome)
            chain.add("settled", now)
            return False
        else:
            chain.add("by-hand", now, f"{found.outcome}, {status} at Prolific")
            return False
        return True

    def _review(self, found: PersonRecord, session: str, chain: EventChain, now: float) -> bool:
        """Approve whoever completed, or wait for whoever reviews."""
        if found.outcome != "completed" or chain.has("approve"):
            return True
        if self._prolific.approve:
            chain.add("approve", now, pay=_approved(self._client.approve(session), "by the study"))
            return True
        submission = self._client.submission(session)
        if submission.status == "APPROVED":
            chain.add("approve", now, "at Prolific", pay=_approved(submission, "at Prolific"))
        elif submission.status in ("RETURNED", "REJECTED"):
            reason = f"{submission.status} at Prolific"
            chain.add("settled", now, reason, pay=_refused(reason, submission))
        return submission.status == "APPROVED"

    def _pay(self, participant: PersonRecord, session: str, chain: EventChain, now: float) -> bool:
        """Take the bonus one step further; True once nothing of it is left to do."""
        if participant.outcome != "completed" or chain.has("bonus"):
            return True
        last, owed = chain.last, latest(self._ledger, participant.person).get("bonus")
        if last["what"] == "bonus-paying":
            return self._look(session, chain, now)
        if owed is None:
            return True
        if owed["state"] == "paid":  # by hand, in the meantime
            chain.add("bonus", now, "by hand", pence=owed["amount"])
            return True
        if last["what"] == "bonus-refused" and now - last["at"] < _PAUSE:
            return False
        if last["what"] != "bonus-set-up":
            self._set_up(session, chain, owed["amount"], now)
        return self._pay_once(session, chain, now)

    def _set_up(self, session: str, chain: EventChain, pence: int, now: float) -> None:
        try:
            bulk = self._client.set_up_bonus(self._prolific.study, {session: Decimal(pence).scaleb(-2)})
        except ProlificError as error:
            if error.is_final:
                chain.add("bonus-refused", now, str(error), pay=_bonus("refused", str(error)))
            raise
        pay = _bonus("approved", "set up at Prolific", {"bulk": bulk})
        chain.add("bonus-set-up", now, pay=pay, bulk=bulk, pence=pence)

    def _pay_once(self, session: str, chain: EventChain, now: float) -> bool:
        plan = chain.last["details"]
        before = self._client.submission(session).bonuses.count(plan["pence"])
        chain.add("bonus-paying", now, **plan, before=before)
        try:
            self._client.pay_bonus(plan["bulk"])
        except ProlificError as error:
            if error.undone:
                chain.add("bonus-refused", now, str(error), pay=_bonus("refused", str(error)))
                raise
            return False  # it may have been paid: Prolific will show it, or not
        pay = _bonus("paid", "accepted by Prolific", {"bulk": plan["bulk"]})
        chain.add("bonus", now, pay=pay, pence=plan["pence"])
        return True

    def _look(self, session: str, chain: EventChain, now: float) -> bool:
        """Find out what became of a payment that nobody saw the end of."""
        plan, since = chain.last["details"], chain.last["at"]
        bonuses = self._client.submission(session).bonuses
        answer = {"bulk": plan["bulk"], "bonuses": list(bonuses)}
        if bonuses.count(plan["pence"]) > plan["before"]:
            reason = "seen at Prolific"
            chain.add("bonus", now, reason, pay=_bonus("paid", reason, answer), pence=plan["pence"])
            return True
        if now - since > PATIENCE:
            reason = "not seen at Prolific after a day"
            chain.add("bonus-refused", now, reason, pay=_bonus("refused", reason, answer))
        return False

    def _due(self) -> list[str]:
        over = sql.select(events.c.person).where(events.c.study == self._study, events.c.what == "settled")
        query = sql.select(people.c.person).where(
            people.c.study == self._study,
            people.c.source == self._prolific.name,
            people.c.outcome != "",
            people.c.person.not_in(over),
        )
        return [row["person"] for row in self._ledger.rows(query.order_by(people.c.ended, people.c.person))]

    def _session(self, person: str) -> str:
        return session_of(self._ledger, person)

    def _chain(self, person: str) -> EventChain:
        return EventChain(self._ledger, self._study, person, KINDS)

    def _note(
        self,
        person: str,
        what: str,
        now: float | None,
        reason: str = "",
        pay: list[PaymentChange] | None = None,
    ) -> None:
        at = time.time() if now is None else now
        while True:
            with contextlib.suppress(ConcurrentAppend):
                return self._chain(person).add(what, at, reason, pay=pay or [])


def session_of(ledger: StudyDatabase, person: str) -> str:
    """Return the id of a person's submission; raises TutelageError where it was forgotten."""
    for row in ledger.rows(sql.select(identities.c.ids).where(identities.c.person == person)):
        if session := row["ids"].get("session"):
            return str(session)
    raise TutelageError(f"expected Prolific's ids of {person}, got none: they were forgotten")


def _approved(answer: Submission, reason: str) -> list[PaymentChange]:
    """Return what an approved submission means: Prolific pays its reward by that."""
    told = {"status": answer.status}
    changes = [PaymentChange("base", "approved", reason, told)]
    return (
        [*changes, PaymentChange("base", "paid", "approved at Prolific", told)]
        if answer.status == "APPROVED"
        else changes
    )


def _refused(reason: str, answer: Submission) -> list[PaymentChange]:
    """Return what a submission means that was returned or rejected: nothing of it is paid."""
    return [PaymentChange(kind, "refused", reason, {"status": answer.status}) for kind in ("base", "bonus")]


def _bonus(state: str, reason: str, answer: dict[str, Any] | None = None) -> list[PaymentChange]:
    return [PaymentChange("bonus", state, reason, answer or {})]
