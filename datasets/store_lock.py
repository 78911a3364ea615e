"""File lock of a store's folder: exclusive for writers, shared for readers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_FILE = ".lock"


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock; the system releases it if the process dies. Raises OSError if not writable."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock: there, one writer at a time
        yield
        return
    path = folder / _FILE
    while True:
        # O_NOFOLLOW: a link that came with a store must not create a file elsewhere
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_at(
                handle, path
            ):  # the file was deleted meanwhile: other processes would lock a new one
                continue
            yield
            return
        finally:
            os.close(handle)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Hold the shared lock, where locks are supported; needs no write permission."""
    try:
        import fcntl

        # O_NONBLOCK: a named pipe that came with a store would block
        handle = os.open(folder / _FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (ImportError, OSError):  # without a lock file no process has written here
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a network file system may refuse locks to readers
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Return whether a path still refers to an open file."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
