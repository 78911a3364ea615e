"""A folder that one process writes to: locked while it does, free again when it ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import TutelageError


class FolderLock:
    """A folder that is this process's alone, until closed; a killed process lets go by itself.

    What is locked is the folder itself, not a file in it, which a cleaner of temporary files may remove.
    Raises TutelageError when another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = _locked(folder)

    def close(self) -> None:
        """Let go of the folder."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lock_folder(folder: Path) -> FolderLock:
    """Hold the folder for this process; see `FolderLock`."""
    return FolderLock(folder)


def _locked(folder: Path) -> int:
    try:
        import fcntl
    except ImportError:  # Windows has no flock
        return -1
    while True:
        handle = os.open(folder, os.O_RDONLY)
        try:
            if not _flock(fcntl, handle):
                os.close(handle)
                # file systems of a network lock only what is open for writing
                handle = os.open(folder / "journal.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                at = folder / "journal.lock"
            else:
                at = folder
            if os.path.samestat(os.fstat(handle), os.stat(at)):  # not one that was removed meanwhile
                return handle
        except BlockingIOError:
            os.close(handle)
            raise TutelageError(
                f"expected {folder} to be free, got another recorder that writes there; stop that one first"
            ) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _flock(fcntl: Any, handle: int) -> bool:
    """Lock a folder; False where the file system cannot."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
