"""The recorder: the journal, the store and every seat, shared by all open pages."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sql

from ...datasets.maintenance.replication import PartCopies
from ...datasets.store import Store
from ...envs.registry import registry_with
from ...envs.task import Task
from ...errors import TutelageError
from ...files.bounded_files import real_path
from ...files.folder_lock import lock_folder
from ..cluster.membership import ClusterMembership
from ..hosting.host import EnvironmentHost
from ..hosting.host_factory import HostFactory, runs_here
from ..hosting.worker_pool import WorkerPool
from ..server.gc_schedule import run_gc_schedule
from ..settings import Settings
from ..storage.archiver import Archiver, ReplayHosts
from ..storage.database import cause
from ..storage.journal import Journal, saved
from ..storage.journal_records import JOURNAL, SeatRecord
from .free_choice import FreeChoice
from .seat import Seat
from .seed_assignment import SeedAssignment
from .session import Session

_PATIENCE_SECONDS = 2
_THREADS = 64
_log = logging.getLogger("tutelage.crowd")


class Recorder:
    """Opens the folder of the settings; `start` and `close` belong to the event loop that serves.

    Raises TutelageError when the folder holds another suite, cannot be written, or is in use by another
    recorder.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store.create(settings.out, settings.suite)
        with contextlib.ExitStack() as locks:
            for folder in _folders(settings):
                locks.enter_context(lock_folder(folder))
            self.journal = Journal(settings.database or settings.out / JOURNAL)
            self._locks = locks.pop_all()
        self._assignment = SeedAssignment(settings.seeds, settings.is_baseline, self.journal)
        self._workers = WorkerPool(settings.suite, settings.processes, settings.step_seconds)
        self._hosts = HostFactory(self._workers)
        self._seats: dict[str, Seat] = {}
        self._archiver: Archiver | None = None
        self._starting: asyncio.Task[None] | None = None
        self.failure: TutelageError | None = None
        """Why the recorder stopped, if it did; `on_failure` is called then."""
        self.on_failure: Callable[[], None] = lambda: None
        self._collecting: asyncio.Task[None] | None = None
        self.cluster: ClusterMembership | None = None
        """The other servers, if several share the database."""
        self.copies: PartCopies | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start, and close at the end; an error at the start is recorded as `failure`, and closes at once."""
        try:
            await self.start()
        except (TutelageError, sql.exc.SQLAlchemyError, OSError) as error:
            why = f"expected to start serving from {self.settings.out}, got: {cause(error)}; mend that first"
            self._fail(error if isinstance(error, TutelageError) else TutelageError(why))
            await self.close()
            yield
            return
        try:
            yield
        finally:
            await asyncio.shield(self.close())

    async def start(self) -> None:
        """Start to archive kept episodes, and to report failures of saving to the pages."""
        loop = asyncio.get_running_loop()
        # seats block in these threads on the database; some must stay free to close it
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="seats"))
        await asyncio.to_thread(self._warm_up)
        if not all(runs_here(task) for task in self.settings.tasks):
            self._starting = asyncio.create_task(self._start_workers())
        self.journal.deliver_by(loop.call_soon_threadsafe)
        self.journal.on_lost(lambda error: _ignore(loop.call_soon_threadsafe(self._fail, error)))

        def note(text: str) -> None:
            loop.call_soon_threadsafe(self._note, text)

        if self.settings.parts:
            self.copies = PartCopies(self.store, self.settings.parts, _log.warning)
        store_claims = None
        if self.cluster is not None:
            await self.cluster.start()
            store_claims = self.cluster.store_claims
        replay_hosts = ReplayHosts(loop, self._workers, lambda task: self.make_host(task, pictures=False))
        self._archiver = Archiver(
            self.settings, self.journal, self.store, note, store_claims, self.copies, replay_hosts
        )
        self.journal.listeners.append(
            lambda why: _ignore(asyncio.run_coroutine_threadsafe(self._trouble(why), loop))
        )

        self._collecting = asyncio.create_task(
            run_gc_schedule(lambda: not any(seat.is_open for seat in self._seats.values()))
        )

    async def close(self) -> None:
        """Write everything that waits, and release the folder."""
        if self._collecting is not None:
            self._collecting.cancel()
        if self._seats:
            # a seat that waits for a failing journal is released when the journal closes
            closing = [asyncio.create_task(seat.close()) for seat in self._seats.values()]
            _, waiting = await asyncio.wait(closing, timeout=_PATIENCE_SECONDS)
            for task in waiting:
                task.cancel()
        loop = asyncio.get_running_loop()
        if self._archiver is not None:
            await loop.run_in_executor(None, self._archiver.close)
        if self.copies is not None:
            await loop.run_in_executor(None, self.copies.close)
        if self.cluster is not None:
            await self.cluster.close()
        await self._workers.close()
        if self._starting is not None:
            await self._starting
        self.journal.listeners.clear()
        await loop.run_in_executor(None, self.journal.close)
        self._locks.close()

    def new_token(self) -> str:
        """Make a seat, and return the secret that opens it; the journal stores only its hash."""
        token = secrets.token_urlsafe(18)
        name = self.settings.demonstrator or f"person-{secrets.token_hex(3)}"
        saved(self.journal.sit(SeatRecord(seat_id(token), name)), _PATIENCE_SECONDS)
        return token

    def knows(self, token: str) -> bool:
        """Say whether a secret opens a seat here."""
        return self.journal.seat(seat_id(token)) is not None

    def seat(self, token: str) -> Seat | None:
        """Return the seat that a secret opens, or None."""
        name = seat_id(token)
        if name not in self._seats:
            record = self.journal.seat(name)
            if record is None:
                return None
            deliver = self._archiver.put if self._archiver else None
            session = Session(record, self.settings.suite, self.journal, self.make_host, deliver=deliver)
            flow = FreeChoice(session, self.settings, self.journal, self._assignment)
            self._seats[name] = Seat(session, flow, self.journal)
        return self._seats[name]

    def make_host(self, task: Task, pictures: bool = True) -> EnvironmentHost:
        """Make an environment host of a task for a person: grid tasks in this process, others in a worker."""
        return self._hosts.make(task, pictures)

    async def _start_workers(self) -> None:
        try:
            await self._workers.start()
        except TutelageError as error:
            if not self._workers.is_closed:
                self._fail(error)

    def _fail(self, error: TutelageError) -> None:
        """Stop serving and record why."""
        self.failure = error
        self.on_failure()

    def _warm_up(self) -> None:
        """Import and compile everything that the first player would otherwise wait for."""
        for task in self.settings.tasks:
            registry_with(task.env)
            self._hosts.warm_up(task)

    def _note(self, text: str) -> None:
        for seat in self._seats.values():
            seat.note(text)

    async def _trouble(self, why: str | None) -> None:
        await asyncio.gather(*(seat.trouble(why) for seat in self._seats.values()))


def seat_id(token: str) -> str:
    """Return the journal's id of the seat of a secret."""
    return hashlib.blake2b(token.encode(), digest_size=12).hexdigest()


def _folders(settings: Settings) -> set[Path]:
    """List the folders that are this recorder's alone: its own, and that of a database file."""
    folders = {real_path(settings.out)}
    if settings.database.startswith("sqlite") and (file := sql.make_url(settings.database).database):
        folders.add(real_path(Path(file)).parent)
    return folders


def _ignore(_: object) -> None:
    """Discard a handle that is not waited for."""
