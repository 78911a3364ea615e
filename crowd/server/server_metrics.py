"""Counters of one server; its heartbeat passes them on to be summed over the servers."""

from __future__ import annotations

import asyncio
import bisect
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from socket import gethostname
from typing import Any

from ..storage.study_tables import StudyDatabase, servers

BOUNDS_MS = (5, 10, 15, 20, 25, 35, 50, 75, 100, 150, 250, 500, 1000, 2500)
"""Upper bounds of the lag histogram's bins; one more bin holds larger values."""

PULSE_SECONDS = 0.05

_SLICE_SECONDS, _SLICES = 30, 10  # five minutes


class ServerMetrics:
    """Counters of one process, safe to use from any thread.

    Lag is the time from a key to its picture on the screen, as reported by the page.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._steps = 0
        self._lag = [0] * (len(BOUNDS_MS) + 1)
        self._lag_sum = 0.0
        self._held_up = [0] * (len(BOUNDS_MS) + 1)
        self._latest: deque[tuple[int, list[int]]] = deque()  # (slice number, counts) of the last minutes

    def stepped(self) -> None:
        """Count an environment step."""
        with self._lock:
            self._steps += 1

    def shown(self, milliseconds: float) -> None:
        """Record the lag of one key."""
        with self._lock:
            bin_index = bisect.bisect_left(BOUNDS_MS, milliseconds)
            self._lag[bin_index] += 1
            self._lag_sum += milliseconds
            self._slice()[bin_index] += 1

    def held_up(self, milliseconds: float) -> None:
        """Record how long the event loop's own work has delayed a timer, see `measure_loop_delay`."""
        with self._lock:
            self._held_up[bisect.bisect_left(BOUNDS_MS, milliseconds)] += 1

    def figures(self, trouble: str | None = None) -> dict[str, Any]:
        """Return the counters as JSON values; `trouble` is the journal's."""
        with self._lock:
            return {
                "steps": self._steps,
                "trouble": trouble or "",
                "lag": list(self._lag),
                "lag_sum_ms": round(self._lag_sum, 1),
                "latest": self._recent_lag(),
                "held_up": list(self._held_up),
            }

    def _recent_lag(self) -> list[int]:
        self._slice()
        return sum_histograms(counts for _, counts in self._latest)

    def _slice(self) -> list[int]:
        """Return the counts of the present time slice; expired slices are dropped."""
        now = int(self._clock() / _SLICE_SECONDS)
        while self._latest and self._latest[0][0] <= now - _SLICES:
            self._latest.popleft()
        if not self._latest or self._latest[-1][0] != now:
            self._latest.append((now, [0] * (len(BOUNDS_MS) + 1)))
        return self._latest[-1][1]


async def measure_loop_delay(metrics: ServerMetrics) -> None:
    """Record, until cancelled, how long the event loop's own work delays a timer.

    Only processor time of its thread counts, not that of other programs on a busy machine.
    """
    loop = asyncio.get_running_loop()
    while True:
        due, worked = loop.time() + PULSE_SECONDS, time.thread_time()
        await asyncio.sleep(PULSE_SECONDS)
        late, worked = loop.time() - due, time.thread_time() - worked
        metrics.held_up(1000 * max(0.0, min(late, worked)))


def write_heartbeat(database: StudyDatabase, started: float, figures: Mapping[str, Any]) -> None:
    """Write the heartbeat of the only server of a database. Blocks for the disk."""
    row = {"server": gethostname(), "started": started, "seen": time.time(), "figures": dict(figures)}
    with database.write() as connection:
        connection.execute(servers.delete())
        connection.execute(servers.insert(), row)


def sum_histograms(counts: Iterable[Sequence[int]]) -> list[int]:
    """Sum lag histograms."""
    return [sum(bin_counts) for bin_counts in zip_longest(*counts, fillvalue=0)]


def quantiles(lag: Sequence[int]) -> list[float] | None:
    """Return the 50th, 95th and 99th percentile of a lag histogram, in ms; None if it is empty.

    Within a bin, lag is assumed to be uniform; beyond the last bound it is that bound.
    """
    total = sum(lag)
    return [_quantile(lag, total * share) for share in (0.5, 0.95, 0.99)] if total else None


def _quantile(lag: Sequence[int], rank: float) -> float:
    below = 0.0
    for index, count in enumerate(lag):
        if count and below + count >= rank:
            if index >= len(BOUNDS_MS):
                break
            low = BOUNDS_MS[index - 1] if index else 0
            return round(low + (BOUNDS_MS[index] - low) * (rank - below) / count, 1)
        below += count
    return float(BOUNDS_MS[-1])
