"""The web recorder: serves the page and its socket on this machine, until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import signal
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sql
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from ...console.printable import printable
from ...console.wording import agreeing, counted
from ...datasets.trajectory import Trajectory
from ...envs.suite import Suite
from ...envs.task import RECORD, SeedRange
from ...errors import TutelageError
from ...files.bounded_files import real_path
from ..hosting.host_factory import atlases
from ..hosting.worker_pool import leave_if_imported_again
from ..page_templates import STATIC, language, page
from ..seats.protocol import LARGEST, UNKNOWN_SEAT
from ..seats.recorder import Recorder
from ..settings import Settings
from ..storage.database import database_errors
from ..translations import Translations, load_texts
from .bounded_calls import bounded_unless
from .host_check import HostCheck
from .host_names import AllowedHosts, is_loopback
from .http_timeouts import timed_http_protocol
from .link_token import LinkToken, host_cookie
from .proxies import check_proxies
from .socket_limits import limited_websockets
from .tunnel import tunnel_hint

TRY_AGAIN = 1013
"""WebSocket close code (RFC 6455 registry): the socket may be opened again later."""
LAST_PORT = 65535

_YEAR = 365 * 24 * 3600


def _say(line: str) -> None:
    print(line, flush=True)


@database_errors()
def record(
    suite: Suite,
    out: Path,
    *,
    seeds: SeedRange = RECORD,
    host: str = "127.0.0.1",
    port: int = 8000,
    address: str = "",
    proxies: Sequence[str] = (),
    open_browser: bool = True,
    demonstrator: str | None = None,
    episodes: int | None = None,
    on_kept: Callable[[Trajectory], None] | None = None,
    extra_pages: dict[str, Path] | None = None,
    unavailable: Mapping[str, str] | None = None,
    say: Callable[[str], None] = _say,
) -> str:
    """Serve the recorder for a suite until Ctrl-C; demonstrations go to the store at `out`.

    `say` receives each line for the operator; returns the last one, which says what is saved.

    `port=0` takes a free one. `address` is the public address, if it differs from host and port;
    `X-Forwarded-*` headers count only from `proxies`. Clients on other machines need the token of the printed
    link. The other arguments are those of `Settings`. Environments run in separate processes, which import
    the program that calls this: call it under `if __name__ == "__main__":`. Raises TutelageError when the
    port is in use, the folder cannot be used, or no process can be made.
    """
    leave_if_imported_again()
    hosts, proxies = AllowedHosts(address), check_proxies(proxies)
    link = LinkToken(_cookie("link", out)) if hosts.is_public or not is_loopback(host) else None
    listening = listen(host, port)
    with listening:
        recorder = Recorder(
            Settings(
                suite,
                out,
                seeds,
                demonstrator,
                episodes,
                on_kept,
                dict(extra_pages or {}),
                unavailable=dict(unavailable or {}),
            )
        )
        url = f"{hosts.address.origin if hosts.address else local_url(host, listening)}/"
        url = link.link(url) if link else url

        def announce() -> None:
            say(f"Play at {url}   (Ctrl-C stops)")
            if hint := tunnel_hint(url):
                say(hint)
            elif open_browser:
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

        say(f"Recording {printable(suite.name)} into {printable(out)}")
        run(make_server(recorder, hosts, link, proxies), recorder, listening, announce)
        ended = farewell(recorder)
        say(ended)
        return ended


def run(server: Server, recorder: Recorder, listening: socket.socket, announce: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; the address is announced once the recorder has started.

    Raises TutelageError when the recorder failed.
    """

    def stop() -> None:
        server.should_exit = True

    recorder.on_failure = stop
    server.on_started = announce
    with stopped_by_signals(stop):
        server.run(sockets=[listening])
    if recorder.failure is not None:
        raise recorder.failure


def farewell(recorder: Recorder) -> str:
    """Say in one line, after serving, what is saved; pending writes are written now or never."""
    journal = recorder.journal
    journal.close()  # again, in case serving was broken off, as by a second Ctrl-C
    if journal.trouble is None and not journal.unsaved:
        return "Stopped; everything is saved."
    why = f": {printable(journal.trouble)}" if journal.trouble else ""
    unsaved = (
        f"{counted(journal.unsaved, 'unacknowledged change')} {agreeing(journal.unsaved, 'is')} not saved, "
        "everything else is"
        if journal.unsaved
        else "every acknowledged change is saved"
    )
    return f"Stopped while saving failed{why}; {unsaved}."


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at SIGINT and SIGTERM, also before uvicorn catches them; it raises them again afterwards.

    A `KeyboardInterrupt` would be lost if it came in a callback of the interpreter.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, lambda *_: stop()) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, handlers, strict=True):
            signal.signal(number, handler)


def away_handlers(answer: Callable[..., Any]) -> dict[Any, Any]:
    """Map the errors of a database that is away, full, locked or too slow to their handler."""
    return dict.fromkeys((sql.exc.OperationalError, sql.exc.InterfaceError, sql.exc.TimeoutError), answer)


def not_now(texts: Translations, title: str) -> Response:
    """Make the page (503) for participants who arrive while nothing can be saved."""
    sentence, heading = texts.say("refused.not-saved"), texts.say("refused.later")
    response = page("refused.html", texts, title, 503, heading=heading, sentence=sentence)
    response.headers["Retry-After"] = "10"
    return response


def listen(host: str, port: int) -> socket.socket:
    """Bind a port, a free one for 0; raises TutelageError when that fails."""
    if not 0 <= port <= LAST_PORT:
        raise TutelageError(f"expected a port from 1 to {LAST_PORT}, or 0 for any free one, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except PermissionError as error:
        listening.close()
        raise TutelageError(
            f"expected to be allowed to listen on port {port}, got: {error}; "
            "choose one from 1024 up, or 0 for any"
        ) from None
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise TutelageError(
                f"expected port {port} of {host} to be free, got: {error}; choose another port, or 0 for any"
            ) from None
        raise _no_address(host, error) from None
    except (ValueError, TypeError) as error:  # an invalid host name
        listening.close()
        raise _no_address(host, error) from None
    return listening


def _no_address(host: str, error: Exception) -> TutelageError:
    return TutelageError(
        f"expected --host to be an address of this machine, such as 127.0.0.1 or 0.0.0.0, "
        f"got {host!r}: {error}"
    )


def make_server(
    recorder: Recorder,
    hosts: AllowedHosts | None = None,
    link: LinkToken | None = None,
    proxies: Sequence[str] = (),
) -> Server:
    """Make the server of a recorder; `server.run(sockets=[...])` serves."""
    return server_of(make_app(recorder, hosts, link), proxies)


class Server(uvicorn.Server):
    """A uvicorn server that calls `on_started` once it accepts connections, and `on_stopping` at its end."""

    def __init__(self, config: uvicorn.Config, on_stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_started: Callable[[], None] = lambda: None
        self._on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; if a stop was requested meanwhile, nothing is announced."""
        await super().startup(sockets)
        if not self.should_exit:
            self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; messages that nobody has read yet are not waited for."""
        self._on_stopping()
        await super().shutdown(sockets)


def server_of(app: HostCheck, proxies: Sequence[str] = ()) -> Server:
    """Make a uvicorn server of an application, with little terminal output.

    `X-Forwarded-*` headers count only from `proxies`: addresses or networks.
    """
    websockets = limited_websockets()
    config = uvicorn.Config(
        app,
        http=timed_http_protocol(),
        ws=websockets,
        ws_max_size=4 * LARGEST,
        ws_per_message_deflate=False,  # against decompression bombs; it also takes memory per socket
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        server_header=False,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    return Server(config, on_stopping=websockets.drop_unanswered)


def make_app(
    recorder: Recorder, hosts: AllowedHosts | None = None, link: LinkToken | None = None
) -> HostCheck:
    """Make the ASGI application of a recorder; with a `link`, its token is required."""
    name = _cookie("seat", recorder.settings.out)

    def trouble() -> str | None:
        return recorder.journal.trouble

    async def away(connection: HTTPConnection, _: Exception) -> Response | None:
        if isinstance(connection, WebSocket):
            await connection.close(TRY_AGAIN)
            return None
        texts = load_texts(language(connection))
        return not_now(texts, texts.say("brand"))

    async def index(request: Request) -> Response:
        texts = load_texts(language(request))
        response = page("index.html", texts, texts.say("brand"))
        cookie = host_cookie(request, name)
        token = request.cookies.get(cookie, "")
        if not token or not await bounded_unless(trouble, recorder.knows, token):
            if trouble() is not None:
                return not_now(texts, texts.say("brand"))
            token = await bounded_unless(trouble, recorder.new_token)
        response.set_cookie(
            cookie,
            token,
            max_age=_YEAR,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        seat = recorder.seat(socket.cookies.get(host_cookie(socket, name), ""))
        if seat is None:
            await socket.close(UNKNOWN_SEAT)
        else:
            seat.flow.texts = load_texts(language(socket))
            await seat.attend(socket, socket.query_params.get("page", "")[:64])

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with recorder.running():
            yield

    routes: list[BaseRoute] = [
        Route("/", index),
        WebSocketRoute("/socket", talk),
        atlas_route(recorder.settings.suite),
        *(_page(path, file) for path, file in recorder.settings.extra_pages.items()),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=away_handlers(away))
    return HostCheck(app, hosts or AllowedHosts(), recorder.settings.extra_pages, link=link)


def atlas_route(suite: Suite) -> Route:
    """Serve the tile atlases of a suite (see `envs.grid.tile_atlas`).

    They are named by their content, so browsers may cache them forever.
    """

    def find(name: str) -> bytes | None:
        return atlases(suite).get(name)

    async def serve(request: Request) -> Response:
        data = await run_in_threadpool(find, request.path_params["name"])
        if data is None:
            return Response("There is no such atlas here.", 404)
        headers = {"Cache-Control": f"public, max-age={_YEAR}, immutable"}
        return Response(data, media_type="image/png", headers=headers)

    return Route("/atlas/{name}", serve)


def _page(path: str, file: Path) -> Route:
    async def serve(_: Request) -> Response:
        if not file.is_file():
            return Response("This page has not been written yet.", 404)
        return FileResponse(file, headers={"Cache-Control": "no-store"})

    return Route(path, serve)


def _cookie(purpose: str, out: Path) -> str:
    """Name a cookie after the folder: browsers share cookies between all ports of a machine."""
    return f"{purpose}-" + hashlib.blake2b(str(real_path(out)).encode(), digest_size=6).hexdigest()


def local_url(host: str, listening: socket.socket) -> str:
    """Return the address of a listening socket, without a final slash.

    If it listens on every address of this machine, the one that other machines most likely reach.
    """
    if host in ("0.0.0.0", "::", ""):
        host = _outward_address(listening.family) or host
    return f"http://{in_url(host)}:{listening.getsockname()[1]}"


def _outward_address(family: int) -> str:
    """Return this machine's address on its outward route, without sending anything; "" without a route."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return ""


def in_url(host: str) -> str:
    """Return a host as it is written in an address."""
    return f"[{host}]" if ":" in host else host
