"""Participant search by pseudonym, completion code, or panel id."""

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
"""The role of an id that all participants of a study share."""


def find_people(database: StudyDatabase, study: str, word: str) -> list[dict[str, Any]]:
    """Return the people of a study whose pseudonym, completion code or panel id is `word`.

    The latest to join comes first. A code that the study file gives to an outcome belongs to many people. The
    ids themselves are not returned.
    """
    word = word.strip()
    if not word:
        return []
    ids = database.rows(sql.select(identities.c.person, identities.c.ids))
    people_with_id = {
        row["person"]
        for row in ids
        if any(str(value) == word for role, value in row["ids"].items() if role != _SHARED)
    }
    matches = people.c.person.in_(people_with_id) | (people.c.person == word) | (people.c.code == word)
    query = sql.select(*(people.c[name] for name in _SHOWN)).where(people.c.study == study, matches)
    return database.rows(query.order_by(people.c.joined.desc()))


@contextlib.contextmanager
def open_study_database(
    folder: Path | None, database: str, *, writes: bool = False
) -> Iterator[StudyDatabase]:
    """Open the database of a study by its folder or URL; a file that is only read is read from a copy.

    Raises TutelageError if there is none.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(database_errors())
        location: str | Path = database
        if not database:
            if folder is None:
                raise TutelageError("expected a study's folder or database, got neither; give --study FOLDER")
            location = folder / JOURNAL
            if not location.is_file():
                raise TutelageError(f"expected a study's database at {location}, found none; check the path")
            refuse_link(location)
            location = location if writes else stack.enter_context(snapshot(location))
        engine = open_database(location)
        stack.callback(engine.dispose)
        yield StudyDatabase(engine)
