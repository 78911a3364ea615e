"""Joining a study: the pages of an opened link, and binding of browsers."""

from __future__ import annotations

import json
import secrets
import time

import sqlalchemy as sql
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

from ..page_templates import page
from ..recruiting.admission import admit, check_link, identify
from ..recruiting.browsers import (
    ASKED,
    BOUND,
    BOUND_SECONDS,
    LinkOpening,
    browser_hash,
    confirm,
    enter,
    is_bound,
)
from ..recruiting.panels import AdmissionRefusal, Arrival, Proof
from ..storage.study_tables import PersonRecord
from ..studies.study_server import StudyServer
from ..translations import Translations, best_language
from .bounded_calls import bounded_unless
from .json_response import JSONAnswer
from .link_token import host_cookie
from .proxies import client_network
from .rate_limit import RateLimiter
from .recorder_app import not_now

SEAT = "seat"
"""Signature purpose of a seat's cookie."""
BROWSER = "browser"
"""Signature purpose of a browser's cookie."""
_JOINS_A_SECOND, _JOINS_AT_ONCE = 0.5, 60  # allows a class behind one address at once, but not a script
_POLLS_A_SECOND, _POLLS_AT_ONCE = (
    2.0,
    200,
)  # limit of read-only requests: opening a link, and polling beside it
_LONGEST_BODY = 256
_NO_STORE = {"Cache-Control": "no-store"}


class Entrance:
    """The routes for joining, and the cookies that identify people afterwards.

    A seat's cookie is `seat.browser.signature`: it opens the seat for as long as that browser is bound.
    """

    def __init__(self, server: StudyServer, proof: Proof | None) -> None:
        self._server = server
        self._study = server.study
        self._proof = proof
        self._joins = RateLimiter(_JOINS_A_SECOND, _JOINS_AT_ONCE)
        self._polls = RateLimiter(_POLLS_A_SECOND, _POLLS_AT_ONCE)
        # browsers share cookies between all ports of a machine, which may serve several studies
        name = f"{server.secret.number('cookie', server.study.name):012x}"[:12]
        self._cookie, self._browser = f"seat-{name}", f"browser-{name}"

    async def open(self, request: Request) -> Response:
        """Answer an opened link: let the participant in, or show the join page of a personal link."""
        texts = self.texts(request)
        try:
            arrival = self._study.recruiting.read(request.query_params.multi_items(), time.time())
            limiter = self._polls if arrival.waits_for_page else self._joins
            if not limiter.take(client_network(request)):
                return self.refused(texts, texts.say("refused.too-often"), 429)
            if self._trouble() is not None:  # before anything is queued for a later commit
                return not_now(texts, self.title(texts))
            if arrival.waits_for_page:
                return await bounded_unless(self._trouble, self._show, request, arrival, texts)
            admission = await bounded_unless(self._trouble, self._let_in, request, arrival, texts.code)
        except AdmissionRefusal as refusal:
            return self._refusal_response(texts, refusal)
        response = RedirectResponse("/", 303, headers=_NO_STORE)
        self._give_seat(request, response, admission[0], admission[1])
        return response

    async def ask(self, request: Request) -> Response:
        """Answer a join page: let its browser in, have it wait with a code, or refuse it."""
        texts = self.texts(request)
        token = self._browser_token(request)
        if not token:
            return self._status_message("refused", texts, texts.say("refused.stranger"), 403)
        try:
            arrival = self._study.recruiting.read(request.query_params.multi_items(), time.time())
            waits = request.query_params.get("waits") is not None
            if not (self._polls if waits else self._joins).take(client_network(request)):
                return self._status_message("later", texts, texts.say("refused.too-often"), 429)
            if not arrival.waits_for_page:
                raise AdmissionRefusal("link-needed")
            if self._trouble() is not None:
                return self._status_message("later", texts, texts.say("refused.not-saved"), 503)
            admission = await bounded_unless(self._trouble, self._let_in, request, arrival, texts.code)
        except AdmissionRefusal as refusal:
            status = 503 if refusal.reason == "not-now" else 403
            sentence = texts.say(f"refused.{refusal.reason}", panel=refusal.panel)
            return self._status_message("refused", texts, sentence, status)
        except (sql.exc.OperationalError, sql.exc.InterfaceError, sql.exc.TimeoutError):
            return self._status_message("later", texts, texts.say("refused.not-saved"), 503)
        person, browser, entry = admission
        if entry.state == BOUND:
            response = JSONAnswer({"state": "in"}, headers=_NO_STORE)
            self._give_seat(request, response, person, browser)
            return response
        if entry.state == ASKED:
            return JSONAnswer({"state": "asked", "code": entry.code}, headers=_NO_STORE)
        return self._status_message("refused", texts, texts.say("refused.link-used"), 403)

    async def confirm(self, request: Request) -> Response:
        """Take a bound browser's answer: whether the browser that asks belongs to the same participant."""
        person = await bounded_unless(self._trouble, self.known, request)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LONGEST_BODY:
                return Response("expected a short answer, got a long one", 413)
        if person is None:
            return Response("expected a browser that is known here, got another", 403)
        try:
            document = json.loads(body)
            code, is_own = document["code"], document["own"]
        except (ValueError, RecursionError, KeyError, TypeError):
            code = is_own = None
        if not isinstance(code, str) or not isinstance(is_own, bool):
            return Response('expected {"code": text, "own": true or false}, got something else', 400)
        database = self._server.database
        now = time.time()
        was_asking = await bounded_unless(self._trouble, confirm, database, person.person, code, is_own, now)
        return Response(status_code=204 if was_asking else 410)

    def known(self, request: HTTPConnection) -> PersonRecord | None:
        """Return the person that a browser's signed seat names, if it may act for them. Blocks."""
        seat, browser = self._seat_of(request)
        person = self._server.person_of(seat) if seat else None
        if person is None or person.study != self._study.name:
            return None
        return person if is_bound(self._server.database, person.person, browser, time.time()) else None

    def texts(self, request: HTTPConnection) -> Translations:
        """Choose the language of a client not yet identified: the requested one, else its browser's."""
        requested = request.query_params.get("language", "")
        accepted = request.headers.get("accept-language", "")
        languages = self._study.languages
        code = requested if requested in languages else best_language(accepted, languages)
        return self._server.context.texts(code)

    def title(self, texts: Translations) -> str:
        """Return the study's title in a language."""
        return self._study.say(self._study.title, texts.code) or self._study.name

    def refused(self, texts: Translations, sentence: str, status: int) -> Response:
        """Return the page for a participant who is refused."""
        heading = texts.say("refused.title")
        return page("refused.html", texts, self.title(texts), status, heading=heading, sentence=sentence)

    def _trouble(self) -> str | None:
        return self._server.journal.trouble

    def _show(self, request: Request, arrival: Arrival, texts: Translations) -> Response:
        """Show the join page, which changes no state; a bound browser is redirected at once. Blocks."""
        server = self._server
        check_link(arrival, server.database, server.secret, self._study.name)
        participant = self.known(request)
        if participant is not None and participant.person == server.secret.pseudonym(
            arrival.source, arrival.key
        ):
            return RedirectResponse("/", 303, headers=_NO_STORE)
        response = page("join.html", texts, self.title(texts), heading=texts.say("join.title"))
        if not self._browser_token(request):
            self._set_cookie(
                request, response, self._browser, server.secret.sign(secrets.token_hex(16), BROWSER)
            )
        return response

    def _let_in(
        self, request: Request, arrival: Arrival, language: str
    ) -> tuple[PersonRecord, str, LinkOpening]:
        """Identify the participant, and bind the browser if allowed. Blocks; raises AdmissionRefusal."""
        server = self._server
        participant = self.known(request)
        token = self._browser_token(request)
        browser = browser_hash(token) if token else self._seat_of(request)[1]
        browser = browser or browser_hash(secrets.token_hex(16))
        if participant is not None and arrival.is_nameless:
            return (
                participant,
                self._seat_of(request)[1],
                LinkOpening(BOUND),
            )  # an open link, followed once more
        name = participant.person if participant else ""
        pseudonym = admit(arrival, server.database, server.secret, self._study.name, self._proof, name)
        entry = enter(server.database, pseudonym, browser, time.time(), is_vouched=arrival.needs_proof)
        person = server.join(pseudonym, arrival.source, language)
        if entry.state == BOUND:
            identify(server.database, pseudonym, arrival)
        return person, browser, entry

    def _seat_of(self, request: HTTPConnection) -> tuple[str, str]:
        """Return the seat in a browser's cookie, and the browser that it was issued to."""
        cookie = request.cookies.get(host_cookie(request, self._cookie), "")
        seat, _, browser = (self._server.secret.unsign(cookie, SEAT) or "").partition(".")
        return (seat, browser) if browser else ("", "")

    def _browser_token(self, request: HTTPConnection) -> str:
        cookie = request.cookies.get(host_cookie(request, self._browser), "")
        return self._server.secret.unsign(cookie, BROWSER) or ""

    def _give_seat(self, request: Request, response: Response, person: PersonRecord, browser: str) -> None:
        value = self._server.secret.sign(f"{person.seat}.{browser}", SEAT)
        self._set_cookie(request, response, self._cookie, value)

    def _set_cookie(self, request: Request, response: Response, name: str, value: str) -> None:
        """Set a cookie that no script reads. Lax: it must be sent when a person follows their link."""
        is_secure = request.url.scheme == "https"
        response.set_cookie(
            host_cookie(request, name),
            value,
            max_age=int(BOUND_SECONDS),
            httponly=True,
            samesite="lax",
            secure=is_secure,
        )

    def _refusal_response(self, texts: Translations, refusal: AdmissionRefusal) -> Response:
        sentence = texts.say(f"refused.{refusal.reason}", panel=refusal.panel)
        return self.refused(texts, sentence, 503 if refusal.reason == "not-now" else 403)

    def _status_message(self, state: str, texts: Translations, sentence: str, status: int) -> Response:
        message = {"state": state, "title": texts.say("refused.title"), "text": sentence}
        return JSONAnswer(message, status, headers=_NO_STORE)
