"""The writer thread of a database: queued writes share a commit, and are acknowledged once on disk."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sql

from ...errors import TutelageError
from .database import cause, file_fault, hold_file, rewritten_files, write_turn
from .database_file import FileLost
from .write_fence import WriteFence

Acknowledge: TypeAlias = Callable[[int, Exception | None], None]
"""Called with the number of the last step on disk, or of a refused step and the error."""

MOVED = "expected this seat to be here, got a write after it moved to another server; it goes on there"

_RETRY_SECONDS = 0.5
_CHECK_SECONDS = 1.0
"""Interval between checks that the database's file exists, while no write is queued."""
_LARGE_BATCH, _LINGER_SECONDS = 32, 0.01
"""After a batch of this size, the next commit waits a little for more writes: all cost the same."""
_REFUSED = (sql.exc.IntegrityError, sql.exc.DataError, sql.exc.ProgrammingError)
_AWAY = (sql.exc.DBAPIError, sql.exc.TimeoutError)  # TimeoutError: readers have all the connections
_log = logging.getLogger("tutelage.journal")


class Write(NamedTuple):
    """A statement (or none, to learn when all before it is on disk), and the seat or episode it is about.

    `welcome` names an episode whose steps are accepted again, after one of them was refused.
    """

    statement: sql.Executable | None
    values: dict[str, Any]
    future: Future[None]
    about: str = ""
    welcome: str = ""


class StepRow(NamedTuple):
    """One step of an episode: the values of its row, and the callback for its acknowledgment."""

    episode: str
    step: int
    values: tuple[Any, ...]
    hear: Acknowledge


class CommitWriter:
    """Commits queued writes in order, and acknowledges them.

    Rows of one table, `insert` with a placeholder per value, are inserted by the hundred. Once a row of an
    episode is refused (another server has written that step), later ones are refused too: an episode with
    missing or conflicting steps is unusable. When the database fails, all writes wait: `trouble` then says
    why, and every listener is called with it, and with None at its end. A write is acknowledged only once it
    is certain to be in the file at the database's path: a removed file is written anew (see `database_file`);
    if that can never be done, `on_lost` is called with the reason, and all further writes are refused.
    `deliver` calls a function where its result is needed: in the event loop, once per commit. Where several
    servers share the database, a `fence` ensures that nothing is written twice, and nothing about a seat that
    has moved to another server.
    """

    def __init__(self, engine: sql.Engine, insert: str, fence: WriteFence | None = None) -> None:
        self.trouble: str | None = None
        self.unsaved = 0
        """How many writes were given up at close; none of them was acknowledged."""
        self.on_lost: Callable[[TutelageError], None] = lambda _: None
        self._lost: FileLost | None = None
        self.listeners: list[Callable[[str | None], None]] = []
        self.deliver: Callable[..., object] = lambda function, *arguments: function(*arguments)
        self._engine = engine
        self._insert = insert
        self._fence = fence
        self._rewritten = len(rewritten_files(engine))
        self._queue: queue.SimpleQueue[Write | StepRow | None] = queue.SimpleQueue()
        self._refused: set[str] = set()
        self._closing = threading.Event()
        self._closed = False
        self._queue_lock = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def put(self, write: Write | StepRow) -> None:
        """Queue a write; it cannot be withdrawn, even if its caller no longer waits."""
        if isinstance(write, Write):
            write.future.set_running_or_notify_cancel()
        with self._queue_lock:  # no write may follow the end marker, where it would never be read
            if not self._closed:
                return self._queue.put(write)
        return self._fail([write], TutelageError("expected an open journal, got a closed one"))

    def close(self) -> None:
        """Commit the queue, then stop; writes that cannot be committed fail with an error."""
        self._closing.set()
        with self._queue_lock:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        """Commit queued writes in batches and acknowledge them, until closed."""
        last = 0
        while True:
            batch = self._take(last)
            last = len(batch)
            writes = [write for write in batch if write is not None]
            self._commit_all(writes)
            if not writes or None in batch:
                self._look_after_file()
            if None in batch:
                return

    def _take(self, last: int) -> list[Write | StepRow | None]:
        """Wait for a batch of writes, after one of `last` writes; empty when the file is due for a check."""
        try:
            batch = [self._queue.get(timeout=_CHECK_SECONDS)]
        except queue.Empty:
            return []
        if last >= _LARGE_BATCH and not self._closing.is_set():
            time.sleep(_LINGER_SECONDS)
        while not self._queue.empty():
            batch.append(self._queue.get())
        return batch

    def _commit_all(self, batch: list[Write | StepRow]) -> None:
        while batch := list(self._drop_refused(batch)):
            try:
                if self.trouble is not None:  # otherwise the commit itself checks
                    self._hold_file()
                self._commit(batch)
            except FileLost as error:
                return self._lose(batch, error)
            except Exception as error:  # every waiting caller must be told
                if not isinstance(error, _AWAY) or isinstance(error, _REFUSED):
                    return self._commit_singly(batch, error)
                if not self._wait_out(error):
                    return self._give_up(batch, error)
            else:
                return self._finish(batch)
        return None

    def _finish(self, batch: list[Write | StepRow]) -> None:
        """Acknowledge a committed batch, once its file is known to be in place."""
        while True:
            try:
                self._hold_file()
            except FileLost as error:
                return self._lose(batch, error)
            except sql.exc.DBAPIError as error:
                if not self._wait_out(error):
                    return self._give_up(batch, error)
            else:
                self._report_trouble(None)
                return self._acknowledge(batch)

    def _hold_file(self) -> None:
        if fault := file_fault(self._engine):
            self._report_trouble(fault)
            hold_file(self._engine)
        for reason in rewritten_files(self._engine)[self._rewritten :]:
            self._rewritten += 1
            self._report_trouble(reason)  # another thread may have met the fault first

    def _look_after_file(self) -> None:
        """Check between writes that the file still exists; a failed check is repeated at the next one."""
        if self._lost is not None:
            return
        try:
            self._hold_file()
        except FileLost as error:
            self._lose([], error)
        except sql.exc.DBAPIError as error:
            self._report_trouble(cause(error))
        else:
            self._report_trouble(None)

    def _lose(self, batch: list[Write | StepRow], error: FileLost) -> None:
        """The file can never be written again: report it once, and refuse all further writes."""
        self._report_trouble(str(error))
        if self._lost is None:
            self._lost = error
            _call(self.on_lost, error)
        self.unsaved += sum(_is_change(write) for write in batch)
        self._fail(batch, error)

    def _give_up(self, batch: list[Write | StepRow], error: Exception) -> None:
        self.unsaved += sum(_is_change(write) for write in batch)
        self._fail(batch, TutelageError(f"the journal could not be written: {cause(error)}"))

    def _drop_refused(self, batch: list[Write | StepRow]) -> Iterator[Write | StepRow]:
        for write in batch:
            if isinstance(write, Write):
                self._refused.discard(write.welcome)
            elif write.episode in self._refused:
                why = (
                    f"expected to write episode {write.episode} alone, got a step that was written elsewhere"
                )
                self._fail([write], TutelageError(why))
                continue
            yield write

    def _commit_singly(self, batch: list[Write | StepRow], error: Exception) -> None:
        """Commit writes one by one: an invalid one must not fail the others."""
        if len(batch) > 1:
            for write in batch:
                self._commit_all([write])
            return
        if isinstance(batch[0], StepRow):
            self._refused.add(batch[0].episode)
        self._fail(batch, error)

    def _commit(self, batch: list[Write | StepRow]) -> None:
        with write_turn(self._engine), self._engine.begin() as connection:
            if self._fence is not None:
                if not self._fence.enter(connection):
                    return
                batch = [write for write in batch if not self._is_lost(write)]
            for kind, writes in groupby(batch, key=type):
                if kind is StepRow:
                    connection.exec_driver_sql(self._insert, [write.values for write in writes])  # type: ignore[misc]
                else:
                    _execute(connection, writes)

    def _is_lost(self, write: Write | StepRow) -> bool:
        about = write.episode if isinstance(write, StepRow) else write.about
        return self._fence is not None and about in self._fence.lost

    def _acknowledge(self, batch: list[Write | StepRow]) -> None:
        if self._fence is not None:
            self._fence.left()
            if lost := [write for write in batch if self._is_lost(write)]:
                self._fail(lost, TutelageError(MOVED))
                batch = [write for write in batch if not self._is_lost(write)]
        last: dict[Acknowledge, int] = {}
        for write in batch:
            if isinstance(write, StepRow):
                last[write.hear] = write.step
        if last:
            self._deliver(_acknowledge_steps, [(callback, step, None) for callback, step in last.items()])
        for write in batch:
            if isinstance(write, Write):
                write.future.set_result(None)

    def _fail(self, batch: list[Write | StepRow], error: Exception) -> None:
        for write in batch:
            if isinstance(write, StepRow):
                self._deliver(_acknowledge_steps, [(write.hear, write.step, error)])
            else:
                write.future.set_exception(error)

    def _deliver(self, function: Callable[..., None], *arguments: Any) -> None:
        _call(self.deliver, function, *arguments)

    def _wait_out(self, error: Exception) -> bool:
        """Pause before a retry; False when the journal is being closed."""
        self._report_trouble(cause(error))
        return not self._closing.wait(_RETRY_SECONDS)

    def _report_trouble(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            for listener in self.listeners:
                _call(listener, trouble)


def _is_change(write: Write | StepRow) -> bool:
    return isinstance(write, StepRow) or write.statement is not None


def _execute(connection: sql.Connection, writes: Iterable[Any]) -> None:
    for write in writes:
        if write.statement is not None:
            connection.execute(write.statement, write.values)


def _call(function: Callable[..., object], *arguments: Any) -> None:
    """Call a callback, whose errors must not stop the writer."""
    try:
        function(*arguments)
    except RuntimeError:
        pass  # an event loop that has closed
    except Exception:
        _log.exception("what was written could not be told")


def _acknowledge_steps(acknowledgments: list[tuple[Acknowledge, int, Exception | None]]) -> None:
    for callback, step, error in acknowledgments:
        callback(step, error)
