"""Authorization of every dashboard request: session cookie, origin, and CSRF token."""

from __future__ import annotations

import time

import sqlalchemy as sql
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from ..server.bounded_calls import bounded_call
from ..server.json_response import read_object
from ..server.proxies import client_network
from ..storage.study_tables import StudyDatabase, events
from .admin_token import SESSION_SECONDS, AdminSession, AdminToken, FailedAttempts
from .fresh import CachedCall

LARGEST = 4096
"""Largest request body that is read, in bytes."""


class Auth:
    """Accepts requests with a session; raises HTTPException for all others."""

    def __init__(self, admin: AdminToken, database: StudyDatabase, study: str) -> None:
        self.admin = admin
        self._database = database
        self._study = study
        self._attempts = FailedAttempts()
        self._ended = CachedCall(self._read_ended)

    async def session(self, request: HTTPConnection) -> AdminSession | None:
        """Return the session of a browser, or None; also None if it was ended, on any server."""
        session = self.admin.session(self.cookie(request))
        return None if session is None or session.session in await self._ended.get() else session

    def cookie(self, request: HTTPConnection) -> str:
        """Return a browser's cookie, "" if it has none."""
        return request.cookies.get(self._name(request), "")

    def _name(self, request: HTTPConnection) -> str:
        """Return the cookie's name; over HTTPS its prefix ensures that no plain connection has set it."""
        is_secure = request.scope["scheme"] in ("https", "wss")
        return f"__Secure-{self.admin.cookie}" if is_secure else self.admin.cookie

    async def end(self, session: AdminSession) -> None:
        """End a session permanently, in every browser that holds its cookie."""
        details = {"session": session.session}
        await bounded_call(self._database.note, self._study, "sign-out", details=details)
        self._ended.forget()

    def _read_ended(self) -> frozenset[str]:
        query = sql.select(events.c.details).where(
            events.c.study == self._study,
            events.c.what == "sign-out",
            events.c.at > time.time() - SESSION_SECONDS,
        )
        return frozenset(row["details"]["session"] for row in self._database.rows(query))

    async def enter(self, request: HTTPConnection) -> AdminSession:
        """Require a session."""
        session = await self.session(request)
        if session is None:
            raise HTTPException(401, "expected somebody who is signed in, got nobody; sign in first")
        return session

    async def read(self, request: Request) -> dict[str, str]:
        """Require a POST from the dashboard's own page, with its CSRF token; return its JSON object."""
        if not same_origin(request.headers):
            raise HTTPException(403, "expected a request of the dashboard's own page, got one from elsewhere")
        cookie = self.cookie(request)
        csrf_token = request.headers.get("x-csrf-token", "")
        if not self.admin.is_ours(cookie) or not self.admin.matches(cookie, csrf_token):
            raise HTTPException(
                403, "expected the CSRF token of this browser, got another; load the page anew"
            )
        return await _read_texts(request)

    async def token(self, request: HTTPConnection, token: str) -> None:
        """Require the admin token. Wrong tokens block the address for a while."""
        address = client_network(request)
        if (wait := self._attempts.wait(address)) > 0:
            headers = {"Retry-After": str(int(wait) + 1)}
            raise HTTPException(429, f"too many wrong tokens; try again in {int(wait) + 1} s", headers)
        if not await bounded_call(self.admin.knows, token):
            self._attempts.wrong(address)
            raise HTTPException(
                403, "expected the admin token, got another; --new-admin-token makes a new one"
            )

    def set_cookie(self, request: Request, response: Response, cookie: str) -> None:
        """Set a browser's cookie: not readable by scripts, not sent by requests from other sites."""
        response.set_cookie(
            self._name(request),
            cookie,
            max_age=SESSION_SECONDS,
            path="/admin",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )


def same_origin(headers: Headers) -> bool:
    """Say whether a request was made by a page of the host that it is sent to."""
    host = headers.get("host", "")
    return bool(host) and headers.get("origin") in (f"http://{host}", f"https://{host}")


async def _read_texts(request: Request) -> dict[str, str]:
    document = await read_object(request, LARGEST)
    if not all(_is_text(part) for part in (*document, *document.values())):
        raise HTTPException(400, "expected a JSON object of texts, got something else")
    return document


def _is_text(value: object) -> bool:
    """Say whether a value is a text that every database can store: no NUL, no lone surrogate."""
    return (
        isinstance(value, str)
        and "\0" not in value
        and not any("\ud800" <= character <= "\udfff" for character in value)
    )
