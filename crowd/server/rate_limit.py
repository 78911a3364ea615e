"""Rate limits: token buckets that refill at a constant rate, one per client."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import Message
from starlette.websockets import WebSocket

_REMEMBERED = 10_000


class TokenBucket:
    """Holds up to `burst` tokens, refilled at `rate` tokens per second."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._refilled_at = clock()

    def take(self) -> bool:
        """Take a token; False when there is none."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._refilled_at) * self._rate)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class RateLimiter:
    """One bucket per name (an address, for example); the least recently used are dropped first."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._make = lambda: TokenBucket(rate, burst, clock)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, name: str) -> bool:
        """Take a token from a name's bucket; False when there is none."""
        bucket = self._buckets.setdefault(name, self._make())
        self._buckets.move_to_end(name)
        while len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return bucket.take()


class RateLimitedSocket(WebSocket):
    """A socket that closes when its page sends more messages than its bucket allows."""

    bucket: TokenBucket

    async def receive(self) -> Message:
        message = await super().receive()
        if message["type"] == "websocket.receive" and not self.bucket.take():
            await self.close(1008, "too many messages")
            return {"type": "websocket.disconnect", "code": 1008}
        return message
