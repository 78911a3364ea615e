"""The tables of a study: who came, what they agreed to, their progress, and what they may play.

Contains the tables and the writes that several modules need; each module reads them with its own queries.
External ids are in `identities` only: everywhere else a person is their pseudonym.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import sqlalchemy as sql

from ...errors import TutelageError
from .database import LEDGER, is_sqlite, make_tables, writing
from .row_checksums import DamagedRow, checksum_column, damaged_rows, index_unsealed, is_sound, seal_rows
from .study_records import RECORDS, TABLES


class Stage(StrEnum):
    """The stage of a participant in a study, as it is stored and sent to pages; DONE has an outcome."""

    CONSENT = "consent"
    INSTRUCTIONS = "instructions"
    PRACTICE = "practice"
    CHECK = "check"
    PLAY = "play"
    REST = "rest"
    DONE = "done"


STAGES = tuple(stage.value for stage in Stage)
"""The names of the stages, in order."""

OUTCOMES = (
    "completed",
    "declined",
    "failed-check",
    "poor-quality",
    "timed-out",
    "banned",
    "full",
    "withdrew",
)

people = sql.Table(
    "people",
    TABLES,
    sql.Column("person", sql.String, primary_key=True),  # the pseudonym, which demonstrations carry
    sql.Column("seat", sql.String, nullable=False, unique=True),
    sql.Column("study", sql.String, nullable=False, index=True),
    sql.Column("source", sql.String, nullable=False),  # "link", "prolific", ...
    sql.Column("language", sql.String, nullable=False),
    sql.Column("stage", sql.String, nullable=False, index=True),
    sql.Column("progress", sql.JSON, nullable=False),  # what is needed to resume the stage
    sql.Column("outcome", sql.String, nullable=False, default=""),
    sql.Column("code", sql.String, nullable=False, default=""),  # the completion code they were shown
    sql.Column("joined", sql.Double, nullable=False),  # all times: seconds since 1970
    sql.Column("seen", sql.Double, nullable=False),
    sql.Column("ended", sql.Double),
    checksum_column(),
)
identities = sql.Table(
    "identities",
    TABLES,
    sql.Column("person", sql.String, primary_key=True),
    sql.Column("source", sql.String, nullable=False),
    sql.Column("ids", sql.JSON, nullable=False),  # the panel's names → its values
    checksum_column(),
)
consents = sql.Table(
    "consents",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("person", sql.String, nullable=False, index=True),
    sql.Column("study", sql.String, nullable=False),
    sql.Column("consent", sql.String, nullable=False),  # the hash of the very text that was shown
    sql.Column("language", sql.String, nullable=False),
    sql.Column("decision", sql.String, nullable=False),  # given, declined, withdrawn
    sql.Column("at", sql.Double, nullable=False),
    checksum_column(),
)
claims = sql.Table(
    "claims",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("study", sql.String, nullable=False),
    sql.Column("task", sql.String, nullable=False),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("role", sql.String, nullable=False),  # demonstration, repeat, gold, practice, baseline
    sql.Column(
        "slot", sql.String, nullable=False
    ),  # identifies the holder among several: "0", "1", ... or the person
    sql.Column("person", sql.String, nullable=False, index=True),
    sql.Column("state", sql.String, nullable=False),  # held, done
    sql.Column("episode", sql.String, nullable=False, default=""),
    sql.Column("until", sql.Double, nullable=False),  # a claim held past this is free again
    checksum_column(),
    sql.UniqueConstraint("study", "task", "seed", "role", "slot"),
)
conduct = sql.Table(
    "conduct",
    TABLES,
    sql.Column("episode", sql.String, primary_key=True),
    sql.Column("person", sql.String, nullable=False, index=True),
    sql.Column("role", sql.String, nullable=False),
    sql.Column("task", sql.String, nullable=False, index=True),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("success", sql.Boolean, nullable=False),
    sql.Column("steps", sql.Integer, nullable=False),
    sql.Column("seconds", sql.Double, nullable=False),
    sql.Column("expert_steps", sql.Integer),  # the expert's steps on this seed, if it has an expert
    sql.Column("reaction_ms", sql.Double),  # the median time between a frame and the key that answered it
    sql.Column(
        "fast_share", sql.Double, nullable=False, default=0.0
    ),  # share of keys faster than human reaction
    sql.Column("idle_share", sql.Double, nullable=False, default=0.0),
    sql.Column("repeat_share", sql.Double, nullable=False, default=0.0),
    sql.Column("hidden_ms", sql.Double, nullable=False, default=0.0),
    sql.Column("lag_ms", sql.Double),  # the median time from a key to its frame on the screen
    sql.Column("at", sql.Double, nullable=False),
    checksum_column(),
)
bests = sql.Table(
    "bests",
    TABLES,
    sql.Column("suite", sql.String, primary_key=True),
    sql.Column("task", sql.String, primary_key=True),
    sql.Column("seed", sql.BigInteger, primary_key=True, autoincrement=False),
    sql.Column("steps", sql.Integer),  # the expert's steps; NULL if it fails
    checksum_column(),
)
events = sql.Table(
    "events",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("study", sql.String, nullable=False, index=True),
    sql.Column("person", sql.String, nullable=False),  # "" for the whole study
    sql.Column("what", sql.String, nullable=False),  # pause, resume, ban, complete, approve, bonus, ...
    sql.Column("reason", sql.String, nullable=False),
    sql.Column("details", sql.JSON, nullable=False),
    sql.Column("at", sql.Double, nullable=False),
    checksum_column(),
)
links = sql.Table(
    "links",
    TABLES,
    sql.Column("link", sql.String, primary_key=True),  # the hash of the secret in the address
    sql.Column("study", sql.String, nullable=False),
    sql.Column("person", sql.String, nullable=False, default=""),  # who came by it; "" if unused
    checksum_column(),
)
browsers = sql.Table(
    "browsers",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("person", sql.String, nullable=False, index=True),
    sql.Column("browser", sql.String, nullable=False),  # the hash of the browser's token
    sql.Column("state", sql.String, nullable=False, index=True),  # bound, asked, refused
    sql.Column("code", sql.String, nullable=False),  # shown in both browsers while one asks
    sql.Column("at", sql.Double, nullable=False),
    sql.UniqueConstraint("person", "browser"),
)
servers = sql.Table(
    "servers",
    TABLES,
    sql.Column("server", sql.String, primary_key=True),
    sql.Column("started", sql.Double, nullable=False),
    sql.Column("seen", sql.Double, nullable=False),  # its last heartbeat
    sql.Column("store", sql.String, nullable=False, server_default=""),  # the store that it fills
    sql.Column("figures", sql.JSON, nullable=False),  # open seats, steps, latencies: the inputs of monitoring
)
leases = sql.Table(
    "leases",
    TABLES,
    sql.Column("seat", sql.String, primary_key=True),
    sql.Column("server", sql.String, nullable=False),
    sql.Column("epoch", sql.Integer, nullable=False),  # rises whenever the seat moves
    sql.Column("page", sql.String, nullable=False, server_default=""),  # which page has it open; "" for none
)
keepers = sql.Table(
    "keepers",
    TABLES,
    sql.Column("episode", sql.String, primary_key=True),
    sql.Column("store", sql.String, nullable=False, index=True),  # the one store that may hold it
)

SEALED = (people, identities, consents, claims, conduct, bests, events, links, *RECORDS)
"""The tables that decide who may come, what they agreed to, what counts and what is paid."""
index_unsealed(*SEALED)


@dataclass(frozen=True)
class PersonRecord:
    """One row of `people`."""

    person: str
    seat: str
    study: str
    source: str
    language: str
    stage: str
    progress: Mapping[str, Any]
    outcome: str = ""
    code: str = ""
    joined: float = 0.0
    seen: float = 0.0
    ended: float | None = None


ON_BEHALF_OF: ContextVar[str] = ContextVar("seat", default="")
"""The seat on whose behalf the current task writes; "" if none in particular."""


class StudyDatabase:
    """The study's tables in the journal's database. Calls block: call them from a worker thread."""

    def __init__(self, engine: sql.Engine) -> None:
        self.engine = engine
        self.guard: Callable[[sql.Connection, str], None] | None = None
        make_tables(engine, TABLES)
        with engine.begin() as connection:  # rows of an older version
            for table in SEALED:
                seal_rows(connection, table)

    def damaged(self) -> list[DamagedRow]:
        """List the rows that are not as they were written. Reads all of them."""
        return list(damaged_rows(self.engine, SEALED))

    def check(self, person: str) -> None:
        """Check that all rows about a person are as written; raises TutelageError that names a damaged one.

        For irreversible actions such as payments.
        """
        with self.engine.connect() as connection:
            for table in SEALED:
                if "person" not in table.c:
                    continue
                query = sql.select(table).where(table.c.person == person)
                for row in connection.execute(query).mappings():
                    if not is_sound(table, row):
                        raise _damage(table, row)

    @contextmanager
    def write(self) -> Iterator[sql.Connection]:
        """Yield a transaction without concurrent ones, so that reads in it stay valid.

        `guard(connection, ON_BEHALF_OF)`, if there is one, raises when that seat is no longer this server's.
        """
        with writing(self.engine) as connection:
            if not is_sqlite(self.engine):
                connection.execute(sql.select(sql.func.pg_advisory_xact_lock(LEDGER)))
            if self.guard is not None and (seat := ON_BEHALF_OF.get()):
                self.guard(connection, seat)
            yield connection

    def rows(self, query: sql.Select[Any]) -> list[dict[str, Any]]:
        """Read rows as dictionaries."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def ids(self) -> list[tuple[str, list[str]]]:
        """List every person's external ids; raises TutelageError for a damaged row."""
        rows = self.rows(sql.select(identities))
        for row in rows:
            if not is_sound(identities, row) or not isinstance(row["ids"], Mapping):
                raise _damage(identities, row)
        return [(row["person"], list(map(str, row["ids"].values()))) for row in rows]

    def person(self, **filters: str) -> PersonRecord | None:
        """Read a person, by `person=` or `seat=`."""
        query = sql.select(people)
        for name, value in filters.items():
            query = query.where(people.c[name] == value)
        rows = self.rows(query)
        if rows and not is_sound(people, rows[0]):
            raise _damage(people, rows[0])
        return (
            PersonRecord(**{column.name: rows[0][column.name] for column in fields(PersonRecord)})
            if rows
            else None
        )

    def change(self, person: str, **values: Any) -> None:
        """Change columns of a person's row; on disk when this returns."""
        if values.get("stage", STAGES[0]) not in STAGES:
            raise TutelageError(f"expected a stage of {', '.join(STAGES)}, got {values['stage']!r}")
        if values.get("outcome", "") not in ("", *OUTCOMES):
            raise TutelageError(f"expected an outcome of {', '.join(OUTCOMES)}, got {values['outcome']!r}")
        with self.write() as connection:
            connection.execute(people.update().where(people.c.person == person).values(**values))

    def note(
        self,
        study: str,
        what: str,
        person: str = "",
        reason: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an event; events are never changed."""
        row = {
            "study": study,
            "person": person,
            "what": what,
            "reason": reason,
            "details": dict(details or {}),
        }
        with self.write() as connection:
            connection.execute(events.insert(), {**row, "at": time.time()})


def _damage(table: sql.Table, row: Mapping[Any, Any]) -> TutelageError:
    key = tuple(row[column.name] for column in table.primary_key.columns)
    return TutelageError(
        f"expected the row {DamagedRow(table.name, key)} as it was written, got a changed one; "
        "restore the database from a copy"
    )
