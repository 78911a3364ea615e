"""The lock of a store's folder: one process changes it at a time; readers wait only when they must."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_FILE = ".lock"


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the folder alone; a killed process lets go by itself. Raises OSError when it cannot be written."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock: there, one writer at a time
        yield
        return
    path = folder / _FILE
    while True:
        # a link that came with a store must not make a file elsewhere
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_at(handle, path):  # its file was deleted meanwhile: others would lock another one
                continue
            yield
            return
        finally:
            os.close(handle)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep writers out meanwhile, where there can be any; needs no right to write."""
    try:
        import fcntl

        # without waiting: a pipe of that name that came with a store has no other end
        handle = os.open(folder / _FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (ImportError, OSError):  # without a lock's file no process has written here
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a network's file system may refuse locks to readers
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Say whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
