"""Looking over a person's shoulder: the dashboard is sent what their page is sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from ...envs.errors import TutelageError
from .line import Line
from .protocol import Shown, parse

SIGNED_OUT = 4003
"""WebSocket close code: only whoever is signed in may watch."""
NOBODY = 4004
"""WebSocket close code: there is no such person in this study."""

_LOOK_SECONDS = 1.0


class Watched(Protocol):
    """A seat that shows on other lines what its page is shown."""

    async def watch(self, line: Line) -> None: ...
    def unwatch(self, line: Line) -> None: ...


Seats = Callable[[str], Watched | None]
"""Gives the seat of an id if it is open on this server."""


async def watch(page: WebSocket, find: Callable[[], Watched | None]) -> None:
    """Show a page what a seat shows, until the page goes; a seat that is not open yet is waited for."""
    line = Line(page)
    tasks = [asyncio.create_task(line.drain()), asyncio.create_task(_follow(line, find))]
    try:
        while (text := await _receive(page)) is not None:
            with contextlib.suppress(TutelageError):
                if isinstance(message := parse(text), Shown):
                    line.shown(message.frame)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(line: Line, find: Callable[[], Watched | None]) -> None:
    """Look at a seat wherever it is opened next: it may be closed, and opened anew."""
    seat: Watched | None = None
    try:
        told = False
        while True:
            if (now := find()) is not seat:
                if seat is not None:
                    seat.unwatch(line)
                seat, told = now, False
                if seat is not None:
                    await seat.watch(line)
            if seat is None and not told:
                line.send({"type": "away"})
                told = True
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        if seat is not None:
            seat.unwatch(line)


async def _receive(page: WebSocket) -> str | None:
    try:
        return await page.receive_text()
    except (WebSocketDisconnect, RuntimeError, KeyError):
        return None
