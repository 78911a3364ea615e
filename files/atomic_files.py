"""Write files atomically, with clear errors when the disk refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from ..errors import TutelageError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically: temporary name, sync, rename, sync the folder."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_private(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file with mode 0600 atomically.

    Without `replace`, an existing file stays; of two concurrent writers, the first wins.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Sync a folder's entries to the disk: new, renamed and removed names."""
    if os.name == "nt":  # Windows can't open folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def disk_errors(path: Path, then: str = "try again") -> Iterator[None]:
    """Convert an OSError to a one-line TutelageError; `then` is what to do after the remedy."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cause = "the disk is full" if full else str(error)
        remedy = "free some space" if full else "check that the folder can be written"
        raise TutelageError(
            f"expected to write to {path}, got: {cause}; nothing that was there is lost; {remedy} and {then}"
        ) from error
