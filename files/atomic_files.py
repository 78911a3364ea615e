"""Write a file whole or not at all, and say it clearly when the disk refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from ..errors import TutelageError


def write_whole(path: Path, data: bytes) -> None:
    """Write a whole file or none: temporary name, sync, rename, sync the folder."""
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
    """Write a file that its owner alone can read, whole or not at all.

    Without `replace`, a file that is there already stays; so does the first one of two processes that try.
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
    """Put a folder's own entries on the disk: new, renamed and removed names."""
    if os.name == "nt":  # Windows can't open folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def disk_errors(path: Path, then: str = "try again") -> Iterator[None]:
    """Turn what the disk says into one line, a TutelageError; `then` is what to do after the remedy."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "the disk is full" if full else str(error)
        remedy = "free some space" if full else "check that the folder can be written"
        raise TutelageError(
            f"expected to write to {path}, got: {what}; nothing that was there is lost; {remedy} and {then}"
        ) from error
