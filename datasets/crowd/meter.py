"""What one server counts while it serves; its heartbeat carries the counts to whoever adds them up."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence
from typing import Any

BOUNDS_MS = (5, 10, 15, 20, 25, 35, 50, 75, 100, 150, 250, 500, 1000, 2500)
"""Upper bounds of the classes that lag is counted in; one more class holds what is beyond."""


class Meter:
    """Counters of one process, safe to use from any thread.

    `lag` is the time from a key's arrival to the page's word that its picture is on the screen.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seats = 0
        self._steps = 0
        self._restarts = 0
        self._lag = [0] * (len(BOUNDS_MS) + 1)
        self._lag_sum = 0.0

    def opened(self) -> None:
        """Note that a page has taken a seat."""
        with self._lock:
            self._seats += 1

    def closed(self) -> None:
        """Note that a page has left its seat."""
        with self._lock:
            self._seats -= 1

    def stepped(self) -> None:
        """Note a step of an environment."""
        with self._lock:
            self._steps += 1

    def restarted(self) -> None:
        """Note that a worker process had to be started anew."""
        with self._lock:
            self._restarts += 1

    def shown(self, milliseconds: float) -> None:
        """Note the lag of one key."""
        with self._lock:
            self._lag[bisect.bisect_left(BOUNDS_MS, milliseconds)] += 1
            self._lag_sum += milliseconds

    def figures(self, trouble: str | None = None) -> dict[str, Any]:
        """Return the counts so far, ready for JSON; `trouble` is the journal's."""
        with self._lock:
            return {
                "seats": self._seats,
                "steps": self._steps,
                "restarts": self._restarts,
                "trouble": trouble or "",
                "lag": list(self._lag),
                "lag_sum_ms": round(self._lag_sum, 1),
            }


def quantiles(lag: Sequence[int]) -> list[float] | None:
    """Return the 50th, 95th and 99th percentile of counted lag, in ms; None of nothing.

    Within a class, lag is taken to be spread evenly; beyond the last bound it is that bound.
    """
    total = sum(lag)
    return [_quantile(lag, total * share) for share in (0.5, 0.95, 0.99)] if total else None


def _quantile(lag: Sequence[int], rank: float) -> float:
    below = 0.0
    for at, count in enumerate(lag):
        if count and below + count >= rank:
            if at >= len(BOUNDS_MS):
                break
            low = BOUNDS_MS[at - 1] if at else 0
            return round(low + (BOUNDS_MS[at] - low) * (rank - below) / count, 1)
        below += count
    return float(BOUNDS_MS[-1])
