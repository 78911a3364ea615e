"""The file of an open SQLite database: checks that it is still the one at its path, and rewrites it.

SQLite keeps writing to a file that was unlinked or renamed, and every commit there succeeds. So the path is
compared with the opened file (device and inode, of the write-ahead log and its index too), and a database
that is no longer at its path is copied there from the connection that still has it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from ...console.wording import counted
from ...errors import TutelageError
from ...files.atomic_files import sync_folder

Identity = tuple[int, int]
"""Device and inode."""

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=1500")
_SIBLINGS = ("", "-wal", "-shm")
_PARTIAL, _ANEW = ".partial", ".anew"
"""Suffixes of a copy that is being written, and of a complete one that is not in place yet."""
_log = logging.getLogger("tutelage.journal")


class FileLost(TutelageError):
    """The database cannot go on at its path; the message says where all acknowledged data is."""


class DatabaseFile:
    """One SQLite file and its write-ahead log; `connect` makes connections to that file only.

    Two connections are held open throughout: one can read committed data wherever the path leads, the other
    blocks further commits (SQLite copies nothing out of an open write). No other code of this process may
    open the file itself: closing it would drop SQLite's locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._name = str(self.path)  # stat of a string takes half the time
        self.lost: FileLost | None = None
        self.rewritten: list[str] = []
        """Why the file has been written anew, each time."""
        self.turn = threading.Lock()
        """Held by the one writing thread of this process: SQLite's own waiting starves threads."""
        self._lock = threading.RLock()
        self._anchor: sqlite3.Connection | None = None
        self._blocker: sqlite3.Connection | None = None
        self._identities: dict[str, Identity] = {}
        self._folder = -1
        self._folder_identity: Identity = (0, 0)
        self._size = 0

    @property
    def identity(self) -> Identity | None:
        """The file that connections are made to; None before the first."""
        return self._identities.get(self._name)

    def connect(self) -> sqlite3.Connection:
        """Connect to the file; only the first connection creates it."""
        with self._lock:
            if self.lost is not None:
                raise sqlite3.OperationalError(str(self.lost))
            if self._anchor is None:
                self._finish_rewriting()
                self._hold("rwc")
            elif fault := self.fault():
                raise sqlite3.OperationalError(fault)
            return _open(self.path, "rw")

    def fault(self) -> str | None:
        """Say why the path no longer leads to the opened file; None if it does."""
        if self.lost is not None:
            return str(self.lost)
        try:
            for path, identity in self._identities.items():
                status = os.stat(path)
                if (status.st_dev, status.st_ino) != identity:
                    return f"{path} was replaced while it was in use"
                if (
                    path is self._name
                    and status.st_size != self._size
                    and (cut := self._check_size(status.st_size))
                ):
                    return cut
        except (FileNotFoundError, NotADirectoryError):
            return f"{path} was removed while it was in use"
        except OSError as error:
            return f"{path} cannot be reached: {error.strerror}"
        return None

    def mend(self, forget_connections: Callable[[], None]) -> None:
        """Write the database to its path again if `fault` says that it is not there.

        `forget_connections` makes the caller open new ones. Raises sqlite3.Error or OSError when that cannot
        be done now, FileLost when the database can never go on here.
        """
        with self._lock:
            if (fault := self.fault()) is None or self._blocker is None:
                return
            if self.lost is not None:
                raise self.lost
            # blocks every commit to the old file from here on: waiting writers find a new generation
            blocker = self._blocker
            blocker.execute("BEGIN IMMEDIATE")
            try:
                self._rewrite(fault, forget_connections)
            finally:
                blocker.execute("ROLLBACK")
                if blocker is not self._blocker:
                    blocker.close()

    def close(self) -> None:
        """Close the file; the next connection creates or opens what is at the path then."""
        with self._lock:
            for connection in (self._anchor, self._blocker):
                if connection is not None:
                    connection.close()
            if self._folder >= 0:
                os.close(self._folder)
            self._anchor = self._blocker = None
            self._folder, self._identities, self._size = -1, {}, 0

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _hold(self, mode: str) -> None:
        self._anchor, self._blocker = _open(self.path, mode), _open(self.path, "rw")
        for connection in (self._anchor, self._blocker):
            connection.isolation_level = None  # transactions begin by statement only
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the log
        parent = self.path.parent
        if self._folder < 0 and os.name != "nt":
            self._folder = os.open(parent, os.O_RDONLY)
        self._folder_identity = _identity(parent)
        names = [self._name, *(self._name + end for end in _SIBLINGS[1:])]
        self._identities = {name: _identity(name) for name in names if os.path.exists(name)}
        self._size = self.path.stat().st_size

    def _check_size(self, size: int) -> str | None:
        """Say whether a file that shrank was truncated; VACUUM makes it smaller and keeps it sound."""
        if size > self._size:
            self._size = size
            return None
        try:
            with contextlib.closing(_open(self.path, "rw")) as fresh:
                is_sound = fresh.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        except sqlite3.OperationalError as error:  # busy, or a disk error: decided at the next check
            return str(error)
        except sqlite3.DatabaseError:
            is_sound = False
        if is_sound:
            self._size = size
            return None
        self.lost = FileLost(
            f"expected {self.path} to be left alone while it is in use, got a file that was cut short from "
            f"{self._size} to {counted(size, 'byte')}; nothing was acknowledged since; restore it from a copy"
        )
        return str(self.lost)

    def _rewrite(self, fault: str, forget_connections: Callable[[], None]) -> None:
        was_removed = self._folder >= 0 and os.fstat(self._folder).st_nlink == 0
        was_moved = not was_removed and not self._is_folder(self.path.parent)
        if was_moved and self._is_in_moved_folder():
            self.lost = FileLost(
                f"expected the folder {self.path.parent} to stay where it is while in use, got one that was "
                f"moved; everything acknowledged is in {self.path.name} there; move it back, start again"
            )
            raise self.lost
        self.path.parent.mkdir(parents=True, exist_ok=True)
        target = self.path
        if (was_removed or was_moved) and target.exists():  # the process that made the new folder may use it
            target = target.with_name(f"{target.stem}-{uuid.uuid4().hex[:8]}{target.suffix}")
        self._write_anew(target)
        if was_removed or was_moved:
            self.lost = FileLost(
                f"expected the folder {self.path.parent} to be left alone while in use, got one that was "
                f"removed; the journal has been written anew to {target}, with everything acknowledged; "
                "restore what else was in the folder, then start again"
            )
            raise self.lost
        old_anchor = self._anchor
        self._hold("rw")
        forget_connections()
        if old_anchor is not None:
            old_anchor.close()
        self.rewritten.append(fault)
        _log.warning("%s; it has been written anew, with everything that was acknowledged", fault)

    def _write_anew(self, target: Path) -> None:
        """Copy the database: complete, checked and synced under another name, then moved into place."""
        assert self._anchor is not None
        partial, anew = (target.with_name(target.name + end) for end in (_PARTIAL, _ANEW))
        try:
            partial.unlink(missing_ok=True)
            with contextlib.closing(sqlite3.connect(partial)) as copy:
                copy.execute("PRAGMA synchronous=FULL")
                self._anchor.backup(copy)
                if (result := copy.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
                    raise sqlite3.DatabaseError(f"the copy is not sound: {result[0]}")
        except BaseException:
            for end in ("", *_SIBLINGS[1:], "-journal"):
                partial.with_name(partial.name + end).unlink(missing_ok=True)
            raise
        partial.replace(anew)
        for end in reversed(_SIBLINGS):  # the log first: it must never be read into another database
            self._set_aside(target.with_name(target.name + end))
        anew.replace(target)
        sync_folder(target.parent)

    def _set_aside(self, path: Path) -> None:
        """Remove an own file that is in the way; rename any other."""
        try:
            if _identity(path) == self._identities.get(str(path)):
                if path != self.path:  # the database itself is replaced atomically
                    path.unlink()
                return
            path.rename(path.with_name(f"{path.name}.set-aside-{uuid.uuid4().hex[:8]}"))
        except FileNotFoundError:
            pass

    def _finish_rewriting(self) -> None:
        """Move a complete copy into place whose process died just before."""
        anew = self._sibling(_ANEW)
        if anew.exists() and not self.path.exists():
            anew.replace(self.path)
        anew.unlink(missing_ok=True)

    def _is_folder(self, path: Path) -> bool:
        with contextlib.suppress(OSError):
            return _identity(path) == self._folder_identity
        return False

    def _is_in_moved_folder(self) -> bool:
        try:
            status = os.stat(self.path.name, dir_fd=self._folder)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def _sibling(self, end: str) -> Path:
        return self.path.with_name(self.path.name + end)


def _open(path: Path, mode: str) -> sqlite3.Connection:
    """Open a file in SQLite's `mode` (rw, or rwc to create it), with every commit synced."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, check_same_thread=False)
    # a damaged row must not prevent reading the others
    connection.text_factory = lambda data: data.decode("utf-8", errors="surrogateescape")
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except UnicodeDecodeError:  # raised for SQLite's own message, which contains the damaged name
        connection.close()
        raise sqlite3.DatabaseError("database disk image is malformed") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _identity(path: Path | str) -> Identity:
    status = os.stat(path)
    return status.st_dev, status.st_ino
