"""Live view of a participant's page: the dashboard receives what that page receives, on any server."""

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
"""WebSocket close code: watching requires a session."""
NOBODY = 4004
"""WebSocket close code: there is no such person in this study."""

_CHECK_SECONDS = 1.0
_READ_SECONDS = 0.25


class LocalView(Protocol):
    """A seat that sends to further outboxes what it sends to its page."""

    async def watch(self, outbox: Outbox) -> None: ...
    def unwatch(self, outbox: Outbox) -> None: ...


Seats = Callable[[str], LocalView | None]
"""Returns the seat with an id if it is open on this server."""


class JournalView:
    """A seat that is open on another server, or on none: its actions are read from the journal.

    An environment of its own takes the journal's steps as they arrive; the pictures equal the participant's
    as far as the environment is deterministic.
    """

    def __init__(
        self, seat: str, suite: Suite, journal: Journal, make_host: Callable[[Task], EnvironmentHost]
    ) -> None:
        self._seat = seat
        self._suite = suite
        self._journal = journal
        self._make_host = make_host
        self._tasks: dict[Outbox, asyncio.Task[None]] = {}

    async def watch(self, outbox: Outbox) -> None:
        """Send what the journal records to an outbox, until `unwatch`."""
        self._tasks[outbox] = asyncio.create_task(self._follow(outbox))

    def unwatch(self, outbox: Outbox) -> None:
        """Stop sending to an outbox."""
        self._tasks.pop(outbox).cancel()

    async def _follow(self, outbox: Outbox) -> None:
        """Follow one episode after another."""
        previous: str | None = ""
        while True:
            records = await asyncio.to_thread(self._journal.episodes, seat=self._seat, state="open")
            record = records[-1] if records else None
            if record is None and previous is not None:
                outbox.send({"type": "away"})
            previous = record.episode if record else None
            if record is not None:
                await self._follow_one(outbox, record)
            await asyncio.sleep(_READ_SECONDS)

    async def _follow_one(self, outbox: Outbox, record: EpisodeRecord) -> None:
        """Take the steps of one episode as they arrive, until it ends."""
        host = self._make_host(self._suite[record.task])
        try:
            start = await host.begin(record)
            outbox.send(_state_message(record, start))
            _send_picture(outbox, start.now.picture, 0)
            view, steps_taken = start.now, 0
            while not view.done:
                steps = await asyncio.to_thread(self._journal.steps, record.episode, after=steps_taken)
                for step in steps:
                    row = np.array(step.action)
                    _, view = await host.act(row, step.time_ms, step.controller, step.frame)
                    steps_taken = step.step
                    _send_picture(outbox, view.picture, steps_taken)
                    outbox.send({"type": "step", "step": steps_taken})
                if not steps and not await asyncio.to_thread(self._is_open, record.episode):
                    return
                await asyncio.sleep(_READ_SECONDS)
        except Exception as error:  # an environment may raise anything; the next episode may do better
            outbox.send({"type": "note", "text": f"It cannot be shown: {error}"})
        finally:
            await host.close()

    def _is_open(self, episode: str) -> bool:
        return bool(self._journal.episodes(episode=episode, state="open"))


def _state_message(record: EpisodeRecord, start: EpisodeStart) -> dict[str, Any]:
    episode = {
        "id": record.episode,
        "instruction": start.instruction,
        "step": 0,
        "limit": start.limit,
        "atlas": atlas_message(start.atlas),
    }
    return {"type": "state", "phase": "playing", "episode": episode}


def _send_picture(outbox: Outbox, picture: Picture | None, number: int) -> None:
    if picture is not None:
        outbox.send_paced(number, pack(picture, number, number))


async def watch(page: WebSocket, find: Callable[[], LocalView]) -> None:
    """Send a page what a seat shows, on whichever server it is opened next, until the page closes."""
    outbox = Outbox(page)
    tasks = [asyncio.create_task(outbox.drain()), asyncio.create_task(_follow(outbox, find))]
    try:
        while (text := await _receive(page)) is not None:
            with contextlib.suppress(TutelageError):
                if isinstance(message := parse(text), FrameShown):
                    outbox.shown(message.frame)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(outbox: Outbox, find: Callable[[], LocalView]) -> None:
    """Watch a seat, and the one that replaces it."""
    seat: LocalView | None = None
    try:
        while True:
            if (current := find()) is not seat:
                if seat is not None:
                    seat.unwatch(outbox)
                seat = current
                await seat.watch(outbox)
            await asyncio.sleep(_CHECK_SECONDS)
    finally:
        if seat is not None:
            seat.unwatch(outbox)


async def _receive(page: WebSocket) -> str | None:
    try:
        return await page.receive_text()
    except (WebSocketDisconnect, RuntimeError, KeyError):
        return None
