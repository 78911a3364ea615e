"""Finds a participant by what they are known by: pseudonym, completion code, or an id of the panel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from ...errors import TutelageError
from ...files.safe_tree import refuse_link
from ..storage.database import database_errors, open_database, snapshot
from ..storage.journal_records import JOURNAL
from ..storage.study_tables import StudyDatabase, identities, people

_SHOWN = ("person", "stage", "outcome", "code", "source", "language", "joined", "seen", "ended")
_SHARED = "study"
"""The role of an id that everybody of a study has."""


def find_people(ledger: StudyDatabase, study: str, word: str) -> list[dict[str, Any]]:
    """Return the people of a study whose pseudonym, completion code or id at the panel is `word`.

    Who came last is first. A code that the study file gives to an outcome belongs to many people. The ids
    themselves are not returned.
    """
    word = word.strip()
    if not word:
        return []
    ids = ledger.rows(sql.select(identities.c.person, identities.c.ids))
    named = {
        row["person"]
        for row in ids
        if any(str(value) == word for role, value in row["ids"].items() if role != _SHARED)
    }
    matching = people.c.person.in_(named) | (people.c.person == word) | (people.c.code == word)
    query = sql.select(*(people.c[name] for name in _SHOWN)).where(people.c.study == study, matching)
    return ledger.rows(query.order_by(people.c.joined.desc()))


@contextlib.contextmanager
def study_ledger(folder: Path | None, database: str, *, writes: bool = False) -> Iterator[StudyDatabase]:
    """Open the database of a study by its folder or URL; a file that is only read is read from a copy.

    Raises TutelageError where there is none.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(database_errors())
        where: str | Path = database
        if not database:
            if folder is None:
                raise TutelageError("expected a study's folder or database, got neither; give --study FOLDER")
            where = folder / JOURNAL
            if not where.is_file():
                raise TutelageError(f"expected a study's database at {where}, found none; check the path")
            refuse_link(where)
            where = where if writes else stack.enter_context(snapshot(where))
        engine = open_database(where)
        stack.callback(engine.dispose)
        yield StudyDatabase(engine)
