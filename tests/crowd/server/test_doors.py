"""Under which names a server answers, to whose pages, with which headers, and whom a proxy may speak for."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from tutelage.crowd.seats.recorder import Recorder
from tutelage.crowd.server.host_check import FIXED_HEADERS, HostCheck
from tutelage.crowd.server.host_names import AllowedHosts, parse_address
from tutelage.crowd.server.link_token import LinkToken
from tutelage.crowd.server.proxies import check_proxies
from tutelage.crowd.server.recorder_app import listen, make_app, record, server_of
from tutelage.crowd.settings import Settings
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.nursery import until
from tutelage.tests.support.raw_http import Answer, exchange, request, upgrade
from tutelage.tests.support.small_room import SUITE
from tutelage.tests.support.study_page import running

NAMED = "http://study.example.org:8123"
FOREIGN = ("evil.example", "evil.example:8123", "study.example.org", "study.example.org:9999", "10.1.2.3", "")
"""Names that a page of another site may have given to this machine's address."""
BROKEN = ("study.example.org.:8123", "127.0.0.1@evil.example", "localhost.evil.example", "[::1", "a b", "0")


@contextlib.contextmanager
def recording(
    out: Path, host: str = "127.0.0.1", named: str = "", link: LinkToken | None = None, **options: object
) -> Iterator[tuple[str, HostCheck]]:
    """Serve a recorder in a thread; gives `127.0.0.1:port` and the application."""
    report = out.parent / "report.html"
    report.write_text("<!doctype html><p>report</p>")
    recorder = Recorder(Settings(suite_from(SUITE), out, extra_pages={"/report": report, "/none": out / "x"}))
    app = make_app(recorder, AllowedHosts(named), link)
    with listen(host, 0) as listening:
        server = server_of(app, **options)  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started, 120)
            yield f"127.0.0.1:{listening.getsockname()[1]}", app
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module", params=["recorder", "study"])
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve on every address of this machine, under one name."""
    folder = tmp_path_factory.mktemp("named")
    if request.param == "study":
        with running(folder, host="0.0.0.0", named=NAMED) as (_, address):
            yield address.replace("0.0.0.0", "127.0.0.1")
    else:
        link = None  # the token is another test's
        with recording(folder / "out", host="0.0.0.0", named=NAMED, link=link) as (address, _):
            yield address


@pytest.mark.parametrize("host", [*FOREIGN, *BROKEN])
def test_a_foreign_name_gets_no_page_seat_or_socket(named: str, host: str) -> None:
    """DNS rebinding: the browser is here, the name is a stranger's, and so is the page."""
    for path in ("/", "/join", "/healthz", "/admin", "/admin/session", "/metrics", "/static/main.js", "/x"):
        answer = request(named, path, Host=host)
        assert answer.status == 400, path
        assert "set-cookie" not in answer.headers
    posted = request(named, "/admin/login", "POST", b"{}", Host=host, Origin=f"http://{host}")
    assert posted.status == 400
    for path in ("/socket", "/admin/watch/person-a"):
        refused = upgrade(named, path, Host=host, Origin=f"http://{host}")
        assert refused.status == 400, refused


def test_a_refusal_says_what_to_do_and_is_drawn(named: str) -> None:
    refused = request(named, "/", Host="<script>.example", Accept_Language="zh")
    assert "--address" in refused.body.decode()
    assert "<script>.example" not in refused.body.decode()
    assert "无法" in refused.body.decode()
    assert request(named, "/static/style.css", Host="evil.example").status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1", "127.9.9.9", "[::1]:5", "{named}"])
def test_loopback_and_the_named_address_are_answered(named: str, host: str) -> None:
    host = host.format(named=NAMED.removeprefix("http://"))
    assert request(named, "/atlas/none", Host=host).status == 404
    assert upgrade(named, Host=host, Origin=f"http://{host.lower()}").status == 101


ORIGINS = ("http://evil.example", "null", "http://localhost", "https://study.example.org:8123", NAMED + ".x")


@pytest.mark.parametrize("origin", ORIGINS)
def test_another_sites_page_may_ask_nothing(named: str, origin: str) -> None:
    """The origin is the one of the very host that was allowed; a POST and a socket must have one."""
    host = NAMED.removeprefix("http://")
    assert upgrade(named, Host=host, Origin=origin).status == 403
    assert upgrade(named, Host=host, Origin="").status == 403
    assert upgrade(named, Host=host, Origin=NAMED).status == 101
    assert request(named, "/", Host=host, Origin=origin).status == 403
    for path in ("/join", "/confirm", "/admin/login", "/admin/decide", "/"):
        assert request(named, path, "POST", b"{}", Host=host, Origin=origin).status == 403
        assert request(named, path, "POST", b"{}", Host=host).status == 403
        assert request(named, path, "DELETE", Host=host, Origin=origin).status == 403


def test_without_a_name_only_an_own_ip_address_is_answered() -> None:
    hosts = AllowedHosts()
    assert hosts.origins("192.168.7.5:8000", "192.168.7.5") == (
        "http://192.168.7.5:8000",
        "https://192.168.7.5:8000",
    )
    assert hosts.origins("[fe80::1]:8000", "fe80::1%eth0")
    assert hosts.origins("192.168.7.5", "::ffff:192.168.7.5")
    for host in ("192.168.7.6", "box.local", "192.168.7.5.nip.io", "3232237317", "0xc0a80705", ""):
        assert hosts.origins(host, "192.168.7.5") == (), host
    assert AllowedHosts(NAMED).origins("192.168.7.5", "192.168.7.5") == ()


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Study.example.org/", "https://study.example.org"),
        ("https://study.example.org:443", "https://study.example.org"),
        ("http://study.example.org:8000", "http://study.example.org:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_address_is_read(text: str, origin: str) -> None:
    assert parse_address(text).origin == origin
    default = parse_address(text)
    host = origin.split("://")[1]
    assert AllowedHosts(text).origins(host, "") == (origin,) or host.startswith("[::1]")
    if default.port in (80, 443):
        assert AllowedHosts(text).origins(f"{host}:{default.port}", "") == (origin,)


@pytest.mark.parametrize(
    "text",
    ["study.example.org", "ftp://x", "https://", "https://a/b", "https://u@a", "https://a:x", "http://a b"],
)
def test_an_address_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(TutelageError, match=r"^expected an address such as .*\Z"):
        AllowedHosts(text)


def test_a_recorder_beyond_this_machine_needs_the_token_of_its_link(tmp_path: Path) -> None:
    link = LinkToken("link-x")
    with recording(tmp_path / "out", host="0.0.0.0", link=link) as (address, _):
        for path in (
            "/",
            "/report",
            "/static/main.js",
            "/atlas/x",
            "/?token=",
            "/?token=wrong",
            "/?token=%ff",
        ):
            refused = request(address, path)
            assert refused.status == 403, path
            assert "set-cookie" not in refused.headers
        for cookie in ("", "link-x=", "link-x=wrong", "token=x"):
            assert upgrade(address, Cookie=cookie).status == 403
        path = link.link("/")
        welcome = request(address, path)
        assert (welcome.status, welcome.headers["location"]) == (303, "/")
        given = welcome.headers["set-cookie"]
        assert "HttpOnly" in given
        assert "SameSite=strict" in given
        cookie = given.split(";")[0]
        page = request(address, "/", Cookie=cookie)
        assert page.status == 200
        assert "seat-" in page.headers["set-cookie"]
        assert upgrade(address, Cookie=cookie).status == 101
        assert upgrade(address, path.replace("/?", "/socket?")).status == 403
        evil = request(address, path, Host="evil.example")
        assert (evil.status, "set-cookie" in evil.headers) == (400, False)
        reload = request(address, path, Sec_Fetch_Site="cross-site")
        assert reload.status == 200
        assert b'content="0; url=/"' in reload.body


ROUTES = (
    "/",
    "/join",
    "/join?link=x",
    "/nowhere",
    "/static/none",
    "/static/..%2fguard.py",
    "/static/%00",
    "//x",
)


def _paths(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Route):
            path = route.path.replace("{name}", "x").replace("{person}", "x").replace("{episode}", "x")
            yield from ((method, path) for method in sorted(route.methods or ()))
        elif isinstance(route, Mount):
            yield "GET", f"{route.path}/main.js"
        elif isinstance(route, WebSocketRoute):
            yield "SOCKET", route.path.replace("{person}", "x")


def check_headers(answer: Answer, is_extra: bool = False) -> None:
    """Hold an answer to the headers that every one has."""
    for name, value in FIXED_HEADERS.items():
        told = answer.headers.get(name.lower())
        if is_extra and name == "Cross-Origin-Opener-Policy":
            assert told == "unsafe-none"
        else:
            assert told == value, (name, answer)
    policy = answer.headers["content-security-policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
        assert part in policy
    assert is_extra or "unsafe" not in policy
    assert not is_extra or policy.startswith("sandbox ")
    assert "allow-same-origin" not in policy
    assert "server" not in answer.headers


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["recorder", "study"])
def test_every_answer_of_every_route_has_the_headers(kind: str, tmp_path: Path) -> None:
    """Pages, files, errors, refusals, the dashboard, refused sockets, and what is no request at all."""
    with contextlib.ExitStack() as stack:
        if kind == "study":
            server, address = stack.enter_context(running(tmp_path))
            from tutelage.crowd.server.study_app import make_app as make_study_app
            from tutelage.crowd.server.study_services import StudyServices

            app = make_study_app(server, extra_routes=StudyServices(server).routes())
        else:
            address, app = stack.enter_context(recording(tmp_path / "out"))
        routes = list(_paths(app._app.routes))  # type: ignore[attr-defined]
        assert len(routes) > (15 if kind == "study" else 5)
        origin = f"http://{address}"
        for method, path in [*routes, *(("GET", route) for route in ROUTES), ("PUT", "/"), ("OPTIONS", "*")]:
            if method == "SOCKET":
                check_headers(upgrade(address, path, Origin="http://evil.example"))
                continue
            for headers in ({"Origin": origin}, {}, {"Origin": "null"}, {"Host": "evil.example"}):
                answer = request(address, path, method, **headers)
                check_headers(answer, path in ("/report", "/none"))
                assert answer.status < 500
        for sent in (
            b"nonsense\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\r\n\r\n",
        ):
            answer = exchange(address, sent)
            assert answer.status == 400
            check_headers(answer)
        for headers in ({"Sec_WebSocket_Version": "8"}, {"Sec_WebSocket_Key": "x"}):
            answer = upgrade(address, **headers)
            assert answer.status in (400, 426), answer
            check_headers(answer)


def _client_of(address: str, **headers: str) -> str:
    """Join as many clients that are made up; say whether the server takes them for one client or for many."""
    statuses = [
        request(
            address, "/join", X_Forwarded_For=f"10.0.0.{at}", Forwarded=f"for=10.0.1.{at}", **headers
        ).status
        for at in range(70)
    ]
    return "one" if 429 in statuses else "many"


@pytest.mark.slow
def test_who_asks_is_heard_from_named_proxies_only(tmp_path: Path) -> None:
    from tutelage.crowd.server.study_app import make_app as make_study_app
    from tutelage.tests.support.toy_study import serve

    for proxies, told in (((), "one"), (("10.9.9.0/24",), "one"), (("127.0.0.0/8",), "many")):
        server = serve(tmp_path / (proxies[0].replace("/", "-") if proxies else "none"))
        with listen("127.0.0.1", 0) as listening:
            uvicorn = server_of(make_study_app(server), proxies)
            thread = threading.Thread(target=uvicorn.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                address = f"127.0.0.1:{listening.getsockname()[1]}"
                assert _client_of(address, X_Real_IP="10.2.2.2") == told, proxies
                secure = request(address, "/join", X_Forwarded_Proto="https", X_Forwarded_For="10.7.7.7")
                assert ("Secure" in secure.headers.get("set-cookie", "")) == (told == "many")
                moved = request(address, "/", X_Forwarded_Host="localhost", Host="evil.example")
                assert moved.status == 400
            finally:
                uvicorn.should_exit = True
                thread.join()


def test_a_proxy_that_is_none_is_refused() -> None:
    assert check_proxies(["127.0.0.1", "10.0.0.0/24", "::1"]) == ["127.0.0.1", "10.0.0.0/24", "::1"]
    for text in ("*", "nginx", "10.0.0.1/24", ""):
        with pytest.raises(TutelageError, match="expected a proxy's IP address or network"):
            check_proxies([text])


def test_cookies_are_bound_to_an_https_address(tmp_path: Path) -> None:
    with running(tmp_path, named="https://study.example.org") as (_, address):
        joined = request(address, "/join", Host="study.example.org")
        cookie = joined.headers["set-cookie"]
        assert cookie.startswith("__Host-seat-")
        assert "; Secure" in cookie
        assert request(address, "/", Host="study.example.org", Cookie=cookie.split(";")[0]).status == 200
        plain = cookie.split(";")[0].removeprefix("__Host-")
        assert request(address, "/", Host="study.example.org", Cookie=plain).status == 403
        local = request(address, "/join", Host=address)
        assert local.headers["set-cookie"].startswith("seat-")


@pytest.mark.parametrize("flags", [{"address": "study.example.org"}, {"proxies": ["nginx"]}])
def test_a_wrong_address_or_proxy_is_told_before_anything_is_written(
    flags: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(TutelageError, match=r"^expected .*\Z"):
        record(suite_from(SUITE), tmp_path / "out", port=0, open_browser=False, **flags)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_link_that_is_printed_opens_a_recorder_beyond_this_machine(tmp_path: Path) -> None:
    """By the command, as its user does: with the token in, without it out."""
    command = [
        str(Path(sys.executable).parent / "tutelage"),
        "record",
        "first-steps",
        "--out",
        str(tmp_path / "out"),
    ]
    command += ["--host", "0.0.0.0", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            link = next(line.split()[2] for line in process.stdout if line.startswith("Play at "))
            parts = urlsplit(link)
            assert parts.query.startswith("token=")
            address = f"127.0.0.1:{parts.port}"
            assert request(address, "/").status == 403
            assert request(address, f"/?{parts.query}").status == 303
            assert request(address, "/", Host="evil.example").status == 400
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
