"""The processes that foreign environments live in: a pool with a watchdog, seen from the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

from ...console.signals import inherited_by_none
from ...datasets.trajectory import Trajectory
from ...envs.rendering import drivers
from ...envs.suite import Suite
from ...errors import TutelageError
from ...foreign_code.trust import trusted_names
from .host import EnvironmentCrash
from .worker import SIZE, packed, portable, preloaded, work

_LONG = ("here", "begin", "rewind", "restored", "prove", "finish", "observations", "read")
"""What may take its time: an environment is made, or an episode played again."""
_BLOCKED_SECONDS, _BLOCKED_LONG_SECONDS = 1.0, 5.0
"""When the others of a process are played elsewhere, because one keeps it."""
_PROOF_SECONDS = 600.0
_FEWEST_SECONDS = 0.25
_START_SECONDS = 60.0
_NO_START = (
    "expected processes for environments to start, got one that ended at once; "
    'a program of your own records under `if __name__ == "__main__":`'
)
_STOPPED = "expected a recorder that runs, got one that has stopped"
_END_SECONDS = 1.0
"""How long processes may take to end, all together, before they are ended."""
_LOOK_AGAIN_SECONDS = 0.02


class RequestNotStarted(Exception):
    """A process is gone, or blocked, with a request that it had not begun yet: ask another one."""


@dataclass
class _PendingRequest:
    verb: str
    seconds: float
    future: asyncio.Future[Any]


class Worker(asyncio.Protocol):
    """One process, as the event loop sees it. Requests are answered in order; the first is being done."""

    def __init__(self, process: Any, on_lost: Callable[[Worker], None]) -> None:
        self.process = process
        self.places: set[int] = set()
        self.lost = self.blocked = False
        self._on_lost = on_lost
        self._asked: dict[int, _PendingRequest] = {}
        self._numbers = count()
        self._since = 0.0
        self._buffer = bytearray()
        self._why = ""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def ask(self, verb: str, *arguments: Any, seconds: float) -> asyncio.Future[Any]:
        """Have something done. The future raises WorldFault when it fails or ends the process, TutelageError
        for a mistake that is explained, Lost when it was never begun."""
        if not self.blocked:
            return self._send(verb, arguments, seconds)
        future: asyncio.Future[Any] = self._loop.create_future()
        future.set_exception(RequestNotStarted())
        return future

    def tell(self, verb: str, *arguments: Any, seconds: float) -> None:
        """Have something done that nobody waits for."""
        if not self.lost:
            self._send(verb, arguments, seconds).add_done_callback(asyncio.Future.exception)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= SIZE.size:
            (size,) = SIZE.unpack_from(buffer, at)
            if len(buffer) - at - SIZE.size < size:
                break
            start = at + SIZE.size
            self._answered(*pickle.loads(memoryview(buffer)[start : start + size]))
            at = start + size
        del buffer[:at]

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
        asked, self._asked = list(self._asked.values()), {}
        for at, one in enumerate(asked):
            self._refuse(
                one, EnvironmentCrash(self._why or "its process ended") if at == 0 else RequestNotStarted()
            )
        self._on_lost(self)

    def watch(self, now: float) -> None:
        """End the process when it takes too long; before that, let the others go elsewhere."""
        if not self._asked or self.lost:
            return
        first, *others = self._asked.values()
        took = now - self._since
        if took > first.seconds:
            self._why = f"it did not answer for {first.seconds:g} seconds"
            self.process.kill()
        elif took > (_BLOCKED_LONG_SECONDS if first.verb in _LONG else _BLOCKED_SECONDS):
            self.blocked = True
            for one in others:
                self._refuse(one, RequestNotStarted())
        else:
            return

    def hang_up(self) -> None:
        """Let the process end, after what it does now."""
        if self._transport is not None:
            self._transport.close()

    def _send(self, verb: str, arguments: tuple[Any, ...], seconds: float) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.lost or self._transport is None:
            future.set_exception(RequestNotStarted())
            return future
        if not self._asked:
            self._since = self._loop.time()
        number = next(self._numbers)
        self._asked[number] = _PendingRequest(verb, seconds, future)
        self._transport.write(packed((number, seconds, verb, arguments)))
        return future

    def _answered(self, number: int, fine: bool, result: Any) -> None:
        one = self._asked.pop(number)
        self._since = self._loop.time()
        self.blocked = False
        if one.future.done():
            return
        if fine:
            one.future.set_result(result)
        else:
            ours, text = result
            one.future.set_exception(TutelageError(text) if ours else EnvironmentCrash(text))

    def _refuse(self, one: _PendingRequest, error: Exception) -> None:
        if not one.future.done():
            one.future.set_exception(error)


def leave_if_imported_again() -> None:
    """End a process that was made for environments and imports, to begin with, a program that records."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)  # without a word: whoever made it says what is wrong, once


class WorkerPool:
    """A pool of `count` processes, and one apart for tasks that have ended a process before.

    `seconds` is how long a step may take, `first_seconds` an environment to be made; a process may have
    `memory` bytes, or an equal share of half of the machine's. Environments of many seats share a process; a
    process that ends or hangs takes down the seat that it was busy for, and no other: those are played again
    elsewhere up to where they were (`RemoteHost`).
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
        self._specs = [spec for one in suite if (spec := portable(one.env)) is not None]
        self._groups: dict[str, list[Worker]] = {"plain": [], "suspect": [], "prover": []}
        self._suspects: set[str] = set()
        self.ended = 0
        """How many processes have ended by themselves, or were ended since they hung."""
        self._making = asyncio.Lock()
        self._watching: asyncio.TimerHandle | None = None
        self.is_closed = False
        self._is_starting = False  # a process is being started, in a thread that cannot be interrupted
        methods = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            self._context.set_forkserver_preload(preloaded())

    async def start(self) -> None:
        """Make the processes before they are needed."""
        for _ in range(self._count):
            async with self._making:
                await self._make("plain")

    async def place(self, task_id: str) -> Worker:
        """Return the process with the fewest environments, of those for a task's kind."""
        group = "suspect" if task_id in self._suspects else "plain"
        return await self._one_of(group, 1 if group == "suspect" else self._count)

    def suspect(self, task_id: str) -> None:
        """Keep a task apart from now on: it has ended a process."""
        self._suspects.add(task_id)

    async def prove(self, trajectory: Trajectory, task: Any) -> bool:
        """Say whether a fresh environment plays the same, bit for bit; one that breaks proves nothing."""
        bare = replace(trajectory, observations=None)
        while True:
            try:
                worker = await self._one_of("prover", 1)
                return await worker.ask("prove", bare, task, seconds=_PROOF_SECONDS)
            except RequestNotStarted:
                continue
            except (EnvironmentCrash, TutelageError):
                return False

    async def close(self) -> None:
        """Let all processes end; those that do not, or are only being started, are ended."""
        self.is_closed = True
        if self._watching is not None:
            self._watching.cancel()
        workers = [one for group in self._groups.values() for one in group]
        for one in workers:
            one.hang_up()
        await asyncio.to_thread(_end, [one.process for one in workers])
        while self._is_starting:
            _end_forkserver()
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        async with self._making:  # whoever made one has noticed
            pass

    async def _one_of(self, group: str, wanted: int) -> Worker:
        async with self._making:
            able = [one for one in self._groups[group] if not one.lost and not one.blocked]
            if len(able) < wanted:
                able.append(await self._make(group))
        return min(able, key=lambda one: len(one.places))

    async def _make(self, group: str) -> Worker:
        if self.is_closed:
            raise TutelageError(_STOPPED)
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        # what proves is no fork of the same process: it orders sets otherwise, as every later process does
        context = multiprocessing.get_context("spawn") if group == "prover" else self._context
        process = context.Process(
            target=work,
            args=(theirs, self._specs, group == "prover", self.memory, trusted_names(), drivers()),
            name=f"tutelage-{group}",
            daemon=True,
        )
        ours.setblocking(False)
        self._is_starting = True
        try:
            with theirs:
                await asyncio.to_thread(_start, process)
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError | EOFError):
                raise TutelageError(_NO_START) from None
            raise
        finally:
            self._is_starting = False
        _, worker = await loop.create_connection(
            lambda: Worker(process, partial(self._gone, group)), sock=ours
        )
        self._groups[group].append(worker)
        if self.is_closed:  # whoever closed has not seen this one
            worker.hang_up()
            await asyncio.to_thread(_end, [process])
            raise TutelageError(_STOPPED)
        if self._watching is None:
            self._watch(loop.time())
        try:
            await worker.ask("here", seconds=_START_SECONDS)
        except (RequestNotStarted, EnvironmentCrash):
            raise TutelageError(_NO_START) from None
        return worker

    def _gone(self, group: str, worker: Worker) -> None:
        self._groups[group].remove(worker)
        if self.is_closed:
            return  # whoever closes ends all processes
        self.ended += 1
        asyncio.get_running_loop().run_in_executor(None, _end, [worker.process])

    def _watch(self, due: float) -> None:
        """Look at every process a few times a second."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - due < 1:  # else the loop itself has stood still, and answers may be waiting unread
            for group in self._groups.values():
                for one in list(group):
                    one.watch(now)
        due = now + min(_FEWEST_SECONDS, self.seconds / 4)
        self._watching = loop.call_at(due, self._watch, due)


def _start(process: Any) -> None:
    with inherited_by_none():
        process.start()


def _memory_of_machine() -> int:
    names = getattr(os, "sysconf_names", {})
    if {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= names.keys():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 8 << 30


def _end(processes: list[Any]) -> None:
    until = time.monotonic() + _END_SECONDS
    for one in processes:
        one.join(max(0.0, until - time.monotonic()))
        if one.is_alive():
            one.kill()
            one.join()
        with contextlib.suppress(ValueError):
            one.close()


def _end_forkserver() -> None:
    """End the process that forks the others: while it imports, it answers nothing, and notices no end."""
    from multiprocessing.forkserver import _forkserver

    pid = getattr(_forkserver, "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
