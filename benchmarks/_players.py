"""Simulated players over real WebSockets, as cheap as players can be: frames made by hand, one protocol each.

A player decodes no image, and masks its messages with zeros, which is a mask too. So a thousand of them need
less of a core than the server that they play on.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import random
import struct
from collections import deque
from typing import Any

HEADER = struct.Struct("<BxHHxxII")
SHAPES = 4
PERIOD = 0.1
"""Seconds between two keys of a player who plays at their own pace."""
_KEYS = ("ArrowLeft", "ArrowRight", "ArrowUp")


class Player(asyncio.Protocol):
    """One open page: the last state, what is saved of which episode, how many bytes went over the line."""

    def __init__(self, host: str, cookie: str, task: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.task = task
        self.state: dict[str, Any] = {}
        self.saved: dict[str, int] = {}
        self.actions = self.episodes = self.traffic = 0
        self.errors: list[str] = []
        self.ready = self.loop.create_future()
        self._greeting = (
            f"GET /socket HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: {cookie}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
        ).encode()
        self._buffer = bytearray()
        self._is_open = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.write(self._greeting)

    def connection_lost(self, error: Exception | None) -> None:
        self.stop()
        if not self.ready.done():
            self.ready.set_exception(error or ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        self.traffic += len(data)
        buffer = self._buffer
        buffer += data
        if not self._is_open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert buffer.startswith(b"HTTP/1.1 101"), bytes(buffer[:80])
            del buffer[: end + 4]
            self._is_open = True
        while len(buffer) >= 2:
            size, at = buffer[1], 2
            if size == 126:
                size, at = int.from_bytes(buffer[2:4], "big"), 4
            elif size == 127:
                size, at = int.from_bytes(buffer[2:10], "big"), 10
            if len(buffer) < at + size:
                return
            kind, body = buffer[0] & 15, bytes(buffer[at : at + size])
            del buffer[: at + size]
            self._take(kind, body)

    def send(self, kind: str, **values: Any) -> None:
        """Send a message."""
        self._write(1, json.dumps({"type": kind, **values}, separators=(",", ":")).encode())

    def press(self, code: str, frame: int) -> None:
        """Send a key, as `send` would, with less ado."""
        self._write(1, b'{"type":"down","code":"%s","frame":%d}' % (code.encode(), frame))

    def stop(self) -> None:
        """Press no more keys."""

    def close(self) -> None:
        self.stop()
        if self._transport is not None:
            self._transport.close()

    def on_state(self) -> None:
        """Do what the state asks for."""

    def on_step(self, number: int) -> None:
        """Hear that a step was taken."""

    def on_frame(self, kind: int, data: bytes) -> None:
        """See a picture."""

    def _take(self, kind: int, body: bytes) -> None:
        if kind == 2:
            picture, _, _, number, saved = HEADER.unpack_from(body)
            self._note_saved(saved)
            self.on_step(number)
            self.on_frame(picture, body)
        elif kind == 9:
            self._write(10, body)
        elif kind == 1:
            self._hear(json.loads(body))

    def _hear(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "state":
            self.state = message
            if message["episode"]:
                self._note_saved(message["episode"]["saved"])
            self.on_state()
            if not self.ready.done():
                self.ready.set_result(None)
        elif kind == "step":
            self._note_saved(message["saved"])
            self.on_step(message["step"])
        elif kind == "saved":
            self.saved[message["episode"]] = message["saved"]
        elif kind == "error":
            self.errors.append(message["text"])

    def _note_saved(self, saved: int) -> None:
        if saved and self.state["episode"]:
            self.saved[self.state["episode"]["id"]] = saved

    def _write(self, opcode: int, body: bytes) -> None:
        size = len(body)
        small = size < 126
        head = bytes((128 | opcode, 128 | size)) if small else struct.pack(">BBH", 128 | opcode, 254, size)
        assert self._transport is not None
        self.traffic += len(head) + 4 + size
        self._transport.write(head + b"\0\0\0\0" + body)


class GridPlayer(Player):
    """Presses a key ten times a second, whatever comes back, and measures how long each answer takes."""

    def __init__(self, host: str, cookie: str, task: str, generator: random.Random) -> None:
        super().__init__(host, cookie, task)
        self.delays: list[float] = []
        self._random = generator
        self._waiting: deque[tuple[int, float]] = deque()
        self._asked = self._shown = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def on_state(self) -> None:
        phase, episode = self.state["phase"], self.state["episode"]
        if phase == "choosing":
            self.send("choose", task=self.task)
        elif phase == "finished":
            self._waiting.clear()
            self.episodes += 1
            self.send("keep")
        elif phase == "playing":
            self._waiting.clear()
            self._asked = self._shown = episode["step"]
            if self._timer is None:
                self._due = self.loop.time() + self._random.uniform(0, PERIOD)
                self._timer = self.loop.call_at(self._due, self._tick)

    def on_step(self, number: int) -> None:
        self._shown = number
        now = self.loop.time()
        while self._waiting and self._waiting[0][0] <= number:
            self.delays.append(now - self._waiting.popleft()[1])
            self.actions += 1

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        if self.state["phase"] == "playing":
            self._asked += 1
            # from when it is due, not from when this busy process comes to it
            self._waiting.append((self._asked, self._due))
            self.press(self._random.choice(_KEYS), self._shown)
        self._due += PERIOD
        self._timer = self.loop.call_at(self._due, self._tick)


class PolePlayer(Player):
    """Balances a pole in real time by what it sees of the shapes, and notes when each frame came."""

    def __init__(self, host: str, cookie: str, task: str, generator: random.Random) -> None:
        super().__init__(host, cookie, task)
        self.frames = self.late = 0
        self._random = generator
        self._came: list[float] = []
        self._held = ""
        self._angle = 0.0
        self._fps = 30.0

    def on_state(self) -> None:
        phase = self.state["phase"]
        if phase == "choosing":
            self.send("choose", task=self.task)
        elif phase in ("ready", "paused"):
            self._fps = self.state["episode"]["fps"]
            self._held = self._random.choice(_KEYS[:2])
            self.press(self._held, 0)
        elif phase == "finished":
            self.stop()
            self.episodes += 1
            self.send("keep")

    def on_frame(self, kind: int, data: bytes) -> None:
        number = HEADER.unpack_from(data)[3]
        self._write(1, b'{"type":"shown","frame":%d}' % number)
        if not number:
            return
        self._came.append(self.loop.time())
        self.actions += 1
        if kind == SHAPES and (key := self._choose(data)) != self._held:
            self.send("up", code=self._held)
            self.press(key, number)
            self._held = key

    def stop(self) -> None:
        """Count the frames of an episode, and those that came more than half a period late or not at all."""
        if len(self._came) > 1:
            start = min(at - n / self._fps for n, at in enumerate(self._came))
            slot = -1
            for at in self._came:
                behind = (at - start) * self._fps
                due = max(slot + 1, math.floor(behind + 0.01))
                self.late += (due - slot - 1) + (behind - due > 0.5)
                slot = due
            self.frames += slot + 1
        self._came = []

    def _choose(self, data: bytes) -> str:
        """Push under the pole: see which way it leans, and which way it falls."""
        cart = struct.unpack_from("<8h", data, HEADER.size + 5)
        pole = struct.unpack_from("<8h", data, HEADER.size + 26)
        foot = (pole[0] + pole[6]) / 2, (pole[1] + pole[7]) / 2
        head = (pole[2] + pole[4]) / 2, (pole[3] + pole[5]) / 2
        angle = math.atan2(head[0] - foot[0], foot[1] - head[1])
        falls, self._angle = (angle - self._angle) / 0.02, angle
        place = (cart[0] + cart[4]) / 2 / 32 / 300 - 1
        return _KEYS[1 if 3 * angle + falls + 0.05 * place > 0 else 0]
