"""Cache of an expensive query: all callers share one result, recomputed at a bounded rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ..server.bounded_calls import bounded_call

T = TypeVar("T")


class CachedCall(Generic[T]):
    """Runs `ask` in a worker thread, one call at a time, at most once in `seconds`.

    Calls take at most a `share` of the time: a slow query runs less often.
    """

    def __init__(self, ask: Callable[[], T], seconds: float = 1.0, share: float = 0.1) -> None:
        self._ask = ask
        self._seconds = seconds
        self._share = share
        self._asking: asyncio.Task[None] | None = None
        self._due = 0.0
        self._changes = 0
        self._answer: T | None = None

    async def get(self) -> T:
        """Return the result, recomputed when it is due. Raises what `ask` raises."""
        has_asked = False
        while not has_asked and (self._answer is None or time.monotonic() >= self._due):
            if self._asking is None:
                has_asked = True
                self._asking = asyncio.create_task(self._ask_anew())
                self._asking.add_done_callback(self._asked)
            await asyncio.shield(self._asking)  # a canceled caller must not cancel the shared task
        return self._answer  # type: ignore[return-value]

    async def _ask_anew(self) -> None:
        began, changes = time.monotonic(), self._changes
        self._answer = await bounded_call(self._ask)
        took = time.monotonic() - began
        self._due = began + max(self._seconds, took / self._share) if changes == self._changes else 0.0

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # the callers that waited have raised it already

    def forget(self) -> None:
        """Invalidate the result after a change."""
        self._changes += 1
        self._due = 0.0
