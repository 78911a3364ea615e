"""The last answer to a costly question: asked again at most now and then, however many want it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

T = TypeVar("T")


class Fresh(Generic[T]):
    """Asks in a worker thread, one at a time, at most once in so many `seconds`.

    Asking takes at most a `share` of the time: what takes long is asked less often.
    """

    def __init__(self, ask: Callable[[], T], seconds: float = 1.0, share: float = 0.1) -> None:
        self._ask = ask
        self._seconds = seconds
        self._share = share
        self._lock = asyncio.Lock()
        self._due = 0.0
        self._changes = 0
        self._answer: T | None = None

    async def get(self) -> T:
        """Return the answer, asking anew when it is due. What the question raises, this raises."""
        async with self._lock:
            began = time.monotonic()
            if self._answer is None or began >= self._due:
                changes = self._changes
                self._answer = await run_in_threadpool(self._ask)
                took = time.monotonic() - began
                self._due = (
                    began + max(self._seconds, took / self._share) if changes == self._changes else 0.0
                )
            return self._answer

    def forget(self) -> None:
        """Ask anew the next time: something has just been changed."""
        self._changes += 1
        self._due = 0.0
