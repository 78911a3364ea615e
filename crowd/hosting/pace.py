"""When to act in real time: absolute deadlines that never drift, and a clock that can be stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

Clock = Callable[[], float]


class Deadlines:
    """The moments `start + n / fps`, n = 1, 2, ...

    A deadline that was missed by a whole period is passed over and counted in `missed`, never made up
    for in a burst.
    """

    def __init__(self, fps: float, start: float) -> None:
        self.missed = 0
        self._fps = fps
        self._start = start
        self._last = 0

    def next(self, now: float) -> float:
        """Return the next deadline: the one after the last, or the first still ahead if that one is over."""
        due = self._last + 1
        # a deadline that is late by less than a period is still kept, at once
        possible = math.floor((now - self._start) * self._fps + 1e-9)
        if possible > due:
            self.missed += possible - due
            due = possible
        self._last = due
        return self._start + due / self._fps


class Stopwatch:
    """Milliseconds of play; stands still while the play does."""

    def __init__(self, milliseconds: int = 0, clock: Clock = time.monotonic) -> None:
        self._before = float(milliseconds)
        self._since: float | None = None
        self._clock = clock

    def start(self) -> None:
        if self._since is None:
            self._since = self._clock()

    def stop(self) -> None:
        self._before, self._since = float(self.read()), None

    def read(self) -> int:
        """Return the milliseconds run so far."""
        running = 0.0 if self._since is None else self._clock() - self._since
        return int(self._before + running * 1000)


def measured_rate(times_ms: Sequence[int]) -> float | None:
    """Return the steps a second that were really taken, from the times of the steps; None below two."""
    if len(times_ms) < 2 or times_ms[-1] <= times_ms[0]:
        return None
    return (len(times_ms) - 1) * 1000 / (times_ms[-1] - times_ms[0])
