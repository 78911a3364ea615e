"""A pool of local processes that run one function on many jobs, and end at once when no longer needed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.util import Finalize
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any

from ...console.signals import inherited_by_none, leave_to_parent, signals
from ...envs.web.browser import abandon_shared
from ...errors import TutelageError

AHEAD = 2
"""Jobs per process in flight: the current one, and the next."""

_LEAVE_SECONDS = 0.8
"""Seconds that a process may take to close its browser before it is killed."""


class ProcessEnded(TutelageError):
    """A process ended before its work was done: it crashed, or the system killed it for lack of memory."""


class ProcessPool:
    """A pool of `size` processes that run `work`; a context manager that ends them on exit.

    Terminal signals do not reach them: they end when their pipe closes, that is with this process.
    """

    def __init__(self, work: Callable[[Any], Any], size: int) -> None:
        # spawn: a fork would copy the parent's threads (torch, a progress bar) in an inconsistent state
        context = multiprocessing.get_context("spawn")
        self._processes: list[Any] = []
        self._jobs: dict[Connection, deque[int]] = {}  # job numbers, in order of execution
        self._finalizer = Finalize(None, self.end, exitpriority=10)  # before Python waits for the processes
        signals.on_end(self.end)
        try:
            with inherited_by_none():
                for _ in range(size):
                    parent_end, child_end = context.Pipe()
                    with child_end:
                        process = context.Process(target=_serve, args=(child_end,))
                        process.start()
                    self._processes.append(process)
                    self._jobs[parent_end] = deque()
            # not as an argument: a policy is larger than a pipe's buffer, and starting cannot be interrupted
            packed = pickle.dumps(work)
            for connection in self._jobs:
                connection.send_bytes(packed)
        except BrokenPipeError:
            error = self._death(next(iter(self._jobs)))
            self.__exit__(None, None, None)
            raise error from None
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        signals.off_end(self.end)
        self._finalizer.cancel()

    def results(self, jobs: Sequence[Any]) -> Iterator[Any]:
        """Yield the results of the jobs in order, as they complete; re-raises a job's exception.

        Raises ProcessEnded if a process dies, after all of its results were received.
        """
        results: dict[int, tuple[bool, Any]] = {}
        sent = 0
        for number in range(len(jobs)):
            while number not in results:
                while sent < len(jobs) and sent < number + AHEAD * len(self._jobs):
                    if not self._send(sent, jobs[sent]):
                        break
                    sent += 1
                self._receive(results)
            fine, result = results.pop(number)
            if not fine:
                raise result
            yield result

    def end(self) -> None:
        """End all processes; kill those that do not end in time."""
        for connection in self._jobs:
            connection.close()
        until = time.monotonic() + _LEAVE_SECONDS
        for process in self._processes:
            process.join(max(0.0, until - time.monotonic()))
        for process in self._processes:
            if process.is_alive():
                process.kill()
                process.join()
        self._jobs.clear()

    def _send(self, number: int, job: Any) -> bool:
        """Send a job to the process with the fewest; return False if no process can take it."""
        connection, numbers = min(self._jobs.items(), key=lambda pair: len(pair[1]))
        if len(numbers) >= AHEAD:
            return False
        try:
            connection.send(job)
        except OSError:  # it has ended; its earlier results are still to be received
            return False
        numbers.append(number)
        return True

    def _receive(self, results: dict[int, tuple[bool, Any]]) -> None:
        """Wait for results of any process, and store them."""
        for connection in wait(list(self._jobs)):
            assert isinstance(connection, Connection)
            try:
                answer = connection.recv()
            except (EOFError, OSError):
                raise self._death(connection) from None
            results[self._jobs[connection].popleft()] = answer

    def _death(self, connection: Connection) -> ProcessEnded:
        process = self._processes[list(self._jobs).index(connection)]
        process.join(_LEAVE_SECONDS)
        return ProcessEnded(
            f"expected {len(self._processes)} processes to do this work, but one ended with status "
            f"{process.exitcode}; lower --workers where memory is short"
        )


def _serve(connection: Connection) -> None:
    """Receive the function, then run it on each received job; end with the connection."""
    leave_to_parent()
    jobs: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_read, args=(connection, jobs), daemon=True).start()
    packed, work = jobs.get(), None
    while True:
        try:
            job = pickle.loads(jobs.get())
            work = work or pickle.loads(packed)
            answer = (True, work(job))
        except BaseException as error:  # environments may raise anything
            answer = (False, _portable(error))
        with contextlib.suppress(OSError):  # if the parent is gone, `_read` ends this process
            connection.send(answer)


def _read(connection: Connection, jobs: SimpleQueue[bytes]) -> None:
    """Receive jobs ahead, so that the parent never blocks on sending; end the process with the parent."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            jobs.put(connection.recv_bytes())
    abandon_shared()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(0)


def _portable(error: BaseException) -> BaseException:
    """Return an error that can be pickled, with its traceback as a note."""
    if isinstance(error, TutelageError):
        return error
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in another process:\n{trace}")
    return error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
