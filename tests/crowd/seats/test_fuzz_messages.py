"""Whatever a page sends over its socket: an answer within moments, never a failure, and play goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from tutelage.crowd.seats.protocol import RECEIVED, UNKNOWN_SEAT, parse
from tutelage.tests.support.asked import long, quickly, served
from tutelage.tests.support.messages import sound_messages, unsound_messages
from tutelage.tests.support.nursery import Nursery, Server
from tutelage.tests.support.players import STAGES, Player
from websockets.exceptions import ConnectionClosed


@pytest.fixture(scope="module", params=["recorder", "study"])
def server(
    request: pytest.FixtureRequest, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that is told all sorts of things; then somebody plays there, and it is stored."""
    with served(nursery, request.param, tmp_path_factory.mktemp("messages")) as one:
        yield one


def _people() -> Iterator[Player]:
    for at in count():
        yield Player(random.Random(at), f"127.4.{at // 250}.{at % 250 + 1}")


people = _people()


@lru_cache
def example(kind: str) -> dict[str, Any]:
    """Return a message that a page may send, which agrees where it can; not the smallest."""
    drawn = settings(quickly, phases=[Phase.generate])
    return find(sound_messages(kind), lambda message: message.get("given", True), settings=drawn)


@pytest.mark.slow
def test_every_message_may_come_at_any_stage(server: Server) -> None:
    """For each there is one person who says it at every step of their way, twice."""

    async def story() -> None:
        await asyncio.gather(*(_insist(server, kind) for kind in RECEIVED))

    asyncio.run(story())
    assert server.complaints == [], server.log


async def _insist(server: Server, kind: str) -> None:
    message = json.dumps(example(kind))
    assert parse(message).type == kind
    player, at = next(people), Counter[str]()
    await player.join(server.address)
    async with player.page(server.address) as page:
        await player.greet(page)
        for _ in range(100 if player.way else 20):
            for _ in range(2):
                at[player.way.get("stage", player.state["phase"])] += 1
                await page.send(message)
                await player.settle(page)
            at[player.way.get("stage", player.state["phase"])] += 1
            if player.is_done:
                break
            await player.move(page)
            if player.state["phase"] == "playing":  # the first may only have undone a pause
                await player.move(page)
            await asyncio.sleep(0.02)  # nobody is faster, and who is, is cut off
    if player.way and kind != "withdraw":
        assert set(at) >= set(STAGES), kind
    elif not player.way:
        assert set(at) >= {"choosing", "playing"}, kind


def say_anything(server: Server, how: settings) -> None:
    sequences = st.lists(sound_messages().map(json.dumps) | unsound_messages, max_size=10)

    @how
    @given(st.integers(0, 20), sequences)
    def say(moves: int, texts: list[str | bytes]) -> None:
        asyncio.run(_say(server, next(people), moves, texts))
        assert server.complaints == [], server.log

    say()


async def _say(server: Server, player: Player, moves: int, texts: list[str | bytes]) -> None:
    await player.join(server.address)
    async with player.page(server.address) as page:
        await player.greet(page)
        for _ in range(moves):
            if not player.is_done:
                await player.move(page)
        for text in texts:
            await page.send(text)
        await player.settle(page)
    await player.play(server.address, 2)


@pytest.mark.slow
def test_no_message_is_a_failure(server: Server) -> None:
    say_anything(server, quickly)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_nor_is_any_of_thousands(server: Server) -> None:
    say_anything(server, settings(long, max_examples=1000))


def test_a_socket_without_a_seat_hears_nothing(server: Server) -> None:
    player = next(people)
    player.cookie = "seat=none"
    # made beforehand: a page that is busy for seconds answers no closing, and is cut off
    messages = [json.dumps(example(kind)) for kind in RECEIVED]

    async def story() -> None:
        async with player.page(server.address) as page:
            with contextlib.suppress(ConnectionClosed):
                for message in messages:
                    await page.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                await page.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == UNKNOWN_SEAT

    asyncio.run(story())
