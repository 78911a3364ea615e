"""Every step on disk while it happens: one database, one writer thread, many steps to a commit."""

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
from .commit_writer import CommitWriter, Hear, StepRow, Write
from .database import address, cause, check_structure, is_sqlite, make_tables, open_database, patiently
from .journal_records import STATES, EpisodeRecord, SeatRecord, SoundSteps, StepRecord
from .row_checksums import DamagedRow, damaged_rows, is_sound, seal_rows
from .write_fence import WriteFence

_PATIENCE_SECONDS = 30.0
"""Limit of `saved`: a thread that waits for the disk is not available to other requests."""
_CHECK_SECONDS = 10.0
_MOST_LINES = 20
_log = logging.getLogger("tutelage.journal")


class Journal:
    """The database of everything that is done while people play.

    Takes a path (SQLite, write-ahead log, every commit synced) or an SQLAlchemy URL. Writes are queued in
    order and return a future that is resolved once they are on disk; all that wait share one commit.
    When the database fails (a full disk, say), the writes wait and are tried again: `trouble` then tells
    why, and every listener is called with it, and with None when writing works again. On PostgreSQL, and
    where several servers share the database, a `fence` sees to it that nothing is written twice.
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
        """Why the database cannot be written now; None when it can."""
        return self._writer.trouble

    @property
    def unsaved(self) -> int:
        """How many writes could not be saved before it closed; none of them was acknowledged."""
        return self._writer.unsaved

    def on_lost(self, stop: Callable[[TutelageError], None]) -> None:
        """Have `stop` called, in the writer's thread, when the database's file can never be written again."""
        self._writer.on_lost = stop

    @property
    def listeners(self) -> list[Callable[[str | None], None]]:
        """Who is called, in the writer's thread, whenever `trouble` changes."""
        return self._writer.listeners

    def deliver_by(self, deliver: Callable[..., object]) -> None:
        """Have steps acknowledged by `deliver(function, *arguments)`, once a commit: an event loop's
        `call_soon_threadsafe`, say. Without one, the writer's thread calls."""
        self._writer.deliver = deliver

    def sit(self, seat: SeatRecord) -> Future[None]:
        """Write a seat down, new or changed."""
        self._put(tables.seats.delete().where(tables.seats.c.seat == seat.seat), {}, seat.seat)
        return self._put(tables.seats.insert(), asdict(seat), seat.seat)

    def begin(self, episode: EpisodeRecord) -> Future[None]:
        """Write down that an episode has been reset."""
        return self._put(
            tables.episodes.insert(), {**asdict(episode), "changed_ns": time.time_ns()}, episode.seat
        )

    def append(self, episode: str, step: StepRecord) -> Future[None]:
        """Write one step of an episode; the future is resolved when it is on disk."""
        future: Future[None] = Future()
        self.add(episode, step, _resolving(future))
        return future

    def add(self, episode: str, step: StepRecord, hear: Hear) -> None:
        """Write one step of an episode; `hear` is told the last step on disk, once for many, or what went
        wrong. `mark(episode, "open")` takes steps again after one was refused."""
        self._writer.put(StepRow(episode, step.step, _row_of(episode, step), hear))

    def mark(self, episode: str, state: str, notes: str | None = None) -> Future[None]:
        """Change an episode's state, and its notes if some are given."""
        if state not in STATES:
            raise TutelageError(f"expected a state of {', '.join(STATES)}, got {state!r}")
        values = {"state": state, "changed_ns": time.time_ns()} | ({} if notes is None else {"notes": notes})
        change = tables.episodes.update().where(tables.episodes.c.episode == episode).values(**values)
        return self._put(change, {}, episode, welcome=episode if state == "open" else "")

    def drop(self, episode: str, first: int) -> Future[None]:
        """Set aside the steps from number `first` on: they stay in the table, marked as dropped."""
        torn = (tables.steps.c.episode == episode) & (tables.steps.c.step >= first) & tables.alive
        # whether a step is dropped is in its checksum too: the complement is that of a dropped one
        change = tables.steps.update().where(torn).values(dropped=True, checksum=-1 - tables.steps.c.checksum)
        return self._put(change, {}, episode)

    def flushed(self) -> Future[None]:
        """Return a future that is resolved when everything put down so far is on disk."""
        return self._put(None, {}, "")

    def flush(self) -> None:
        """Wait until everything put down so far is on disk; see `saved`."""
        saved(self.flushed())

    def seat(self, seat: str) -> SeatRecord | None:
        """Look a seat up."""
        rows = self._sound(
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
        rows = self._sound(tables.episodes, self._read(query))
        return [EpisodeRecord(**{name: row[name] for name in names}) for row in rows]

    def steps(self, episode: str, after: int = 0) -> list[StepRecord]:
        """Read an episode's sound steps after a number, see `sound_steps`; what is damaged is logged."""
        return self.sound_steps(episode, after).steps

    def sound_steps(self, episode: str, after: int = 0) -> SoundSteps:
        """Read an episode's steps after a number in order, without those that were dropped.

        What comes after a step that is damaged or missing is of no use, and is not read.
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
        """Write what is waiting, then stop; what cannot be written is told to those who wait for it."""
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
        """Seal what an older version wrote, and look for rows that are not as they were written."""
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

    def _sound(self, table: sql.Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        sound = [row for row in rows if is_sound(table, row)]
        for row in rows:
            if row not in sound:
                [key] = table.primary_key.columns
                _log.warning("the journal's row %s %s is damaged and is not used", table.name, row[key.name])
        return sound

    def _read(self, query: sql.Select[Any]) -> list[dict[str, Any]]:
        return patiently(self.engine, query, self._closing)

    def _put(
        self, statement: sql.Executable | None, values: dict[str, Any], about: str, welcome: str = ""
    ) -> Future[None]:
        future: Future[None] = Future()
        self._writer.put(Write(statement, values, future, about, welcome))
        return future


def saved(future: Future[None], seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait in a thread until something is on disk; raises sqlalchemy's TimeoutError after so many seconds.

    It is written all the same, as soon as that can be done: a caller that asks again finds it.
    """
    try:
        future.result(seconds)
    except TimeoutError:
        raise sql.exc.TimeoutError("it is not saved yet") from None


def _row_of(episode: str, step: StepRecord) -> tuple[Any, ...]:
    number, action, *others = step
    text = tables.action_text(action)
    checksum = tables.checksum_of_step(episode, number, text, *step[2:])
    return (episode, number, text, *others, False, checksum)


def _reward(reward: float | None) -> float:
    return float("nan") if reward is None else reward


def _resolving(future: Future[None]) -> Hear:
    future.set_running_or_notify_cancel()  # what is on its way to the disk cannot be called off

    def hear(_: int, error: Exception | None) -> None:
        future.set_result(None) if error is None else future.set_exception(error)

    return hear
