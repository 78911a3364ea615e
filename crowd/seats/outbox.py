"""Outgoing messages of one socket: sent in order, without blocking the sender."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from ...files.finite_json import json_text

_IN_FLIGHT = 3
_MOST_QUEUED = 64
"""Number of queued messages from which a page's input is not read: the page does not read either."""


class Outbox:
    """The connection to one page. Frames that a slow page has not received are replaced by newer ones."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[str | bytes | int] = asyncio.Queue()
        self._in_flight: list[int] = []
        self._waiting: tuple[int, bytes] | None = None
        self._is_over = False
        self._has_room = asyncio.Event()
        self._has_room.set()

    def send(self, message: dict[str, Any]) -> None:
        """Send a JSON message."""
        self._put(json_text(message, is_compact=True, is_ascii=False))

    def send_frame(self, frame: bytes) -> None:
        """Send a packed frame that the page waits for."""
        self._put(frame)

    def send_paced(self, number: int, frame: bytes) -> None:
        """Send a packed real-time frame, or hold it back while too many are in flight.

        The page acknowledges frames, see `shown`.
        """
        if len(self._in_flight) >= _IN_FLIGHT:
            self._waiting = number, frame
            return
        self._in_flight.append(number)
        self._put(frame)

    def shown(self, number: int) -> None:
        """Record that the page shows a frame; all earlier frames have arrived too."""
        if number in self._in_flight:
            del self._in_flight[: self._in_flight.index(number) + 1]
        if self._waiting is not None and len(self._in_flight) < _IN_FLIGHT:
            waiting, self._waiting = self._waiting, None
            self.send_paced(*waiting)

    def forget_frames(self) -> None:
        """Forget which frames are in flight: another episode begins."""
        self._in_flight, self._waiting = [], None

    def close(self, code: int) -> None:
        """Close the socket after the queued messages are sent."""
        self._put(code)

    async def room(self) -> None:
        """Wait until the page has read most of the queue: a page that sends without reading is throttled."""
        await self._has_room.wait()

    async def drain(self) -> None:
        """Send messages until closed or the page is gone; later messages are dropped."""
        try:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
                while True:
                    message = await self._queue.get()
                    if self._queue.qsize() < _MOST_QUEUED:
                        self._has_room.set()
                    if isinstance(message, int):
                        await self._socket.close(message)
                        return
                    if isinstance(message, str):
                        await self._socket.send_text(message)
                    else:
                        await self._socket.send_bytes(message)
        finally:
            self._is_over = True
            self._has_room.set()

    def _put(self, message: str | bytes | int) -> None:
        if self._is_over:
            return
        self._queue.put_nowait(message)
        if self._queue.qsize() >= _MOST_QUEUED:
            self._has_room.clear()


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
