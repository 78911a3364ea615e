"""Run one function on many jobs: in this process, in several local processes, or on a Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, TypeVar

from ...envs.drawing import rendering
from ...errors import TutelageError
from ...files import bounded_files
from ...foreign_code import trust
from .worker_processes import AHEAD, ProcessEnded, ProcessPool

_INHERITED = (trust.VARIABLE, bounded_files.VARIABLE)

Job = TypeVar("Job")
Result = TypeVar("Result")


def spread(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int = 1,
    ray: str | None = None,
    apart: bool = False,
) -> Iterator[Result]:
    """Yield the results of the jobs in order, as they complete; at most two jobs per worker are in flight.

    `work` must be a module-level function, or a `functools.partial` of one. `ray` is the address of a cluster
    whose machines have tutelage installed, "auto" for the cluster of this machine, or "local" for a temporary
    one; Ray then determines the number of processes. With `apart`, no job runs in this process. Raises
    TutelageError if Ray is missing, and ProcessEnded if a process dies before its work is done.
    """
    if ray is not None:
        yield from _over_ray(work, jobs, ray)
    elif not apart and (workers <= 1 or len(jobs) <= 1):
        yield from map(work, jobs)
    else:
        with ProcessPool(work, max(1, min(workers, len(jobs)))) as pool:
            yield from pool.results(jobs)


@dataclass(frozen=True)
class JobDied:
    """The result of `spread_safely` for a job whose process died."""

    def __str__(self) -> str:
        return "its process ended by itself: it crashed, or the system ended it for want of memory"


def spread_safely(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int = 1, ray: str | None = None
) -> Iterator[Result | JobDied]:
    """Like `spread`, but survive processes that die: the job that killed its process yields JobDied.

    That job is identified by running the jobs that were in flight again, one after another. With one worker
    and without Ray, jobs run in this process, which they may kill.
    """
    remaining = deque(jobs)
    while remaining:
        try:
            for result in spread(work, [*remaining], workers, ray, apart=workers > 1):
                remaining.popleft()
                yield result
        except ProcessEnded:
            yield from _one_after_another(
                work, deque(remaining.popleft() for _ in range(min(len(remaining), AHEAD * workers)))
            )


def _one_after_another(work: Callable[[Job], Result], jobs: deque[Job]) -> Iterator[Result | JobDied]:
    """Run jobs in one process, one at a time: if the process dies, the first remaining job is the cause."""
    while jobs:
        try:
            for result in spread(work, [*jobs], apart=True):
                jobs.popleft()
                yield result
        except ProcessEnded:
            jobs.popleft()
            yield JobDied()


def _over_ray(work: Callable[[Job], Result], jobs: Sequence[Job], address: str) -> Iterator[Result]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is uploaded
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning about GPUs
    if (
        Path.home() / ".ray" / "auth_token"
    ).exists():  # with one, `ray start` asks for it, but ray.init gives none
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
        from ray import exceptions
        from ray.util.multiprocessing import Pool
    except ImportError:
        raise TutelageError(
            "expected Ray for --ray, got no such package; install it: pip install 'tutelage[ray]'"
        ) from None
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        _check_reachable(address)
        before = signal.getsignal(signal.SIGTERM)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        if (
            current_thread() is main_thread()
        ):  # Ray replaced the handler by its own, which exits with status 15
            signal.signal(signal.SIGTERM, before)
    except (OSError, ValueError, RuntimeError) as error:
        raise TutelageError(
            f"expected a Ray cluster at {address!r}, got: {str(error).splitlines()[0]}; start one with "
            "`ray start --head`, or say --ray local"
        ) from None
    try:
        pool = Pool()
        # chunksize 1: a dead process loses the results of its whole chunk
        for result in pool.imap(partial(_with_variables, _variables(), work), jobs, chunksize=1):
            if isinstance(result, exceptions.RayError):
                raise result
            yield result
        pool.terminate()
    except (exceptions.RayActorError, exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
        raise ProcessEnded(
            f"expected the cluster's processes to do this work, but one ended: {str(error).splitlines()[0]}"
        ) from None
    finally:
        ray.shutdown()


def _variables() -> dict[str, str]:
    """Return the user's settings in environment variables; the machines of a cluster do not inherit them."""
    named = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return named | rendering.own_drivers()  # automatically chosen drivers are chosen on each machine


def _with_variables(variables: dict[str, str], work: Callable[[Job], Result], job: Job) -> Result:
    for name in _INHERITED:
        os.environ.pop(name, None)  # set by another driver that the same process served before
    os.environ.update(variables)
    return work(job)


def _check_reachable(address: str) -> None:
    """Raise OSError if the address is unreachable: Ray itself would retry for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "//" not in host:
        socket.create_connection((host, int(port)), 5).close()
