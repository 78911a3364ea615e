"""What falls between two writes of a person's way: no seed is played twice, no withdrawal is half done."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.crowd.seats.session import Phase
from tutelage.crowd.storage.study_tables import claims, conduct
from tutelage.datasets.store import Store
from tutelage.tests.support import small_room
from tutelage.tests.support.nursery import Nursery, Server, serving, until
from tutelage.tests.support.players import GONE, Player
from tutelage.tests.support.toy_study import ACROSS, rows, run, walk_in
from tutelage.tests.support.toy_study import serving as in_this_process
from tutelage.tests.support.what_is_stored import check_acknowledged, check_store, check_study
from tutelage.tests.support.what_is_stored import rows as on_disk


class Crash(Exception):
    """The server goes no further than here."""


def crash(*_: object) -> Any:
    raise Crash


@pytest.mark.slow
def test_a_seed_is_played_once_whatever_two_crashes_fall_between(tmp_path: Path) -> None:
    """The first before it is noted which episode a seed is played as, the second before it is counted."""

    async def story() -> None:
        options = {"practice": None, "check": None}
        async with in_this_process(tmp_path, **options) as server:
            ann = await walk_in(server)
            server.context.claims.renew = crash  # type: ignore[method-assign]
            with pytest.raises(Crash):
                await ann.to_the_tasks()
        async with in_this_process(tmp_path, **options) as server:
            ann = await walk_in(server)
            for action in ACROSS:
                await ann.participant.session.act(np.array([float(action)]))
            assert ann.participant.session.phase is Phase.FINISHED
            await ann.participant.session.keep()
        async with in_this_process(tmp_path, **options) as server:
            ann = await walk_in(server)
            assert [row["seed"] for row in rows(server, conduct)] == [0]
            assert {row["seed"]: row["state"] for row in rows(server, claims)} == {0: "done", 1: "held"}
            assert ann.way["number"] == 2
        assert [trajectory.seed for trajectory in Store.open(tmp_path / "out").trajectories()] == [0]

    run(story())


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
def test_a_withdrawal_is_whole_or_has_not_happened(nursery: Nursery, tmp_path: Path, after: bool) -> None:
    """Each server dies at another of its commits; whoever comes back withdraws, until that is done."""
    folder = small_room.write(tmp_path / "study", practice=None, check=None)
    player = Player(random.Random(1))
    with serving(nursery, "study", folder) as server:
        asyncio.run(_play_into_the_second(player, server))
    for number in count(1):
        server = nursery.start("study", folder, fuse=number, after=after)
        if server.address:
            asyncio.run(_withdraw(player, server))
        until(lambda server=server: _is_removed(folder) or not server.is_alive)
        if server.is_alive:
            server.stop()
            break
        _check_withdrawal(folder)
    _check_withdrawal(folder)
    assert number > 3
    assert _is_removed(folder)
    assert len(Store.open(folder / "out")) == 0


async def _play_into_the_second(player: Player, server: Server) -> None:
    await player.join(server.address)
    async with player.page(server.address) as page:
        await player.greet(page)
        while player.way.get("stage") != "play" or player.way["number"] < 2 or not player.state["episode"]:
            await player.move(page)
        await player.move(page)


async def _withdraw(player: Player, server: Server) -> None:
    try:
        async with player.page(server.address) as page:
            await player.settle(page)
            if not player.is_done:
                await player.ask(page, "withdraw", keep=False)
    except GONE:
        return


def _is_removed(folder: Path) -> bool:
    return bool(on_disk(folder / "out", "select * from events where what = 'removed'"))


def _check_withdrawal(folder: Path) -> None:
    out = folder / "out"
    [(outcome,)] = on_disk(out, "select outcome from people")
    decisions = [decision for (decision,) in on_disk(out, "select decision from consents order by id")]
    taken = on_disk(out, "select * from claims where state = 'done' or until > 0")
    measured = on_disk(out, "select * from conduct")
    assert (outcome, decisions, bool(taken), bool(measured)) in (
        ("", ["given"], True, True),
        ("withdrew", ["given", "withdrawn"], False, False),
    )


@pytest.mark.slow
def test_what_cannot_be_saved_is_said_not_to_be_and_is_not_shown(nursery: Nursery, tmp_path: Path) -> None:
    """The disk is full while somebody answers wrongly: the attempt does not count, here or after a crash."""
    folder = small_room.write(tmp_path / "study")
    player = Player(random.Random(1))

    async def story(server: Server) -> None:
        await player.join(server.address)
        async with player.page(server.address) as page:
            await player.greet(page)
            while player.way["stage"] != "check":
                await player.move(page)
            assert player.way["left"] == 2
            server.limit_files((folder / "out" / "journal.sqlite-wal").stat().st_size)
            await player.ask(page, "answers", chosen=[1])
            assert any("could not be saved" in message.get("text", "") for message in player.told)
            assert player.way["left"] == 2
            server.limit_files(-1)
            await player.ask(page, "answers", chosen=[1])
            assert player.way["left"] == 1
        server.kill()

    asyncio.run(story(nursery.start("study", folder)))
    with serving(nursery, "study", folder) as server:
        asyncio.run(player.play(server.address, 0))
        assert (player.way["stage"], player.way["left"]) == ("check", 1)
        asyncio.run(player.play(server.address))
    assert player.is_done
    check_acknowledged(folder / "out", [player])
    check_study(folder / "out", [player])
    check_store(folder / "out", set())


@pytest.mark.slow
def test_a_script_that_joins_keeps_nobody_out_of_a_small_study(nursery: Nursery, tmp_path: Path) -> None:
    """Sixty come at once and read what they are asked to agree to; three may take part, and one agrees."""
    folder = small_room.write(tmp_path / "study", people=3)
    script = [Player(random.Random(at)) for at in range(60)]
    honest = Player(random.Random(99), "127.0.0.9")
    with serving(nursery, "study", folder) as server:

        async def story() -> None:
            await asyncio.gather(*(player.play(server.address, 0) for player in script))
            assert {player.way["stage"] for player in script} == {"consent"}
            await honest.play(server.address)

        asyncio.run(story())
        until(lambda: len(Store.open(folder / "out")) == 3)
    assert honest.way["outcome"] == "completed"


@pytest.mark.slow
def test_of_many_who_agree_at_once_no_more_are_let_in_than_there_are_places(
    nursery: Nursery, tmp_path: Path
) -> None:
    folder = small_room.write(tmp_path / "study", people=3)
    players = [Player(random.Random(at)) for at in range(12)]

    async def agree(player: Player, server: Server, all_here: asyncio.Barrier) -> None:
        await player.join(server.address)
        async with player.page(server.address) as page:
            await player.greet(page)
            await all_here.wait()
            await player.ask(page, "consent", given=True)

    with serving(nursery, "study", folder) as server:

        async def story() -> None:
            all_here = asyncio.Barrier(len(players))
            await asyncio.gather(*(agree(player, server, all_here) for player in players))
            stages = [player.way["stage"] for player in players]
            assert (stages.count("instructions"), stages.count("done")) == (3, 9)
            await asyncio.gather(*(player.play(server.address) for player in players))

        asyncio.run(story())
    assert sorted(player.way["outcome"] for player in players) == ["completed"] * 3 + ["full"] * 9
