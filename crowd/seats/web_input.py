"""A person's hands on a web page: what they do shows at once, and what it comes to is taken as actions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

import numpy as np

from ...envs.web.human_input import HumanInput
from ...errors import TutelageError
from ..server.server_metrics import ServerMetrics
from .broadcast import Broadcast
from .keyboard import measure
from .protocol import PageInput
from .session import OpenEpisode, Phase, Session

Act = Callable[[OpenEpisode, np.ndarray, int], Awaitable[None]]


class WebInput:
    """The hands of one seat; whoever calls holds its lock. `act(episode, row, frame)` takes an action."""

    def __init__(self, session: Session, display: Broadcast, act: Act, meter: ServerMetrics) -> None:
        self._session = session
        self._display = display
        self._act = act
        self._meter = meter
        self._draft: OpenEpisode | None = None
        self._frame = 0

    async def touch(self, hand: PageInput) -> None:
        """Do what hands did to the page; raises TutelageError where there is no page."""
        episode = self._session.episode
        if self._session.phase is not Phase.PLAYING or episode is None:
            return
        if not episode.controls.hands:
            raise TutelageError("expected keys for this task, got hands on a page")
        gesture = HumanInput(
            hand.kind, hand.x + 0.5, hand.y + 0.5, hand.amount, hand.key, hand.held, hand.text
        )
        self._frame = hand.frame
        await self._read(episode, gesture, hand)

    async def rest(self) -> None:
        """Take as actions what shows ahead of them, before something other than hands has its turn."""
        episode, self._draft = self._draft, None
        if episode is not None and self._is_played(episode):
            await self._read(episode, HumanInput("rest"), None)

    async def _read(self, episode: OpenEpisode, gesture: HumanInput, hand: PageInput | None) -> None:
        reading = await self._session.read(gesture)
        while True:
            self._draft = episode if reading.draft else None
            if reading.row is not None:
                if hand is not None:  # what only shows ahead is no answer to the picture of a step
                    measure(episode, hand, self._meter)
                    hand = None
                await self._act(episode, reading.row, self._frame)
            elif reading.picture is not None:
                self._display.picture(episode, reading.picture)
            else:
                self._display.step(episode)  # the page waits for an answer
            if not self._is_played(episode):
                return
            if reading.question is not None:
                self._display.send({"type": "asks", **asdict(reading.question)})
            if not reading.more:
                return
            reading = await self._session.read(None)

    def _is_played(self, episode: OpenEpisode) -> bool:
        return self._session.episode is episode and self._session.phase is Phase.PLAYING
