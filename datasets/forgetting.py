"""A person is forgotten: in the database, every store, its exports and its copies; and the proof of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sql

from ..envs.errors import TutelageError
from .crowd.ledger import Ledger, people
from .crowd.recorder import JOURNAL, lock_folder
from .crowd.secret import VARIABLE, Secret, has_secret
from .crowd.studies.erasure import SEATS, Known, erase, look_up, people_with, scrub, standing, unseat
from .database import address, is_sqlite, open_database
from .formats.exports import exports, renew_exports
from .part_copies import forget_remotely
from .remote import Remote
from .store import Store
from .traces import Search

UNREACHABLE = (
    "backups, and copies that somebody downloaded",
    "policies that were trained on the demonstrations",
)
_UNREACHABLE_ON_A_SERVER = ("PostgreSQL's write-ahead log, until it is reused, and PostgreSQL's own log",)


@dataclass(frozen=True)
class Places:
    """Where a study keeps things: its folder, a database and stores outside of it, copies of its parts."""

    study: Path | None = None
    database: str = ""
    stores: Sequence[Path] = ()
    parts: str = ""


@dataclass
class Forgotten:
    """What was removed, what was looked through afterwards, and where something is `left`."""

    person: str
    removed: dict[str, int] = field(default_factory=dict)
    searched: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    vague: int = 0
    """How many external ids were too short to be looked for."""
    unreachable: list[str] = field(default_factory=lambda: list(UNREACHABLE))

    def add(self, what: str, count: int) -> None:
        """Count something that was removed."""
        if count:
            self.removed[what] = self.removed.get(what, 0) + count


def forget(
    person: str, places: Places, also: Sequence[str] = (), tell: Callable[[str], None] = lambda _: None
) -> Forgotten:
    """Remove everything of a person, then look for them everywhere; `tell` hears what is being done.

    `also` are words to look for besides the pseudonym, the seats and the ids that the database knows. A
    study on SQLite must not be served meanwhile; on PostgreSQL it may be. Calling it again, after an
    interruption or on another machine, does the rest. Raises TutelageError when a place is missing or in use.
    """
    rows, stores = _ledger(places), _stores(places)
    if rows is None and not stores and not places.parts:
        raise TutelageError("expected a study, a database, stores or copies to forget somebody in, got none")
    done = Forgotten(person)
    with contextlib.ExitStack() as stack:
        if rows is not None and is_sqlite(rows.engine) and places.study is not None:
            stack.enter_context(lock_folder(places.study))
        known = look_up(rows, person) if rows is not None else Known(person, (), (), ())
        done.vague = len(known.vague)
        words = tuple(dict.fromkeys((*known.words, *also)))
        if rows is not None:
            tell("deleting in the database")
            unseat(rows, known.seats)
            done.removed |= erase(rows, known)
        for store in stores:
            tell(f"removing episodes from {store.path}")
            done.add("episodes in stores", store.forget(person))
            done.add("exports written anew", len(renew_exports(store, words)))
        if places.parts:
            tell(f"removing episodes from {places.parts}")
            done.add("episodes in copies", forget_remotely(Remote(places.parts), person))
        if rows is not None:
            tell("rewriting the database")
            scrub(rows.engine)
        _look(words, places, rows, stores, done, tell)
    return done


def find(places: Places, name: str, value: str) -> str:
    """Return the pseudonym of whoever came with an external id; raises TutelageError unless it is one person.

    `name` is what the panel calls the id, or the panel itself. Who no longer stands in the table of ids is
    found by the study's secret.
    """
    rows = _ledger(places)
    found = set(people_with(rows, value)) if rows is not None else set()
    folder = places.study or Path()
    if not found and (places.study is not None or VARIABLE in os.environ) and has_secret(folder):
        secret = Secret.load(folder)
        sources = {name, name.lower(), name.partition("_")[0].lower()}
        found = {secret.pseudonym(source, value) for source in sources} & _demonstrators(rows, places)
    if len(found) != 1:
        got = "nobody" if not found else f"{len(found)} people"
        raise TutelageError(f"expected one person with that {name}, found {got}; give the pseudonym instead")
    return found.pop()


def _look(
    words: tuple[str, ...],
    places: Places,
    rows: Ledger | None,
    stores: Sequence[Store],
    done: Forgotten,
    tell: Callable[[str], None],
) -> None:
    """Search every place for every word."""
    if rows is not None:
        tell("searching the database")
        found, looked = standing(rows.engine, words)
        done.left += found
        done.searched.append(f"{looked} rows of {address(rows.engine)}")
        if not is_sqlite(rows.engine):
            done.unreachable += _UNREACHABLE_ON_A_SERVER
        rows.engine.dispose()  # the last one to close a file of SQLite's takes its log along
    folders = [*([places.study] if places.study else []), *(store.path for store in stores)]
    folders += [out for store in stores for _, out in exports(store)]
    for folder in _outermost(folders):
        tell(f"searching {folder}")
        search = Search(words)
        search.folder(folder)
        done.left += search.found
        done.searched.append(f"{search.files} files ({search.size} bytes) in {folder}")
    if places.parts:
        tell(f"searching {places.parts}")
        search, remote = Search(words), Remote(places.parts)
        for name, version in remote.versions():
            with remote.open(name, version) as file:
                search.file(file, name)
        done.left += [f"{name} at {places.parts}" for name in search.found]
        done.searched.append(f"{search.files} files ({search.size} bytes) at {places.parts}")


def _ledger(places: Places) -> Ledger | None:
    """Open the study's database; None where there is none to open."""
    if places.database:
        return Ledger(open_database(places.database))
    if places.study is None:
        return None
    if not places.study.is_dir():
        raise TutelageError(f"expected a study's folder at {places.study}, found none; check the path")
    file = places.study / JOURNAL
    return Ledger(open_database(file)) if file.is_file() else None


def _stores(places: Places) -> list[Store]:
    """Open the stores: those in the study's folder, and those that are named."""
    within = sorted(one.parent for one in places.study.rglob("dataset.yaml")) if places.study else []
    return [Store.open(path) for path in dict.fromkeys([*within, *places.stores])]


def _demonstrators(rows: Ledger | None, places: Places) -> set[str]:
    names = {name for store in _stores(places) for name in store.episodes()["demonstrator"].to_pylist()}
    if rows is not None:
        names |= {row["person"] for row in rows.rows(sql.select(people.c.person))}
        names |= {row["demonstrator"] for row in rows.rows(sql.select(SEATS.c.demonstrator))}
    return names


def _outermost(folders: Sequence[Path]) -> list[Path]:
    """Leave out what lies within another of the folders."""
    whole = list(dict.fromkeys(folder.resolve() for folder in folders))
    return [one for one in whole if not any(one != other and one.is_relative_to(other) for other in whole)]
