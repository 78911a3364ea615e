"""Processor threads: how many other programs leave free, and how they wait for each other."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...console.wording import counted

_LOOK_SECONDS = 0.25
_AGAIN_SECONDS, _SHORTEST_SECONDS = 10.0, 0.5
"""Time between two looks at what is free while a run is trained, and the least that a figure is made of."""

_FAR_BELOW, _BACK = 0.5, 0.8
"""Shares of a machine's own rate: what is below the first is said, what is above the second is well again."""

_CGROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def wait_passively() -> None:
    """Let threads that wait for each other sleep, unless the environment says otherwise.

    A thread that waits by spinning takes a core from the one that it waits for, where other programs run
    too. OpenMP reads this once: call it before torch is imported. The first variable is that of every
    OpenMP (GNU's comes with torch), the second that of Intel's and LLVM's.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")


def allowed_cores() -> int:
    """Count the cores this process may use: those it is bound to, and no more than its control group has."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(bound, quota())))


@dataclass(frozen=True)
class CpuUsage:
    """Processor seconds so far: of the cores this process may use the idle ones, and its own."""

    at: float
    idle: float
    process: float

    @classmethod
    def now(cls) -> CpuUsage | None:
        """Measure; None where the system does not say."""
        try:
            lines = Path("/proc/stat").read_text().splitlines()
            bound = {f"cpu{core}" for core in os.sched_getaffinity(0)}
            ticks = os.sysconf("SC_CLK_TCK")
        except (OSError, AttributeError, ValueError):
            return None
        gives_way = os.nice(0) <= 0  # programs that are nicer than this one leave it their cores
        idle = 0
        for name, *figures in (line.split() for line in lines if line.startswith("cpu")):
            if name in bound:
                _, nice, _, unused, waiting = map(int, figures[:5])
                idle += unused + waiting + (nice if gives_way else 0)
        return cls(time.monotonic(), idle / ticks, time.process_time())

    def free_since(self, before: CpuUsage) -> float:
        """Return how many cores this process had or could have had, on average, since then."""
        return (self.idle - before.idle + self.process - before.process) / max(self.at - before.at, 1e-9)


def free_cores() -> float:
    """Return how many cores other programs leave free just now; takes a quarter of a second."""
    before = CpuUsage.now()
    if before is None:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        return max(0.0, (os.cpu_count() or 1) - load)
    time.sleep(_LOOK_SECONDS)
    after = CpuUsage.now()
    return after.free_since(before) if after else float(allowed_cores())


def threads_for(free: float) -> int:
    """Return how many threads to take of so many free cores: one that is half taken slows down all."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    most = min(allowed_cores(), int(asked)) if asked.isdecimal() else allowed_cores()
    return max(1, min(most, math.floor(free + 0.4)))


class ThroughputMonitor:
    """The rate of a run beside the best that its machine has shown, and its threads.

    With `chosen` threads, these are taken; with 0, as many as are free, looked at again all the while.
    `set_threads` is told their number.
    """

    def __init__(self, chosen: int, set_threads: Callable[[int], None]) -> None:
        self._is_chosen, self._set = bool(chosen), set_threads
        self.threads = chosen or threads_for(free_cores())
        self._set(self.threads)
        self._best, self._is_slow = 0.0, False
        self._before = CpuUsage.now()

    def skip(self) -> None:
        """Leave out of the account what has been done since the last rate: it was no training."""
        self._before = CpuUsage.now()

    def rate(self, steps_per_second: float) -> str:
        """Take in a rate; return what to say of it, "" for nothing. Changes the threads where it should."""
        free = self._look()
        self._best = max(self._best, steps_per_second)
        if steps_per_second > _BACK * self._best:
            self._is_slow = False
        if self._is_slow or steps_per_second >= _FAR_BELOW * self._best:
            return ""
        self._is_slow = True
        why = "" if free is None else f"; other programs leave {free:.1f} of {allowed_cores()} cores"
        remedy = counted(self.threads, "thread")
        if self._is_chosen and self.threads > 1:
            remedy += ", which wait for each other: --resume with --threads 1"
        return f"{steps_per_second:.2g} steps/s, where this machine has done {self._best:.2g}{why}; {remedy}"

    def _look(self) -> float | None:
        """Say how many cores there were since the last look, and take as many threads; None too soon."""
        now, before = CpuUsage.now(), self._before
        if now is None or before is None or now.at - before.at < _SHORTEST_SECONDS:
            return None
        free = now.free_since(before)
        if now.at - before.at >= _AGAIN_SECONDS:
            self._before = now
            if not self._is_chosen and (threads := threads_for(free)) != self.threads:
                self.threads = threads
                self._set(threads)
        return free


def quota(groups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> float:
    """Return how many cores control groups let this process use; infinite without a limit."""
    least = math.inf
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return least
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            places = [groups / path.lstrip("/")]
            places += [place for place in places[0].parents if place.is_relative_to(groups)]
            least = min([least, *(_ratio(place / "cpu.max") for place in places)])
        elif "cpu" in controllers.split(","):
            for place in (groups / "cpu" / path.lstrip("/"), groups / "cpu"):
                least = min(least, _ratio(place / "cpu.cfs_quota_us", place / "cpu.cfs_period_us"))
    return least


def _ratio(*files: Path) -> float:
    """Read a quota and its period, from one file or two; infinite where there is none."""
    try:
        share, period = " ".join(file.read_text() for file in files).split()
        return float(share) / float(period) if float(share) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
