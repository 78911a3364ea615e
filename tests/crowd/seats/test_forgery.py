"""Old messages, other people's cookies, forged signatures: nothing is changed by them, nothing is shown."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tutelage.crowd.seats.protocol import UNKNOWN_SEAT
from tutelage.crowd.server.entrance import SEAT
from tutelage.crowd.storage.secret import Secret
from tutelage.tests.support import small_room
from tutelage.tests.support.nursery import Nursery, Server, serving
from tutelage.tests.support.players import Player
from tutelage.tests.support.what_is_stored import check_store, check_study, rows
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed


@pytest.fixture(scope="module")
def server(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = small_room.write(tmp_path_factory.mktemp("forgery") / "study", breaks={"every": 2})
    with serving(nursery, "study", folder) as one:
        yield one
    check_study(folder / "out", [])
    check_store(folder / "out", set())


def stranger(at: int = 1) -> Player:
    return Player(random.Random(at), f"127.5.{random.randrange(250)}.{random.randrange(1, 250)}")


@pytest.mark.slow
def test_a_conversation_that_is_sent_again_changes_nothing(server: Server) -> None:
    """In the same order, then in any order, by the same person: the study is over for them."""
    player, sent = stranger(), list[str]()

    async def story() -> None:
        await player.join(server.address)
        async with player.page(server.address) as page:
            _note(page, sent)
            await player.greet(page)
            while not player.is_done:
                await player.move(page)
        before = _all_about(server, player)
        for texts in (sent, random.Random(1).sample(sent, len(sent))):
            async with player.page(server.address) as page:
                for at, text in enumerate(texts):
                    await page.send(text)
                    if at % 20 == 0:
                        await player.settle(page)
                await player.settle(page)
        assert _all_about(server, player) == before

    asyncio.run(story())


@pytest.mark.slow
def test_messages_in_any_order_lead_nobody_past_a_stage(server: Server) -> None:
    """What came too early is not remembered; the way is as long as for everybody, and can be gone."""
    player, other, sent = stranger(1), stranger(2), list[str]()

    async def story() -> None:
        await player.join(server.address)
        async with player.page(server.address) as page:
            _note(page, sent)
            await player.greet(page)
            while not player.is_done:
                await player.move(page)
        await other.join(server.address)
        async with other.page(server.address) as page:
            await other.greet(page)
            for text in random.Random(2).sample(sent, len(sent)):
                await asyncio.sleep(0.02)  # nobody is faster, and who is, is cut off
                before = other.progress
                await page.send(text)
                await other.settle(page)
                assert before <= other.progress
                assert other.progress[0] <= before[0] + 1
            while not other.is_done:
                await asyncio.sleep(0.02)
                await other.move(page)
        assert other.way["outcome"] == "completed"

    asyncio.run(story())


def _note(page: ClientConnection, sent: list[str]) -> None:
    send = page.send

    async def noting(text: str) -> None:
        sent.append(text)
        await send(text)

    page.send = noting  # type: ignore[assignment, method-assign]


def _all_about(server: Server, player: Player) -> list[object]:
    folder, person = server.folder / "out", player.way["person"]
    [(seat,)] = rows(folder, "select seat from people where person = ?", person)
    return [
        rows(folder, "select stage, outcome, code, progress from people where person = ?", person),
        rows(folder, "select * from consents where person = ?", person),
        rows(folder, "select * from claims where person = ?", person),
        rows(folder, "select * from conduct where person = ?", person),
        rows(folder, "select episode, state from episodes where seat = ?", seat),
        rows(folder, "select count(*) from steps join episodes using (episode) where seat = ?", seat),
    ]


def test_only_its_own_cookie_opens_a_seat(server: Server, tmp_path: Path) -> None:
    """Forged, stolen from another study, signed for something else: none is let in, none is told why."""
    victim = stranger()
    ours, theirs = Secret.load(server.folder / "out"), Secret.load(tmp_path)

    async def story() -> None:
        await victim.join(server.address)
        name, _, value = victim.cookie.partition("=")
        seat, _, signature = value.rpartition(".")
        forged = [
            "",
            seat,
            f"{seat}.",
            f".{signature}",
            f"{seat}.{signature[:-1]}",
            f"{seat}.{signature}x",
            f"{seat}.{signature.swapcase()}",
            f"{seat}.{signature[:9]}!{signature[9:]}",
            f"{seat}.{signature}=",
            theirs.sign(seat, SEAT),
            *(ours.sign(seat, purpose) for purpose in ("admin", "admin csrf", "link", "")),
            ours.sign("", SEAT),
            ours.sign("0" * 16, SEAT),
            f"{seat}%00.{signature}",
            "~" * 3000,
        ]
        for one in forged:
            thief = stranger()
            thief.cookie = f"{name}={one}"
            async with thief.page(server.address) as page:
                with pytest.raises(ConnectionClosed) as closed:
                    await thief.settle(page)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == UNKNOWN_SEAT, one
        await victim.play(server.address, 3)
        assert victim.way["stage"] == "practice"

    asyncio.run(story())


def test_nothing_of_the_dashboard_is_anybodys(server: Server, tmp_path: Path) -> None:
    """No cookie, a player's, a forged one, the token itself as a cookie: nothing is shown, nothing done."""
    player = stranger()
    asyncio.run(player.play(server.address, 5))
    person = player.way["person"]
    [token] = [line.split()[-1] for line in server.log.splitlines() if "Its token" in line]
    private = (
        *("/admin/figures", "/admin/people", f"/admin/people/{person}", "/admin/records.zip"),
        *("/admin/demonstrations.zip", f"/admin/replay/{next(iter(player.steps))}", "/metrics"),
    )
    seat = player.cookie.partition("=")[2]
    forged = [Secret.load(tmp_path).sign("session:0:99999999999:0", "admin"), seat, "", token, "a.b"]
    with httpx.Client(base_url=f"http://{server.address}") as anybody:
        [cookie] = anybody.get("/admin/session").headers["set-cookie"].split("=")[:1]
        for value in forged:
            headers = {"Cookie": f"{cookie}={value}", "Authorization": f"Bearer {value or 'x'}"}
            if value != token:
                for path in private:
                    assert anybody.get(path, headers=headers).status_code in (401, 403, 429), path
            decision = {"what": "ban", "person": person, "reason": "x"}
            for extra in ({}, {"Origin": f"http://{server.address}"}, {"Origin": "http://evil.example"}):
                answer = anybody.post("/admin/decide", json=decision, headers=headers | extra)
                assert answer.status_code in (401, 403)
    assert rows(server.folder / "out", "select * from events where what = 'ban'") == []
    asyncio.run(player.play(server.address))
    assert player.way["outcome"] == "completed"
