"""One open socket: messages leave in order, and nobody who sends has to wait."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from ...files.finite_json import json_text

_IN_FLIGHT = 3
_MUCH = 64
"""Messages that wait to be sent, from which on a page is not listened to: it does not read either."""


class Outbox:
    """The way to one page. Frames that a slow page could not show yet are overtaken by newer ones."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[str | bytes | int] = asyncio.Queue()
        self._flying: list[int] = []
        self._waiting: tuple[int, bytes] | None = None
        self._is_over = False
        self._sparse = asyncio.Event()
        self._sparse.set()

    def send(self, message: dict[str, Any]) -> None:
        """Send a JSON message."""
        self._put(json_text(message, is_compact=True, is_ascii=False))

    def send_frame(self, frame: bytes) -> None:
        """Send a packed frame that the page waits for."""
        self._put(frame)

    def send_paced(self, number: int, frame: bytes) -> None:
        """Send a packed frame of real time, or hold it back while too many are on their way.

        A page says which it has `shown`.
        """
        if len(self._flying) >= _IN_FLIGHT:
            self._waiting = number, frame
            return
        self._flying.append(number)
        self._put(frame)

    def shown(self, number: int) -> None:
        """Note that the page shows a frame; whatever was sent before it has arrived too."""
        if number in self._flying:
            del self._flying[: self._flying.index(number) + 1]
        if self._waiting is not None and len(self._flying) < _IN_FLIGHT:
            waiting, self._waiting = self._waiting, None
            self.send_paced(*waiting)

    def forget_frames(self) -> None:
        """Forget which frames are on their way: another episode begins."""
        self._flying, self._waiting = [], None

    def close(self, code: int) -> None:
        """Close the socket after what waits has been sent."""
        self._put(code)

    async def room(self) -> None:
        """Wait until a page has read most of what was sent: one that asks without reading must not be fed."""
        await self._sparse.wait()

    async def drain(self) -> None:
        """Send what comes, until closed or the page is gone; from then on nothing is kept for it."""
        try:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
                while True:
                    message = await self._queue.get()
                    if self._queue.qsize() < _MUCH:
                        self._sparse.set()
                    if isinstance(message, int):
                        await self._socket.close(message)
                        return
                    if isinstance(message, str):
                        await self._socket.send_text(message)
                    else:
                        await self._socket.send_bytes(message)
        finally:
            self._is_over = True
            self._sparse.set()

    def _put(self, message: str | bytes | int) -> None:
        if self._is_over:
            return
        self._queue.put_nowait(message)
        if self._queue.qsize() >= _MUCH:
            self._sparse.clear()


async def receive(socket: WebSocket) -> str | bytes | None:
    """Wait for a message; None when the page has gone."""
    try:
        message = await socket.receive()
    except (WebSocketDisconnect, RuntimeError):
        return None
    if message["type"] == "websocket.disconnect":
        return None
    text: str | bytes | None = message.get("text") or message.get("bytes")
    return text if text is not None else ""
