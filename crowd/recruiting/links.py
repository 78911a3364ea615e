"""Links for one person each: made on the study's own database, printed once, kept only as hashes."""

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
    """Print `count` new links, one a line; raises TutelageError when people join the study in another way."""
    base = parse_address(address).origin
    if study.recruiting.links != "one-time":
        raise TutelageError(
            f"expected recruiting.links: one-time in study {study.name!r}, got {study.recruiting.links}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(database or folder / JOURNAL) as journal:
        made = make_links(StudyDatabase(journal.engine), Secret.load(folder), study.name, count)
    for link in made:
        print(f"{base}/join?link={link}", flush=True)
