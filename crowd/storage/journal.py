"""The journal: every step on disk while it happens, with one database and one writer thread."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from ...errors import TutelageError
from . import journal_tables as tables
from .commit_writer import Acknowledge, CommitWriter, StepRow, Write
from .database import (
    address,
    cause,
    check_structure,
    is_sqlite,
    make_tables,
    open_database,
    read_with_retries,
)
from .journal_records import STATES, EpisodeRecord, SeatRecord, SoundSteps, StepRecord
from .row_checksums import DamagedRow, damaged_rows, is_sound, seal_rows
from .write_fence import WriteFence

_PATIENCE_SECONDS = 30.0
"""Limit of `saved`: a thread that waits for the disk is not available to other requests."""
_CHECK_SECONDS = 10.0
_MOST_LINES = 20
_log = logging.getLogger("tutelage.journal")


class Journal:
    """The database of everything that people do while they play.

    Takes a path (SQLite, write-ahead log, every commit synced) or an SQLAlchemy URL. Writes are queued in
    order and return a future that is resolved once they are on disk; all queued writes share one commit. When
    the database fails (a full disk, for example), writes wait and are retried: `trouble` then says why, and
    every listener is called with it, and with None when writing works again. On PostgreSQL, and where several
    servers share the database, a `fence` ensures that nothing is written twice.
    """

    def __init__(self, path_or_url: str | Path, shared: bool = False) -> None:
        self.engine = open_database(path_or_url)
        self._closing = threading.Event()
        try:
            make_tables(self.engine, tables.TABLES)
            check_structure(self.engine)
            self.damaged = self._check_rows()
            self.fence = WriteFence(self.engine) if shared or not is_sqlite(self.engine) else None
        except sql.exc.SQLAlchemyError as error:
            raise TutelageError(
                f"expected a journal at {address(self.engine)}, got: {cause(error)}; "
                "check that the folder can be written and that the file is a journal"
            ) from None
        self._writer = CommitWriter(self.engine, tables.insert_steps(self.engine), self.fence)

    @property
    def trouble(self) -> str | None:
        """Why the database cannot be written now; None if it can."""
        return self._writer.trouble

    @property
    def unsaved(self) -> int:
        """How many writes could not be saved before the close; none of them was acknowledged."""
        return self._writer.unsaved

    def on_lost(self, stop: Callable[[TutelageError], None]) -> None:
        """Have `stop` called, in the writer's thread, when the database's file can never be written again."""
        self._writer.on_lost = stop

    @property
    def listeners(self) -> list[Callable[[str | None], None]]:
        """Callbacks for changes of `trouble`, called in the writer's thread."""
        return self._writer.listeners

    def deliver_by(self, deliver: Callable[..., object]) -> None:
        """Have steps acknowledged by `deliver(function, *arguments)`, once per commit.

        For example an event loop's `call_soon_threadsafe`. The default calls in the writer's thread.
        """
        self._writer.deliver = deliver

    def sit(self, seat: SeatRecord) -> Future[None]:
        """Write a seat, new or changed."""
        self._put(tables.seats.delete().where(tables.seats.c.seat == seat.seat), {}, seat.seat)
        return self._put(tables.seats.insert(), asdict(seat), seat.seat)

    def begin(self, episode: EpisodeRecord) -> Future[None]:
        """Write an episode after its reset."""
        return self._put(
            tables.episodes.insert(), {**asdict(episode), "changed_ns": time.time_ns()}, episode.seat
        )

    def append(self, episode: str, step: StepRecord) -> Future[None]:
        """Write one step of an episode; the future is resolved when it is on disk."""
        future: Future[None] = Future()
        self.add(episode, step, _resolve_future(future))
        return future

    def add(self, episode: str, step: StepRecord, acknowledge: Acknowledge) -> None:
        """Write one step of an episode; `acknowledge` is called once per commit, or with an error.

        It receives the last step on disk. `mark(episode, "open")` accepts steps again after one was refused.
        """
        self._writer.put(StepRow(episode, step.step, _step_row(episode, step), acknowledge))

    def mark(self, episode: str, state: str, notes: str | None = None) -> Future[None]:
        """Change an episode's state, and its notes if given."""
        if state not in STATES:
            raise TutelageError(f"expected a state of {', '.join(STATES)}, got {state!r}")
        values = {"state": state, "changed_ns": time.time_ns()} | ({} if notes is None else {"notes": notes})
        change = tables.episodes.update().where(tables.episodes.c.episode == episode).values(**values)
        return self._put(change, {}, episode, welcome=episode if state == "open" else "")

    def drop(self, episode: str, first: int) -> Future[None]:
        """Mark the steps from number `first` on as dropped: they stay in the table."""
        torn = (tables.steps.c.episode == episode) & (tables.steps.c.step >= first) & tables.alive
        # the dropped flag is part of the checksum: a dropped step has the complement
        change = tables.steps.update().where(torn).values(dropped=True, checksum=-1 - tables.steps.c.checksum)
        return self._put(change, {}, episode)

    def flushed(self) -> Future[None]:
        """Return a future that is resolved when everything queued so far is on disk."""
        return self._put(None, {}, "")

    def flush(self) -> None:
        """Wait until everything queued so far is on disk; see `saved`."""
        saved(self.flushed())

    def seat(self, seat: str) -> SeatRecord | None:
        """Read a seat; None if it does not exist."""
        rows = self._sound_rows(
            tables.seats, self._read(sql.select(tables.seats).where(tables.seats.c.seat == seat))
        )
        names = [column.name for column in fields(SeatRecord)]
        return SeatRecord(**{name: rows[0][name] for name in names}) if rows else None

    def episodes(self, **columns: Any) -> list[EpisodeRecord]:
        """List episodes whose columns equal the given values, the last changed one last."""
        query = sql.select(tables.episodes).order_by(tables.episodes.c.changed_ns)
        for name, value in columns.items():
            query = query.where(tables.episodes.c[name] == value)
        names = [column.name for column in fields(EpisodeRecord)]
        rows = self._sound_rows(tables.episodes, self._read(query))
        return [EpisodeRecord(**{name: row[name] for name in names}) for row in rows]

    def steps(self, episode: str, after: int = 0) -> list[StepRecord]:
        """Read an episode's sound steps after a number, see `sound_steps`; damage is logged."""
        return self.sound_steps(episode, after).steps

    def sound_steps(self, episode: str, after: int = 0) -> SoundSteps:
        """Read an episode's steps after a number in order, without dropped ones.

        Steps after a damaged or missing one are unusable, and are not read.
        """
        conditions = (tables.steps.c.episode == episode, tables.steps.c.step > after, tables.alive)
        query = sql.select(tables.steps).where(*conditions).order_by(tables.steps.c.step)
        steps: list[StepRecord] = []
        for number, row in enumerate(self._read(query), after + 1):
            if row["step"] != number or not tables.is_sound_step(tables.steps, row):
                damage = f"step {number} of episode {episode} is damaged or missing"
                _log.warning("%s; the %d before it are used", damage, number - 1)
                return SoundSteps(steps, damage)
            values = {name: row[name] for name in StepRecord._fields}
            steps.append(StepRecord(**values | {"reward": _reward(row["reward"])}))
        return SoundSteps(steps, "")

    def close(self) -> None:
        """Commit the queue, then stop; writes that cannot be committed fail with an error."""
        self._closing.set()
        self._writer.close()
        if self.fence is not None:
            with contextlib.suppress(sql.exc.DBAPIError):
                self.fence.withdraw(self.engine)
        self.engine.dispose()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_rows(self) -> list[DamagedRow]:
        """Seal rows of an older version, and search for damaged rows."""
        with self.engine.begin() as connection:
            for table in (tables.seats, tables.episodes):
                seal_rows(connection, table)
            seal_rows(connection, tables.steps, tables.step_checksum)
        damaged = [
            *damaged_rows(self.engine, (tables.seats, tables.episodes), _CHECK_SECONDS),
            *damaged_rows(self.engine, (tables.steps,), _CHECK_SECONDS, tables.is_sound_step),
        ]
        for row in damaged[:_MOST_LINES]:
            _log.warning("the journal's row %s is damaged and is not used", row)
        return damaged

    def _sound_rows(self, table: sql.Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        sound = [row for row in rows if is_sound(table, row)]
        for row in rows:
            if row not in sound:
                [key] = table.primary_key.columns
                _log.warning("the journal's row %s %s is damaged and is not used", table.name, row[key.name])
        return sound

    def _read(self, query: sql.Select[Any]) -> list[dict[str, Any]]:
        return read_with_retries(self.engine, query, self._closing)

    def _put(
        self, statement: sql.Executable | None, values: dict[str, Any], about: str, welcome: str = ""
    ) -> Future[None]:
        future: Future[None] = Future()
        self._writer.put(Write(statement, values, future, about, welcome))
        return future


def saved(future: Future[None], seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait in a thread until something is on disk; raises sqlalchemy's TimeoutError after a limit.

    It is written all the same, as soon as possible: a later query finds it.
    """
    try:
        future.result(seconds)
    except TimeoutError:
        raise sql.exc.TimeoutError("it is not saved yet") from None


def _step_row(episode: str, step: StepRecord) -> tuple[Any, ...]:
    number, action, *values = step
    text = tables.action_text(action)
    checksum = tables.checksum_of_step(episode, number, text, *step[2:])
    return (episode, number, text, *values, False, checksum)


def _reward(reward: float | None) -> float:
    return float("nan") if reward is None else reward


def _resolve_future(future: Future[None]) -> Acknowledge:
    future.set_running_or_notify_cancel()  # a queued write cannot be canceled

    def hear(_: int, error: Exception | None) -> None:
        future.set_result(None) if error is None else future.set_exception(error)

    return hear
