"""People at their pages, over real sockets: they remember what they did, and what they were told is saved."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Sequence
from typing import Any

import httpx
from tutelage.crowd.hosting.frame_codec import unpack
from tutelage.tests.support.small_room import CODES
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

ACROSS = (1, 1, 2, 2, 1, 2)
"""The way over the lake, and as good as any through a room."""
STAGES = ("consent", "instructions", "practice", "check", "play", "done")
GONE = (ConnectionClosed, InvalidHandshake, OSError, TimeoutError, httpx.TransportError)
"""What happens to somebody whose server is killed."""
_PATIENCE_SECONDS = 60


class Player:
    """One person, whichever server they come back to; whoever comes to a study is led by it.

    They mostly know the way over the lake. `steps` are the actions of each episode, as far as they know,
    `saved` how many of them the server said are on disk, `kept` the episodes that they kept.
    """

    def __init__(self, rng: random.Random, source: str = "127.0.0.1") -> None:
        self.cookie = ""
        self.steps: dict[str, list[int]] = {}
        self.saved: dict[str, int] = {}
        self.kept: set[str] = set()
        self.answered = 0
        self.waits_ms: list[float] = []
        self.state: dict[str, Any] = {}
        self.way: dict[str, Any] = {}
        self.told: list[dict[str, Any]] = []
        self.source = source
        self.last = 0
        self._rng = rng
        self._probes = 0
        self._at = ""
        self._reached: dict[str, int] = {}

    @property
    def is_done(self) -> bool:
        """Say whether a study has come to its end for them."""
        return self.way.get("stage") == "done"

    @property
    def progress(self) -> tuple[int, int]:
        """How far they are in a study: the stage, and how many episodes are done there."""
        way = self.way
        stage = "play" if way["stage"] == "rest" else way["stage"]
        if stage not in ("practice", "play", "done"):
            return STAGES.index(stage), 0
        shown = way.get("outcome") or {}
        if stage == "practice":
            counts = bool(shown.get("success"))
        else:
            counts = stage == "done" or way["stage"] == "rest" or shown.get("reason", "broken") != "broken"
        return STAGES.index(stage), way["number"] - (not counts)

    async def play(self, address: str, moves: int = 1 << 30) -> None:
        """Play so many moves, or until the server is gone or the study done."""
        with contextlib.suppress(*GONE):
            await self.join(address)
            async with self.page(address) as socket:
                await self.greet(socket)
                for _ in range(moves):
                    if self.is_done:
                        return
                    await self.move(socket)

    async def join(self, address: str) -> None:
        """Get a seat, unless there is one already."""
        if self.cookie:
            return
        transport = httpx.AsyncHTTPTransport(local_address=self.source, verify=False)
        options: dict[str, Any] = {"transport": transport, "trust_env": False, "timeout": _PATIENCE_SECONDS}
        async with httpx.AsyncClient(base_url=f"http://{address}", **options) as browser:
            answer = await browser.get("/join")
            if answer.status_code == 404:  # a recorder has no door
                answer = await browser.get("/")
            assert answer.status_code in (200, 303), answer.text
            self.cookie = answer.headers["set-cookie"].split(";")[0]

    def page(self, address: str, query: str = "?page=a", **options: Any) -> connect:
        """Open the socket of this person's page."""
        headers = {"Cookie": self.cookie, "Origin": f"http://{address}"}
        options = {
            "additional_headers": headers,
            "proxy": None,
            "open_timeout": 60,
            "close_timeout": 1,
            **options,
        }
        return connect(f"ws://{address}/socket{query}", local_addr=(self.source, 0), **options)

    async def greet(self, socket: ClientConnection) -> None:
        """Read what a page is told first, and see that nothing has been forgotten."""
        before = self.progress if self.way else (0, 0)
        await self.settle(socket)
        assert not self.way or self.progress >= before, (before, self.way)
        episode = self.state["episode"]
        if episode is not None:
            known = self.steps.setdefault(episode["id"], [])
            # the last step may have been taken without our hearing of it, or told to us and not saved
            assert self.saved.get(episode["id"], 0) <= episode["step"] <= len(known) + 1
            if episode["step"] > len(known):
                known.append(self.last)
            del known[episode["step"] :]
        elif self._at and self._reached[self._at] > len(self.steps[self._at]):
            self.steps[self._at].append(self.last)

    async def move(self, socket: ClientConnection) -> None:
        """Do what is to be done next: a step, or whatever leads to one."""
        phase, episode = self.state["phase"], self.state["episode"]
        if phase in ("ready", "playing", "paused") and episode is not None:
            await self._step(socket, episode["id"])
        elif self.way:
            await self._go_on(socket, self.way)
        elif phase == "finished":
            name = self._rng.choice(("keep", "keep", "discard", "redo"))
            await self.ask(socket, name)
            if name == "keep":
                self.kept.add(episode["id"])
        else:
            await self.ask(socket, "choose", task=self.state["tasks"][0]["id"])

    async def ask(self, socket: ClientConnection, kind: str, **values: Any) -> None:
        """Send a message, and read what the page is told of it."""
        await self.send(socket, kind, **values)
        await self.settle(socket)

    async def send(self, socket: ClientConnection, kind: str, **values: Any) -> None:
        await socket.send(json.dumps({"type": kind, **values}))

    async def settle(self, socket: ClientConnection) -> None:
        """Read on until all that was sent has been answered: ask for nonsense, and wait for its error."""
        self._probes += 1
        name = f"probe-{self._probes}"
        await self.send(socket, name)
        while name not in (await self.read(socket, "error"))["text"]:
            pass

    async def read(self, socket: ClientConnection, *kinds: str) -> dict[str, Any]:
        """Read on until a message of one of some kinds has come; a frame is a step."""
        while True:
            message = _told(await asyncio.wait_for(socket.recv(), _PATIENCE_SECONDS))
            self._hear(message)
            if message["type"] in kinds:
                return message

    def _hear(self, message: dict[str, Any]) -> None:
        episode = self.state.get("episode")
        if message["type"] == "state":
            self.state = message
            if (at_hand := message["episode"]) is not None:
                self._reached[at_hand["id"]] = at_hand["step"]
        elif message["type"] == "way":
            self.way = message
            shown = message.get("outcome")
            if self._at and isinstance(shown, dict) and "steps" in shown:
                self._reached[self._at] = shown["steps"]
        elif message["type"] in ("error", "note", "saving"):
            self.told.append(message)
        elif "saved" in message and episode is not None:
            if message["type"] == "step":
                self._reached[episode["id"]] = message["step"]
            self._note_saved(message.get("episode", episode["id"]), message["saved"])

    def _note_saved(self, episode: str, number: int) -> None:
        self.saved[episode] = max(number, self.saved.get(episode, 0))
        known = self.steps.setdefault(episode, [])
        if number > len(known):  # heard before the step itself was
            known.append(self.last)

    async def _step(self, socket: ClientConnection, episode: str) -> None:
        if self.state["phase"] != "playing":
            await self.ask(socket, "go")
            return
        self._at, known = episode, self.steps.setdefault(episode, [])
        number, self.last = len(known), self._choose(known)
        began = time.perf_counter()
        await self.send(socket, "down", code=CODES[self.last], frame=number)
        await self.send(socket, "up", code=CODES[self.last])
        while (message := await self.read(socket, "step", "state")).get("step", 0) <= number:
            if message["type"] == "state" and message["phase"] != "playing":
                await self.settle(socket)
                if self._reached.get(episode, 0) <= number:  # it was over, or waited, before this key
                    return
                break
        self.waits_ms.append((time.perf_counter() - began) * 1000)
        known[number:] = [self.last]
        self.answered += 1

    def _choose(self, known: Sequence[int]) -> int:
        knows_the_way = tuple(known) == ACROSS[: len(known)] and len(known) < len(ACROSS)
        if knows_the_way and self._rng.random() < 0.97:
            return ACROSS[len(known)]
        return self._rng.randrange(3)

    async def _go_on(self, socket: ClientConnection, way: dict[str, Any]) -> None:
        match way["stage"]:
            case "consent":
                await self.ask(socket, "consent", given=True)
            case "instructions":
                await self.ask(socket, "ready")
            case "check":
                await self.ask(socket, "answers", chosen=[0])
            case _:
                await self.ask(socket, "next")


def _told(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, bytes):
        _, number, saved = unpack(message)
        return {"type": "step", "step": number, "saved": saved}
    told: dict[str, Any] = json.loads(message)
    return told


def crowd(rng: random.Random, count: int) -> list[Player]:
    """Make some people, each at an address of their own."""
    return [Player(rng, f"127.0.0.{at % 250 + 2}") for at in range(count)]
