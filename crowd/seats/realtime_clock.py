"""The real-time clock of a seat: acts at every deadline of an episode."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..hosting.pace import Deadlines
from .session import OpenEpisode, Phase, Session


class RealtimeClock:
    """Calls `act(episode)` at each deadline, holding the lock, while the session plays that episode.

    On an exception the clock stops, and `failed(error)` is called without the lock.
    """

    def __init__(
        self,
        session: Session,
        lock: asyncio.Lock,
        act: Callable[[OpenEpisode], Awaitable[None]],
        failed: Callable[[Exception], Awaitable[None]],
    ) -> None:
        self._session = session
        self._lock = lock
        self._act = act
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    def start(self, episode: OpenEpisode) -> None:
        """Run for an episode, if it is a real-time one and the clock is not running."""
        if episode.task.fps is not None and self._task is None:
            self._task = asyncio.create_task(self._run(episode, episode.task.fps))

    def stop(self) -> None:
        """Stop. The caller holds the lock, so the clock is asleep and not in the middle of a step."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._task = None

    async def _run(self, episode: OpenEpisode, fps: float) -> None:
        session, loop = self._session, asyncio.get_running_loop()
        deadlines = Deadlines(fps, loop.time())
        try:
            while session.episode is episode and session.phase is Phase.PLAYING:
                missed = deadlines.missed
                await asyncio.sleep(deadlines.next(loop.time()) - loop.time())
                async with self._lock:
                    if session.episode is not episode or session.phase is not Phase.PLAYING:
                        return
                    episode.missed += deadlines.missed - missed
                    await self._act(episode)
        except Exception as error:
            await self._failed(error)
