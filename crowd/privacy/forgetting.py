"""A person is forgotten: in the database, every store, its exports and its copies; and the proof of it."""

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
from .erasure import SEATS, PersonIdentifiers, erase, look_up, people_with, scrub, standing, unseat

UNREACHABLE = (
    "backups, and copies that somebody downloaded",
    "policies that were trained on the demonstrations",
    "evaluations with `--people` and reports, which hold rows and replays: make them anew",
)
_FORGOTTEN = "forgotten"
_UNREACHABLE_ON_A_SERVER = ("PostgreSQL's write-ahead log, until it is reused, and PostgreSQL's own log",)


@dataclass(frozen=True)
class StudyLocations:
    """Where a study keeps things: its folder, a database and stores outside of it, copies of its parts."""

    study: Path | None = None
    database: str = ""
    stores: Sequence[Path] = ()
    parts: str = ""


@contextlib.contextmanager
def unchanged(places: StudyLocations) -> Iterator[StudyLocations]:
    """Give the same places with a copy of the study's SQLite file, for callers that only read."""
    file = None if places.study is None or places.database else places.study / JOURNAL
    if file is None or not file.is_file():
        yield places
        return
    refuse_link(file)
    with snapshot(file) as copy:
        yield replace(places, database=str(copy))


@dataclass
class ForgetResult:
    """What was `planned` and removed, what was searched afterwards, and where something is `left`.

    `planned` lists every deletion before it is made; `outside` those of them outside the study and stores.
    `existed` says whether a person of that name is, or ever was, in these places.
    """

    person: str
    planned: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)
    searched: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    vague: int = 0
    """How many external ids were too short to be looked for."""
    unreachable: list[str] = field(default_factory=lambda: list(UNREACHABLE))
    existed: bool = True

    def add(self, what: str, count: int) -> None:
        """Count something that was removed."""
        if count:
            self.removed[what] = self.removed.get(what, 0) + count


@database_errors()
def forget(
    person: str,
    places: StudyLocations,
    also: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _: None,
    *,
    approve: Callable[[ForgetResult], bool] = lambda _: True,
) -> ForgetResult:
    """Remove everything of a person, then look for them everywhere; `tell` hears what is being done.

    `also` are words to look for besides the pseudonym, the seats and the ids that the database knows.
    `approve` is shown what is planned before anything is removed; when it says no, nothing is. A study on
    SQLite must not be served meanwhile; on PostgreSQL it may be. Calling it again, after an interruption or
    on another machine, does the rest. Raises TutelageError when a place is missing or in use.
    """
    rows, stores = _ledger(places), _stores(places)
    if rows is None and not stores and not places.parts:
        raise TutelageError("expected a study, a database, stores or copies to forget a person in, got none")
    done = ForgetResult(person)
    with contextlib.ExitStack() as stack:
        if rows is not None and is_sqlite(rows.engine) and places.study is not None:
            stack.enter_context(lock_folder(places.study))
        traces = look_up(rows, person) if rows is not None else PersonIdentifiers(person, (), (), ())
        done.vague = len(traces.vague)
        words = tuple(dict.fromkeys((*traces.words, *also)))
        exported = [exports_of(store) for store in stores]
        _plan(words, traces, places, stores, exported, done, tell)
        if not approve(done):
            done.existed = bool(done.planned) or _mark(person).exists()  # copies are planned for, unsearched
            return done
        if rows is not None:
            tell("deleting in the database")
            unseat(rows, traces.seats)
            done.removed |= erase(rows, traces)
        for store, exports in zip(stores, exported, strict=True):
            tell(f"removing episodes from {store.path}")
            done.add("episodes in stores", store.forget(person))
            renewal = renew(store, exports.rewritable, words)
            done.add("exports written anew", len(renewal.renewed))
            done.add("exports removed", len(renewal.removed))
            done.left += renewal.left
        if places.parts:
            tell(f"removing episodes from {places.parts}")
            done.add("episodes in copies", forget_remotely(RemoteFolder(places.parts), person))
        if rows is not None:
            tell("rewriting the database")
            scrub(rows.engine)
        _look(words, places, rows, stores, exported, done, tell)
        done.existed = _was_here(person, done, traces)
    return done


@database_errors()
def find(places: StudyLocations, name: str, value: str) -> str:
    """Return the pseudonym of the participant with an external id; raises TutelageError unless one has it.

    `name` is what the panel calls the id, or the panel itself. Who no longer stands in the table of ids is
    found by the study's secret.
    """
    rows = _ledger(places)
    pseudonyms = set(people_with(rows, value)) if rows is not None else set()
    folder = places.study or Path()
    if not pseudonyms and (places.study is not None or VARIABLE in os.environ) and has_secret(folder):
        secret = Secret.load(folder)
        sources = {name, name.lower(), name.partition("_")[0].lower()}
        pseudonyms = {secret.pseudonym(source, value) for source in sources} & _demonstrators(rows, places)
    if len(pseudonyms) != 1:
        got = "none" if not pseudonyms else f"{counted(len(pseudonyms), 'person')}"
        raise TutelageError(f"expected one person with that {name}, found {got}; give the pseudonym instead")
    return pseudonyms.pop()


def _plan(
    words: tuple[str, ...],
    traces: PersonIdentifiers,
    places: StudyLocations,
    stores: Sequence[Store],
    exported: Sequence[ExportRegistry],
    done: ForgetResult,
    tell: Callable[[str], None],
) -> None:
    """List what will be removed and rewritten, before anything is."""
    if traces.is_here:
        done.planned.append(
            f"database: {counted(len(traces.seats), 'seat')}, {counted(len(traces.ids), 'id')}, all "
            "rows about them"
        )
    for store, exports in zip(stores, exported, strict=True):
        rows = store.episodes()
        by = rows["demonstrator"].to_pylist()
        if count := by.count(traces.person):
            done.planned.append(
                f"{store.path}: {counted(count, 'episode')}, and what was computed from the store"
            )
        if count := rows_of(store.path, traces.person):
            done.planned.append(f"{store.path}: {counted(count, 'row')} that undo edits")
        tasks = {
            task for task, name in zip(rows["task"].to_pylist(), by, strict=True) if name != traces.person
        }
        for export in exports.rewritable:
            tell(f"searching {export.folder}")
            if mentions(export, words):
                what = "written anew without them" if export.task in tasks else "removed"
                done.outside.append(f"{export.folder}: {export.to} export of {store.path}, {what}")
    if places.parts:
        done.outside.append(f"{places.parts}: every copied part that they stand in, rewritten")
    done.planned += done.outside


def _was_here(person: str, done: ForgetResult, traces: PersonIdentifiers) -> bool:
    """Say whether a person of that name was here, now or at an earlier call; kept as a keyed hash."""
    mark = _mark(person)
    if done.removed or done.left or traces.is_here:
        with disk_errors(mark.parent):
            mark.parent.mkdir(mode=0o700, exist_ok=True)
            mark.touch(mode=0o600)
    return mark.exists()


def _mark(person: str) -> Path:
    """Return the file that tells that a person of that name was forgotten."""
    name = hashlib.blake2b(person.encode(), key=state_key(_FORGOTTEN), digest_size=16).hexdigest()
    return state_folder() / _FORGOTTEN / name


def _look(
    words: tuple[str, ...],
    places: StudyLocations,
    rows: StudyDatabase | None,
    stores: Sequence[Store],
    exported: Sequence[ExportRegistry],
    done: ForgetResult,
    tell: Callable[[str], None],
) -> None:
    """Search every place for every word, and name exports that could not be touched."""
    if rows is not None:
        tell("searching the database")
        matches, looked = standing(rows.engine, words)
        done.left += matches
        done.searched.append(f"{counted(looked, 'row')} of {address(rows.engine)}")
        if not is_sqlite(rows.engine):
            done.unreachable += _UNREACHABLE_ON_A_SERVER
        rows.engine.dispose()  # the last one to close a file of SQLite's takes its log along
    folders = [*([places.study] if places.study else []), *(store.path for store in stores)]
    folders += [place for exports in exported for export in exports.rewritable for place in export.places]
    for folder in _outermost(folders):
        tell(f"searching {folder}")
        search = ByteSearch(words)
        search.folder(folder)
        done.left += search.found
        done.searched.append(f"{counted(search.files, 'file')} ({counted(search.size, 'byte')}) in {folder}")
        done.unreachable += [f"what the link {link} leads to" for link in search.links]
    for exports in exported:
        for export in exports.doubtful:
            if is_linked(export) or mentions(export, words):
                done.left.append(
                    f"{export.folder}, exported from {export.store}, which must be removed by hand: "
                    f"it is not certain that this is the same store"
                )
        if exports.unknown:
            done.unreachable.append(
                f"{counted(exports.unknown, 'export')} that another person or machine made"
            )
    if places.parts:
        tell(f"searching {places.parts}")
        search, remote = ByteSearch(words), RemoteFolder(places.parts)
        for name, version in remote.versions():
            with remote.open(name, version) as file:
                search.file(file, name)
        done.left += [f"{name} at {places.parts}" for name in search.found]
        done.searched.append(
            f"{counted(search.files, 'file')} ({counted(search.size, 'byte')}) at {places.parts}"
        )


def _ledger(places: StudyLocations) -> StudyDatabase | None:
    """Open the study's database; None where there is none to open."""
    if places.database:
        return StudyDatabase(open_database(places.database))
    if places.study is None:
        return None
    if not places.study.is_dir():
        raise TutelageError(f"expected a study's folder at {places.study}, found none; check the path")
    file = places.study / JOURNAL
    refuse_link(file)
    return StudyDatabase(open_database(file)) if file.is_file() else None


def _stores(places: StudyLocations) -> list[Store]:
    """Open the stores: those in the study's folder, and those that are named."""
    within: list[Path] = []
    if places.study is not None:
        for parent, _, files in os.walk(places.study):  # which follows no links
            within += [Path(parent)] * ("dataset.yaml" in files)
    within.sort()
    return [Store.open(path) for path in dict.fromkeys([*within, *places.stores])]


def _demonstrators(rows: StudyDatabase | None, places: StudyLocations) -> set[str]:
    names = {name for store in _stores(places) for name in store.episodes()["demonstrator"].to_pylist()}
    if rows is not None:
        names |= {row["person"] for row in rows.rows(sql.select(people.c.person))}
        names |= {row["demonstrator"] for row in rows.rows(sql.select(SEATS.c.demonstrator))}
    return names


def _outermost(folders: Sequence[Path]) -> list[Path]:
    """Leave out what lies within another of the folders."""
    whole = list(dict.fromkeys(real_path(folder) for folder in folders))
    return [
        path for path in whole if not any(path != other and path.is_relative_to(other) for other in whole)
    ]
