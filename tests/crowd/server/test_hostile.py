"""Whoever means harm: an honest player hardly notices, no memory is taken, no secret is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest
from tutelage.crowd.seats.protocol import LARGEST
from tutelage.crowd.server.server_metrics import BOUNDS_MS
from tutelage.crowd.studies.study_server import ABSENT_SECONDS
from tutelage.datasets.store import Store
from tutelage.tests.support import small_room
from tutelage.tests.support.nursery import Nursery, Server, serving, until
from tutelage.tests.support.players import GONE, Player
from tutelage.tests.support.what_is_stored import check_store, check_study, rows
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

HELD_UP_MS = 250
"""The 99th percentile of the delay that the server's own work adds, whatever else its machine does.

What a player measures is the machine's, too, and mostly theirs who mean harm: they share a process with it.
A quiet machine measures 20 ms at most. One value may be larger: a virtual machine that is held for a moment
counts this as work.
"""
MEGABYTES = 48
SEAT_MEGABYTES = 0.15
"""What somebody takes who was here within the last minutes."""
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def server(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One study for all of this, so that whatever harm was done shows in the end."""
    folder = small_room.write(tmp_path_factory.mktemp("hostile") / "study", breaks={"every": 2})
    with serving(nursery, "study", folder) as one:
        asyncio.run(next(honest).play(one.address))  # which takes the memory that any play takes
        until(lambda: Store.open(folder / "out").parts())
        yield one
    check_study(folder / "out", [])
    check_store(folder / "out", set())


@contextlib.asynccontextmanager
async def honest_play(server: Server, grown: float = MEGABYTES) -> AsyncIterator[None]:
    """Let honest people play meanwhile, one after the other, and afterwards somebody from start to end.

    The server may have `grown` by so many megabytes.
    """
    before, stop, players = server.megabytes, asyncio.Event(), [next(honest)]
    held_up = _held_up(server)

    async def play() -> None:
        while not stop.is_set():
            await players[-1].play(server.address, 10)
            if players[-1].is_done:
                players.append(next(honest))

    playing = asyncio.create_task(play())
    await asyncio.sleep(0.3)
    yield
    await asyncio.sleep(0.3)
    stop.set()
    await playing
    players.append(next(honest))
    await players[-1].play(server.address)
    assert players[-1].way["outcome"] == "completed"
    assert any(player.waits_ms for player in players[:-1])
    lately = [now - then for now, then in zip(_held_up(server), held_up, strict=True)]
    assert sum(lately) > 0
    assert sum(lately[BOUNDS_MS.index(HELD_UP_MS) + 1 :]) <= max(1, sum(lately) // 100), lately
    assert server.megabytes < before + grown, f"{before:.0f} MB have become {server.megabytes:.0f} MB"
    assert server.complaints == [], server.log


def _held_up(server: Server) -> list[int]:
    """Wait for the server's next heartbeat, which tells for how long its work has held it up, in classes."""
    query, since = "select seen, figures from servers", time.time()
    until(lambda: [1 for seen, _ in rows(server.folder / "out", query) if seen > since])
    ((_, figures),) = rows(server.folder / "out", query)
    return list(json.loads(figures)["held_up"])


def _honest() -> Iterator[Player]:
    for at in range(10_000):
        yield Player(random.Random(at), f"127.1.{at // 250}.{at % 250 + 1}")


honest = _honest()


def stranger(at: int = 1) -> Player:
    """Make somebody at an address of their own."""
    return Player(random.Random(at), f"127.2.{random.randrange(250)}.{random.randrange(1, 250)}")


async def connected(server: Server, first: bytes = b"") -> Stream:
    host, port = server.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(stranger().source, 0))
    writer.write(first)
    return reader, writer


async def answered(stream: Stream, seconds: float = 20) -> bytes:
    """Read until the other side closes."""
    reader, _ = stream
    with contextlib.suppress(*GONE):
        return await asyncio.wait_for(reader.read(1 << 20), seconds)
    return b""


def upgrade(server: Server, cookie: str = "", page: str = "a") -> bytes:
    lines = [
        f"GET /socket?page={page} HTTP/1.1",
        f"Host: {server.address}",
        f"Origin: http://{server.address}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Cookie: {cookie}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(opcode: int, payload: bytes, size: int | None = None, flags: int = 0x80) -> bytes:
    """Make a masked frame; `size` is what it says of its length."""
    return bytes([flags | opcode, 0xFF]) + (size or len(payload)).to_bytes(8, "big") + bytes(4) + payload


async def garbage(server: Server) -> None:
    """Bytes of no protocol at all."""
    rng = random.Random(1)
    firsts = [rng.randbytes(rng.randrange(1, 2000)) for _ in range(100)]
    firsts += [b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"\x16\x03\x01" + bytes(200)]
    firsts += [b"GET / HTTP/1.1\r\nHost: " + server.address.encode() + b"\r\n\r\n" + bytes(500)]
    streams = [await connected(server, first + b"\r\n\r\n") for first in firsts]
    for stream in streams:
        stream[1].write_eof()
    for answer in await asyncio.gather(*(answered(stream) for stream in streams)):
        assert b" 500 " not in answer.split(b"\r\n")[0]
    for _, writer in streams:
        writer.close()


async def slow_sockets(server: Server) -> None:
    """Requests that never end, a byte now and then."""
    head = f"POST /admin/login HTTP/1.1\r\nHost: {server.address}\r\n".encode()
    streams = [await connected(server, head) for _ in range(150)]
    streams += [await connected(server, head + b"Content-Length: 4000\r\n\r\n{") for _ in range(100)]
    streams += [await connected(server, head + b"Transfer-Encoding: chunked\r\n\r\n") for _ in range(50)]
    streams += [await connected(server) for _ in range(100)]
    for _ in range(10):
        for _, writer in streams:
            writer.write(b"X")
        await asyncio.sleep(0.1)
    for _, writer in streams:
        writer.transport.abort()


async def oversized(server: Server) -> None:
    """More than anybody needs: addresses, headers, bodies, messages, and what unpacks to them."""
    host = f"Host: {server.address}\r\n".encode()
    streams = [
        await connected(server, b"GET /" + b"a" * 500_000 + b" HTTP/1.1\r\n" + host + b"\r\n"),
        await connected(server, b"GET / HTTP/1.1\r\n" + host + b"X: " + b"a" * 500_000 + b"\r\n\r\n"),
        await connected(server, b"GET / HTTP/1.1\r\n" + host + b"X: a\r\n" * 100_000 + b"\r\n"),
    ]
    length = b"Content-Length: 100000000\r\n\r\n"
    for path in (b"/admin/login", b"/join", b"/", b"/nowhere"):
        body = b"POST " + path + b" HTTP/1.1\r\n" + host + length + bytes(2_000_000)
        streams.append(await connected(server, body))
    player = stranger()
    await player.join(server.address)
    packer = zlib.compressobj(wbits=-12)
    bomb = packer.compress(b"[" * 50_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
    for sent in (frame(1, b" " * 200_000), frame(1, bomb[:-4], flags=0xC0), frame(1, b"", size=1 << 40)):
        extension = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        head = upgrade(server, player.cookie)[:-2] + extension
        streams.append(await connected(server, head + sent))
    await asyncio.gather(*(answered(stream) for stream in streams[-3:]))
    for _, writer in streams:
        writer.transport.abort()
    player = stranger(2)  # one of those sockets may still be about to take the other's seat
    await player.join(server.address)
    async with player.page(server.address, max_size=None) as page:
        await player.greet(page)
        await page.send(json.dumps({"type": "down", "code": "x" * LARGEST}))
        await player.settle(page)
        assert any("bytes" in one["text"] for one in player.told)
        await page.send("x" * 5 * LARGEST)
        with pytest.raises(ConnectionClosed) as closed:
            await player.settle(page)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def half_messages(server: Server) -> None:
    """Frames that never end, that are cut in pieces, that no browser would send; and sockets with no seat."""
    player = stranger()
    await player.join(server.address)
    sent = [
        frame(1, b'{"type":', size=4000),
        frame(1, b'{"type":', flags=0),  # to be continued
        frame(0, b"continued"),  # what has not begun
        frame(1, b"\xff\xfe\xfd"),
        frame(2, bytes(100)),
        frame(3, b"reserved"),
        frame(9, bytes(200)),  # a ping that is too long
        frame(8, b"\x00"),
        b"\x81\x05hello",  # not masked
        frame(1, b"x", flags=0xF0),
        bytes(64),
        b"",
    ]
    streams = []
    for at, one in enumerate(sent * 8):
        cookie = player.cookie if at % 2 else ""
        streams.append(await connected(server, upgrade(server, cookie, str(at)) + one))
    await asyncio.sleep(1)
    for _, writer in streams:
        writer.transport.abort()


async def floods(server: Server) -> None:
    """As many messages as will go through the socket; whoever sends too many is cut off."""

    async def flood(at: int) -> None:
        player = stranger(at)
        await player.join(server.address)
        async with player.page(server.address, max_size=None) as page:
            await player.greet(page)
            with contextlib.suppress(ConnectionClosed):
                for number in range(100_000):
                    code = small_room.CODES[number % 3]
                    await player.send(page, "down", code=code, frame=number)
            await page.wait_closed()
            assert page.close_code in (1006, 1008)

    await asyncio.gather(*(flood(at) for at in range(3)))


async def never_reads(server: Server) -> None:
    """People who ask for a lot and read none of it."""
    pages = []
    for at in range(8):
        player = stranger(at)
        await player.join(server.address)
        pages.append(await player.page(server.address))
        pages[-1].transport.pause_reading()
    for _ in range(30):
        for page in pages:
            for _ in range(10):
                with contextlib.suppress(*GONE):
                    page.transport.write(frame(1, b'{"type":"language","code":"en"}'))
        await asyncio.sleep(0.1)
    for page in pages:
        page.transport.abort()


async def crowds_at_the_door(server: Server) -> None:
    """A script that takes seat after seat is told to wait, whatever it calls itself."""
    transport = httpx.AsyncHTTPTransport(local_address="127.3.0.1", verify=False)
    async with httpx.AsyncClient(base_url=f"http://{server.address}", transport=transport) as script:
        seats = []
        for at in range(150):
            answer = await script.get(f"/join?x={at}", headers={"X-Forwarded-For": f"10.0.0.{at}"})
            seats.append(answer.status_code)
            script.cookies.clear()
    assert seats.count(303) < 90
    assert seats[-1] == 429


async def many_sockets(server: Server, count: int = 150) -> None:
    """As many open pages as people, and as many connections that are merely open."""
    await _hold(server, count)


ATTACKS = (
    garbage,
    slow_sockets,
    oversized,
    half_messages,
    floods,
    never_reads,
    crowds_at_the_door,
    many_sockets,
)


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.__name__)
def test_an_honest_player_hardly_notices(server: Server, attack: Callable[[Server], Awaitable[None]]) -> None:
    async def story() -> None:
        async with honest_play(server):
            await attack(server)

    asyncio.run(story())


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_nor_do_thousands_of_connections_disturb_and_what_they_took_is_used_again(server: Server) -> None:
    count = 3000

    async def story() -> None:
        async with honest_play(server, MEGABYTES + SEAT_MEGABYTES * count):
            await _hold(server, count)
        await asyncio.sleep(ABSENT_SECONDS + 10)  # seats are kept for a while
        async with honest_play(server):
            await _hold(server, count)

    asyncio.run(story())


async def _hold(server: Server, count: int) -> None:
    idle = [await connected(server) for _ in range(count)]
    players = [stranger(at) for at in range(count)]
    pages: list[ClientConnection] = []
    for at in range(0, count, 50):
        some = players[at : at + 50]
        await asyncio.gather(*(one.join(server.address) for one in some))
        pages += await asyncio.gather(*(_opened(one, server) for one in some))
    for _, writer in idle:
        writer.transport.abort()
    await asyncio.gather(*(page.close() for page in pages))


async def _opened(player: Player, server: Server) -> ClientConnection:
    page = await player.page(server.address)
    await player.greet(page)
    return page
