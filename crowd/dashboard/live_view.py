"""Looking over a person's shoulder: the dashboard is sent what their page is sent, wherever they sit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from ...envs.suite import Suite
from ...envs.task import Task
from ...errors import TutelageError
from ..hosting.frame_codec import Picture, pack
from ..hosting.host import EnvironmentHost, EpisodeStart
from ..seats.outbox import Outbox
from ..seats.protocol import FrameShown, parse
from ..seats.view import atlas_message
from ..storage.journal import Journal
from ..storage.journal_records import EpisodeRecord

SIGNED_OUT = 4003
"""WebSocket close code: only whoever is signed in may watch."""
NOBODY = 4004
"""WebSocket close code: there is no such person in this study."""

_LOOK_SECONDS = 1.0
_READ_SECONDS = 0.25


class LocalView(Protocol):
    """A seat that shows on other lines what its page is shown."""

    async def watch(self, line: Outbox) -> None: ...
    def unwatch(self, line: Outbox) -> None: ...


Seats = Callable[[str], LocalView | None]
"""Gives the seat of an id if it is open on this server."""


class JournalView:
    """A seat that is open at another server, or nowhere: what its person does is read from the journal.

    A world of its own takes the steps that the journal has, as they come; the pictures are those of the
    person as far as the environment repeats itself.
    """

    def __init__(
        self, seat: str, suite: Suite, journal: Journal, make_world: Callable[[Task], EnvironmentHost]
    ) -> None:
        self._seat = seat
        self._suite = suite
        self._journal = journal
        self._make_world = make_world
        self._tasks: dict[Outbox, asyncio.Task[None]] = {}

    async def watch(self, line: Outbox) -> None:
        """Show on a line what the journal says, until `unwatch`."""
        self._tasks[line] = asyncio.create_task(self._follow(line))

    def unwatch(self, line: Outbox) -> None:
        """Show nothing more."""
        self._tasks.pop(line).cancel()

    async def _follow(self, line: Outbox) -> None:
        """Go from one episode to the next."""
        before: str | None = ""
        while True:
            found = await asyncio.to_thread(self._journal.episodes, seat=self._seat, state="open")
            now = found[-1] if found else None
            if now is None and before is not None:
                line.send({"type": "away"})
            before = now.episode if now else None
            if now is not None:
                await self._follow_one(line, now)
            await asyncio.sleep(_READ_SECONDS)

    async def _follow_one(self, line: Outbox, record: EpisodeRecord) -> None:
        """Take the steps of one episode as they come, until it is over."""
        world = self._make_world(self._suite[record.task])
        try:
            begun = await world.begin(record)
            line.send(_state(record, begun))
            _show(line, begun.now.picture, 0)
            now, taken = begun.now, 0
            while not now.done:
                steps = await asyncio.to_thread(self._journal.steps, record.episode, after=taken)
                for step in steps:
                    row = np.array(step.action)
                    _, now = await world.act(row, step.time_ms, step.controller, step.frame)
                    taken = step.step
                    _show(line, now.picture, taken)
                    line.send({"type": "step", "step": taken})
                if not steps and not await asyncio.to_thread(self._is_open, record.episode):
                    return
                await asyncio.sleep(_READ_SECONDS)
        except Exception as error:  # an environment may raise anything; the next episode may do better
            line.send({"type": "note", "text": f"It cannot be shown: {error}"})
        finally:
            await world.close()

    def _is_open(self, episode: str) -> bool:
        return bool(self._journal.episodes(episode=episode, state="open"))


def _state(record: EpisodeRecord, begun: EpisodeStart) -> dict[str, Any]:
    episode = {
        "id": record.episode,
        "instruction": begun.instruction,
        "step": 0,
        "limit": begun.limit,
        "atlas": atlas_message(begun.atlas),
    }
    return {"type": "state", "phase": "playing", "episode": episode}


def _show(line: Outbox, picture: Picture | None, number: int) -> None:
    if picture is not None:
        line.send_paced(number, pack(picture, number, number))


async def watch(page: WebSocket, find: Callable[[], LocalView]) -> None:
    """Show a page what a seat shows, until the page goes, wherever the seat is opened next."""
    line = Outbox(page)
    tasks = [asyncio.create_task(line.drain()), asyncio.create_task(_follow(line, find))]
    try:
        while (text := await _receive(page)) is not None:
            with contextlib.suppress(TutelageError):
                if isinstance(message := parse(text), FrameShown):
                    line.shown(message.frame)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(line: Outbox, find: Callable[[], LocalView]) -> None:
    """Look at a seat, and at another that has come in its place."""
    seat: LocalView | None = None
    try:
        while True:
            if (now := find()) is not seat:
                if seat is not None:
                    seat.unwatch(line)
                seat = now
                await seat.watch(line)
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        if seat is not None:
            seat.unwatch(line)


async def _receive(page: WebSocket) -> str | None:
    try:
        return await page.receive_text()
    except (WebSocketDisconnect, RuntimeError, KeyError):
        return None
