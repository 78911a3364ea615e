"""Erasure of a person from the database, every store, its exports and its copies, with a search as proof."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import sqlalchemy as sql

from ...console.wording import counted
from ...datasets.editing.edit_log import rows_of
from ...datasets.formats.export_registry import ExportRegistry, exports_of
from ...datasets.formats.exports import is_linked, mentions, renew
from ...datasets.maintenance.byte_search import ByteSearch
from ...datasets.maintenance.replication import forget_remotely
from ...datasets.remote import RemoteFolder
from ...datasets.store import Store
from ...errors import TutelageError
from ...files.atomic_files import disk_errors
from ...files.bounded_files import real_path
from ...files.folder_lock import lock_folder
from ...files.safe_tree import refuse_link
from ...files.state_folder import state_folder, state_key
from ..storage.database import address, database_errors, is_sqlite, open_database, snapshot
from ..storage.journal_records import JOURNAL
from ..storage.secret import VARIABLE, Secret, has_secret
from ..storage.study_tables import StudyDatabase, people
from .erasure import SEATS, PersonIdentifiers, erase, find_words, look_up, people_with, scrub, unseat

UNREACHABLE = (
    "backups, and copies that somebody downloaded",
    "policies that were trained on the demonstrations",
    "evaluations with `--people` and reports, which hold rows and replays: make them anew",
)
_FORGOTTEN = "forgotten"
_UNREACHABLE_ON_A_SERVER = ("PostgreSQL's write-ahead log, until it is reused, and PostgreSQL's own log",)


@dataclass(frozen=True)
class StudyLocations:
    """The data of a study: its folder, a database and stores outside of it, and copies of its parts."""

    study: Path | None = None
    database: str = ""
    stores: Sequence[Path] = ()
    parts: str = ""


@contextlib.contextmanager
def unchanged(locations: StudyLocations) -> Iterator[StudyLocations]:
    """Yield the same locations with a copy of the study's SQLite file, for callers that only read."""
    file = None if locations.study is None or locations.database else locations.study / JOURNAL
    if file is None or not file.is_file():
        yield locations
        return
    refuse_link(file)
    with snapshot(file) as copy:
        yield replace(locations, database=str(copy))


@dataclass
class ForgetResult:
    """What was `planned` and removed, what was searched afterwards, and what is `left`.

    `planned` lists every deletion before it is made; `outside` those outside the study and its stores.
    `existed` says whether a person of that name is, or ever was, in these locations.
    """

    person: str
    planned: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)
    searched: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    vague: int = 0
    """The number of external ids that were too short to search for."""
    unreachable: list[str] = field(default_factory=lambda: list(UNREACHABLE))
    existed: bool = True

    def add(self, kind: str, count: int) -> None:
        """Count something that was removed."""
        if count:
            self.removed[kind] = self.removed.get(kind, 0) + count


@database_errors()
def forget(
    person: str,
    locations: StudyLocations,
    also: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _: None,
    *,
    approve: Callable[[ForgetResult], bool] = lambda _: True,
) -> ForgetResult:
    """Remove everything of a person, then search for remains; `tell` receives one line per step.

    `also` are words to search for besides the pseudonym, the seats and the ids that the database has.
    `approve` receives the plan before anything is removed; nothing is removed if it returns False. A study on
    SQLite must not be served meanwhile; one on PostgreSQL may be. A second call, after an interruption or on
    another machine, does the rest. Raises TutelageError when a location is missing or in use.
    """
    database, stores = _open_database(locations), _open_stores(locations)
    if database is None and not stores and not locations.parts:
        raise TutelageError("expected a study, a database, stores or copies to forget a person in, got none")
    result = ForgetResult(person)
    with contextlib.ExitStack() as stack:
        if database is not None and is_sqlite(database.engine) and locations.study is not None:
            stack.enter_context(lock_folder(locations.study))
        identifiers = (
            look_up(database, person) if database is not None else PersonIdentifiers(person, (), (), ())
        )
        result.vague = len(identifiers.vague)
        words = tuple(dict.fromkeys((*identifiers.words, *also)))
        exported = [exports_of(store) for store in stores]
        _plan_removals(words, identifiers, locations, stores, exported, result, tell)
        if not approve(result):
            result.existed = (
                bool(result.planned) or _marker_file(person).exists()
            )  # copies are in the plan without a search
            return result
        if database is not None:
            tell("deleting in the database")
            unseat(database, identifiers.seats)
            result.removed |= erase(database, identifiers)
        for store, exports in zip(stores, exported, strict=True):
            tell(f"removing episodes from {store.path}")
            result.add("episodes in stores", store.forget(person))
            renewal = renew(store, exports.rewritable, words)
            result.add("exports written anew", len(renewal.renewed))
            result.add("exports removed", len(renewal.removed))
            result.left += renewal.left
        if locations.parts:
            tell(f"removing episodes from {locations.parts}")
            result.add("episodes in copies", forget_remotely(RemoteFolder(locations.parts), person))
        if database is not None:
            tell("rewriting the database")
            scrub(database.engine)
        _search_locations(words, locations, database, stores, exported, result, tell)
        result.existed = _record_existence(person, result, identifiers)
    return result


@database_errors()
def find(locations: StudyLocations, name: str, value: str) -> str:
    """Return the pseudonym of the participant with an external id; raises TutelageError unless one has it.

    `name` is the panel's name of the id, or the panel itself. A person whose ids were deleted is found by the
    study's secret.
    """
    database = _open_database(locations)
    pseudonyms = set(people_with(database, value)) if database is not None else set()
    folder = locations.study or Path()
    if not pseudonyms and (locations.study is not None or VARIABLE in os.environ) and has_secret(folder):
        secret = Secret.load(folder)
        sources = {name, name.lower(), name.partition("_")[0].lower()}
        pseudonyms = {secret.pseudonym(source, value) for source in sources} & _demonstrators(
            database, locations
        )
    if len(pseudonyms) != 1:
        got = "none" if not pseudonyms else f"{counted(len(pseudonyms), 'person')}"
        raise TutelageError(f"expected one person with that {name}, found {got}; give the pseudonym instead")
    return pseudonyms.pop()


def _plan_removals(
    words: tuple[str, ...],
    person_ids: PersonIdentifiers,
    locations: StudyLocations,
    stores: Sequence[Store],
    exported: Sequence[ExportRegistry],
    result: ForgetResult,
    tell: Callable[[str], None],
) -> None:
    """List what will be removed and rewritten, before anything is."""
    if person_ids.is_here:
        result.planned.append(
            f"database: {counted(len(person_ids.seats), 'seat')}, {counted(len(person_ids.ids), 'id')}, all "
            "rows about them"
        )
    for store, exports in zip(stores, exported, strict=True):
        rows = store.episodes()
        demonstrators = rows["demonstrator"].to_pylist()
        if count := demonstrators.count(person_ids.person):
            result.planned.append(
                f"{store.path}: {counted(count, 'episode')}, and what was computed from the store"
            )
        if count := rows_of(store.path, person_ids.person):
            result.planned.append(f"{store.path}: {counted(count, 'row')} that undo edits")
        tasks = {
            task
            for task, name in zip(rows["task"].to_pylist(), demonstrators, strict=True)
            if name != person_ids.person
        }
        for export in exports.rewritable:
            tell(f"searching {export.folder}")
            if mentions(export, words):
                action = "written anew without them" if export.task in tasks else "removed"
                result.outside.append(f"{export.folder}: {export.to} export of {store.path}, {action}")
    if locations.parts:
        result.outside.append(f"{locations.parts}: every copied part that they stand in, rewritten")
    result.planned += result.outside


def _record_existence(person: str, result: ForgetResult, identifiers: PersonIdentifiers) -> bool:
    """Say whether a person of that name was here, now or at an earlier call; recorded as a keyed hash."""
    mark = _marker_file(person)
    if result.removed or result.left or identifiers.is_here:
        with disk_errors(mark.parent):
            mark.parent.mkdir(mode=0o700, exist_ok=True)
            mark.touch(mode=0o600)
    return mark.exists()


def _marker_file(person: str) -> Path:
    """Return the marker file of an erased person."""
    name = hashlib.blake2b(person.encode(), key=state_key(_FORGOTTEN), digest_size=16).hexdigest()
    return state_folder() / _FORGOTTEN / name


def _search_locations(
    words: tuple[str, ...],
    locations: StudyLocations,
    database: StudyDatabase | None,
    stores: Sequence[Store],
    exported: Sequence[ExportRegistry],
    result: ForgetResult,
    tell: Callable[[str], None],
) -> None:
    """Search every location for every word, and name exports that could not be rewritten."""
    if database is not None:
        tell("searching the database")
        matches, searched = find_words(database.engine, words)
        result.left += matches
        result.searched.append(f"{counted(searched, 'row')} of {address(database.engine)}")
        if not is_sqlite(database.engine):
            result.unreachable += _UNREACHABLE_ON_A_SERVER
        database.engine.dispose()  # closing the last connection to a SQLite file removes its log
    folders = [*([locations.study] if locations.study else []), *(store.path for store in stores)]
    folders += [place for exports in exported for export in exports.rewritable for place in export.places]
    for folder in _outermost(folders):
        tell(f"searching {folder}")
        search = ByteSearch(words)
        search.folder(folder)
        result.left += search.found
        result.searched.append(
            f"{counted(search.files, 'file')} ({counted(search.size, 'byte')}) in {folder}"
        )
        result.unreachable += [f"what the link {link} leads to" for link in search.links]
    for exports in exported:
        for export in exports.doubtful:
            if is_linked(export) or mentions(export, words):
                result.left.append(
                    f"{export.folder}, exported from {export.store}, which must be removed by hand: "
                    f"it is not certain that this is the same store"
                )
        if exports.unknown:
            result.unreachable.append(
                f"{counted(exports.unknown, 'export')} that another person or machine made"
            )
    if locations.parts:
        tell(f"searching {locations.parts}")
        search, remote = ByteSearch(words), RemoteFolder(locations.parts)
        for name, version in remote.versions():
            with remote.open(name, version) as file:
                search.file(file, name)
        result.left += [f"{name} at {locations.parts}" for name in search.found]
        result.searched.append(
            f"{counted(search.files, 'file')} ({counted(search.size, 'byte')}) at {locations.parts}"
        )


def _open_database(locations: StudyLocations) -> StudyDatabase | None:
    """Open the study's database; None if there is none."""
    if locations.database:
        return StudyDatabase(open_database(locations.database))
    if locations.study is None:
        return None
    if not locations.study.is_dir():
        raise TutelageError(f"expected a study's folder at {locations.study}, found none; check the path")
    file = locations.study / JOURNAL
    refuse_link(file)
    return StudyDatabase(open_database(file)) if file.is_file() else None


def _open_stores(locations: StudyLocations) -> list[Store]:
    """Open the stores in the study's folder, and those that are named."""
    within: list[Path] = []
    if locations.study is not None:
        for parent, _, files in os.walk(locations.study):  # follows no links
            within += [Path(parent)] * ("dataset.yaml" in files)
    within.sort()
    return [Store.open(path) for path in dict.fromkeys([*within, *locations.stores])]


def _demonstrators(database: StudyDatabase | None, locations: StudyLocations) -> set[str]:
    names = {
        name for store in _open_stores(locations) for name in store.episodes()["demonstrator"].to_pylist()
    }
    if database is not None:
        names |= {row["person"] for row in database.rows(sql.select(people.c.person))}
        names |= {row["demonstrator"] for row in database.rows(sql.select(SEATS.c.demonstrator))}
    return names


def _outermost(folders: Sequence[Path]) -> list[Path]:
    """Drop folders that lie within another of the folders."""
    resolved = list(dict.fromkeys(real_path(folder) for folder in folders))
    return [
        path
        for path in resolved
        if not any(path != other and path.is_relative_to(other) for other in resolved)
    ]
