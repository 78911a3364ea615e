"""`kill -9` at any moment: what a page was told is saved is on disk, once, and all goes on from there."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
from tutelage.datasets.store import Store
from tutelage.tests.support import small_room
from tutelage.tests.support.nursery import Nursery, Server, until
from tutelage.tests.support.players import Player, crowd
from tutelage.tests.support.what_is_stored import check_acknowledged, check_store, check_study

PLAYERS = 4
Crash = Callable[[Nursery, Path, int], list[Player]]


def play_until_killed(server: Server, players: list[Player], rng: random.Random) -> None:
    """Let everybody play at once, and kill the server in mid-play, or at any moment from its start on."""
    steps = rng.choice((0, 4, 12, 40))

    def answered() -> int:
        return sum(one.answered for one in players)

    async def story() -> None:
        enough, end = answered() + steps, time.monotonic() + 5
        playing = asyncio.gather(*(one.play(server.address) for one in players))
        while answered() < enough and time.monotonic() < end and not playing.done():
            await asyncio.sleep(0.01)
        await asyncio.sleep(rng.uniform(0, 0.05 if steps else 0.8))
        await asyncio.to_thread(server.kill)
        await playing

    asyncio.run(story())
    assert server.complaints == [], server.log


def crash_a_recorder(nursery: Nursery, folder: Path, times: int) -> list[Player]:
    rng = random.Random(times)
    players = crowd(rng, PLAYERS)
    for _ in range(times):
        play_until_killed(nursery.start("recorder", folder), players, rng)
        check_acknowledged(folder, players)
    kept = set().union(*(one.kept for one in players))
    last = nursery.start("recorder", folder)  # which stores what the crashes left
    until(lambda: kept <= set(Store.open(folder).episodes()["episode"].to_pylist()), 60)
    last.stop()
    check_store(folder, kept)
    return players


def crash_a_study(
    nursery: Nursery, folder: Path, times: int, suite: dict[str, Any] = small_room.SUITE
) -> list[Player]:
    rng = random.Random(times)
    everybody: list[Player] = []
    players: list[Player] = []
    small_room.write(folder, suite=suite, episodes=4, breaks={"every": 2}, repeats={"share": 0.3})
    for _ in range(times):
        players = [one for one in players if not one.is_done]
        new = crowd(rng, PLAYERS - len(players))
        players, everybody = players + new, everybody + new
        play_until_killed(nursery.start("study", folder), players, rng)
        check_acknowledged(folder / "out", everybody)
    last = nursery.start("study", folder)

    async def go_on_to_the_end() -> None:
        await asyncio.gather(*(one.play(last.address) for one in everybody))

    asyncio.run(go_on_to_the_end())
    last.stop()
    assert all(one.is_done and one.way["outcome"] == "completed" for one in everybody)
    check_acknowledged(folder / "out", everybody)
    check_study(folder / "out", everybody)
    check_store(folder / "out", set())
    return everybody


@pytest.mark.slow
def test_a_recorder_killed_five_times_loses_nothing_it_acknowledged(nursery: Nursery, tmp_path: Path) -> None:
    players = crash_a_recorder(nursery, tmp_path / "recorder", 5)
    assert sum(player.answered for player in players) > 20


@pytest.mark.slow
def test_a_study_killed_five_times_loses_nothing_it_acknowledged(nursery: Nursery, tmp_path: Path) -> None:
    players = crash_a_study(nursery, tmp_path / "study", 5)
    assert sum(player.answered for player in players) > 20


def crash_a_study_with_workers(nursery: Nursery, folder: Path, times: int) -> list[Player]:
    """The same where environments have processes of their own, which end with their server."""
    players = crash_a_study(nursery, folder, times, {"suite": "small", "tasks": [small_room.LAKE]})
    until(lambda: not _orphans())
    return players


def _orphans() -> list[psutil.Process]:
    """List the processes for environments that nobody is the parent of any more."""
    found = psutil.process_iter(["ppid", "cmdline"])
    return [one for one in found if one.info["ppid"] == 1 and "forkserver" in str(one.info["cmdline"])]


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("crash", [crash_a_recorder, crash_a_study, crash_a_study_with_workers])
def test_two_hundred_kills_lose_nothing(nursery: Nursery, tmp_path: Path, crash: Crash) -> None:
    players = crash(nursery, tmp_path / "folder", 200)
    steps, episodes = sum(one.answered for one in players), sum(len(one.steps) for one in players)
    print(f"{len(players)} people, {episodes} episodes, {steps} steps")


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
def test_a_server_may_die_at_any_commit(nursery: Nursery, tmp_path: Path, after: bool) -> None:
    """One person's whole way, on servers that each die at a commit, just before it is made or just after."""
    folder = tmp_path / "study"
    small_room.write(folder, episodes=1)
    player = Player(random.Random(1))
    deaths = 0
    for number in count(1):
        server = nursery.start("study", folder, fuse=number, after=after)
        if server.address:
            asyncio.run(player.play(server.address))
        if player.is_done:
            server.stop()
            break
        server.gone()
        deaths += 1
        check_acknowledged(folder / "out", [player])
    nursery.start("study", folder).stop()  # which stores what the last one may not have
    assert deaths > 10
    check_study(folder / "out", [player])
    check_store(folder / "out", set())


@pytest.mark.slow
def test_ctrl_c_is_heard_from_the_moment_the_address_is_told(nursery: Nursery, tmp_path: Path) -> None:
    folder = small_room.write(tmp_path / "study")
    for _ in range(8):
        server = nursery.start("study", folder)
        server.stop()
        assert server.log.splitlines()[-1] == "Stopped; everything is saved.", server.log
