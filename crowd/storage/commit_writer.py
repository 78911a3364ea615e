"""One writer thread for one database: what waits shares a commit, and is told when it is on disk."""

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
from .database import cause, file_fault, hold_file, write_turn
from .database_file import FileLost
from .write_fence import WriteFence

Hear: TypeAlias = Callable[[int, Exception | None], None]
"""Is told the number of the last step on disk, or of one that was refused, and why."""

MOVED = "expected this seat to be here, got a write after it moved to another server; it goes on there"

_RETRY_SECONDS = 0.5
_LOOK_SECONDS = 1.0
"""Interval between checks that the database's file exists, while no write is queued."""
_CROWD, _LINGER_SECONDS = 32, 0.01
"""After a commit of so many writes, the next waits a little for company: a commit costs the same for all."""
_REFUSED = (sql.exc.IntegrityError, sql.exc.DataError, sql.exc.ProgrammingError)
_AWAY = (sql.exc.DBAPIError, sql.exc.TimeoutError)  # the latter when readers have all the connections
_log = logging.getLogger("tutelage.journal")


class Write(NamedTuple):
    """Any statement (or none, to hear when all before it is on disk), and the seat or episode it is about.

    `welcome` names an episode whose steps are taken again, after one of them was refused.
    """

    statement: sql.Executable | None
    values: dict[str, Any]
    future: Future[None]
    about: str = ""
    welcome: str = ""


class StepRow(NamedTuple):
    """One step of an episode: the values of its row, and who hears of it."""

    episode: str
    step: int
    values: tuple[Any, ...]
    hear: Hear


class CommitWriter:
    """Commits what is put down, in order, and tells who waits.

    Rows of one table, `insert` with as many marks as they have values, go by the hundred. Once a row of an
    episode is refused (another server has written that step), later ones are refused too: a record with a
    hole, or of two minds, is worth nothing. When the database fails, all wait: `trouble` then tells why, and
    every listener hears of it, and of the end of it. Nothing is acknowledged before it is certain that it
    stands in the file at the database's path: one that was removed is written anew (see `database_file`);
    where that can never be, `on_lost` is told why, and all that comes is refused. `deliver` calls a function
    where its result is wanted: the event loop, once a commit. Where several servers share the database, a
    `fence` sees to it that nothing is written twice, and nothing about a seat that has moved to another.
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
        self._queue: queue.SimpleQueue[Write | StepRow | None] = queue.SimpleQueue()
        self._refused: set[str] = set()
        self._closing = threading.Event()
        self._closed = False
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def put(self, one: Write | StepRow) -> None:
        """Put something down to be written; nobody can take that back, even if they no longer wait for it."""
        if isinstance(one, Write):
            one.future.set_running_or_notify_cancel()
        with self._door:  # nothing may come after the end, where nobody would ever look
            if not self._closed:
                return self._queue.put(one)
        return self._fail([one], TutelageError("expected an open journal, got a closed one"))

    def close(self) -> None:
        """Write what is waiting, then stop; what cannot be written is told to those who wait for it."""
        self._closing.set()
        with self._door:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        """Take all that waits, commit it together, tell those who wait; until closed."""
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
        """Wait for writes, `last` of which came at once before; nothing comes when it is time to look."""
        try:
            batch = [self._queue.get(timeout=_LOOK_SECONDS)]
        except queue.Empty:
            return []
        if last >= _CROWD and not self._closing.is_set():
            time.sleep(_LINGER_SECONDS)
        while not self._queue.empty():
            batch.append(self._queue.get())
        return batch

    def _commit_all(self, batch: list[Write | StepRow]) -> None:
        while batch := list(self._admitted(batch)):
            try:
                if self.trouble is not None:  # else the commit itself looks
                    self._hold_file()
                self._commit(batch)
            except FileLost as error:
                return self._lose(batch, error)
            except Exception as error:  # whoever waits must hear of it, whatever it is
                if not isinstance(error, _AWAY) or isinstance(error, _REFUSED):
                    return self._commit_singly(batch, error)
                if not self._wait_out(error):
                    return self._give_up(batch, error)
            else:
                return self._finish(batch)
        return None

    def _finish(self, batch: list[Write | StepRow]) -> None:
        """Acknowledge what was committed, once the file it went into is known to be there."""
        while True:
            try:
                self._hold_file()
            except FileLost as error:
                return self._lose(batch, error)
            except sql.exc.DBAPIError as error:
                if not self._wait_out(error):
                    return self._give_up(batch, error)
            else:
                self._tell(None)
                return self._acknowledge(batch)

    def _hold_file(self) -> None:
        if fault := file_fault(self._engine):
            self._tell(fault)
            hold_file(self._engine)

    def _look_after_file(self) -> None:
        """Check between writes that the file still exists; a failed check is repeated at the next one."""
        if self._lost is not None:
            return
        try:
            self._hold_file()
        except FileLost as error:
            self._lose([], error)
        except sql.exc.DBAPIError as error:
            self._tell(cause(error))
        else:
            self._tell(None)

    def _lose(self, batch: list[Write | StepRow], error: FileLost) -> None:
        """The file can never be written again: say so once, and refuse whatever comes."""
        self._tell(str(error))
        if self._lost is None:
            self._lost = error
            _call(self.on_lost, error)
        self.unsaved += sum(_is_change(write) for write in batch)
        self._fail(batch, error)

    def _give_up(self, batch: list[Write | StepRow], error: Exception) -> None:
        self.unsaved += sum(_is_change(write) for write in batch)
        self._fail(batch, TutelageError(f"the journal could not be written: {cause(error)}"))

    def _admitted(self, batch: list[Write | StepRow]) -> Iterator[Write | StepRow]:
        for one in batch:
            if isinstance(one, Write):
                self._refused.discard(one.welcome)
            elif one.episode in self._refused:
                why = f"expected to write episode {one.episode} alone, got a step that was written elsewhere"
                self._fail([one], TutelageError(why))
                continue
            yield one

    def _commit_singly(self, batch: list[Write | StepRow], error: Exception) -> None:
        """One write is wrong; the others must not suffer for it."""
        if len(batch) > 1:
            for one in batch:
                self._commit_all([one])
            return
        if isinstance(batch[0], StepRow):
            self._refused.add(batch[0].episode)
        self._fail(batch, error)

    def _commit(self, batch: list[Write | StepRow]) -> None:
        with write_turn(self._engine), self._engine.begin() as connection:
            if self._fence is not None:
                if not self._fence.enter(connection):
                    return
                batch = [one for one in batch if not self._is_lost(one)]
            for kind, some in groupby(batch, key=type):
                if kind is StepRow:
                    connection.exec_driver_sql(self._insert, [one.values for one in some])  # type: ignore[misc]
                else:
                    _execute(connection, some)

    def _is_lost(self, one: Write | StepRow) -> bool:
        about = one.episode if isinstance(one, StepRow) else one.about
        return self._fence is not None and about in self._fence.lost

    def _acknowledge(self, batch: list[Write | StepRow]) -> None:
        if self._fence is not None:
            self._fence.left()
            if lost := [one for one in batch if self._is_lost(one)]:
                self._fail(lost, TutelageError(MOVED))
                batch = [one for one in batch if not self._is_lost(one)]
        last: dict[Hear, int] = {}
        for one in batch:
            if isinstance(one, StepRow):
                last[one.hear] = one.step
        if last:
            self._deliver(_hear_all, [(hear, step, None) for hear, step in last.items()])
        for one in batch:
            if isinstance(one, Write):
                one.future.set_result(None)

    def _fail(self, batch: list[Write | StepRow], error: Exception) -> None:
        for one in batch:
            if isinstance(one, StepRow):
                self._deliver(_hear_all, [(one.hear, one.step, error)])
            else:
                one.future.set_exception(error)

    def _deliver(self, function: Callable[..., None], *arguments: Any) -> None:
        _call(self.deliver, function, *arguments)

    def _wait_out(self, error: Exception) -> bool:
        """Pause before another try; False when the journal is being closed and nobody can wait."""
        self._tell(cause(error))
        return not self._closing.wait(_RETRY_SECONDS)

    def _tell(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            for listener in self.listeners:
                _call(listener, trouble)


def _is_change(write: Write | StepRow) -> bool:
    return isinstance(write, StepRow) or write.statement is not None


def _execute(connection: sql.Connection, writes: Iterable[Any]) -> None:
    for one in writes:
        if one.statement is not None:
            connection.execute(one.statement, one.values)


def _call(function: Callable[..., object], *arguments: Any) -> None:
    """Call somebody who must not stop the writer."""
    try:
        function(*arguments)
    except RuntimeError:
        pass  # an event loop that has closed waits for nothing
    except Exception:
        _log.exception("what was written could not be told")


def _hear_all(heard: list[tuple[Hear, int, Exception | None]]) -> None:
    for hear, step, error in heard:
        hear(step, error)
