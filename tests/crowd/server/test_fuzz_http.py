"""Whatever comes by HTTP: an answer within moments, never a failure, and play goes on.

The routes are read from the applications themselves, so that new ones are covered by themselves.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import BaseRoute, Match, WebSocketRoute
from tutelage.crowd.dashboard.admin_token import AdminToken
from tutelage.crowd.seats.recorder import Recorder
from tutelage.crowd.server import recorder_app as recorder_app
from tutelage.crowd.server.study_app import make_app
from tutelage.crowd.server.study_services import StudyServices
from tutelage.crowd.settings import Settings
from tutelage.crowd.storage.secret import Secret
from tutelage.crowd.studies.study_file import examine
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.envs.suite import suite_from
from tutelage.tests.support import small_room
from tutelage.tests.support.asked import KEYS, PANEL, long, quickly, served
from tutelage.tests.support.messages import anything, words
from tutelage.tests.support.nursery import Nursery, Server
from tutelage.tests.support.players import Player

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW")
PATIENCE_SECONDS = 20


@pytest.fixture(scope="module", params=["recorder", "study"])
def server(
    request: pytest.FixtureRequest, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with served(nursery, request.param, tmp_path_factory.mktemp("http")) as one:
        yield one


@pytest.fixture(scope="module")
def routes(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[BaseRoute]]:
    """Give the routes of another application of the same kind, which is not served."""
    out = tmp_path_factory.mktemp("routes")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        if (server.folder / "out").is_dir():
            study, controls, _ = examine(server.folder / "pilot.yaml")
            assert study is not None
            recorder: Recorder = (study_server := StudyServer(study, out, controls))
            app = make_app(study_server, extra_routes=StudyServices(study_server).routes())
        else:
            recorder = Recorder(Settings(suite_from(small_room.SUITE), out))
            app = recorder_app.make_app(recorder)
    yield list(app._app.routes)  # type: ignore[attr-defined]
    asyncio.run(recorder.close())


class Browser:
    """Sends requests of any kind to a server, and counts which of the routes they came to."""

    def __init__(self, server: Server, routes: list[BaseRoute]) -> None:
        self.hits: Counter[str] = Counter()
        self._server = server
        self._routes = routes
        self.cookies = ["", "seat=x; =; ;;", *_cookies(server)]

    def ask(self, method: str, target: bytes, headers: list[tuple[str, str]], body: bytes = b"") -> int:
        """Send a request and read the answer to its end; returns its status."""
        lines = [b"%s %s HTTP/1.1" % (method.encode(), target)]
        given = [("Host", self._server.address), ("Connection", "close"), *headers]
        lines += [f"{name}: {value}".encode("latin-1") for name, value in given]
        if body:
            lines.append(b"Content-Length: %d" % len(body))
        host, port = self._server.address.split(":")
        with socket.create_connection((host, int(port)), PATIENCE_SECONDS) as line:
            line.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            answer = b""
            while data := line.recv(1 << 16):
                answer += data
        assert answer.startswith(b"HTTP/1.1 "), (method, target, headers, body, answer)
        status = int(answer.split(b" ", 2)[1])
        assert status < 500 or status == 503, (method, target, headers, body, answer)
        self._count(method, target, status)
        return status

    def _count(self, method: str, target: bytes, status: int) -> None:
        path = target.partition(b"?")[0].decode("latin-1")
        scope = {"type": "http", "method": method, "path": path, "root_path": ""}
        for one in self._routes:
            if status != 405 and one.matches(scope)[0] is Match.FULL:
                self.hits[one.path] += 1  # type: ignore[attr-defined]
                return


def _cookies(server: Server) -> list[str]:
    """Sign in as a player and, where there is one, as whoever runs the study."""
    player = Player(random.Random(2), "127.9.9.8")
    asyncio.run(player.join(server.address))
    out = server.folder / "out"
    if not out.is_dir():
        return [player.cookie]
    admin = AdminToken(out, Secret.load(out))
    return [player.cookie, f"{player.cookie}; {admin.cookie}={admin.sign_in()}"]


@pytest.fixture(scope="module")
def browser(server: Server, routes: list[BaseRoute]) -> Browser:
    return Browser(server, routes)


def _csrf(server: Server, cookie: str) -> str:
    out = server.folder / "out"
    if not out.is_dir() or "admin-" not in cookie:
        return "none"
    return AdminToken(out, Secret.load(out)).csrf(cookie.rpartition("=")[2])


@pytest.mark.slow
def test_every_route_answers_every_method(server: Server, browser: Browser, routes: list[BaseRoute]) -> None:
    places = [one.path for one in routes if not isinstance(one, WebSocketRoute)]  # type: ignore[attr-defined]
    for place in places:
        for value in ("a", "person-0", "%00", "..%2f..", "%ff%fe", "x" * 300):
            target = _filled(place, value).encode()
            for cookie in browser.cookies:
                origin = [("Origin", f"http://{server.address}"), ("X-CSRF-Token", _csrf(server, cookie))]
                for method in METHODS if value == "a" else METHODS[:3]:
                    headers = [("Cookie", cookie), *origin]
                    body = b'{"what": "x", "person": "y", "reason": "z"}' if method == "POST" else b""
                    browser.ask(method, target, headers, body)
                    browser.ask(method, target + b"?" + quote(value).encode() + b"=1&&=&%", [], b"\xff{")
    assert set(places) <= set(browser.hits)
    assert server.complaints == [], server.log


def _filled(place: str, value: str) -> str:
    parts = [value if part.startswith("{") else part for part in place.split("/")]
    path = "/".join(parts)
    return f"{path}/{value}" if place == "/static" else path


sendable = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60).map(str.strip)
known_names = st.sampled_from(
    (
        *("link", "language", "page", "take", "window", "prolific_token", "PROLIFIC_PID", "STUDY_ID"),
        *("SESSION_ID", "person", "what", "reason", "token"),
    )
)
known_values = st.sampled_from(("en", "hour", "day", PANEL["study"], "person-0", "1", "ban", "pause", ""))
known_headers = st.sampled_from(
    (
        *("Accept-Language", "Authorization", "Content-Type", "Origin", "Range", "If-None-Match"),
        *("If-Modified-Since", "X-CSRF-Token", "X-Forwarded-For", "X-Forwarded-Proto", "Accept-Encoding"),
        *("X-Prolific-Request-Signature", "X-Prolific-Request-Timestamp", "Expect", "Upgrade", "Cookie"),
    )
)


@st.composite
def requests(draw: st.DrawFn, places: tuple[str, ...]) -> tuple[str, bytes, list[tuple[str, str]], bytes]:
    """Draw a method, a target, headers and a body, each of them sound, nearly sound or neither."""
    segment = words.map(partial(quote, safe=draw(st.sampled_from(("", "/", "/.~!$&'()*+,;=:@%")))))
    path = draw(
        st.sampled_from(places).map(lambda one: _filled(one, draw(segment))) | segment.map("/{}".format)
    )
    pairs = draw(st.lists(st.tuples(known_names | words, known_values | words), max_size=4))
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)
    target = f"{path}?{query}" if pairs else path
    ascii_only = quote(target, safe="/?&=%~!$'()*+,;:@.-_")
    values = sendable | st.sampled_from(("", "bytes=0-10", "zh;q=0.5, en", "Bearer x", "0", "100-continue"))
    headers = draw(st.lists(st.tuples(known_headers, values), max_size=4))
    documents = st.dictionaries(known_names | words, known_values | words | anything, max_size=5)
    bodies = (
        st.just(b"")
        | (documents | anything).map(lambda one: json.dumps(one).encode())
        | st.binary(max_size=300)
    )
    return draw(st.sampled_from(METHODS)), ascii_only.encode(), headers, draw(bodies)


def ask_for_anything(server: Server, browser: Browser, routes: list[BaseRoute], how: settings) -> None:
    places = tuple(one.path for one in routes)  # type: ignore[attr-defined]

    @how
    @given(requests(places), st.sampled_from(browser.cookies), st.booleans())
    def ask(request: tuple[str, bytes, list[tuple[str, str]], bytes], cookie: str, with_csrf: bool) -> None:
        method, target, headers, body = request
        own = [("Cookie", cookie)] if cookie else []
        if with_csrf:
            own += [("Origin", f"http://{server.address}"), ("X-CSRF-Token", _csrf(server, cookie))]
        browser.ask(method, target, own + headers, body)
        assert server.complaints == [], server.log

    ask()


def test_no_request_is_a_failure(server: Server, browser: Browser, routes: list[BaseRoute]) -> None:
    ask_for_anything(server, browser, routes, quickly)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_nor_is_any_of_thousands(server: Server, browser: Browser, routes: list[BaseRoute]) -> None:
    ask_for_anything(server, browser, routes, long)
