"""What one server counts while it serves; its heartbeat carries the counts to whoever adds them up."""

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
"""Upper bounds of the classes that lag is counted in; one more class holds what is beyond."""

PULSE_SECONDS = 0.05

_SLICE_SECONDS, _SLICES = 30, 10  # five minutes


class ServerMetrics:
    """Counters of one process, safe to use from any thread.

    Lag is the time from a key to its picture on the screen, as the page that shows it tells.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._steps = 0
        self._lag = [0] * (len(BOUNDS_MS) + 1)
        self._lag_sum = 0.0
        self._held_up = [0] * (len(BOUNDS_MS) + 1)
        self._latest: deque[tuple[int, list[int]]] = deque()  # slices of the last minutes

    def stepped(self) -> None:
        """Note a step of an environment."""
        with self._lock:
            self._steps += 1

    def shown(self, milliseconds: float) -> None:
        """Note the lag of one key."""
        with self._lock:
            place = bisect.bisect_left(BOUNDS_MS, milliseconds)
            self._lag[place] += 1
            self._lag_sum += milliseconds
            self._slice()[place] += 1

    def held_up(self, milliseconds: float) -> None:
        """Note for how long the event loop's own work has kept everybody waiting, see `feel_pulse`."""
        with self._lock:
            self._held_up[bisect.bisect_left(BOUNDS_MS, milliseconds)] += 1

    def figures(self, trouble: str | None = None) -> dict[str, Any]:
        """Return the counts so far, ready for JSON; `trouble` is the journal's."""
        with self._lock:
            return {
                "steps": self._steps,
                "trouble": trouble or "",
                "lag": list(self._lag),
                "lag_sum_ms": round(self._lag_sum, 1),
                "latest": self._lately(),
                "held_up": list(self._held_up),
            }

    def _lately(self) -> list[int]:
        self._slice()
        return add_up(counts for _, counts in self._latest)

    def _slice(self) -> list[int]:
        """Return the counts of the present slice of time; slices that are too old go."""
        now = int(self._clock() / _SLICE_SECONDS)
        while self._latest and self._latest[0][0] <= now - _SLICES:
            self._latest.popleft()
        if not self._latest or self._latest[-1][0] != now:
            self._latest.append((now, [0] * (len(BOUNDS_MS) + 1)))
        return self._latest[-1][1]


async def feel_pulse(meter: ServerMetrics) -> None:
    """Note, until cancelled, for how long the event loop keeps a timer waiting by what it does itself.

    What its thread spends of the processor counts, not what other programs of a busy machine take meanwhile.
    """
    loop = asyncio.get_running_loop()
    while True:
        due, worked = loop.time() + PULSE_SECONDS, time.thread_time()
        await asyncio.sleep(PULSE_SECONDS)
        late, worked = loop.time() - due, time.thread_time() - worked
        meter.held_up(1000 * max(0.0, min(late, worked)))


def beat_alone(ledger: StudyDatabase, started: float, figures: Mapping[str, Any]) -> None:
    """Write the heartbeat of the one server that a database has. Blocks for the disk."""
    row = {"server": gethostname(), "started": started, "seen": time.time(), "figures": dict(figures)}
    with ledger.write() as connection:
        connection.execute(servers.delete())
        connection.execute(servers.insert(), row)


def add_up(counts: Iterable[Sequence[int]]) -> list[int]:
    """Add lag that was counted in several places."""
    return [sum(place) for place in zip_longest(*counts, fillvalue=0)]


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
