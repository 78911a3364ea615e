"""Every step on disk while it happens: one database, one writer thread, many steps to a commit."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sql

from ..envs.errors import TutelageError
from .database import address, cause, is_sqlite, make_tables, open_database, patiently
from .fence import Fence
from .group_commit import GroupCommit, Hear, Row, Write
from .trajectory import new_episode_id

GIVEN_UP = "given up"
STATES = ("open", "finished", "kept", "stored", "discarded", "abandoned", "unplayed")
"""An episode is open while it is played, finished until it is decided about, kept, then stored.
`abandoned` was given up for good; `unplayed` was left before its first action, so its seed is free again."""

_PATIENCE_SECONDS = 30.0
"""A thread that waits for the disk is one that nobody else has."""

TABLES = sql.MetaData()
_seats = sql.Table(
    "seats",
    TABLES,
    sql.Column("seat", sql.String, primary_key=True),
    sql.Column("demonstrator", sql.String, nullable=False),
    sql.Column("task", sql.String, nullable=False),  # what is being played there; "" for nothing
)
_episodes = sql.Table(
    "episodes",
    TABLES,
    sql.Column("episode", sql.String, primary_key=True),
    sql.Column("seat", sql.String, nullable=False, index=True),
    sql.Column("demonstrator", sql.String, nullable=False),
    sql.Column("kind", sql.String, nullable=False),
    sql.Column("suite", sql.String, nullable=False),
    sql.Column("task", sql.String, nullable=False, index=True),
    sql.Column("env", sql.String, nullable=False),
    sql.Column("kwargs", sql.JSON, nullable=False),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("attempt", sql.Integer, nullable=False),
    sql.Column("started", sql.String, nullable=False),
    sql.Column("digest", sql.LargeBinary, nullable=False),  # after the reset
    sql.Column("state", sql.String, nullable=False, index=True),
    sql.Column("changed_ns", sql.BigInteger, nullable=False),
    sql.Column("notes", sql.String, nullable=False),
    sql.Column("study", sql.String, nullable=False, server_default=""),
    sql.Column("consent", sql.String, nullable=False, server_default=""),
    sql.Column("role", sql.String, nullable=False, server_default=""),
)
_steps = sql.Table(
    "steps",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("episode", sql.String, nullable=False),
    sql.Column("step", sql.Integer, nullable=False),
    sql.Column("action", sql.JSON, nullable=False),
    sql.Column("reward", sql.Double),  # NaN has no other place than NULL
    sql.Column("terminated", sql.Boolean, nullable=False),
    sql.Column("truncated", sql.Boolean, nullable=False),
    sql.Column("time_ms", sql.Integer, nullable=False),
    sql.Column("controller", sql.Integer, nullable=False),
    sql.Column("frame", sql.Integer, nullable=False),
    sql.Column("digest", sql.LargeBinary, nullable=False),
    sql.Column("dropped", sql.Boolean, nullable=False, default=False),
)
_alive = _steps.c.dropped.is_(False)
sql.Index(
    "one_step", _steps.c.episode, _steps.c.step, unique=True, sqlite_where=_alive, postgresql_where=_alive
)


@dataclass(frozen=True)
class SeatRecord:
    """One person's place: a secret's hash, their pseudonym and the task they are at."""

    seat: str
    demonstrator: str
    task: str = ""


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode from its reset on; `digest` is the one after the reset, `state` one of STATES.

    In a study: its name, the hash of the consent text that was agreed to, and the role that the episode
    has there (demonstration, repeat, gold, practice, baseline).
    """

    seat: str
    demonstrator: str
    suite: str
    task: str
    env: str
    seed: int
    digest: bytes
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1
    kind: str = "person"
    started: str = ""
    state: str = "open"
    notes: str = ""
    study: str = ""
    consent: str = ""
    role: str = ""
    episode: str = field(default_factory=new_episode_id)

    @property
    def given_up(self) -> bool:
        """Say whether a person gave up in the middle: on test seeds such an episode is kept, as a failure."""
        return GIVEN_UP in self.notes.split("; ")


class StepRecord(NamedTuple):
    """Step `step` (the first is 1): its action row, what came of it, when, by whom, and the digest so far."""

    step: int
    action: Sequence[float]
    reward: float
    terminated: bool
    truncated: bool
    time_ms: int
    controller: int
    frame: int
    digest: bytes


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
            make_tables(self.engine, TABLES)
            self.fence = Fence(self.engine) if shared or not is_sqlite(self.engine) else None
        except sql.exc.SQLAlchemyError as error:
            raise TutelageError(
                f"expected a journal at {address(self.engine)}, got: {cause(error)}; "
                "check that the folder can be written and that the file is a journal"
            ) from None
        self._writer = GroupCommit(self.engine, _insert_steps(self.engine), self.fence)

    @property
    def trouble(self) -> str | None:
        """Why the database cannot be written now; None when it can."""
        return self._writer.trouble

    @property
    def unsaved(self) -> int:
        """How many writes could not be saved before it closed; nobody was told that they were."""
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
        self._put(_seats.delete().where(_seats.c.seat == seat.seat), {}, seat.seat)
        return self._put(_seats.insert(), asdict(seat), seat.seat)

    def begin(self, episode: EpisodeRecord) -> Future[None]:
        """Write down that an episode has been reset."""
        return self._put(_episodes.insert(), {**asdict(episode), "changed_ns": time.time_ns()}, episode.seat)

    def append(self, episode: str, step: StepRecord) -> Future[None]:
        """Write one step of an episode; the future is resolved when it is on disk."""
        future: Future[None] = Future()
        self.add(episode, step, _resolving(future))
        return future

    def add(self, episode: str, step: StepRecord, hear: Hear) -> None:
        """Write one step of an episode; `hear` is told the last step on disk, once for many, or what went
        wrong. `mark(episode, "open")` takes steps again after one was refused."""
        self._writer.put(Row(episode, step.step, _row_of(episode, step), hear))

    def mark(self, episode: str, state: str, notes: str | None = None) -> Future[None]:
        """Change an episode's state, and its notes if some are given."""
        if state not in STATES:
            raise TutelageError(f"expected a state of {', '.join(STATES)}, got {state!r}")
        values = {"state": state, "changed_ns": time.time_ns()} | ({} if notes is None else {"notes": notes})
        change = _episodes.update().where(_episodes.c.episode == episode).values(**values)
        return self._put(change, {}, episode, welcome=episode if state == "open" else "")

    def drop(self, episode: str, first: int) -> Future[None]:
        """Set aside the steps from number `first` on: they stay in the table, marked as dropped."""
        torn = (_steps.c.episode == episode) & (_steps.c.step >= first)
        return self._put(_steps.update().where(torn).values(dropped=True), {}, episode)

    def flushed(self) -> Future[None]:
        """Return a future that is resolved when everything put down so far is on disk."""
        return self._put(None, {}, "")

    def flush(self) -> None:
        """Wait until everything put down so far is on disk; see `saved`."""
        saved(self.flushed())

    def seat(self, seat: str) -> SeatRecord | None:
        """Look a seat up."""
        rows = self._read(sql.select(_seats).where(_seats.c.seat == seat))
        return SeatRecord(**rows[0]) if rows else None

    def episodes(self, **wanted: Any) -> list[EpisodeRecord]:
        """List episodes whose columns equal the given values, the last changed one last."""
        query = sql.select(_episodes).order_by(_episodes.c.changed_ns)
        for name, value in wanted.items():
            query = query.where(_episodes.c[name] == value)
        names = [one.name for one in fields(EpisodeRecord)]
        return [EpisodeRecord(**{name: row[name] for name in names}) for row in self._read(query)]

    def steps(self, episode: str, after: int = 0) -> list[StepRecord]:
        """Read an episode's steps after a number in order, without those that were dropped."""
        wanted = (_steps.c.episode == episode, _steps.c.step > after, _alive)
        query = sql.select(_steps).where(*wanted).order_by(_steps.c.step)
        rows = [{name: row[name] for name in StepRecord._fields} for row in self._read(query)]
        return [
            StepRecord(**row | {"reward": float("nan") if row["reward"] is None else row["reward"]})
            for row in rows
        ]

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

    It is written all the same, as soon as that can be done: whoever asks again finds it.
    """
    try:
        future.result(seconds)
    except TimeoutError:
        raise sql.exc.TimeoutError("it is not saved yet") from None


def _insert_steps(engine: sql.Engine) -> str:
    """Write the statement that adds steps, for rows that are in the driver's own types already."""
    mark = "?" if engine.dialect.paramstyle == "qmark" else "%s"
    columns = ("episode", *StepRecord._fields, "dropped")
    return f"INSERT INTO steps ({', '.join(columns)}) VALUES ({', '.join([mark] * len(columns))})"


def _row_of(episode: str, step: StepRecord) -> tuple[Any, ...]:
    number, action, *others = step
    text = f"[{float(action[0])!r}]" if len(action) == 1 else json.dumps([float(part) for part in action])
    return (episode, number, text, *others, False)


def _resolving(future: Future[None]) -> Hear:
    future.set_running_or_notify_cancel()  # what is on its way to the disk cannot be called off

    def hear(_: int, error: Exception | None) -> None:
        future.set_result(None) if error is None else future.set_exception(error)

    return hear
