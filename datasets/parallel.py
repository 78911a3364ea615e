"""The same work on many jobs: in this process, in several of this machine, or over a Ray cluster."""

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

from ..envs import rendering
from ..errors import TutelageError
from ..files import bounded_files
from ..foreign_code import trust
from .worker_processes import AHEAD, ProcessEnded, ProcessPool

_DECIDED = (trust.VARIABLE, bounded_files.VARIABLE)

Job = TypeVar("Job")
Result = TypeVar("Result")


def spread(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int = 1,
    ray: str | None = None,
    apart: bool = False,
) -> Iterator[Result]:
    """Give the results of the jobs in their order, as they come; at most two a worker wait in memory.

    `work` must be a module's function, or a `functools.partial` of one. `ray` is the address of a cluster
    whose machines have tutelage installed, "auto" for the one that this machine belongs to, or "local" for
    one that is started for the while; it then decides how many processes there are. With `apart`, nothing is
    done in this process. Raises TutelageError where there is no Ray, and ProcessEnded where a process ends
    before its work.
    """
    if ray is not None:
        yield from _over_ray(work, jobs, ray)
    elif not apart and (workers <= 1 or len(jobs) <= 1):
        yield from map(work, jobs)
    else:
        with ProcessPool(work, max(1, min(workers, len(jobs)))) as crew:
            yield from crew.results(jobs)


@dataclass(frozen=True)
class JobDied:
    """What `spread_safely` gives for a job whose process ended in the midst of it."""

    def __str__(self) -> str:
        return "its process ended by itself: it crashed, or the system ended it for want of memory"


def spread_safely(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int = 1, ray: str | None = None
) -> Iterator[Result | JobDied]:
    """Do what `spread` does, and outlive processes that die: the job that each died of gives Died.

    Which job it was shows when those that were underway are done again, one after another. With one worker
    and without Ray, jobs are done in this process, which they may then end.
    """
    left = deque(jobs)
    while left:
        try:
            for result in spread(work, [*left], workers, ray, apart=workers > 1):
                left.popleft()
                yield result
        except ProcessEnded:
            yield from _one_after_another(
                work, deque(left.popleft() for _ in range(min(len(left), AHEAD * workers)))
            )


def _one_after_another(work: Callable[[Job], Result], jobs: deque[Job]) -> Iterator[Result | JobDied]:
    """Do jobs in one process, which gives a result before it begins the next job: it dies of the first."""
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
        _knock(address)
        before = signal.getsignal(signal.SIGTERM)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        if (
            current_thread() is main_thread()
        ):  # Ray has put one of its own in its place, which ends with status 15
            signal.signal(signal.SIGTERM, before)
    except (OSError, ValueError, RuntimeError) as error:
        raise TutelageError(
            f"expected a Ray cluster at {address!r}, got: {str(error).splitlines()[0]}; start one with "
            "`ray start --head`, or say --ray local"
        ) from None
    try:
        pool = Pool()
        # the death of a process is the only result of all the jobs that it was handed together
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
    """Return what the person at the keyboard decided; the machines of a cluster do not inherit it."""
    named = {name: os.environ[name] for name in _DECIDED if name in os.environ}
    return named | rendering.own_drivers()  # those that are chosen, each machine chooses for itself


def _with_variables(variables: dict[str, str], work: Callable[[Job], Result], job: Job) -> Result:
    for name in _DECIDED:
        os.environ.pop(name, None)  # of another driver, which the same process served before
    os.environ.update(variables)
    return work(job)


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would go on asking for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "//" not in host:
        socket.create_connection((host, int(port)), 5).close()
