"""The store browser: one page, served on the loopback interface to the holder of its link."""

from __future__ import annotations

import _thread
import contextlib
import hashlib
import os
import sys
import threading
import webbrowser
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ...console.printable import printable
from ...console.signals import signals
from ...errors import TutelageError
from ...files.bounded_files import real_path
from ..dashboard.playback import message_part
from ..hosting.worker_pool import leave_if_imported_again
from ..page_templates import STATIC, english_page
from ..server.host_check import HostCheck
from ..server.host_names import AllowedHosts
from ..server.json_response import JSONAnswer, read_object
from ..server.link_token import LinkToken
from ..server.recorder_app import atlas_route, listen, local_url, server_of
from .index import EpisodeIndex
from .reel import EpisodePlaybacks, RequestSuperseded, reason, timeline

HOST = "127.0.0.1"
_LARGEST = 64 << 10
_END_SECONDS = 1.0
_NO_STORE = {"Cache-Control": "no-store"}
_NOT_PLAYED = "It was not played again: this page was started with --no-replay."


def browse(
    folder: Path,
    *,
    port: int = 0,
    open_browser: bool = True,
    replays: bool = True,
    say: Callable[[str], None] = print,
    farewell: Callable[[], None] = lambda: None,
) -> bool:
    """Serve the page on loopback until Ctrl-C; `say` receives the link, which carries the access token.

    `farewell` is called once when serving ends, also when the process is ended because an environment is
    busy.

    Returns whether a signal ended serving.

    Raises TutelageError when there is no sound store or the port is in use, and Untrusted when a replay would
    run a page or import a module that is not trusted.
    """
    leave_if_imported_again()
    browser = StoreBrowser(folder, replays=replays)
    with listen(HOST, port) as listening:
        url = browser.link.link(f"{local_url(HOST, listening)}/")

        def announce() -> None:
            say(f"Browsing {printable(folder)}\nLook at {url}   (Ctrl-C stops)")
            sys.stdout.flush()
            if open_browser:
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

        server = server_of(browser.app())
        server.on_started = announce
        with contextlib.suppress(KeyboardInterrupt), _ended_by_signals(server, browser, farewell):
            server.run(sockets=[listening])
    farewell()
    return browser.is_stopping


@contextlib.contextmanager
def _ended_by_signals(
    server: uvicorn.Server, browser: StoreBrowser, farewell: Callable[[], None]
) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end serving, and the process within two seconds, whatever is played.

    Nothing is lost: annotations are on disk before they are acknowledged.
    """
    is_over = threading.Event()

    def watch() -> None:
        if not is_over.wait(_END_SECONDS):
            signals.end_others()
            farewell()
            os._exit(0)

    def stop(sig: int, frame: FrameType | None) -> None:
        if not server.should_exit:
            _thread.start_new_thread(watch, ())  # not threading.Thread: its lock may be held here
        server.should_exit = browser.is_stopping = True

    server.handle_exit = stop  # type: ignore[method-assign]
    try:
        yield
    finally:
        is_over.set()


class StoreBrowser:
    """The routes of one store's page, and the environments that replay its episodes."""

    def __init__(self, folder: Path, *, replays: bool = True) -> None:
        self.index = EpisodeIndex(folder)
        if replays:
            self.index.store.admit_played()
        name = hashlib.blake2b(str(real_path(folder)).encode(), digest_size=6).hexdigest()
        self.link = LinkToken(f"browse-{name}")
        self._replays = replays
        self.is_stopping = False
        self._reels: EpisodePlaybacks | None = None

    def app(self) -> HostCheck:
        """Make the ASGI application."""
        routes = [
            Route("/", self.page),
            Route("/episodes", self.episodes),
            Route("/episode/{episode}", self.episode),
            Route("/frames/{episode}", self.frames),
            Route("/annotate", self.annotate, methods=["POST"]),
            atlas_route(self.index.store.suite),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        handlers = {TutelageError: _refuse}
        app = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=handlers)  # type: ignore[arg-type]
        return HostCheck(app, AllowedHosts(), link=self.link)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._reels = EpisodePlaybacks(self.index.store.suite, self.index.trajectory)
        try:
            yield
        finally:
            await self._reels.close()

    async def page(self, _: Request) -> Response:
        return english_page("browse.html")

    async def episodes(self, request: Request) -> Response:
        """List the matching episodes; see `EpisodeIndex.page`."""
        return _json(await run_in_threadpool(self.index.page, dict(request.query_params)))

    async def episode(self, request: Request) -> Response:
        """Return all fields of one episode; `why` says why it cannot be replayed, "" if it can."""
        name = request.path_params["episode"]
        details = await run_in_threadpool(self.index.details, name)
        if details is None:
            raise HTTPException(404, "expected an episode of this store, got another")
        replay, why = await self._describe(name)
        if replay is None:
            trajectory = await run_in_threadpool(self.index.trajectory, name)
            if trajectory is None:
                raise HTTPException(404, "expected an episode of this store, got another")
            replay = timeline(trajectory)
        return _json({"instruction": "", "atlas": None, **replay, **details, "why": why})

    async def frames(self, request: Request) -> Response:
        """Stream the frames after `first` steps, at most `count`; see `EpisodePlayback.frames`."""
        name = request.path_params["episode"]
        first, count = (_parse_number(request, key) for key in ("first", "count"))
        if not self._replays or self._reels is None:
            raise HTTPException(409, _NOT_PLAYED)
        try:
            reel = await self._reels.reel(name)
            if reel is None:
                raise HTTPException(404, "expected an episode of this store, got another")
            parts = reel.frames(first, count, partial(self._is_gone, request))
            first_part = await anext(parts)
        except HTTPException:
            raise
        except RequestSuperseded:
            return Response(status_code=499)
        except Exception as error:  # an environment may raise anything
            await self._reels.drop(name)
            raise HTTPException(409, reason(error)) from None
        body = self._stream_parts(name, first_part, parts)
        return StreamingResponse(body, media_type="application/octet-stream", headers=_NO_STORE)

    async def _stream_parts(
        self, name: str, first_part: bytes, parts: AsyncGenerator[bytes, None]
    ) -> AsyncIterator[bytes]:
        """Yield the remaining parts of a stream; a failure from here on is reported within it."""
        try:
            async with contextlib.aclosing(parts):
                yield first_part
                async for part in parts:
                    yield part
        except RequestSuperseded:
            return
        except Exception as error:  # an environment may raise anything
            if self._reels is not None:
                await self._reels.drop(name)
            yield message_part({"type": "failed", "why": reason(error)})

    async def _is_gone(self, request: Request) -> bool:
        return self.is_stopping or await request.is_disconnected()

    async def annotate(self, request: Request) -> Response:
        """Change an episode's note, tags or mark; answered once it is on disk."""
        fields = await read_object(request, _LARGEST)
        episode = fields.pop("episode", None)
        if not isinstance(episode, str):
            raise TutelageError("expected the id of an episode, got none")
        annotation = await run_in_threadpool(self.index.annotate, episode, fields)
        return _json({"note": annotation.note, "tags": annotation.tags, "marked": annotation.marked})

    async def _describe(self, episode: str) -> tuple[dict[str, Any] | None, str]:
        if not self._replays or self._reels is None:
            return None, _NOT_PLAYED
        try:
            return await self._reels.describe(episode), ""
        except Exception as error:  # an environment may raise anything
            return None, f"It cannot be played again: {reason(error)}"


async def _refuse(_: Request, error: Exception) -> Response:
    return Response(printable(error), 409, media_type="text/plain", headers=_NO_STORE)


def _parse_number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not text.isdecimal() or len(text) > 9:
        raise HTTPException(400, f"expected a number for {name}, got something else")
    return int(text)


def _json(document: Any) -> Response:
    return JSONAnswer(document, headers=_NO_STORE)
