"""One open socket: messages leave in order, and nobody who sends has to wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from .frames import unpack

_IN_FLIGHT = 3


class Line:
    """The way to one page. Frames that a slow page could not show yet are overtaken by newer ones."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[str | bytes | int] = asyncio.Queue()
        self._flying: list[int] = []
        self._waiting: bytes | None = None

    def send(self, message: dict[str, Any]) -> None:
        """Send a JSON message."""
        self._queue.put_nowait(json.dumps(message, separators=(",", ":")))

    def send_frame(self, frame: bytes) -> None:
        """Send a packed frame, or hold it back while too many are on their way."""
        if len(self._flying) >= _IN_FLIGHT:
            self._waiting = frame
            return
        self._flying.append(unpack(frame)[3])
        self._queue.put_nowait(frame)

    def shown(self, number: int) -> None:
        """Note that the page shows a frame; whatever was sent before it has arrived too."""
        if number in self._flying:
            del self._flying[: self._flying.index(number) + 1]
        if self._waiting is not None and len(self._flying) < _IN_FLIGHT:
            frame, self._waiting = self._waiting, None
            self.send_frame(frame)

    def close(self, code: int) -> None:
        """Close the socket after what waits has been sent."""
        self._queue.put_nowait(code)

    async def drain(self) -> None:
        """Send what comes, until closed or the page is gone."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
            while True:
                message = await self._queue.get()
                if isinstance(message, int):
                    await self._socket.close(message)
                    return
                if isinstance(message, str):
                    await self._socket.send_text(message)
                else:
                    await self._socket.send_bytes(message)
