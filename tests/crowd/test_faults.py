"""What goes wrong around a server: a full disk, a cut network, a clock set back, a second server."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from tutelage.tests.support import small_room
from tutelage.tests.support.disks import SERVER_DISK, SmallDisk, small_disk
from tutelage.tests.support.nursery import Nursery, Server, serving
from tutelage.tests.support.players import Player
from tutelage.tests.support.what_is_stored import actions, check_acknowledged, check_store, check_study, rows
from websockets.asyncio.client import ClientConnection

KINDS = ("recorder", "study")
FULL_SECONDS = 0.3
DAY = 86_400.0


def data(kind: str, folder: Path) -> Path:
    """Return the folder that holds the database and the store."""
    return folder / "out" if kind == "study" else folder


def check(kind: str, folder: Path, *players: Player) -> None:
    """See that all that was done is there, once, and that everything agrees."""
    place = data(kind, folder)
    check_acknowledged(place, players)
    on_disk = actions(place)
    for player in players:
        for episode, taken in player.steps.items():
            assert on_disk.get(episode, []) == taken
    if kind == "study":
        check_study(place, players)
    check_store(place, set().union(*(one.kept for one in players)))


class Disk(Protocol):
    """A disk that can be filled, and freed again."""

    def fill(self, server: Server) -> None: ...
    def free(self, server: Server) -> None: ...


class Allowance:
    """The system's limit for a process's files, where no file system can be made."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def fill(self, server: Server) -> None:
        server.limit_files(self._log.stat().st_size)  # the database's log is its largest file

    def free(self, server: Server) -> None:
        server.limit_files(-1)


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], Disk]]]:
    """Give a folder, and what can fill the disk that it is on."""
    folder = tmp_path / "disk"
    if request.param == "tmpfs":
        with small_disk(folder, SERVER_DISK, in_use=True):
            yield folder / "here", lambda _: SmallDisk(folder)
    else:
        folder.mkdir()
        yield folder / "here", lambda kind: Allowance(data(kind, folder / "here") / "journal.sqlite-wal")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_full_disk_play_waits_says_so_and_goes_on(
    nursery: Nursery, disk: tuple[Path, Callable[[str], Disk]], kind: str
) -> None:
    """The disk is full for a while at every kind of move; nobody has to load their page anew."""
    folder, of = disk
    small_room.write(folder, episodes=2)
    player, at = Player(random.Random(1)), set[object]()

    def said() -> list[bool]:
        return [one["failing"] for one in player.told if one["type"] == "saving"]

    with serving(nursery, kind, folder) as server:

        async def story() -> None:
            full = of(kind)
            await player.join(server.address)
            async with player.page(server.address) as page:
                await player.greet(page)
                for _ in range(300 if kind == "study" else 30):
                    where = player.way.get("stage"), player.state["phase"]
                    if player.is_done:
                        break
                    if where not in at:
                        await _meanwhile_full(full, server, player.move(page))
                    else:
                        await player.move(page)
                    at.add(where)
                    await asyncio.sleep(0.02)
                while said()[-1]:
                    await player.read(page, "saving")
                await player.settle(page)

        asyncio.run(story())
    assert said() == [True, False] * (len(said()) // 2)
    assert len(at) >= (7 if kind == "study" else 3), at
    assert kind == "recorder" or player.is_done
    check(kind, folder, player)


async def _meanwhile_full(disk: Disk, server: Server, move: Awaitable[None]) -> None:
    await asyncio.to_thread(disk.fill, server)
    asyncio.get_running_loop().call_later(FULL_SECONDS, disk.free, server)
    end = asyncio.get_running_loop().time() + FULL_SECONDS
    await move
    await asyncio.sleep(end + 0.1 - asyncio.get_running_loop().time())


def test_what_was_not_said_to_be_saved_on_a_full_disk_may_be_lost_and_nothing_else(
    nursery: Nursery, disk: tuple[Path, Callable[[str], Disk]]
) -> None:
    folder, of = disk
    small_room.write(folder)
    player = Player(random.Random(3))
    server = nursery.start("study", folder)

    async def until_killed() -> None:
        await player.join(server.address)
        async with player.page(server.address) as page:
            await player.greet(page)
            while player.answered < 2:
                await player.move(page)
            await player.settle(page)
            await asyncio.to_thread(of("study").fill, server)
            await player.move(page)  # it is taken, and cannot be written
            while not any(one.get("failing") for one in player.told):
                await player.read(page, "saving")
            async with httpx.AsyncClient() as anybody:
                answer = await anybody.get(f"http://{server.address}/healthz")
                assert (answer.status_code, answer.json()) == (503, {"status": "saving fails"})
            server.kill()

    asyncio.run(until_killed())
    of("study").free(server) if server.is_alive else None
    assert player.answered == 3
    check_acknowledged(folder / "out", [player])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_cut_in_mid_step_loses_and_doubles_nothing(
    nursery: Nursery, tmp_path: Path, kind: str
) -> None:
    folder = small_room.write(tmp_path / "cut", episodes=12)
    player, rng = Player(random.Random(4)), random.Random(5)
    with serving(nursery, kind, folder) as server:

        async def story() -> None:
            await player.join(server.address)
            left: list[ClientConnection] = []
            for how in itertools.islice(itertools.cycle(CUTS), 10 * len(CUTS)):
                page = await player.page(server.address, "?page=a")
                await player.greet(page)
                for _ in range(rng.randrange(4)):
                    await player.move(page)
                await how(player, page)
                left.append(page)
            async with player.page(server.address) as page:
                await player.greet(page)
            await asyncio.gather(*(page.close() for page in left))

        asyncio.run(story())
    assert player.answered > 40
    check(kind, folder, player)


async def _press(player: Player, page: ClientConnection) -> None:
    if player.state["phase"] == "playing":
        player.last = random.Random(player.answered).randrange(3)
        await player.send(page, "down", code=small_room.CODES[player.last], frame=0)


async def _abort(_: Player, page: ClientConnection) -> None:
    """Reset the connection: what is underway is lost, either way."""
    line: socket.socket = page.transport.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    page.transport.abort()


async def _press_and_abort(player: Player, page: ClientConnection) -> None:
    await _press(player, page)
    await _abort(player, page)


async def _press_and_abort_a_little_later(player: Player, page: ClientConnection) -> None:
    await _press(player, page)
    await asyncio.sleep(0.003)
    await _abort(player, page)


async def _send_half_a_key(player: Player, page: ClientConnection) -> None:
    page.transport.write(bytes([0x81, 0x80 | 60, 1, 2, 3, 4]) + b"half of a key")
    await asyncio.sleep(0.003)
    await _abort(player, page)


async def _fall_silent(_player: Player, page: ClientConnection) -> None:
    """Say nothing and read nothing from now on, and never close: a laptop whose lid was shut."""
    page.transport.pause_reading()


async def _press_and_fall_silent(player: Player, page: ClientConnection) -> None:
    await _press(player, page)
    await _fall_silent(player, page)


CUTS = (
    _abort,
    _press_and_abort,
    _press_and_abort_a_little_later,
    _send_half_a_key,
    _fall_silent,
    _press_and_fall_silent,
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_clock_that_is_set_back_breaks_nothing(nursery: Nursery, tmp_path: Path, kind: str) -> None:
    folder = small_room.write(tmp_path / "clock", episodes=4, repeats={"share": 0.5})
    players = [Player(random.Random(at), f"127.0.0.{at + 2}") for at in range(3)]
    for back in (0.0, -3600.0, -3600.0 - 30 * DAY):
        with serving(nursery, kind, folder) as server:
            server.set_clock(back + DAY)

            async def story(server: Server = server, back: float = back) -> None:
                playing = asyncio.gather(*(one.play(server.address, 15) for one in players))
                await asyncio.sleep(0.1)
                server.set_clock(back)  # in mid-play
                await playing

            asyncio.run(story())
    if kind == "study":
        with serving(nursery, kind, folder) as server:
            server.set_clock(-60 * DAY)
            asyncio.run(everybody(one.play(server.address) for one in players))
        assert [one.way["outcome"] for one in players] == ["completed"] * 3
    check(kind, folder, *players)
    times = rows(
        data(kind, folder), "select episode, time_ms from steps where not dropped order by episode, step"
    )
    for _, some in itertools.groupby(times, key=lambda row: row[0]):
        taken = [time for _, time in some]
        assert taken == sorted(taken)
        assert taken[0] >= 0
        assert taken[-1] < 60_000


async def everybody(doing: Any) -> None:
    await asyncio.gather(*doing)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_server_on_a_folder_is_refused_in_one_line(
    nursery: Nursery, tmp_path: Path, kind: str
) -> None:
    folder = small_room.write(tmp_path / "twice")
    player = Player(random.Random(6))
    with serving(nursery, kind, folder) as server:
        second = nursery.start(kind, folder)
        second.gone()
        [line] = second.log.splitlines()
        assert line.startswith("refused: expected")
        assert "another recorder" in line
        asyncio.run(player.play(server.address, 20))
        assert player.answered > 5
    check(kind, folder, player)


def test_two_studies_cannot_share_a_sqlite_file(nursery: Nursery, tmp_path: Path) -> None:
    folder, other = small_room.write(tmp_path / "one"), small_room.write(tmp_path / "other")
    with serving(nursery, "study", folder):
        database = f"sqlite:///{folder / 'out' / 'journal.sqlite'}"
        second = nursery.start("study", other, options={"database": database})
        second.gone()
        [line] = second.log.splitlines()
        assert line.startswith("refused: expected")
