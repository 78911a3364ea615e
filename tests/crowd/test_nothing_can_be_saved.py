"""While a disk is full or a database away: every page answers soon and says so; participants play on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tutelage.tests.crowd.test_faults import check
from tutelage.tests.support import small_room
from tutelage.tests.support.disks import SERVER_DISK, SmallDisk, small_disk
from tutelage.tests.support.nursery import Nursery, Server, serving, until
from tutelage.tests.support.players import Player
from tutelage.tests.support.postgres import PostgreSQL
from tutelage.tests.support.what_is_stored import check_acknowledged

pytestmark = pytest.mark.alone  # servers and clocks: needs steady time

NEWCOMERS, FEW = 60, 5
SOON = 2.0
"""Seconds within which every page answers, beside what as many pages take at a server where all is well."""
TITLE = {"en": "Please come back in a minute", "zh": "请一分钟后再来"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", SERVER_DISK, in_use=True) as folder:
        yield folder


async def rush(
    address: str, path: str, language: str = "en", count: int = NEWCOMERS
) -> tuple[list[httpx.Response], float]:
    """Let newcomers ask for a page all at once; returns the answers, and the longest time that one took."""
    limits = httpx.Limits(max_connections=count)
    headers = {"Accept-Language": language}
    async with httpx.AsyncClient(
        base_url=f"http://{address}", limits=limits, timeout=60, headers=headers, trust_env=False
    ) as browser:
        took: list[float] = []

        async def ask() -> httpx.Response:
            began = time.monotonic()
            answer = await browser.get(path)
            took.append(time.monotonic() - began)
            return answer

        return list(await asyncio.gather(*(ask() for _ in range(count)))), max(took)


@pytest.fixture(scope="module")
def peer(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a server where all is well."""
    with serving(nursery, "recorder", small_room.write(tmp_path_factory.mktemp("peer"))) as server:
        yield server.address


async def everybody_is_told(address: str, peer: str, doors: dict[str, int], language: str = "en") -> None:
    """See that newcomers at every door are answered soon, as are the pages that need no database."""
    first = next(iter(doors))
    rushes = [rush(address, path, language, NEWCOMERS if path == first else FEW) for path in doors]
    (_, usual), *told = await asyncio.gather(rush(peer, "/static/style.css"), *rushes)
    for (path, status), (answers, longest) in zip(doors.items(), told, strict=True):
        assert {answer.status_code for answer in answers} == {status}, path
        assert longest < SOON + 2 * usual, (path, longest, usual)
        if path in ("/join", "/") and status == 503:
            assert all(TITLE[language] in answer.text for answer in answers)
            assert all(answer.headers["retry-after"] == "10" for answer in answers)


def saving(player: Player) -> list[bool]:
    """Return what a player's page was told of saving, in order: whether it fails."""
    return [message["failing"] for message in player.told if message["type"] == "saving"]


STUDY = {"/join": 503, "/static/style.css": 200, "/admin": 200, "/healthz": 503, "/metrics": 401, "/": 403}
RECORDER = {"/": 503, "/static/style.css": 200}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["study", "recorder"])
@pytest.mark.parametrize("knows", [True, False])
def test_newcomers_at_a_full_disk_are_told_and_whoever_plays_goes_on(
    nursery: Nursery, peer: str, disk: Path, kind: str, knows: bool
) -> None:
    folder = small_room.write(disk / "here", episodes=2)
    player = Player(random.Random(1), "127.0.0.9")
    with serving(nursery, kind, folder) as server:

        async def story() -> None:
            full = SmallDisk(disk)
            await player.join(server.address)
            async with player.page(server.address) as page:
                await player.greet(page)
                while player.answered < 3:
                    await player.move(page)
                await player.settle(page)
                await asyncio.to_thread(full.fill, server)
                try:
                    if knows:  # the server learns of it by a player's step, else by the newcomers themselves
                        await player.move(page)
                        while not any(saving(player)):
                            await player.read(page, "saving")
                    doors = dict(STUDY if kind == "study" else RECORDER)
                    health = {} if knows or kind == "recorder" else {"/healthz": doors.pop("/healthz")}
                    await everybody_is_told(server.address, peer, doors, "en" if kind == "study" else "zh")
                    if health:  # it tries nothing itself, and knows of what others met
                        await everybody_is_told(server.address, peer, health)
                finally:
                    full.free(server)
                await player.settle(page)
                # newcomers to a study are refused by its ledger: the journal may never have met the full disk
                meets = knows or kind == "recorder" or bool(saving(player))
                while meets and saving(player) != [True, False]:
                    await player.read(page, "saving")
                while not (player.is_done if kind == "study" else player.answered >= 8):
                    await player.move(page)
                await player.settle(page)
            late = Player(random.Random(2), "127.0.0.10")
            await late.join(server.address)

        asyncio.run(story())
    check(kind, folder, player)


@pytest.mark.slow
def test_newcomers_while_postgresql_is_stopped_are_told(
    nursery: Nursery, peer: str, postgres: PostgreSQL, tmp_path: Path
) -> None:
    folder = small_room.write(tmp_path / "study")
    with postgres.database() as url:
        options = {"environment": {"TUTELAGE_SECRET": "ab" * 32}, "options": {"database": url}}
        with serving(nursery, "study", folder, **options) as server:

            async def story() -> None:
                await asyncio.to_thread(postgres.stop)
                try:
                    await everybody_is_told(server.address, peer, STUDY)
                finally:
                    await asyncio.to_thread(postgres.start)
                answers, _ = await rush(server.address, "/static/style.css")
                assert {answer.status_code for answer in answers} == {200}
                until(lambda: httpx.get(f"http://{server.address}/join", trust_env=False).status_code == 303)

            asyncio.run(story())


def test_newcomers_while_another_program_holds_the_database_are_told(
    nursery: Nursery, peer: str, tmp_path: Path
) -> None:
    folder = small_room.write(tmp_path / "study")
    with serving(nursery, "study", folder) as server:

        async def story() -> None:
            with contextlib.closing(sqlite3.connect(folder / "out" / "journal.sqlite")) as other:
                other.execute("begin immediate")
                doors = {path: status for path, status in STUDY.items() if path != "/healthz"}
                await everybody_is_told(server.address, peer, doors)
                other.rollback()
            until(lambda: httpx.get(f"http://{server.address}/join", trust_env=False).status_code == 303)

        asyncio.run(story())


@pytest.mark.parametrize("kind", ["study", "recorder"])
def test_sigterm_on_a_full_disk_ends_soon_and_says_what_is_not_saved(
    nursery: Nursery, disk: Path, kind: str
) -> None:
    folder = small_room.write(disk / "here", episodes=4)
    player = Player(random.Random(1), "127.0.0.9")
    server = nursery.start(kind, folder)

    async def story(server: Server = server) -> None:
        await player.join(server.address)
        async with player.page(server.address) as page:
            await player.greet(page)
            while player.answered < 3:
                await player.move(page)
            await player.settle(page)
            await asyncio.to_thread(SmallDisk(disk).fill, server)
            await player.move(page)
            while not any(saving(player)):
                await player.read(page, "saving")
            await asyncio.to_thread(server.kill, signal.SIGTERM)

    asyncio.run(story())
    assert server.complaints == [], server.log
    if kind == "study":
        last = server.log.splitlines()[-1]
        assert last.startswith("Stopped while saving failed")
        assert re.search(r"[0-9]+ unacknowledged changes? (is|are) not saved, everything else is", last)
    check_acknowledged(folder / "out" if kind == "study" else folder, [player])


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["record", "serve"])
def test_a_command_that_is_told_to_end_says_what_is_saved_and_has_succeeded(
    tmp_path: Path, verb: str
) -> None:
    folder = small_room.write(tmp_path / "here")
    what = {
        "record": ["first-steps", "--out", str(tmp_path / "out"), "--no-browser"],
        "serve": [str(folder / "pilot.yaml"), "--out", str(tmp_path / "out")],
    }[verb]
    program = [str(Path(sys.executable).with_name("tutelage")), verb, *what, "--port", "0"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(program, stdout=log, stderr=log, env={**os.environ, "NO_COLOR": "1"})
        try:
            until(lambda: (tmp_path / "out" / "journal.sqlite").exists(), 120)
            until(lambda: _is_served((tmp_path / "log").read_text()), 120)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()
    assert (tmp_path / "log").read_text().splitlines()[-1] == "Stopped; everything is saved."


def _is_served(log: str) -> bool:
    """Say whether a page answers at the address that was told."""
    address = re.search(r"http://127\.0\.0\.1:\d+", log)
    with contextlib.suppress(httpx.TransportError):
        return address is not None and httpx.get(address[0], trust_env=False).status_code in (200, 403)
    return False
