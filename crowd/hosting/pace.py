"""Real-time pacing: absolute deadlines without drift, and a stopwatch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

Clock = Callable[[], float]


class Deadlines:
    """The times `start + n / fps`, n = 1, 2, ...

    A deadline missed by a whole period is skipped and counted in `missed`; there are no catch-up bursts.
    """

    def __init__(self, fps: float, start: float) -> None:
        self.missed = 0
        self._fps = fps
        self._start = start
        self._last = 0

    def next(self, now: float) -> float:
        """Return the next deadline: the one after the last, or the first in the future if that is over."""
        due = self._last + 1
        # a deadline missed by less than a period is still kept, at once
        possible = math.floor((now - self._start) * self._fps + 1e-9)
        if possible > due:
            self.missed += possible - due
            due = possible
        self._last = due
        return self._start + due / self._fps


class Stopwatch:
    """Milliseconds of play; stopped while the play is paused."""

    def __init__(self, milliseconds: int = 0, clock: Clock = time.monotonic) -> None:
        self._elapsed_ms = float(milliseconds)
        self._started_at: float | None = None
        self._clock = clock

    def start(self) -> None:
        if self._started_at is None:
            self._started_at = self._clock()

    def stop(self) -> None:
        self._elapsed_ms, self._started_at = float(self.read()), None

    def read(self) -> int:
        """Return the milliseconds run so far."""
        running = 0.0 if self._started_at is None else self._clock() - self._started_at
        return int(self._elapsed_ms + running * 1000)


def measured_rate(times_ms: Sequence[int]) -> float | None:
    """Return the actual steps per second, from the times of the steps; None below two steps."""
    if len(times_ms) < 2 or times_ms[-1] <= times_ms[0]:
        return None
    return (len(times_ms) - 1) * 1000 / (times_ms[-1] - times_ms[0])
