"""What a person's outcome means at Prolific: completed by its code, approved, and a bonus paid once.

Nothing is reported before everything the person did is in the store. Every step is an event, written so
that a crash at any moment, or a second server, repeats only what Prolific ignores when it is repeated.
Paying is not among that: the intention is on disk before the request is sent, and an intention whose end is
unknown is settled by looking at Prolific ("bonus_payments" of the submission), never by paying again
before a day has passed. Prolific pays "in the following minutes" (docs.prolific.com, Pay bonuses).

Not covered: a payment that Prolific accepts and later fails to make (its page shows these); a bonus of the
very same amount that somebody pays by hand in the minute of a crash, which is taken for ours.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

import sqlalchemy as sql

from ....envs.errors import TutelageError
from ...journal import Journal
from ..ledger import Ledger, Person, events, identities, people
from ..texts import Texts, load_texts
from .event_chain import EventChain, Overtaken
from .prolific import HANDED_IN, ProlificClient, ProlificError
from .recruiting import Recruiting

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
(the quality is not known, the person or a reviewer must act, a payment must show); over; over."""

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

    `bonus` is the largest bonus, in the currency of the study at Prolific; each person gets their share.
    `texts` gives the texts of a language.
    """

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal,
        client: ProlificClient,
        recruiting: Recruiting,
        study: str,
        bonus: float = 0.0,
        texts: Callable[[str], Texts] = load_texts,
    ) -> None:
        if recruiting.prolific is None:
            raise TutelageError("expected a study that recruits at Prolific, got recruiting without prolific")
        self._ledger = ledger
        self._journal = journal
        self._client = client
        self._codes = recruiting.codes
        self._prolific = recruiting.prolific
        self._study = study
        self._bonus = Decimal(str(bonus))
        self._texts = texts
        self._not_before: dict[str, float] = {}

    def settle(self, person: str, share: float | None = None, now: float | None = None) -> str:
        """Do whatever is still due for a person, and give one of RESULTS.

        `share` in [0, 1] is how much of the bonus their quality earned, None while it is not known. Call it
        as often as you like. Raises ProlificError when Prolific is not to be had: call it again later.
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
            return self._settle(found, chain, share, now)
        except Overtaken:
            return "waiting"

    def settle_due(self, share: Callable[[str], float | None], now: float | None = None) -> dict[str, str]:
        """Settle with everyone who has an outcome; gives person → result, or what is in the way.

        Whoever has to wait is looked at again after five minutes.
        """
        now = time.time() if now is None else now
        results = {}
        for person in self._due():
            if self._not_before.get(person, now) > now:
                continue
            try:
                results[person] = self.settle(person, share(person), now)
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
        self._client.approve(self._session(person))
        self._note(person, "approve", now)

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
        self._client.reject(self._session(person), message, category)
        self._note(person, "reject", now, category)

    def _settle(self, found: Person, chain: EventChain, share: float | None, now: float) -> str:
        session = self._session(found.person)
        steps = (
            lambda: self._report(found, session, chain, now),
            lambda: self._review(found, session, chain, now),
            lambda: self._pay(found, session, chain, share, now),
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

    def _report(self, found: Person, session: str, chain: EventChain, now: float) -> bool:
        """Tell Prolific how it ended; each step says whether the next one may follow."""
        if chain.has("complete"):
            return True
        code = self._codes.get(found.outcome, "")
        status = self._client.submission(session).status
        if status in ("RETURNED", "REJECTED"):
            chain.add("settled", now, f"{status} at Prolific")
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

    def _review(self, found: Person, session: str, chain: EventChain, now: float) -> bool:
        """Approve whoever completed, or wait for whoever reviews."""
        if found.outcome != "completed" or chain.has("approve"):
            return True
        if self._prolific.approve:
            self._client.approve(session)
            chain.add("approve", now)
            return True
        status = self._client.submission(session).status
        if status == "APPROVED":
            chain.add("approve", now, "at Prolific")
        elif status in ("RETURNED", "REJECTED"):
            chain.add("settled", now, f"{status} at Prolific")
        return status == "APPROVED"

    def _pay(self, found: Person, session: str, chain: EventChain, share: float | None, now: float) -> bool:
        """Take the bonus one step further; True once nothing of it is left to do."""
        if found.outcome != "completed" or chain.has("bonus") or not self._bonus:
            return True
        last = chain.last
        if last["what"] == "bonus-paying":
            return self._look(session, chain, now)
        if last["what"] == "bonus-refused" and now - last["at"] < _PAUSE:
            return False
        if last["what"] != "bonus-set-up":
            if share is None:
                return False
            if not (pence := _pence(self._bonus, share)):
                chain.add("bonus", now, pence=0)
                return True
            self._set_up(session, chain, pence, now)
        return self._pay_once(session, chain, now)

    def _set_up(self, session: str, chain: EventChain, pence: int, now: float) -> None:
        try:
            bulk = self._client.set_up_bonus(self._prolific.study, {session: Decimal(pence) / 100})
        except ProlificError as error:
            if error.is_final:
                chain.add("bonus-refused", now, str(error))
            raise
        chain.add("bonus-set-up", now, bulk=bulk, pence=pence)

    def _pay_once(self, session: str, chain: EventChain, now: float) -> bool:
        plan = chain.last["details"]
        before = self._client.submission(session).bonuses.count(plan["pence"])
        chain.add("bonus-paying", now, **plan, before=before)
        try:
            self._client.pay_bonus(plan["bulk"])
        except ProlificError as error:
            if error.undone:
                chain.add("bonus-refused", now, str(error))
                raise
            return False  # it may have been paid: Prolific will show it, or not
        chain.add("bonus", now, pence=plan["pence"])
        return True

    def _look(self, session: str, chain: EventChain, now: float) -> bool:
        """Find out what became of a payment that nobody saw the end of."""
        plan, since = chain.last["details"], chain.last["at"]
        if self._client.submission(session).bonuses.count(plan["pence"]) > plan["before"]:
            chain.add("bonus", now, "seen at Prolific", pence=plan["pence"])
            return True
        if now - since > PATIENCE:
            chain.add("bonus-refused", now, "not seen at Prolific after a day")
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
        query = sql.select(identities.c.ids).where(identities.c.person == person)
        for row in self._ledger.rows(query):
            if session := row["ids"].get("session"):
                return str(session)
        raise TutelageError(f"expected Prolific's ids of {person}, got none: they were forgotten")

    def _chain(self, person: str) -> EventChain:
        return EventChain(self._ledger, self._study, person, KINDS)

    def _note(self, person: str, what: str, now: float | None, reason: str = "") -> None:
        while True:
            with contextlib.suppress(Overtaken):
                return self._chain(person).add(what, time.time() if now is None else now, reason)


def _pence(bonus: Decimal, share: float) -> int:
    """Give a share of the bonus in hundredths, rounded half up."""
    if not (math.isfinite(share) and 0 <= share <= 1):
        raise TutelageError(f"expected a share of the bonus in [0, 1], got {share}")
    return int((bonus * Decimal(str(share)) * 100).quantize(Decimal(1), ROUND_HALF_UP))
