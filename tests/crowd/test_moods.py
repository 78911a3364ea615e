"""An environment that raises, hangs or ends its process takes down its own seat, and no other."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from tutelage.tests.support import small_room
from tutelage.tests.support.nursery import Nursery, Server, serving
from tutelage.tests.support.players import Player
from tutelage.tests.support.small_room import CODES, LAKE
from tutelage.tests.support.toy_moods import DIES, FINE, HANGS, RAISES
from tutelage.tests.support.what_is_stored import check_acknowledged, check_store, rows
from websockets.asyncio.client import ClientConnection

MOODY = {
    "id": "moody",
    "env": "toys/Moody-v0",
    "max_steps": 6,
    "success": "reward > 0",
    "blank_first_frame": True,
    "controls": dict(zip(CODES, range(4), strict=True)),
}
MOODS = {RAISES: "in a mood", HANGS: "did not answer", DIES: "process ended"}
ENOUGH = 20
"""How many keys of each of the others are answered, at least."""
WAIT_MS = 6000
"""How long others may wait: until what hangs is noticed, and their own episodes have been played again."""


async def press(player: Player, page: ClientConnection, action: int) -> None:
    await player.send(page, "down", code=CODES[action], frame=0)
    await player.send(page, "up", code=CODES[action])
    await player.settle(page)


@pytest.mark.slow
def test_whoever_shares_its_process_plays_on(nursery: Nursery, tmp_path: Path) -> None:
    folder = tmp_path / "recorder"
    suite = {"suite": "small", "tasks": [LAKE, MOODY]}
    wishes: dict[str, Any] = {"suite": suite, "imports": "tutelage.tests.support.toy_moods"}
    wishes |= {"options": {"processes": 1, "step_seconds": 1.0}}
    others = [Player(random.Random(at)) for at in range(3)]
    culprit = Player(random.Random(9))
    with serving(nursery, "recorder", folder, **wishes) as server:
        asyncio.run(_misbehave(server, culprit, others))
    assert max(wait for one in others for wait in one.waits_ms) < WAIT_MS
    assert not any("failed" in told["text"] for one in others for told in one.told)
    check_acknowledged(folder, others)
    check_store(folder, set().union(*(one.kept for one in others)))
    notes = rows(folder, "select notes from episodes where task = 'moody' and state = 'abandoned'")
    assert len(notes) == 2 * len(MOODS)
    for why in MOODS.values():
        assert sum(why in note for (note,) in notes) == 2, notes


async def _misbehave(server: Server, culprit: Player, others: list[Player]) -> None:
    stop = asyncio.Event()

    async def play(one: Player) -> None:
        while not stop.is_set():
            await one.play(server.address, 10)

    playing = asyncio.gather(*(play(one) for one in others))
    await culprit.join(server.address)
    async with culprit.page(server.address) as page:
        await culprit.greet(page)
        for mood in (*MOODS, *MOODS):
            await culprit.ask(page, "choose", task="moody")
            for action in (FINE, FINE, mood):
                await press(culprit, page, action)
            assert "failed" in culprit.told[-2]["text"], culprit.told[-2]
            assert MOODS[mood] in culprit.told[-2]["text"], culprit.told[-2]
            assert culprit.state["episode"] is None
        while min(player.answered for player in others) <= ENOUGH:
            await asyncio.sleep(0.05)
        stop.set()
        await playing


@pytest.mark.slow
@pytest.mark.parametrize("mood", [RAISES, DIES])
def test_in_a_study_the_seed_is_passed_over_and_the_person_goes_on(
    nursery: Nursery, tmp_path: Path, mood: int
) -> None:
    suite = {"suite": "small", "tasks": [MOODY]}
    folder = small_room.write(tmp_path / "study", suite=suite, episodes=3, practice=None)
    player = Player(random.Random(1))

    async def story(server: Server) -> None:
        await player.join(server.address)
        async with player.page(server.address) as page:
            await player.greet(page)
            while player.way["stage"] != "play":
                await player.move(page)
            for number, broken in ((1, True), (1, False), (2, True), (2, False), (3, False)):
                assert (player.way["number"], player.way["outcome"]) == (number, None)
                for action in (FINE, mood) if broken else [FINE] * 6:
                    await press(player, page, action)
                assert (player.way["outcome"]["reason"] == "broken") is broken
                await player.ask(page, "next")

    with serving(nursery, "study", folder, imports="tutelage.tests.support.toy_moods") as server:
        asyncio.run(story(server))
    assert player.way["outcome"] == "completed"
    seeds = [seed for (seed,) in rows(folder / "out", "select seed from claims where state = 'done'")]
    assert len(seeds) == len(set(seeds)) == 5
    rows(folder / "out", "select 1")
    stored = rows(folder / "out", "select state, count(*) from episodes group by state order by state")
    assert stored == [("abandoned", 2), ("stored", 3)]
