"""Permanent removal of a person from the database, remains in free space included, and a search as proof."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from ...console.wording import counted
from ...datasets.maintenance.byte_search import needles
from ..cluster.seat_leases import BEAT_SECONDS, DEAD_AFTER_SECONDS
from ..storage import study_tables
from ..storage.database import is_sqlite, writing
from ..storage.journal_tables import TABLES as JOURNAL
from ..storage.study_records import RECORDS
from ..storage.study_tables import StudyDatabase
from ..storage.write_fence import writers

SEATS, _EPISODES, _STEPS = (JOURNAL.tables[name] for name in ("seats", "episodes", "steps"))
_SHORTEST = 6
_DAY = 24 * 3600.0


@dataclass(frozen=True)
class PersonIdentifiers:
    """The identifiers of a person in a database: their seats, and the external ids that only they have.

    Ids shared with others (such as a study's) and ids too short to be distinctive (`vague`) are left out.
    """

    person: str
    seats: tuple[str, ...]
    ids: tuple[str, ...]
    vague: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Return the identifiers that must not remain anywhere."""
        return (self.person, *self.seats, *self.ids)

    @property
    def is_here(self) -> bool:
        """Say whether the database had anything of the person."""
        return bool(self.seats or self.ids or self.vague)


def look_up(database: StudyDatabase, person: str) -> PersonIdentifiers:
    """Collect the identifiers of a person, for `erase` and for the search afterwards."""
    seats = {
        row["seat"] for row in database.rows(sql.select(SEATS.c.seat).where(SEATS.c.demonstrator == person))
    }
    seats |= {
        row["seat"]
        for row in database.rows(
            sql.select(study_tables.people.c.seat).where(study_tables.people.c.person == person)
        )
    }
    seats |= {
        row["seat"]
        for row in database.rows(sql.select(_EPISODES.c.seat).where(_EPISODES.c.demonstrator == person))
    }
    person_ids: set[str] = set()
    other_ids: set[str] = set()
    for name, ids in database.ids():
        (person_ids if name == person else other_ids).update(ids)
    unique_ids = person_ids - other_ids
    return PersonIdentifiers(
        person,
        tuple(sorted(seats)),
        tuple(sorted(external_id for external_id in unique_ids if len(external_id) >= _SHORTEST)),
        tuple(sorted(external_id for external_id in unique_ids if len(external_id) < _SHORTEST)),
    )


def people_with(database: StudyDatabase, value: str) -> list[str]:
    """List the pseudonyms of people with an external id of this value."""
    return [name for name, ids in database.ids() if value in ids]


def unseat(database: StudyDatabase, seats: Sequence[str]) -> None:
    """Take a person's seats from their servers; returns once those servers write to them no more."""
    leases, epoch = study_tables.leases, study_tables.leases.c.epoch
    with writing(database.engine) as connection:
        is_held = leases.c.seat.in_(seats)
        query = sql.select(leases.c.server).where(is_held).with_for_update()
        owners = sorted({server for server in connection.execute(query).scalars() if server})
        if not owners:
            return
        for server in owners:
            is_owner = writers.c.writer == server
            connection.execute(writers.update().where(is_owner).values(taken=writers.c.taken + 1))
        connection.execute(leases.update().where(is_held).values(server="", page="", epoch=epoch + 1))
        commits_before = _read_commits(connection, owners)
    until = time.monotonic() + DEAD_AFTER_SECONDS
    while time.monotonic() < until:
        with database.engine.connect() as connection:
            commits_now = _read_commits(connection, owners)
        if all(commits_now.get(server) != commits_before.get(server) for server in owners):
            return
        time.sleep(BEAT_SECONDS / 10)


def erase(database: StudyDatabase, identifiers: PersonIdentifiers) -> dict[str, int]:
    """Delete everything of a person in one transaction; returns the number of deleted rows per table.

    One anonymous consent row remains: that a participant of the study withdrew, and on which day. Seeds they
    held or had played are free again.
    """
    person, seats = identifiers.person, list(identifiers.seats)
    episode_ids = sql.select(_EPISODES.c.episode).where(_EPISODES.c.demonstrator == person)
    deleted: dict[str, int] = {}
    with database.write() as connection:
        if is_sqlite(database.engine):
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        studies = sql.union(
            sql.select(study_tables.people.c.study).where(study_tables.people.c.person == person),
            sql.select(study_tables.consents.c.study).where(study_tables.consents.c.person == person),
        )
        anonymous_rows = [
            {"person": "", "study": study, "consent": "", "language": "", "decision": "withdrawn"}
            | {"at": time.time() // _DAY * _DAY}
            for study in connection.execute(studies).scalars()
        ]
        for table, condition in (
            (_STEPS, _STEPS.c.episode.in_(episode_ids)),
            (study_tables.keepers, study_tables.keepers.c.episode.in_(episode_ids)),
            (study_tables.conduct, study_tables.conduct.c.person == person),
            *((table, table.c.person == person) for table in RECORDS),
            (_EPISODES, _EPISODES.c.demonstrator == person),
            (SEATS, SEATS.c.demonstrator == person),
            (study_tables.leases, study_tables.leases.c.seat.in_(seats)),
            (study_tables.claims, study_tables.claims.c.person == person),
            (study_tables.claims, study_tables.claims.c.slot == person),
            (study_tables.events, study_tables.events.c.person == person),
            (study_tables.links, study_tables.links.c.person == person),
            (study_tables.browsers, study_tables.browsers.c.person == person),
            (study_tables.consents, study_tables.consents.c.person == person),
            (study_tables.identities, study_tables.identities.c.person == person),
            (study_tables.people, study_tables.people.c.person == person),
        ):
            deleted[table.name] = (
                deleted.get(table.name, 0) + connection.execute(table.delete().where(condition)).rowcount
            )
        # steps written by a server that had not noticed the loss of the seat
        stray = _STEPS.c.episode.not_in(sql.select(_EPISODES.c.episode))
        deleted["steps"] += connection.execute(_STEPS.delete().where(stray)).rowcount
        if anonymous_rows:
            connection.execute(study_tables.consents.insert(), anonymous_rows)
    return {name: count for name, count in deleted.items() if count}


def scrub(engine: sql.Engine) -> None:
    """Rewrite the database's files, so that no deleted data is left in free space.

    SQLite: no other process may have the file open. PostgreSQL: each table is locked while it is rewritten.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if is_sqlite(engine):
            for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                connection.exec_driver_sql(statement).close()
        else:
            for name in sql.inspect(engine).get_table_names():
                connection.exec_driver_sql(f'VACUUM (FULL, ANALYZE) "{name}"')
            connection.exec_driver_sql(
                "VACUUM FULL pg_statistic"
            )  # contains the most common values of each column


def find_words(engine: sql.Engine, words: Iterable[str]) -> tuple[list[str], int]:
    """Search every column of every table, ours or not, for words; returns the places and the row count."""
    places: list[str] = []
    searched = 0
    with engine.connect() as connection:
        for table in sql.inspect(engine).get_table_names():
            searched += connection.exec_driver_sql(f'SELECT count(*) FROM "{table}"').scalar_one()
            for column in sql.inspect(engine).get_columns(table):
                count = _count_matches(connection, table, column, words)
                if count:
                    places.append(f"{counted(count, 'row')} of the table {table}, in {column['name']}")
        if not is_sqlite(engine):
            for word in needles(words):
                query = "SELECT count(*) FROM pg_stats WHERE strpos(pg_stats::text, :word) > 0"
                if connection.execute(sql.text(query), {"word": word.decode()}).scalar():
                    places.append("PostgreSQL's statistics")
    return sorted(set(places)), searched


def _count_matches(connection: sql.Connection, table: str, column: Any, words: Iterable[str]) -> int:
    name = f'"{column["name"]}"'
    if connection.dialect.name == "sqlite":
        condition = f"instr(CAST({name} AS BLOB), :word) > 0"
    elif isinstance(column["type"], sql.LargeBinary):
        condition = f"position(:word IN {name}) > 0"
    else:
        condition = f"position(:word IN convert_to({name}::text, 'UTF8')) > 0"
    query = sql.text(f'SELECT count(*) FROM "{table}" WHERE {condition}')
    return sum(int(connection.execute(query, {"word": word}).scalar_one()) for word in needles(words))


def _read_commits(connection: sql.Connection, names: Sequence[str]) -> dict[str, int]:
    query = sql.select(writers.c.writer, writers.c.commits).where(writers.c.writer.in_(names))
    return {row.writer: row.commits for row in connection.execute(query)}
