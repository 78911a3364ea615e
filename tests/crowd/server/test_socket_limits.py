"""What one socket may cost: bad frames, floods of control frames, peers that do not read, what never ends."""

from __future__ import annotations

import contextlib
import random
import resource
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tutelage.tests.support import small_room
from tutelage.tests.support.nursery import Nursery, Server, serving, until
from tutelage.tests.support.raw_http import (
    Answer,
    close_code,
    exchange,
    frame,
    line,
    request,
    upgrade,
    upgrade_request,
)

TEXT, BINARY, CLOSE, PING, PONG, CONTINUED = 1, 2, 8, 9, 10, 0
SMALL_BUFFER = 4096
MEGABYTES = 24
"""What attacks on this page may take, all together at any time."""
SEATS = 500


@pytest.fixture(scope="module", params=["recorder", "study"])
def server(
    request: pytest.FixtureRequest, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sockets") / "folder"
    if request.param == "study":
        small_room.write(folder, people=2 * SEATS)
    with serving(nursery, request.param, folder) as started:
        yield started


def cookie(server: Server) -> str:
    """Get a seat as a browser does; gives its cookie."""
    client = f"127.3.{random.randrange(250)}.{random.randrange(1, 250)}"
    transport = httpx.HTTPTransport(local_address=client, verify=False)
    with httpx.Client(base_url=f"http://{server.address}", transport=transport, trust_env=False) as browser:
        answer = browser.get("/join")
        answer = browser.get("/") if answer.status_code == 404 else answer
        return answer.headers["set-cookie"].split(";")[0]


@contextlib.contextmanager
def opened(server: Server, receive_bytes: int = 0, seat: str = "") -> Iterator[socket.socket]:
    """Open the socket of a seat of its own, up to the end of the handshake."""
    with line(server.address, receive_bytes) as connection:
        connection.sendall(upgrade_request(server.address, Cookie=seat or cookie(server)))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield connection


def rest(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(1 << 16):
            data += more
    return data


def send(connection: socket.socket, data: bytes, limit_seconds: float = 10) -> bool:
    """Send as much as is taken, without reading; says whether the server has closed."""
    connection.setblocking(False)
    end, sent = time.monotonic() + limit_seconds, 0
    try:
        while sent < len(data) and time.monotonic() < end:
            if select.select([], [connection], [], 0.2)[1]:
                sent += connection.send(data[sent : sent + (1 << 16)])
    except (ConnectionError, BrokenPipeError):
        return True
    finally:
        connection.settimeout(20)
    return False


BAD = {
    "no text": (frame(TEXT, b"\xff\xfe"), 1007),
    "half a letter at the end": (frame(TEXT, '{"type":"ä'.encode()[:-1]), 1007),
    "no text in pieces": (frame(TEXT, b"\xc3", flags=0) + frame(CONTINUED, b"\x28"), 1007),
    "no text as a reason": (frame(CLOSE, b"\x03\xe8\xff\xff"), 1007),
    "an opcode that is none": (frame(3, b"x"), 1002),
    "a control that is none": (frame(11, b"x"), 1002),
    "reserved bits": (frame(TEXT, b"{}", flags=0xC0), 1002),
    "not masked": (frame(TEXT, b"{}", is_masked=False), 1002),
    "a long ping": (frame(PING, bytes(126)), 1002),
    "a ping in pieces": (frame(PING, b"x", flags=0), 1002),
    "a close of one byte": (frame(CLOSE, b"x"), 1002),
    "a close with a code that is none": (frame(CLOSE, b"\x00\x01"), 1002),
    "a piece of nothing": (frame(CONTINUED, b"x"), 1002),
    "a message within another": (frame(TEXT, b"x", flags=0) + frame(TEXT, b"y"), 1002),
    "too large": (frame(TEXT, bytes(1 << 20)), 1009),
    "a size beyond any memory": (bytes([0x82, 0xFF]) + (1 << 62).to_bytes(8, "big") + bytes(4), 1009),
    "too large in pieces": (
        frame(TEXT, b"a" * 9000, flags=0) + frame(CONTINUED, b"a" * 9000, flags=0),
        1009,
    ),
    "too many pieces": (frame(TEXT, b"", flags=0) + 100 * frame(CONTINUED, b"", flags=0), 1008),
}


def test_a_refused_socket_writes_nothing_to_the_log(server: Server) -> None:
    for _ in range(5):
        with line(server.address) as connection:
            connection.sendall(upgrade_request(server.address, Origin="http://evil.example"))
            answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 403 "), answer
    cookie(server)  # an answer that comes after all of those
    assert "handshake" not in server.log
    assert "ERROR" not in server.log


def test_a_stop_does_not_wait_for_what_peers_that_have_gone_asked_for(
    nursery: Nursery, tmp_path: Path
) -> None:
    folder = small_room.write(tmp_path / "study")
    with serving(nursery, "study", folder) as server, contextlib.ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(opened(server))
            connection.sendall(400 * frame(TEXT, b'{"type":"language","code":"en"}'))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_frame_closes_its_socket_and_is_no_traceback(server: Server, name: str) -> None:
    """The close code says what was wrong; the log has one line at most, and the seat is as good as before."""
    sent, code = BAD[name]
    seat, before = cookie(server), len(server.log.splitlines())
    with opened(server, seat=seat) as connection:
        connection.sendall(sent)
        assert close_code(rest(connection)) == code
    assert len(server.log.splitlines()) - before <= 1, server.log
    assert server.complaints == []
    with opened(server, seat=seat) as connection:
        connection.sendall(frame(CLOSE, b"\x03\xe8"))
        assert close_code(rest(connection)) == 1000


@pytest.mark.parametrize(
    "text", ["null", "[]", "3", '"down"', "{}", '{"type":[]}', '{"type":"down","code":{}}', "{" * 999]
)
def test_json_of_another_type_is_told_and_costs_nothing(server: Server, text: str) -> None:
    with opened(server) as connection:
        connection.sendall(frame(TEXT, text.encode()) + frame(CLOSE, b"\x03\xe8"))
        data = rest(connection)
        assert close_code(data) == 1000
    assert server.complaints == []


FLOODS: dict[str, Callable[[int], bytes]] = {
    "pings": lambda count: frame(PING, b"x" * 125) * count,
    "empty pings": lambda count: frame(PING) * (8 * count),
    "pongs": lambda count: frame(PONG, b"x" * 125) * count,
    "empty messages": lambda count: frame(TEXT) * (8 * count),
    "pieces": lambda count: frame(TEXT, flags=0) + frame(CONTINUED, flags=0) * (8 * count),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_that_is_not_read_takes_no_memory_and_ends(server: Server, flood: str) -> None:
    """Each seat would have the server keep tens of megabytes of answers that the client never reads."""
    before = server.megabytes
    for _ in range(3):
        with opened(server, SMALL_BUFFER) as connection:
            send(connection, FLOODS[flood](100_000))
            assert server.megabytes < before + MEGABYTES
            rest(connection)  # it ends: the server has closed
    assert server.complaints == []


def test_a_few_pings_are_answered(server: Server) -> None:
    """Browsers send none, but proxies and libraries do: twenty seconds apart, say."""
    with opened(server) as connection:
        connection.sendall(frame(PING, b"a") + frame(PING, b"b") + frame(CLOSE, b"\x03\xe8"))
        data = rest(connection)
    assert b"\x8a\x01a\x8a\x01b" in data


def test_nothing_is_unpacked(server: Server) -> None:
    """No compression is agreed on, so that there is no bomb to unpack; nor any other protocol."""
    headers = {
        "Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits, x; y=" + "z" * 3000,
        "Sec_WebSocket_Protocol": "x, " * 1000,
    }
    answer = upgrade(server.address, Cookie=cookie(server), **headers)
    assert answer.status == 101
    assert not {"sec-websocket-extensions", "sec-websocket-protocol"} & set(answer.headers)
    with opened(server) as connection:
        connection.sendall(frame(TEXT, b"\x00" * 100, flags=0xC0))
        assert close_code(rest(connection)) == 1002


@pytest.mark.parametrize(
    "headers", [{f"X_{at}": "y" for at in range(200)}, {"X": "y" * 20_000}, {"X": "y" * 200_000}]
)
def test_a_handshake_with_too_much_is_answered_and_closed(server: Server, headers: dict[str, str]) -> None:
    before = _files(server)
    for _ in range(3):
        answer = upgrade(server.address, **headers)
        assert answer.status in (400, 403, 431), answer
    until(lambda: _files(server) <= before)
    assert server.complaints == []


def test_requests_that_come_at_once_are_answered_one_after_the_other(server: Server) -> None:
    """Ten thousand requests in one go, whose answers the client never reads."""
    before = server.megabytes
    asked = f"GET /static/main.js HTTP/1.1\r\nHost: {server.address}\r\n\r\n".encode()
    with line(server.address, SMALL_BUFFER) as connection:
        send(connection, asked * 10_000, limit_seconds=3)
        assert server.megabytes < before + MEGABYTES
        assert request(server.address, "/static/main.js").status == 200
    asked_once: Answer = exchange(
        server.address, asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") * 3
    )
    assert asked_once.status == 200


@pytest.mark.soak
def test_five_hundred_seats_that_flood_and_do_not_read(
    nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All at once, for at most a minute; another client is answered all the while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    folder = small_room.write(tmp_path_factory.mktemp("many") / "folder", people=2 * SEATS)
    with serving(nursery, "study", folder) as server, contextlib.ExitStack() as stack:
        lines = [stack.enter_context(opened(server, SMALL_BUFFER)) for _ in range(SEATS)]
        before, most, end = server.megabytes, 0.0, time.monotonic() + 60
        data = frame(PING, b"x" * 125) * 5000
        for connection in lines:
            send(connection, data, limit_seconds=0.3)
            most = max(most, server.megabytes)
            if time.monotonic() > end:
                break
        assert request(server.address, "/healthz").status == 200
        print(f"{before:.0f} MB before {SEATS} seats flood, at most {most:.0f} MB while they do")
        assert most < before + 4 * MEGABYTES
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _files(server: Server) -> int:
    import psutil

    return int(psutil.Process(server.pid).num_fds())


def test_a_peer_that_leaves_during_the_handshake_is_no_traceback(server: Server) -> None:
    """It is gone before the server knows whose seat it asks for."""
    for at in range(60):
        with line(server.address) as connection:
            connection.sendall(upgrade_request(server.address, Cookie="seat-x=y" if at % 2 else ""))
            if at % 3:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    with opened(server) as connection:
        connection.sendall(frame(CLOSE, b"\x03\xe8"))
        assert close_code(rest(connection)) == 1000
    assert server.complaints == []
