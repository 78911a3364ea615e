"""Human input to a web page: its effect is shown at once, and the resulting actions are taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

import numpy as np

from ...envs.capabilities import HumanInput
from ...errors import TutelageError
from ..server.server_metrics import ServerMetrics
from .broadcast import Broadcast
from .keyboard import measure
from .protocol import PageInput
from .session import OpenEpisode, Phase, Session

Act = Callable[[OpenEpisode, np.ndarray, int], Awaitable[None]]


class WebInput:
    """The page input of one seat; callers hold its lock. `act(episode, row, frame)` takes an action."""

    def __init__(self, session: Session, broadcast: Broadcast, act: Act, metrics: ServerMetrics) -> None:
        self._session = session
        self._broadcast = broadcast
        self._act = act
        self._metrics = metrics
        self._draft: OpenEpisode | None = None
        self._frame = 0

    async def touch(self, message: PageInput) -> None:
        """Apply input to the page; raises TutelageError if the task has no page."""
        episode = self._session.episode
        if self._session.phase is not Phase.PLAYING or episode is None:
            return
        if not episode.controls.hands:
            raise TutelageError("expected keys for this task, got hands on a page")
        human_input = HumanInput(
            message.kind,
            message.x + 0.5,
            message.y + 0.5,
            message.amount,
            message.key,
            message.held,
            message.text,
        )
        self._frame = message.frame
        await self._read(episode, human_input, message)

    async def rest(self) -> None:
        """Take pending edits as actions, before a message other than page input is handled."""
        episode, self._draft = self._draft, None
        if episode is not None and self._is_played(episode):
            await self._read(episode, HumanInput("rest"), None)

    async def _read(self, episode: OpenEpisode, human_input: HumanInput, message: PageInput | None) -> None:
        result = await self._session.read(human_input)
        while True:
            self._draft = episode if result.draft else None
            if result.row is not None:
                if message is not None:  # a preview is no answer to the picture of a step
                    measure(episode, message, self._metrics)
                    message = None
                await self._act(episode, result.row, self._frame)
            elif result.picture is not None:
                self._broadcast.picture(episode, result.picture)
            else:
                self._broadcast.step(episode)  # the page waits for an answer
            if not self._is_played(episode):
                return
            if result.question is not None:
                self._broadcast.send({"type": "asks", **asdict(result.question)})
            if not result.more:
                return
            result = await self._session.read(None)

    def _is_played(self, episode: OpenEpisode) -> bool:
        return self._session.episode is episode and self._session.phase is Phase.PLAYING
