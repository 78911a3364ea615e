"""The pool of worker processes for foreign environments, with a watchdog; used from the event loop."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

from ...datasets.trajectory import Trajectory
from ...envs.drawing.rendering import drivers
from ...envs.suite import Suite
from ...errors import TutelageError
from ...foreign_code.trust import trusted_names
from .host import EnvironmentCrash
from .processes import end_forkserver, end_processes, start_method, start_process
from .worker import SIZE, packed, portable, preloaded, work

_LONG = ("here", "begin", "rewind", "restored", "prove", "finish", "observations", "read")
"""Slow verbs: an environment is made, or an episode replayed."""
_BLOCKED_SECONDS, _BLOCKED_LONG_SECONDS = 1.0, 5.0
"""Seconds of one request, short or slow, after which the other episodes of its process move elsewhere."""
_PROOF_SECONDS = 600.0
_FEWEST_SECONDS = 0.25
_START_SECONDS = 60.0
_NO_START = (
    "expected processes for environments to start, got one that ended at once; "
    'a program of your own records under `if __name__ == "__main__":`'
)
_LATE_START = (
    f"expected a process for environments to start within {_START_SECONDS:g} seconds, got one that did not: "
    "this machine is busy with something else"
)
_STOPPED = "expected a recorder that runs, got one that has stopped"
_RECHECK_SECONDS = 0.02


class RequestNotStarted(Exception):
    """A process was lost, or blocked, before it began a request: ask another one."""


@dataclass
class _PendingRequest:
    verb: str
    seconds: float
    future: asyncio.Future[Any]


class Worker(asyncio.Protocol):
    """One process, as the event loop sees it. Requests are answered in order; the first is underway."""

    def __init__(self, process: Any, on_lost: Callable[[Worker], None]) -> None:
        self.process = process
        self.places: set[int] = set()
        self.lost = self.blocked = False
        self._on_lost = on_lost
        self._pending: dict[int, _PendingRequest] = {}
        self._numbers = count()
        self._busy_since = 0.0
        self._buffer = bytearray()
        self._why = ""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def ask(self, verb: str, *arguments: Any, seconds: float) -> asyncio.Future[Any]:
        """Send a request.

        The future raises EnvironmentCrash when it fails or ends the process, TutelageError for an explained
        error, RequestNotStarted if it was never begun.
        """
        if not self.blocked:
            return self._send(verb, arguments, seconds)
        future: asyncio.Future[Any] = self._loop.create_future()
        future.set_exception(RequestNotStarted())
        return future

    def tell(self, verb: str, *arguments: Any, seconds: float) -> None:
        """Send a request without waiting for its answer."""
        if not self.lost:
            self._send(verb, arguments, seconds).add_done_callback(asyncio.Future.exception)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        offset = 0
        while len(buffer) - offset >= SIZE.size:
            (size,) = SIZE.unpack_from(buffer, offset)
            if len(buffer) - offset - SIZE.size < size:
                break
            start = offset + SIZE.size
            self._resolve(*pickle.loads(memoryview(buffer)[start : start + size]))
            offset = start + size
        del buffer[:offset]

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
        pending, self._pending = list(self._pending.values()), {}
        for index, request in enumerate(pending):
            self._refuse(
                request,
                EnvironmentCrash(self._why or "its process ended") if index == 0 else RequestNotStarted(),
            )
        self._on_lost(self)

    def watch(self, now: float) -> None:
        """Kill the process when its request takes too long; before that, redirect the other requests."""
        if not self._pending or self.lost:
            return
        first, *queued = self._pending.values()
        elapsed = now - self._busy_since
        if elapsed > first.seconds:
            self._why = f"it did not answer for {first.seconds:g} seconds"
            self.process.kill()
        elif elapsed > (_BLOCKED_LONG_SECONDS if first.verb in _LONG else _BLOCKED_SECONDS):
            self.blocked = True
            for request in queued:
                self._refuse(request, RequestNotStarted())
        else:
            return

    def hang_up(self) -> None:
        """Let the process end, after its current request."""
        if self._transport is not None:
            self._transport.close()

    def _send(self, verb: str, arguments: tuple[Any, ...], seconds: float) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.lost or self._transport is None:
            future.set_exception(RequestNotStarted())
            return future
        if not self._pending:
            self._busy_since = self._loop.time()
        number = next(self._numbers)
        self._pending[number] = _PendingRequest(verb, seconds, future)
        self._transport.write(packed((number, seconds, verb, arguments)))
        return future

    def _resolve(self, number: int, is_fine: bool, result: Any) -> None:
        request = self._pending.pop(number)
        self._busy_since = self._loop.time()
        self.blocked = False
        if request.future.done():
            return
        if is_fine:
            request.future.set_result(result)
        else:
            is_explained, text = result
            request.future.set_exception(TutelageError(text) if is_explained else EnvironmentCrash(text))

    def _refuse(self, request: _PendingRequest, error: Exception) -> None:
        if not request.future.done():
            request.future.set_exception(error)


def leave_if_imported_again() -> None:
    """End a worker process that imports, at its start, a program that records."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)  # silently: the parent reports the error, once


class WorkerPool:
    """A pool of `count` processes, and a separate one for tasks that have ended a process before.

    `seconds` is the limit of a step, `first_seconds` that of making an environment; a process may use
    `memory` bytes, or an equal share of half of the machine's. Environments of many seats share a process; a
    process that ends or hangs affects only the seat that it was busy for: the others are replayed elsewhere
    up to where they were (`RemoteHost`).
    """

    def __init__(
        self,
        suite: Suite,
        count: int = 2,
        seconds: float = 10.0,
        first_seconds: float = 60.0,
        memory: int | None = None,
    ) -> None:
        self.seconds, self.first_seconds = seconds, first_seconds
        self.memory = memory or _memory_of_machine() // (2 * count)
        self._count = count
        self._specs = [spec for task in suite if (spec := portable(task.env)) is not None]
        self._groups: dict[str, list[Worker]] = {"plain": [], "suspect": [], "prover": []}
        self._suspects: set[str] = set()
        self.ended = 0
        """How many processes have ended by themselves, or were killed because they hung."""
        self._making = asyncio.Lock()
        self._watching: asyncio.TimerHandle | None = None
        self.is_closed = False
        self._is_starting = False  # a process is being started, in a thread that cannot be interrupted
        method = start_method()
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(preloaded())

    async def start(self) -> None:
        """Make the processes before they are needed."""
        for _ in range(self._count):
            async with self._making:
                await self._make_worker("plain")

    async def place(self, task_id: str) -> Worker:
        """Return the process with the fewest environments, of those for a task's kind."""
        group = "suspect" if task_id in self._suspects else "plain"
        return await self._pick_worker(group, 1 if group == "suspect" else self._count)

    def suspect(self, task_id: str) -> None:
        """Isolate a task from now on: it has ended a process."""
        self._suspects.add(task_id)

    async def prove(self, trajectory: Trajectory, task: Any) -> bool:
        """Say whether a fresh environment reproduces an episode bit for bit; a crash proves nothing."""
        bare = replace(trajectory, observations=None)
        while True:
            try:
                worker = await self._pick_worker("prover", 1)
                return await worker.ask("prove", bare, task, seconds=_PROOF_SECONDS)
            except RequestNotStarted:
                continue
            except (EnvironmentCrash, TutelageError):
                return False

    async def close(self) -> None:
        """End all processes; those that do not end, or are only being started, are killed."""
        self.is_closed = True
        if self._watching is not None:
            self._watching.cancel()
        workers = [worker for group in self._groups.values() for worker in group]
        for worker in workers:
            worker.hang_up()
        await asyncio.to_thread(end_processes, [worker.process for worker in workers])
        while self._is_starting:
            end_forkserver()
            await asyncio.sleep(_RECHECK_SECONDS)
        async with self._making:  # a process that was being made has ended
            pass

    async def _pick_worker(self, group: str, size: int) -> Worker:
        async with self._making:
            usable = [worker for worker in self._groups[group] if not worker.lost and not worker.blocked]
            if len(usable) < size:
                usable.append(await self._make_worker(group))
        return min(usable, key=lambda worker: len(worker.places))

    async def _make_worker(self, group: str) -> Worker:
        if self.is_closed:
            raise TutelageError(_STOPPED)
        loop = asyncio.get_running_loop()
        own_end, worker_end = socket.socketpair()
        # a prover is no fork of the same process: it orders sets differently, as later processes do
        context = multiprocessing.get_context("spawn") if group == "prover" else self._context
        process = context.Process(
            target=work,
            args=(worker_end, self._specs, group == "prover", self.memory, trusted_names(), drivers()),
            name=f"tutelage-{group}",
            daemon=True,
        )
        own_end.setblocking(False)
        self._is_starting = True
        try:
            with worker_end:
                await asyncio.to_thread(start_process, process)
        except BaseException as error:
            own_end.close()
            if isinstance(error, OSError | EOFError):
                raise TutelageError(_NO_START) from None
            raise
        finally:
            self._is_starting = False
        _, worker = await loop.create_connection(
            lambda: Worker(process, partial(self._on_worker_lost, group)), sock=own_end
        )
        self._groups[group].append(worker)
        if self.is_closed:  # `close` has not seen this worker
            worker.hang_up()
            await asyncio.to_thread(end_processes, [process])
            raise TutelageError(_STOPPED)
        if self._watching is None:
            self._watch(loop.time())
        started = loop.time()
        try:
            await worker.ask("here", seconds=_START_SECONDS)
        except (RequestNotStarted, EnvironmentCrash):
            is_late = loop.time() - started > _START_SECONDS
            raise TutelageError(_LATE_START if is_late else _NO_START) from None
        return worker

    def _on_worker_lost(self, group: str, worker: Worker) -> None:
        self._groups[group].remove(worker)
        if self.is_closed:
            return  # `close` ends all processes
        self.ended += 1
        asyncio.get_running_loop().run_in_executor(None, end_processes, [worker.process])

    def _watch(self, due: float) -> None:
        """Check every process a few times per second."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - due < 1:  # otherwise the loop itself was blocked, and answers may be waiting unread
            for group in self._groups.values():
                for worker in list(group):
                    worker.watch(now)
        due = now + min(_FEWEST_SECONDS, self.seconds / 4)
        self._watching = loop.call_at(due, self._watch, due)


def _memory_of_machine() -> int:
    names = getattr(os, "sysconf_names", {})
    if {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= names.keys():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 8 << 30
