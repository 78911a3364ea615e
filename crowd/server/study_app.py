"""The web application of a study: joining, its page, its socket; serves until Ctrl-C."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sql
import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from ...envs.keys.controls import Controls
from ..dashboard.admin_token import make_admin
from ..hosting.worker_pool import leave_if_imported_again
from ..page_templates import STATIC, page
from ..recruiting.panels import Proof
from ..seats.protocol import OCCUPIED, UNKNOWN_SEAT
from ..storage.database import database_errors
from ..storage.study_tables import ON_BEHALF_OF
from ..studies.study import Study
from ..studies.study_server import StudyServer
from .bounded_calls import bounded_unless, is_anything_refused
from .entrance import Entrance
from .host_check import HostCheck
from .host_names import AllowedHosts
from .json_response import JSONAnswer
from .proxies import check_proxies
from .rate_limit import RateLimitedSocket, TokenBucket
from .recorder_app import (
    TRY_AGAIN,
    atlas_route,
    away_handlers,
    farewell,
    listen,
    local_url,
    not_now,
    run,
    server_of,
)
from .study_services import WEBHOOK, StudyServices
from .tunnel import tunnel_hint

_MESSAGES_A_SECOND = 150


@database_errors()
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
    proxies: Sequence[str] = (),
    new_admin_token: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serve a study and its dashboard until Ctrl-C; the admin token is printed once, when it is made.

    `address` is the public address, if it differs from this host and port (behind a proxy, for example);
    requests under other names are refused. `proxies` are those whose `X-Forwarded-*` headers count. A program
    of your own calls this under `if __name__ == "__main__":`, as `record`. Raises TutelageError when the port
    is in use, or the folder, the database or a panel cannot be used.
    """
    leave_if_imported_again()
    hosts, proxies = AllowedHosts(address), check_proxies(proxies)
    with listen(host, port) as listening:
        server = StudyServer(study, folder, controls, database, parts)
        url = hosts.address.origin if hosts.address else local_url(host, listening)
        services = StudyServices(server)
        app = make_app(server, hosts, proof=services.proof, extra_routes=services.routes())
        token = make_admin(folder, new_admin_token)

        def announce() -> None:
            say(f"People join at {url}/join   (Ctrl-C stops)")
            say(f"Dashboard at {url}/admin")
            if hint := tunnel_hint(url):
                say(hint)
            if token:
                say(f"Its token, shown this once: {token}")

        say(f"Serving study {study.name} into {folder}")
        with services.settling():
            run(server_of(app, proxies), server, listening, announce)
        say(farewell(server))


def make_server(server: StudyServer, hosts: AllowedHosts | None = None, **options: object) -> uvicorn.Server:
    """Make the uvicorn server of a study; `run(sockets=[...])` serves. Options are those of `make_app`."""
    return server_of(make_app(server, hosts, **options))  # type: ignore[arg-type]


def make_app(
    server: StudyServer,
    hosts: AllowedHosts | None = None,
    *,
    proof: Proof | None = None,
    extra_routes: Sequence[BaseRoute] = (),
) -> HostCheck:
    """Make the ASGI application of a study."""
    entrance = Entrance(server, proof)
    study_app = _StudyApp(server, entrance)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with server.running():
            yield

    routes: list[BaseRoute] = [
        Route("/", study_app.index),
        Route("/join", entrance.open),
        Route("/join", entrance.ask, methods=["POST"]),
        Route("/confirm", entrance.confirm, methods=["POST"]),
        Route("/healthz", study_app.health),
        WebSocketRoute("/socket", study_app.talk),
        atlas_route(server.study.suite),
        *extra_routes,
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=away_handlers(study_app.away))
    return HostCheck(app, hosts or AllowedHosts(), machines=(WEBHOOK,))


class _StudyApp:
    """State shared by the routes."""

    def __init__(self, server: StudyServer, entrance: Entrance) -> None:
        self._server = server
        self._entrance = entrance
        self._pages: dict[str, str] = {}
        fastest = max((task.fps or 0.0 for task in server.study.tasks), default=0.0)
        self._messages = _MESSAGES_A_SECOND + 2 * fastest

    async def index(self, request: Request) -> Response:
        entrance = self._entrance
        person = await bounded_unless(self._trouble, entrance.known, request)
        if person is None:
            texts = entrance.texts(request)
            return entrance.refused(texts, texts.say("refused.stranger"), 403)
        texts = self._server.context.texts(person.language)
        return page("index.html", texts, entrance.title(texts))

    async def talk(self, socket: WebSocket) -> None:
        """Serve a page; a second page is refused while the first is open, unless it asks to take over."""
        await socket.accept()
        person = await bounded_unless(self._trouble, self._entrance.known, socket)
        name = person.seat if person else ""
        page_name = socket.query_params.get("page", "")[:64]
        if "take" not in socket.query_params and await self._is_open_in_another(name, page_name):
            await socket.close(OCCUPIED)
            return
        seat = await self._server.seat_for_page(name, page_name) if name else None
        if seat is None:
            await socket.close(UNKNOWN_SEAT)
            return
        ON_BEHALF_OF.set(name)  # for all writes of this socket's task
        self._pages[name] = page_name
        limited = RateLimitedSocket(socket.scope, socket.receive, socket.send)
        limited.client_state, limited.application_state = socket.client_state, socket.application_state
        limited.bucket = TokenBucket(self._messages, 2 * self._messages)
        try:
            await seat.attend(limited, page_name)
        finally:
            if not seat.is_open:
                self._pages.pop(name, None)
            await self._server.left(name)

    async def _is_open_in_another(self, seat: str, page: str) -> bool:
        """Say whether another page has the seat open, here or on another server."""
        cluster = self._server.cluster
        if cluster is not None and await cluster.is_open_elsewhere(seat, page):
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
        if trouble is None and is_anything_refused():
            trouble = "the database refuses what people ask for"
        # details go to the log, not to the client
        state = "ok" if trouble is None else "saving fails"
        return JSONAnswer({"status": state}, 200 if trouble is None else 503)

    async def away(self, connection: HTTPConnection, _: Exception) -> Response | None:
        """Answer that the database is away; nothing is lost, and the client may retry."""
        if isinstance(connection, WebSocket):
            await connection.close(TRY_AGAIN)
            return None
        texts = self._entrance.texts(connection)
        return not_now(texts, self._entrance.title(texts))

    def _trouble(self) -> str | None:
        return self._server.journal.trouble

    def _ask_database(self) -> None:
        with self._server.database.engine.connect() as connection:
            connection.execute(sql.select(1))
