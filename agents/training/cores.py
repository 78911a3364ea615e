"""Processor threads: how many cores are free, how many threads to use, and how threads wait."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...console.wording import counted

_SAMPLE_SECONDS = 0.25
_AGAIN_SECONDS, _SHORTEST_SECONDS = 10.0, 0.5
"""Seconds between two measurements of free cores in training, and the shortest interval of a measurement."""

_FAR_BELOW, _BACK = 0.5, 0.8
"""Shares of the best rate: below the first a run is reported as slow, above the second it has recovered."""

_CGROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def wait_passively() -> None:
    """Let waiting threads sleep instead of spin, unless environment variables say otherwise.

    On a shared machine a spinning thread takes a core from the thread it waits for. OpenMP reads the setting
    once: call this before torch is imported. The first variable is for every OpenMP (torch ships GNU's), the
    second for Intel's and LLVM's.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")


def allowed_cores() -> int:
    """Return the number of cores this process may use: its CPU affinity, limited by its control group."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(bound, quota())))


@dataclass(frozen=True)
class CpuUsage:
    """Processor seconds so far: idle time of the cores this process may use, and its own processor time."""

    clock: float
    idle: float
    process: float

    @classmethod
    def now(cls) -> CpuUsage | None:
        """Measure; None if the system does not provide the numbers."""
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

    def free_since(self, before: CpuUsage, sharing: int = 1) -> float:
        """Return the mean number of cores this process used or could have used since `before`.

        Idle cores are divided among `sharing` processes.
        """
        idle = (self.idle - before.idle) / sharing
        return (idle + self.process - before.process) / max(self.clock - before.clock, 1e-9)


def free_cores(sharing: int = 1) -> float:
    """Return how many cores other programs leave to each of `sharing` processes; takes a quarter second."""
    before = CpuUsage.now()
    if before is None:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        return max(0.0, (os.cpu_count() or 1) - load) / sharing
    time.sleep(_SAMPLE_SECONDS)
    after = CpuUsage.now()
    return after.free_since(before, sharing) if after else allowed_cores() / sharing


def threads_for(free: float) -> int:
    """Return the number of threads for `free` cores; a core shared with another program slows all threads."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    most = min(allowed_cores(), int(limit)) if limit.isdecimal() else allowed_cores()
    return max(1, min(most, math.floor(free + 0.4)))


class ThroughputMonitor:
    """Compares a run's speed with the best it has shown, and adapts its number of threads.

    With `chosen` above 0 that number is used; with 0, as many as cores are free, measured again and again;
    `sharing` processes of one run divide them. `set_threads` is called with the number.
    """

    def __init__(self, chosen: int, set_threads: Callable[[int], None], sharing: int = 1) -> None:
        self._is_chosen, self._set, self._sharing = bool(chosen), set_threads, sharing
        self.threads = chosen or threads_for(free_cores(sharing))
        self._set(self.threads)
        self._best, self._is_slow = 0.0, False
        self._before = CpuUsage.now()

    def skip(self) -> None:
        """Start a new interval: the time since the last rate was not training."""
        self._before = CpuUsage.now()

    def rate(self, steps_per_second: float) -> str:
        """Record a rate and adapt the threads; returns a note if training is slow, else ""."""
        free = self._adjust()
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

    def _adjust(self) -> float | None:
        """Return the free cores since the last measurement and adapt the threads; None if too recent."""
        now, before = CpuUsage.now(), self._before
        if now is None or before is None or now.clock - before.clock < _SHORTEST_SECONDS:
            return None
        free = now.free_since(before, self._sharing)
        if now.clock - before.clock >= _AGAIN_SECONDS:
            self._before = now
            if not self._is_chosen and (threads := threads_for(free)) != self.threads:
                self.threads = threads
                self._set(threads)
        return free


def quota(groups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> float:
    """Return the number of cores that control groups grant this process; infinite without a limit."""
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
    """Read a quota and its period from one file or two; infinite if there is none."""
    try:
        share, period = " ".join(file.read_text() for file in files).split()
        return float(share) / float(period) if float(share) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
