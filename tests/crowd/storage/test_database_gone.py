"""A study whose PostgreSQL goes away, crashes and comes back while people play: they wait, and go on."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import httpx
import pytest
from tutelage.tests.support import small_room
from tutelage.tests.support.nursery import Nursery, Server, serving
from tutelage.tests.support.players import GONE, Player, crowd
from tutelage.tests.support.postgres import PostgreSQL
from tutelage.tests.support.what_is_stored import actions, check_acknowledged, check_store, rows


def outage(nursery: Nursery, postgres: PostgreSQL, folder: Path, *seconds: float) -> None:
    """Stop the database for so long, and again, in the midst of play; then let everybody finish."""
    episodes = 4 * len(seconds)
    small_room.write(folder, episodes=episodes, breaks={"every": 2})
    players = crowd(random.Random(1), 4)
    with postgres.database() as url:
        options = {"environment": {"TUTELAGE_SECRET": "ab" * 32}, "options": {"database": url}}
        with serving(nursery, "study", folder, **options) as server:
            asyncio.run(_play_on(server, postgres, players, seconds))
        assert [one.way["outcome"] for one in players] == ["completed"] * len(players)
        check_acknowledged(url, players)
        on_disk = actions(url)
        for player in players:
            for episode, taken in player.steps.items():
                assert on_disk.get(episode, []) == taken
        done = rows(url, "select episode from claims where state = 'done'")
        counted = rows(url, "select episode from conduct where role != 'practice'")
        decided = rows(url, "select person, decision from consents")
    assert sorted(done) == sorted(counted)
    assert len(done) == episodes * len(players)
    assert len(decided) == len({person for person, _ in decided}) == len(players)
    check_store(folder / "out", {episode for (episode,) in done})


async def _play_on(
    server: Server, postgres: PostgreSQL, players: list[Player], seconds: tuple[float, ...]
) -> None:
    for one in players:
        await one.join(server.address)
    playing = [asyncio.create_task(_come_and_go(one, server)) for one in players]
    for at, one in enumerate(seconds):
        await asyncio.sleep(0.7)
        assert not any(one.is_done for one in players)
        await asyncio.to_thread(postgres.stop, "fast" if at % 2 else "immediate")
        try:
            await asyncio.sleep(one)
            async with httpx.AsyncClient(timeout=20) as anybody:
                assert (await anybody.get(f"http://{server.address}/join")).status_code == 503
        finally:
            await asyncio.to_thread(postgres.start)
    await asyncio.wait_for(asyncio.gather(*playing), 120)


async def _come_and_go(player: Player, server: Server) -> None:
    """Play at the pace of people; whoever is sent away comes back soon."""
    while not player.is_done:
        with contextlib.suppress(*GONE):
            async with player.page(server.address) as page:
                await player.greet(page)
                while not player.is_done:
                    await player.move(page)
                    await asyncio.sleep(0.04)
        await asyncio.sleep(0.2)


@pytest.mark.slow
def test_people_wait_for_a_database_that_is_away(
    nursery: Nursery, postgres: PostgreSQL, tmp_path: Path
) -> None:
    outage(nursery, postgres, tmp_path / "study", 1.0)


@pytest.mark.soak
def test_even_for_half_a_minute_and_through_many_crashes(
    nursery: Nursery, postgres: PostgreSQL, tmp_path: Path
) -> None:
    outage(nursery, postgres, tmp_path / "study", 30, *[0.1] * 4)
