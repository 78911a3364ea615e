"""Personal links: made in the study's own database, printed once, stored only as hashes."""

from __future__ import annotations

from pathlib import Path

from ...errors import TutelageError
from ..server.host_names import parse_address
from ..storage.database import database_errors
from ..storage.journal import Journal
from ..storage.journal_records import JOURNAL
from ..storage.secret import Secret
from ..storage.study_tables import StudyDatabase
from ..studies.study import Study
from .admission import make_links


@database_errors()
def print_links(study: Study, folder: Path, database: str, count: int, address: str) -> None:
    """Print `count` new links, one per line; raises TutelageError when the study has no one-time links."""
    base = parse_address(address).origin
    if study.recruiting.links != "one-time":
        raise TutelageError(
            f"expected recruiting.links: one-time in study {study.name!r}, got {study.recruiting.links}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(database or folder / JOURNAL) as journal:
        tokens = make_links(StudyDatabase(journal.engine), Secret.load(folder), study.name, count)
    for token in tokens:
        print(f"{base}/join?link={token}", flush=True)
