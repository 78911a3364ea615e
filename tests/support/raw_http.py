"""Requests and WebSocket frames as bytes, for what no well-behaved client sends."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LARGEST = 1 << 22


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the headers by lower-case name, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def request(address: str, path: str = "/", method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    """Send one request to `host:port` and read its answer; underscores in names of headers are hyphens."""
    given = {"Host": address, "Connection": "close", **{k.replace("_", "-"): v for k, v in headers.items()}}
    if body or method == "POST":
        given["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return exchange(address, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body)


def upgrade(address: str, path: str = "/socket", **headers: str) -> Answer:
    """Ask for a WebSocket and read how that is answered."""
    return exchange(address, upgrade_request(address, path, **headers))


def upgrade_request(address: str, path: str = "/socket", **headers: str) -> bytes:
    """Write the request for a WebSocket of a page of `address`."""
    given = {
        "Host": address,
        "Origin": f"http://{address}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def exchange(address: str, sent: bytes) -> Answer:
    """Send bytes and read an answer: to its end, or of an upgrade the head alone."""
    with line(address) as connection:
        connection.sendall(sent)
        data = b""
        with contextlib.suppress(ConnectionError):
            while b"\r\n\r\n" not in data or b" 101 " not in data[:16]:
                if not (more := connection.recv(1 << 16)) or len(data) > _LARGEST:
                    break
                data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for header in lines:
        name, _, value = header.partition(": ")
        headers[name.lower()] = "; ".join(filter(None, (headers.get(name.lower(), ""), value)))
    return Answer(int(first.split(" ")[1]) if " " in first else 0, headers, body)


@contextlib.contextmanager
def line(address: str, receive_bytes: int = 0) -> Iterator[socket.socket]:
    """Open a connection to `host:port`, with a small receive buffer where so many bytes are given."""
    host, _, port = address.rpartition(":")
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(20)
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    with connection:
        connection.connect((host, int(port)))
        yield connection


def frame(opcode: int, payload: bytes = b"", flags: int = 0x80, is_masked: bool = True) -> bytes:
    """Write a WebSocket frame, masked with zeros; `flags` has the last-frame bit and the reserved ones."""
    mask = 0x80 if is_masked else 0
    if len(payload) < 126:
        size = bytes([mask | len(payload)])
    elif len(payload) < 1 << 16:
        size = bytes([mask | 126]) + len(payload).to_bytes(2, "big")
    else:
        size = bytes([mask | 127]) + len(payload).to_bytes(8, "big")
    return bytes([flags | opcode]) + size + (bytes(4) if is_masked else b"") + payload


def close_code(data: bytes) -> int:
    """Return the code of the close frame that frames of a server end in; 0 where there is none."""
    at, code = 0, 0
    while at + 2 <= len(data):
        opcode, size, start = data[at] & 0x0F, data[at + 1] & 0x7F, at + 2
        if size == 126:
            size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        if opcode == 8:
            code = int.from_bytes(data[start : start + 2], "big")
        at = start + size
    return code
