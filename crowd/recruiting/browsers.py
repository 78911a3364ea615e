"""Which browsers may act for a participant: the first that opened their link, and those that it confirmed.

A link can be forwarded or leak. So the first browser that opens it is bound to the participant; another one
shows a code and waits until a bound browser confirms it, unless the panel proves who opens the link. The
operator may release a participant: then the next browser is bound.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sql

from ...errors import TutelageError
from ..storage.study_tables import StudyDatabase, browsers, events, people
from ..studies.moderation import clean_reason

State = Literal["bound", "asked", "refused"]
BOUND: State = "bound"
ASKED: State = "asked"
REFUSED: State = "refused"
RELEASE = "release"
"""The kind of event by which every server hears that a person's browsers were released."""
BOUND_SECONDS = 90 * 24 * 3600.0
"""How long a browser's cookie opens its person's seat, unless it opens the link again."""
ASK_SECONDS = 15 * 60.0
"""How long a browser's question stands."""
_ASK_AGAIN_SECONDS = 24 * 3600.0
_MOST_ASKED = 5


@dataclass(frozen=True)
class LinkOpening:
    """What came of a browser that opened a person's link; `code` is what it shows while it waits."""

    state: State
    code: str = ""


def browser_hash(token: str) -> str:
    """Return what is stored of a browser's token, and stands in the cookie of its seat."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def enter(
    ledger: StudyDatabase, person: str, browser: str, now: float, is_vouched: bool = False
) -> LinkOpening:
    """Bind a browser to a person if it may be, else let it ask the browsers that are bound. Blocks.

    Of several that come first at once, one is bound. At most five browsers a day may ask.
    """
    this_browser = (browsers.c.person == person) & (browsers.c.browser == browser)
    with ledger.write() as connection:
        rows = connection.execute(sql.select(browsers).where(browsers.c.person == person)).mappings().all()
        row = next((row for row in rows if row["browser"] == browser), None)
        bound = [other for other in rows if other["state"] == BOUND]
        if row is not None and row["state"] == BOUND:
            connection.execute(browsers.update().where(this_browser).values(at=now))
            return LinkOpening(BOUND)
        if row is not None and row["state"] == REFUSED and not is_vouched:
            return LinkOpening(REFUSED)
        if is_vouched or not bound:
            connection.execute(browsers.delete().where(this_browser))
            connection.execute(browsers.insert().values(_row(person, browser, BOUND, "", now)))
            return LinkOpening(BOUND)
        if row is not None and row["state"] == ASKED and now - row["at"] < ASK_SECONDS:
            return LinkOpening(ASKED, row["code"])
        lately = [other for other in rows if now - other["at"] < _ASK_AGAIN_SECONDS]
        if sum(other["state"] != BOUND for other in lately) >= _MOST_ASKED:
            return LinkOpening(REFUSED)
        code = f"{secrets.randbelow(10_000):04d}"
        connection.execute(browsers.delete().where(this_browser))
        connection.execute(browsers.insert().values(_row(person, browser, ASKED, code, now)))
        return LinkOpening(ASKED, code)


def is_bound(ledger: StudyDatabase, person: str, browser: str, now: float) -> bool:
    """Say whether a browser may speak for a person: bound, and no longer ago than a cookie holds. Blocks."""
    query = sql.select(browsers.c.id).where(
        browsers.c.person == person,
        browsers.c.browser == browser,
        browsers.c.state == BOUND,
        browsers.c.at > now - BOUND_SECONDS,
    )
    return bool(ledger.rows(query))


def confirm(ledger: StudyDatabase, person: str, code: str, is_own: bool, now: float) -> bool:
    """Answer a browser that asks, by its code; says whether there was one. Blocks."""
    asking = (browsers.c.person == person) & (browsers.c.state == ASKED) & (browsers.c.code == code)
    with ledger.write() as connection:
        change = browsers.update().where(asking, browsers.c.at > now - ASK_SECONDS)
        done = connection.execute(change.values(state=BOUND if is_own else REFUSED, code="", at=now))
    return bool(done.rowcount)


def asking(ledger: StudyDatabase, study: str, now: float) -> dict[str, str]:
    """Return seat → code of each person whose link another browser has opened and asks about. Blocks."""
    query = (
        sql.select(people.c.seat, browsers.c.code)
        .join(people, people.c.person == browsers.c.person)
        .where(people.c.study == study, browsers.c.state == ASKED, browsers.c.at > now - ASK_SECONDS)
        .order_by(browsers.c.id.desc())
    )
    return {row["seat"]: row["code"] for row in ledger.rows(query)}


def release(ledger: StudyDatabase, study: str, person: str, reason: str, now: float) -> None:
    """Forget which browsers speak for a person: the next one that opens their link is bound. Blocks.

    Every cookie issued for them becomes invalid; a browser that a bound one has refused stays refused.
    Raises TutelageError without a reason, and for a person of another study.
    """
    reason = clean_reason(reason)
    participant = ledger.person(person=person)
    if participant is None or participant.study != study:
        raise TutelageError(f"expected a person of study {study!r}, got {person!r}")
    row = {"study": study, "person": person, "what": RELEASE, "reason": reason, "details": {}, "at": now}
    with ledger.write() as connection:
        gone = (browsers.c.person == person) & (browsers.c.state != REFUSED)
        connection.execute(browsers.delete().where(gone))
        connection.execute(events.insert().values(row))


def released_since(ledger: StudyDatabase, study: str, event: int | None) -> tuple[int, list[str]]:
    """Return the newest event's number and the seats of those released after `event`; None asks for none."""
    newest = ledger.rows(sql.select(sql.func.max(events.c.id).label("id")))[0]["id"] or 0
    if event is None or newest <= event:
        return newest, []
    query = (
        sql.select(people.c.seat)
        .join(events, events.c.person == people.c.person)
        .where(people.c.study == study, events.c.what == RELEASE, events.c.id > event, events.c.id <= newest)
    )
    return newest, [row["seat"] for row in ledger.rows(query)]


def _row(person: str, browser: str, state: str, code: str, now: float) -> dict[str, str | float]:
    return {"person": person, "browser": browser, "state": state, "code": code, "at": now}
