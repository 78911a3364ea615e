"""The web application of a study: how people come in, their page, its socket; and serving it until Ctrl-C."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sql
import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from ...envs.controls import Controls
from .app import TRY_AGAIN, atlas_route, away_handlers, farewell, in_url, listen, not_now, run, server_of
from .back_office import BackOffice
from .bounded_calls import bounded_unless
from .dashboard.admin import make_admin
from .guard import Guard
from .ledger import ON_BEHALF_OF, Person
from .pages import STATIC, page
from .rates import Bucket, Measured, Rates
from .recruiting.panels import LINK, Proof, Refusal
from .recruiting.recruiting import admit, identify
from .seats.protocol import OCCUPIED, UNKNOWN_SEAT
from .studies.study import Study
from .study_server import StudyServer
from .texts import Texts, best_language
from .worlds.workers import leave_if_imported_again

SEAT = "seat"
"""What the signature of a seat's cookie is for."""

_SEAT_SECONDS = 90 * 24 * 3600
_JOINS_A_SECOND, _JOINS_AT_ONCE = 0.5, 60  # a class behind one address may come at once; a script may not
_MESSAGES_A_SECOND = 150


def serve_study(
    study: Study,
    folder: Path,
    controls: Mapping[str, Controls],
    *,
    database: str = "",
    parts: str = "",
    host: str = "127.0.0.1",
    port: int = 8000,
    address: str = "",
    new_admin_token: bool = False,
    told: Callable[[str], None] = print,
) -> None:
    """Serve a study and its dashboard until Ctrl-C; the admin token is told once, when it is made.

    `address` is where people find it, when that is not this very host and port (behind a proxy, say).
    A program of your own calls this under `if __name__ == "__main__":`, as `record`. Raises TutelageError
    when the port is in use, or the folder, the database or a panel cannot be used.
    """
    leave_if_imported_again()
    with listen(host, port) as listening:
        server = StudyServer(study, folder, controls, database, parts)
        url = address.rstrip("/") or f"http://{in_url(host)}:{listening.getsockname()[1]}"
        office = BackOffice(server)
        app = make_app(server, host, address=url, proof=office.proof, rooms=office.routes())
        told(f"Serving study {study.name} into {folder}")
        told(f"People join at {url}/join   (Ctrl-C stops)")
        told(f"Dashboard at {url}/admin")
        if token := make_admin(folder, new_admin_token):
            told(f"Its token, shown this once: {token}")
        with office.settling():
            run(server_of(app), server, listening)
        told(farewell(server))


def make_server(server: StudyServer, host: str = "127.0.0.1", **options: object) -> uvicorn.Server:
    """Make the uvicorn server of a study; `run(sockets=[...])` serves. Options are those of `make_app`."""
    return server_of(make_app(server, host, **options))  # type: ignore[arg-type]


def make_app(
    server: StudyServer,
    host: str = "127.0.0.1",
    *,
    address: str = "",
    proof: Proof | None = None,
    rooms: Sequence[BaseRoute] = (),
) -> Guard:
    """Make the ASGI application of a study."""
    room = _Room(server, proof)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with server.running():
            yield

    routes: list[BaseRoute] = [
        Route("/", room.index),
        Route("/join", room.join),
        Route("/healthz", room.health),
        WebSocketRoute("/socket", room.talk),
        atlas_route(server.study.suite),
        *rooms,
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    names = {urlsplit(address).hostname or ""} if address else set()
    away = away_handlers(room.away)
    return Guard(Starlette(routes=routes, lifespan=lifespan, exception_handlers=away), host, set(), names)


class _Room:
    """What the routes share."""

    def __init__(self, server: StudyServer, proof: Proof | None) -> None:
        self._server = server
        self._study = server.study
        self._proof = proof
        self._joins = Rates(_JOINS_A_SECOND, _JOINS_AT_ONCE)
        self._pages: dict[str, str] = {}
        # browsers share cookies between all ports of a machine, where several studies may be served
        self._cookie = f"seat-{server.secret.number('cookie', server.study.name):012x}"[:17]
        fastest = max((task.fps or 0.0 for task in server.study.tasks), default=0.0)
        self._messages = _MESSAGES_A_SECOND + 2 * fastest

    async def join(self, request: Request) -> Response:
        """Let somebody in: a seat, in a signed cookie, and from then on nothing about them in any address."""
        texts = self._texts(request)
        if not self._joins.take(request.client.host if request.client else ""):
            return self._refused(texts, texts.say("refused.too-often"), 429)
        try:
            if self._trouble() is not None:
                return self._not_now(texts)  # before anything is put down for them that would be saved later
            person = await bounded_unless(self._trouble, self._admit, request, texts.code)
        except Refusal as refusal:
            sentence = texts.say(f"refused.{refusal.reason}", panel=refusal.panel)
            return self._refused(texts, sentence, 503 if refusal.reason == "not-now" else 403)
        response = RedirectResponse("/", 303, headers={"Cache-Control": "no-store"})
        response.set_cookie(
            self._cookie,
            self._server.secret.sign(person.seat, SEAT),
            max_age=_SEAT_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response

    async def index(self, request: Request) -> Response:
        person = await bounded_unless(self._trouble, self._known, request)
        if person is None:
            texts = self._texts(request)
            return self._refused(texts, texts.say("refused.stranger"), 403)
        texts = self._server.house.texts(person.language)
        return page("index.html", texts, self._title(texts))

    async def talk(self, socket: WebSocket) -> None:
        """Serve a page; a second one is told that the first is open, unless it asks to take its place."""
        await socket.accept()
        name = self._seat_of(socket)
        which = socket.query_params.get("page", "")[:64]
        if "take" not in socket.query_params and await self._is_open_in_another(name, which):
            await socket.close(OCCUPIED)
            return
        seat = await self._server.visit(name, which) if name else None
        if seat is None:
            await socket.close(UNKNOWN_SEAT)
            return
        ON_BEHALF_OF.set(name)  # for all that this socket's task writes
        self._pages[name] = which
        measured = Measured(socket.scope, socket.receive, socket.send)
        measured.client_state, measured.application_state = socket.client_state, socket.application_state
        measured.bucket = Bucket(self._messages, 2 * self._messages)
        try:
            await seat.attend(measured)
        finally:
            if not seat.is_open:
                self._pages.pop(name, None)
            await self._server.left(name)

    async def _is_open_in_another(self, seat: str, page: str) -> bool:
        """Say whether another page has a seat open, here or at another server."""
        company = self._server.company
        if company is not None and await company.is_open_elsewhere(seat, page):
            return True
        return self._server.is_open(seat) and self._pages.get(seat) != page

    async def health(self, _: Request) -> Response:
        """Say whether people can play here: the database answers, and the journal can be written."""
        trouble = self._server.journal.trouble
        if trouble is None:
            try:
                await bounded_unless(lambda: True, self._ask_database)
            except sql.exc.SQLAlchemyError:
                trouble = "the database does not answer"
        # what exactly is wrong is for the log, not for whoever asks
        state = "ok" if trouble is None else "saving fails"
        return JSONResponse({"status": state}, 200 if trouble is None else 503)

    async def away(self, connection: HTTPConnection, _: Exception) -> Response | None:
        """Say that the database is away: who waits a little finds everything as it was."""
        if isinstance(connection, WebSocket):
            await connection.close(TRY_AGAIN)
            return None
        return self._not_now(self._texts(connection))

    def _trouble(self) -> str | None:
        return self._server.journal.trouble

    def _not_now(self, texts: Texts) -> Response:
        return not_now(texts, self._title(texts))

    def _ask_database(self) -> None:
        with self._server.ledger.engine.connect() as connection:
            connection.execute(sql.select(1))

    def _admit(self, request: Request, language: str) -> Person:
        """Find out who is coming, and give them a seat. Blocks; raises Refusal."""
        server, recruiting = self._server, self._study.recruiting
        known = self._known(request)
        arrival = recruiting.read(request.query_params.multi_items(), time.time())
        if known is not None and arrival.source == LINK and not arrival.single:
            return known  # an open link, followed once more
        ledger, name = server.ledger, known.person if known else ""
        pseudonym = admit(arrival, ledger, server.secret, self._study.name, self._proof, name)
        person = server.join(pseudonym, arrival.source, language)
        identify(ledger, pseudonym, arrival)
        return person

    def _known(self, request: HTTPConnection) -> Person | None:
        """Return whom a browser's signed seat names, if they are in this study. Blocks."""
        name = self._seat_of(request)
        person = self._server.person_of(name) if name else None
        return person if person is not None and person.study == self._study.name else None

    def _seat_of(self, request: HTTPConnection) -> str:
        return self._server.secret.unsign(request.cookies.get(self._cookie, ""), SEAT) or ""

    def _texts(self, request: HTTPConnection) -> Texts:
        """Choose a language for somebody who is not known yet: the one asked for, else their browser's."""
        asked = request.query_params.get("language", "")
        wanted = request.headers.get("accept-language", "")
        languages = self._study.languages
        return self._server.house.texts(asked if asked in languages else best_language(wanted, languages))

    def _title(self, texts: Texts) -> str:
        return self._study.say(self._study.title, texts.code) or self._study.name

    def _refused(self, texts: Texts, sentence: str, status: int) -> Response:
        heading = texts.say("refused.title")
        return page("refused.html", texts, self._title(texts), status, heading=heading, sentence=sentence)
