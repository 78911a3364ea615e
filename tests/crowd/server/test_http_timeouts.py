"""Requests that never end, answers that nobody reads, connections that say nothing: each has its time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from tutelage.crowd.server.http_timeouts import Timeouts, timed_http_protocol
from tutelage.crowd.server.recorder_app import listen
from websockets.sync.client import connect

pytestmark = pytest.mark.alone  # clocks: needs steady time

SECONDS = 0.6
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
MUCH = 30_000_000


async def answer(request: Request) -> Response:
    body = await request.body()
    return PlainTextResponse("much" * (MUCH // 4) if body == b"much" else "fine")


async def echo(page: WebSocket) -> None:
    await page.accept()
    with contextlib.suppress(Exception):
        while True:
            await page.send_text(await page.receive_text())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve a small application, with little patience, over real sockets."""
    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"]), WebSocketRoute("/socket", echo)])
    protocol = timed_http_protocol(Timeouts(request=SECONDS, read=SECONDS, most=8))
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, log_level="critical", timeout_keep_alive=60))
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def connected(port: int, first: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        line.sendall(first)
        yield line


def wait_for_answer(line: socket.socket) -> None:
    """Read an answer to its end: its head may come before its body."""
    answer = b""
    while not answer.endswith(b"fine"):
        more = line.recv(1000)
        assert more, answer
        answer += more


def seconds_until_cut(line: socket.socket, meanwhile: Callable[[], None]) -> float:
    """Measure how long a connection lasts, doing something every 50 ms."""
    began = time.monotonic()
    line.settimeout(0.05)
    while time.monotonic() < began + 10:
        with contextlib.suppress(TimeoutError):
            try:
                meanwhile()
                if not line.recv(1000):
                    break
            except ConnectionError:
                break
    return time.monotonic() - began


@pytest.mark.parametrize(
    "first",
    [
        b"",
        HEAD,
        HEAD + b"Content-Length: 4000\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["nothing", "headers", "body", "chunks"],
)
@pytest.mark.parametrize("more", [b"", b"1"], ids=["silent", "dribbling"])
def test_a_request_that_does_not_end_is_cut(port: int, first: bytes, more: bytes) -> None:
    with connected(port, first) as line:
        lasted = seconds_until_cut(line, lambda: line.sendall(more) if more else None)
    assert SECONDS - 0.1 < lasted < SECONDS + 2


def test_a_connection_that_asks_in_time_is_kept(port: int) -> None:
    with connected(port) as line:
        for _ in range(15):
            line.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
            wait_for_answer(line)
            time.sleep(SECONDS / 5)


def test_a_page_that_says_nothing_for_long_keeps_its_socket(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/socket", proxy=None) as page:
        time.sleep(2 * SECONDS)
        page.send("still here")
        assert page.recv() == "still here"


def test_an_answer_that_nobody_reads_is_cut(port: int) -> None:
    with connected(port, HEAD + b"Content-Length: 4\r\n\r\nmuch") as line:
        time.sleep(SECONDS + 1)
        read = 0
        with contextlib.suppress(ConnectionError):
            while data := line.recv(1 << 20):
                read += len(data)
        assert read < MUCH


def test_of_those_who_say_nothing_only_the_last_are_kept(port: int) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connected(port)) for _ in range(30)]
        asked = stack.enter_context(connected(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
        wait_for_answer(asked)
        for line in silent[:20]:
            line.settimeout(SECONDS / 3)
            with contextlib.suppress(ConnectionError):
                assert line.recv(1) == b""
