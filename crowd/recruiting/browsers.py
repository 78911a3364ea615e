"""The browsers that may act for a participant: the first to open their link, and those it has confirmed.

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
"""The kind of event that tells every server that a person's browsers were released."""
BOUND_SECONDS = 90 * 24 * 3600.0
"""How long a browser's cookie opens its person's seat, unless the browser opens the link again."""
ASK_SECONDS = 15 * 60.0
"""How long a browser's request stays open."""
_ASK_AGAIN_SECONDS = 24 * 3600.0
_MOST_ASKED = 5


@dataclass(frozen=True)
class LinkOpening:
    """The result of opening a person's link in a browser; `code` is shown there while it waits."""

    state: State
    code: str = ""


def browser_hash(token: str) -> str:
    """Return the hash of a browser's token, which is stored and is part of its seat's cookie."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def enter(
    database: StudyDatabase, person: str, browser: str, now: float, is_vouched: bool = False
) -> LinkOpening:
    """Bind a browser to a person if allowed, else let it ask the bound browsers. Blocks.

    Of several simultaneous first browsers, one is bound. At most five browsers a day may ask.
    """
    this_browser = (browsers.c.person == person) & (browsers.c.browser == browser)
    with database.write() as connection:
        rows = connection.execute(sql.select(browsers).where(browsers.c.person == person)).mappings().all()
        row = next((row for row in rows if row["browser"] == browser), None)
        bound = [entry for entry in rows if entry["state"] == BOUND]
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
        recent = [entry for entry in rows if now - entry["at"] < _ASK_AGAIN_SECONDS]
        if sum(entry["state"] != BOUND for entry in recent) >= _MOST_ASKED:
            return LinkOpening(REFUSED)
        code = f"{secrets.randbelow(10_000):04d}"
        connection.execute(browsers.delete().where(this_browser))
        connection.execute(browsers.insert().values(_row(person, browser, ASKED, code, now)))
        return LinkOpening(ASKED, code)


def is_bound(database: StudyDatabase, person: str, browser: str, now: float) -> bool:
    """Say whether a browser may act for a person: bound, and within the lifetime of a cookie. Blocks."""
    query = sql.select(browsers.c.id).where(
        browsers.c.person == person,
        browsers.c.browser == browser,
        browsers.c.state == BOUND,
        browsers.c.at > now - BOUND_SECONDS,
    )
    return bool(database.rows(query))


def confirm(database: StudyDatabase, person: str, code: str, is_own: bool, now: float) -> bool:
    """Answer the request of a browser by its code; returns whether there was one. Blocks."""
    is_asking = (browsers.c.person == person) & (browsers.c.state == ASKED) & (browsers.c.code == code)
    with database.write() as connection:
        change = browsers.update().where(is_asking, browsers.c.at > now - ASK_SECONDS)
        result = connection.execute(change.values(state=BOUND if is_own else REFUSED, code="", at=now))
    return bool(result.rowcount)


def asking(database: StudyDatabase, study: str, now: float) -> dict[str, str]:
    """Return seat → code of each person with an open request of another browser. Blocks."""
    query = (
        sql.select(people.c.seat, browsers.c.code)
        .join(people, people.c.person == browsers.c.person)
        .where(people.c.study == study, browsers.c.state == ASKED, browsers.c.at > now - ASK_SECONDS)
        .order_by(browsers.c.id.desc())
    )
    return {row["seat"]: row["code"] for row in database.rows(query)}


def release(database: StudyDatabase, study: str, person: str, reason: str, now: float) -> None:
    """Remove the bound browsers of a person: the next one that opens their link is bound. Blocks.

    Every cookie issued for them becomes invalid; a browser that a bound one has refused stays refused. Raises
    TutelageError without a reason, and for a person of another study.
    """
    reason = clean_reason(reason)
    participant = database.person(person=person)
    if participant is None or participant.study != study:
        raise TutelageError(f"expected a person of study {study!r}, got {person!r}")
    row = {"study": study, "person": person, "what": RELEASE, "reason": reason, "details": {}, "at": now}
    with database.write() as connection:
        is_released = (browsers.c.person == person) & (browsers.c.state != REFUSED)
        connection.execute(browsers.delete().where(is_released))
        connection.execute(events.insert().values(row))


def released_since(database: StudyDatabase, study: str, event: int | None) -> tuple[int, list[str]]:
    """Return the newest event's number and the seats released after `event`; None returns no seats."""
    newest = database.rows(sql.select(sql.func.max(events.c.id).label("id")))[0]["id"] or 0
    if event is None or newest <= event:
        return newest, []
    query = (
        sql.select(people.c.seat)
        .join(events, events.c.person == people.c.person)
        .where(people.c.study == study, events.c.what == RELEASE, events.c.id > event, events.c.id <= newest)
    )
    return newest, [row["seat"] for row in database.rows(query)]


def _row(person: str, browser: str, state: str, code: str, now: float) -> dict[str, str | float]:
    return {"person": person, "browser": browser, "state": state, "code": code, "at": now}
