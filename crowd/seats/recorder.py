"""One recorder: the journal, the store and every seat, shared by the pages that are open."""

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
from ...datasets.replay import is_grid
from ...datasets.store import Store
from ...envs.registry import registry_with
from ...envs.task import Task
from ...errors import TutelageError
from ...files.bounded_files import real_path
from ...files.folder_lock import lock_folder
from ..cluster.membership import ClusterMembership
from ..hosting.grid_host import GridHost, SharedGridLevel
from ..hosting.host import EnvironmentHost
from ..hosting.remote_host import RemoteHost
from ..hosting.worker_pool import WorkerPool
from ..server.gc_schedule import tidy
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

    Raises TutelageError when the folder holds another suite, cannot be written, or is in use by
    another recorder.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store.create(settings.out, settings.suite)
        with contextlib.ExitStack() as held:
            for folder in _folders(settings):
                held.enter_context(lock_folder(folder))
            self.journal = Journal(settings.database or settings.out / JOURNAL)
            self._lock = held.pop_all()
        self._assignment = SeedAssignment(settings.seeds, settings.is_baseline, self.journal)
        self._grounds: dict[str, SharedGridLevel] = {}
        self._workers = WorkerPool(settings.suite, settings.processes, settings.step_seconds)
        self._seats: dict[str, Seat] = {}
        self._keeper: Archiver | None = None
        self._starting: asyncio.Task[None] | None = None
        self.failure: TutelageError | None = None
        """Why the recorder stopped, if it did; `on_failure` is called then."""
        self.on_failure: Callable[[], None] = lambda: None
        self._tidying: asyncio.Task[None] | None = None
        self.company: ClusterMembership | None = None
        """The other servers, where several share the database."""
        self.copies: PartCopies | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start, and close in the end; what prevents the start is a `failure`, and is closed at once."""
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
        """Begin to store what is kept, and to tell the pages when saving fails."""
        loop = asyncio.get_running_loop()
        # seats block in these threads for the database; some must stay free to close it
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="seats"))
        await asyncio.to_thread(self._warm_up)
        if not all(is_grid(task) for task in self.settings.tasks):
            self._starting = asyncio.create_task(self._start_workers())
        self.journal.deliver_by(loop.call_soon_threadsafe)
        self.journal.on_lost(lambda error: _ignore(loop.call_soon_threadsafe(self._fail, error)))

        def told(text: str) -> None:
            loop.call_soon_threadsafe(self._note, text)

        if self.settings.parts:
            self.copies = PartCopies(self.store, self.settings.parts, _log.warning)
        keepers = None
        if self.company is not None:
            await self.company.start()
            keepers = self.company.keepers
        ground = ReplayHosts(loop, self._workers, lambda task: self.world(task, pictures=False))
        self._keeper = Archiver(self.settings, self.journal, self.store, told, keepers, self.copies, ground)
        self.journal.listeners.append(
            lambda why: _ignore(asyncio.run_coroutine_threadsafe(self._trouble(why), loop))
        )

        self._tidying = asyncio.create_task(
            tidy(lambda: not any(seat.is_open for seat in self._seats.values()))
        )

    async def close(self) -> None:
        """Write everything that waits, and let go of the folder."""
        if self._tidying is not None:
            self._tidying.cancel()
        if self._seats:
            # a seat that waits for a journal in trouble is released when the journal closes
            closing = [asyncio.create_task(seat.close()) for seat in self._seats.values()]
            _, waiting = await asyncio.wait(closing, timeout=_PATIENCE_SECONDS)
            for task in waiting:
                task.cancel()
        loop = asyncio.get_running_loop()
        if self._keeper is not None:
            await loop.run_in_executor(None, self._keeper.close)
        if self.copies is not None:
            await loop.run_in_executor(None, self.copies.close)
        if self.company is not None:
            await self.company.close()
        await self._workers.close()
        if self._starting is not None:
            await self._starting
        self.journal.listeners.clear()
        await loop.run_in_executor(None, self.journal.close)
        self._lock.close()

    def new_token(self) -> str:
        """Make a seat, and return the secret that opens it; the journal holds only its hash."""
        token = secrets.token_urlsafe(18)
        name = self.settings.demonstrator or f"person-{secrets.token_hex(3)}"
        saved(self.journal.sit(SeatRecord(seat_id(token), name)), _PATIENCE_SECONDS)
        return token

    def knows(self, token: str) -> bool:
        """Say whether a secret opens a seat here."""
        return self.journal.seat(seat_id(token)) is not None

    def seat(self, token: str) -> Seat | None:
        """Return the seat that a secret opens, or None."""
        identity = seat_id(token)
        if identity not in self._seats:
            record = self.journal.seat(identity)
            if record is None:
                return None
            deliver = self._keeper.put if self._keeper else None
            session = Session(record, self.settings.suite, self.journal, self.world, deliver=deliver)
            guide = FreeChoice(session, self.settings, self.journal, self._assignment)
            self._seats[identity] = Seat(session, guide, self.journal)
        return self._seats[identity]

    def world(self, task: Task, pictures: bool = True) -> EnvironmentHost:
        """Make a world of a task, to be looked at by a person: our own here, others in their processes."""
        if not is_grid(task):
            return RemoteHost(task, self._workers, pictures)
        return GridHost(self._grounds[task.id])

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
        """Import and compile what the first player need not wait for, and everybody else with them."""
        for task in self.settings.tasks:
            registry_with(task.env)
            if is_grid(task):
                self._grounds[task.id] = SharedGridLevel(task)
                GridHost(self._grounds[task.id]).warm_up()

    def _note(self, text: str) -> None:
        for seat in self._seats.values():
            seat.note(text)

    async def _trouble(self, why: str | None) -> None:
        await asyncio.gather(*(seat.trouble(why) for seat in self._seats.values()))


def seat_id(token: str) -> str:
    """Return what the journal calls the seat of a secret."""
    return hashlib.blake2b(token.encode(), digest_size=12).hexdigest()


def _folders(settings: Settings) -> set[Path]:
    """List the folders that are this recorder's alone: its own, and that of a database which is a file."""
    folders = {real_path(settings.out)}
    if settings.database.startswith("sqlite") and (file := sql.make_url(settings.database).database):
        folders.add(real_path(Path(file)).parent)
    return folders


def _ignore(_: object) -> None:
    """Take a handle that nobody waits for."""
