"""Processes of this machine that do the same work on many jobs, and end at once when they are not needed."""

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

from ..console.signals import inherited_by_none, leave_to_parent, signals
from ..envs.web.browser import abandon_shared
from ..errors import TutelageError

AHEAD = 2
"""Jobs that a process has at once: the one it does, and the next."""

_LEAVE_SECONDS = 0.8
"""How long a process may take to end its browser before it is ended itself."""


class ProcessEnded(TutelageError):
    """A process ended before its work: it crashed, or the system ended it for want of memory."""


class ProcessPool:
    """So many processes that do `work`; a context that ends them, whatever they are doing.

    Signals of a terminal do not reach them: they end when their pipe does, that is with this process.
    """

    def __init__(self, work: Callable[[Any], Any], size: int) -> None:
        # spawn: the parent may hold threads (torch, a progress bar) that a fork would copy half-alive
        context = multiprocessing.get_context("spawn")
        self._processes: list[Any] = []
        self._jobs: dict[Connection, deque[int]] = {}  # numbers, in the order in which they are done
        self._finalizer = Finalize(None, self.end, exitpriority=10)  # before Python waits for the processes
        signals.on_end(self.end)
        try:
            with inherited_by_none():
                for _ in range(size):
                    ours, theirs = context.Pipe()
                    with theirs:
                        process = context.Process(target=_serve, args=(theirs,))
                        process.start()
                    self._processes.append(process)
                    self._jobs[ours] = deque()
            # not as an argument: a policy is more than a pipe holds, and starting cannot be interrupted
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
        """Give the results of the jobs in their order, as they come; raises what a job has raised.

        Raises ProcessEnded where a process ends before its work; not before all that it gave was received.
        """
        done: dict[int, tuple[bool, Any]] = {}
        given = 0
        for number in range(len(jobs)):
            while number not in done:
                while given < len(jobs) and given < number + AHEAD * len(self._jobs):
                    if not self._give(given, jobs[given]):
                        break
                    given += 1
                self._receive(done)
            fine, result = done.pop(number)
            if not fine:
                raise result
            yield result

    def end(self) -> None:
        """End all processes: those that do not leave in time are killed."""
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

    def _give(self, number: int, job: Any) -> bool:
        """Give a job to the process that has the fewest; returns whether there is one that can take it."""
        connection, numbers = min(self._jobs.items(), key=lambda pair: len(pair[1]))
        if len(numbers) >= AHEAD:
            return False
        try:
            connection.send(job)
        except OSError:  # it has ended; what it gave before is still to be received
            return False
        numbers.append(number)
        return True

    def _receive(self, done: dict[int, tuple[bool, Any]]) -> None:
        """Wait until a process has done something, and note it."""
        for connection in wait(list(self._jobs)):
            assert isinstance(connection, Connection)
            try:
                answer = connection.recv()
            except (EOFError, OSError):
                raise self._death(connection) from None
            done[self._jobs[connection].popleft()] = answer

    def _death(self, connection: Connection) -> ProcessEnded:
        process = self._processes[list(self._jobs).index(connection)]
        process.join(_LEAVE_SECONDS)
        return ProcessEnded(
            f"expected {len(self._processes)} processes to do this work, but one ended with status "
            f"{process.exitcode}; lower --workers where memory is short"
        )


def _serve(connection: Connection) -> None:
    """Do the jobs that come, after what is to be done with them; end with the connection."""
    leave_to_parent()
    jobs: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_read, args=(connection, jobs), daemon=True).start()
    packed, work = jobs.get(), None
    while True:
        try:
            job = pickle.loads(jobs.get())
            work = work or pickle.loads(packed)
            answer = (True, work(job))
        except BaseException as error:  # of environments, which raise what they like
            answer = (False, _portable(error))
        with contextlib.suppress(OSError):  # where nobody listens, `_read` ends this process
            connection.send(answer)


def _read(connection: Connection, jobs: SimpleQueue[bytes]) -> None:
    """Read ahead, so that the parent never waits until a job is done; end the process with the parent."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            jobs.put(connection.recv_bytes())
    abandon_shared()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(0)


def _portable(error: BaseException) -> BaseException:
    """Return an error that can be sent to another process, with where it came from."""
    if isinstance(error, TutelageError):
        return error
    where = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in another process:\n{where}")
    return error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
