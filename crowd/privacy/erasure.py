"""A person leaves the database for good: their rows, what deleted rows leave behind, and the proof."""

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
    """What a database knows of a person: their seats, and the external ids that are theirs alone.

    Ids that others have too (a study's), and those too short to be told from chance (`vague`), are left out.
    """

    person: str
    seats: tuple[str, ...]
    ids: tuple[str, ...]
    vague: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Return what must stand nowhere any more."""
        return (self.person, *self.seats, *self.ids)

    @property
    def is_here(self) -> bool:
        """Say whether the database had anything of them at all."""
        return bool(self.seats or self.ids or self.vague)


def look_up(rows: StudyDatabase, person: str) -> PersonIdentifiers:
    """Find out what there is of a person, for `erase` and for looking afterwards."""
    seats = {row["seat"] for row in rows.rows(sql.select(SEATS.c.seat).where(SEATS.c.demonstrator == person))}
    seats |= {
        row["seat"]
        for row in rows.rows(
            sql.select(study_tables.people.c.seat).where(study_tables.people.c.person == person)
        )
    }
    seats |= {
        row["seat"]
        for row in rows.rows(sql.select(_EPISODES.c.seat).where(_EPISODES.c.demonstrator == person))
    }
    mine: set[str] = set()
    others: set[str] = set()
    for name, ids in rows.ids():
        (mine if name == person else others).update(ids)
    own = mine - others
    return PersonIdentifiers(
        person,
        tuple(sorted(seats)),
        tuple(sorted(one for one in own if len(one) >= _SHORTEST)),
        tuple(sorted(one for one in own if len(one) < _SHORTEST)),
    )


def people_with(rows: StudyDatabase, value: str) -> list[str]:
    """List the pseudonyms of those who have an external id of this value."""
    return [name for name, ids in rows.ids() if value in ids]


def unseat(rows: StudyDatabase, seats: Sequence[str]) -> None:
    """Take a person's seats from the servers that have them; returns when those write nothing more there."""
    leases, epoch = study_tables.leases, study_tables.leases.c.epoch
    with writing(rows.engine) as connection:
        held = leases.c.seat.in_(seats)
        query = sql.select(leases.c.server).where(held).with_for_update()
        owners = sorted({one for one in connection.execute(query).scalars() if one})
        if not owners:
            return
        for one in owners:
            mine = writers.c.writer == one
            connection.execute(writers.update().where(mine).values(taken=writers.c.taken + 1))
        connection.execute(leases.update().where(held).values(server="", page="", epoch=epoch + 1))
        before = _commits(connection, owners)
    until = time.monotonic() + DEAD_AFTER_SECONDS
    while time.monotonic() < until:
        with rows.engine.connect() as connection:
            now = _commits(connection, owners)
        if all(now.get(one) != before.get(one) for one in owners):
            return
        time.sleep(BEAT_SECONDS / 10)


def erase(rows: StudyDatabase, known: PersonIdentifiers) -> dict[str, int]:
    """Delete everything of a person in one transaction; returns how many rows of which table went.

    Of their consent one bare line stays: that somebody of the study withdrew, and on which day. Seeds they
    held or had played are free again.
    """
    person, seats = known.person, list(known.seats)
    theirs = sql.select(_EPISODES.c.episode).where(_EPISODES.c.demonstrator == person)
    gone: dict[str, int] = {}
    with rows.write() as connection:
        if is_sqlite(rows.engine):
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        studies = sql.union(
            sql.select(study_tables.people.c.study).where(study_tables.people.c.person == person),
            sql.select(study_tables.consents.c.study).where(study_tables.consents.c.person == person),
        )
        bare = [
            {"person": "", "study": study, "consent": "", "language": "", "decision": "withdrawn"}
            | {"at": time.time() // _DAY * _DAY}
            for study in connection.execute(studies).scalars()
        ]
        for table, which in (
            (_STEPS, _STEPS.c.episode.in_(theirs)),
            (study_tables.keepers, study_tables.keepers.c.episode.in_(theirs)),
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
            gone[table.name] = (
                gone.get(table.name, 0) + connection.execute(table.delete().where(which)).rowcount
            )
        # steps that a server wrote which had not noticed yet that the seat is gone
        stray = _STEPS.c.episode.not_in(sql.select(_EPISODES.c.episode))
        gone["steps"] += connection.execute(_STEPS.delete().where(stray)).rowcount
        if bare:
            connection.execute(study_tables.consents.insert(), bare)
    return {name: count for name, count in gone.items() if count}


def scrub(engine: sql.Engine) -> None:
    """Rewrite the database's files, so that nothing of what was deleted is left in free space.

    SQLite: nobody else may have the file open. PostgreSQL: every table is locked while it is rewritten.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if is_sqlite(engine):
            for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                connection.exec_driver_sql(statement).close()
        else:
            for name in sql.inspect(engine).get_table_names():
                connection.exec_driver_sql(f'VACUUM (FULL, ANALYZE) "{name}"')
            connection.exec_driver_sql("VACUUM FULL pg_statistic")  # the commonest values of each column


def standing(engine: sql.Engine, words: Iterable[str]) -> tuple[list[str], int]:
    """Look for words in every column of every table, ours or not; returns where they stand, and how many rows
    were looked at."""
    found: list[str] = []
    looked = 0
    with engine.connect() as connection:
        for table in sql.inspect(engine).get_table_names():
            looked += connection.exec_driver_sql(f'SELECT count(*) FROM "{table}"').scalar_one()
            for column in sql.inspect(engine).get_columns(table):
                count = _count(connection, table, column, words)
                if count:
                    found.append(f"{counted(count, 'row')} of the table {table}, in {column['name']}")
        if not is_sqlite(engine):
            for word in needles(words):
                query = "SELECT count(*) FROM pg_stats WHERE strpos(pg_stats::text, :word) > 0"
                if connection.execute(sql.text(query), {"word": word.decode()}).scalar():
                    found.append("PostgreSQL's statistics")
    return sorted(set(found)), looked


def _count(connection: sql.Connection, table: str, column: Any, words: Iterable[str]) -> int:
    name = f'"{column["name"]}"'
    if connection.dialect.name == "sqlite":
        test = f"instr(CAST({name} AS BLOB), :word) > 0"
    elif isinstance(column["type"], sql.LargeBinary):
        test = f"position(:word IN {name}) > 0"
    else:
        test = f"position(:word IN convert_to({name}::text, 'UTF8')) > 0"
    query = sql.text(f'SELECT count(*) FROM "{table}" WHERE {test}')
    return sum(int(connection.execute(query, {"word": word}).scalar_one()) for word in needles(words))


def _commits(connection: sql.Connection, names: Sequence[str]) -> dict[str, int]:
    query = sql.select(writers.c.writer, writers.c.commits).where(writers.c.writer.in_(names))
    return {row.writer: row.commits for row in connection.execute(query)}
