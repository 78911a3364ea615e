"""Cache of training columns on disk, authenticated by a keyed hash (HMAC-SHA256).

A cache lies in its store. With several stores, or where the store is read-only, it lies in the user's cache
folder. It is read only when its keyed hash over sources and content is right; the key never leaves the user's
state folder. Covers: caches that came with a store, and changed bytes; both are rebuilt. Does not cover:
programs that run as the same user.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...errors import TutelageError
from ...files.atomic_files import disk_errors
from ...files.bounded_files import open_regular, read_json, real_path
from ...files.finite_json import exact_json, json_text
from ...files.state_folder import cache_folder, state_key
from ..manifest import DOCUMENT

COLUMNS = "columns"
"""The folder for arrays computed from parts, in a store or in the user's cache folder."""
_PROOF, _SOURCES = "proof", "sources.json"


def cached_folder(stores: Sequence[Path], key: str, fill: Callable[[Path], None]) -> Path | None:
    """Return a folder that `fill` filled, now or earlier; None where no folder is writable.

    `key` names the content: layout, hashes of parts, episodes. A folder that fails authentication is filled
    again.
    """
    try:
        parent, secret = _cache_parent(stores), state_key("training columns")
    except TutelageError:  # the user has no writable folder: no cache
        return None
    folder = parent / key
    if _is_authentic(folder, key, secret):
        return folder
    temporary = parent / f".{key}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with disk_errors(parent):
            temporary.mkdir(parents=True)
            sources = json_text([str(real_path(store)) for store in stores])
            (temporary / _SOURCES).write_text(sources, encoding="utf-8")
            fill(temporary)
            (temporary / _PROOF).write_text(_proof(temporary, key, secret), "ascii")
            if not _is_authentic(folder, key, secret):  # else another process was faster
                _remove(folder)
                temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def remove_columns(store: Path) -> None:
    """Remove the arrays computed from a store: in the store, and in the user's cache folder."""
    _remove(store / COLUMNS)
    try:
        parent = cache_folder() / COLUMNS
    except TutelageError:
        return
    for folder in parent.iterdir() if parent.is_dir() else ():
        sources = _sources(folder)
        # also remove caches of stores that were moved or deleted: no later call would find them
        if str(real_path(store)) in sources or not all(
            (Path(source) / DOCUMENT).exists() for source in sources
        ):
            _remove(folder)


def _cache_parent(stores: Sequence[Path]) -> Path:
    within = stores[0] / COLUMNS
    is_own = not within.is_symlink() and (not within.exists() or os.access(within, os.W_OK))
    if len(stores) == 1 and is_own and os.access(stores[0], os.W_OK):
        return within
    return cache_folder() / COLUMNS


def _is_authentic(folder: Path, key: str, secret: bytes) -> bool:
    """Return whether a folder is unchanged since a process of this user filled it."""
    try:
        if folder.is_symlink() or not folder.is_dir():
            return False
        with open_regular(folder / _PROOF) as file:
            recorded = file.read(100)
        return hmac.compare_digest(recorded, _proof(folder, key, secret).encode())
    except (OSError, TutelageError):
        return False


def _proof(folder: Path, key: str, secret: bytes) -> str:
    """Return the keyed hash of the key, and of the names and bytes of all files but the proof itself."""
    files = [path for path in _files(folder) if path != folder / _PROOF]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:  # hashing releases the GIL
        digests = list(threads.map(_digest, files))
    entries = [
        key,
        *(f"{path.relative_to(folder)} {digest}" for path, digest in zip(files, digests, strict=True)),
    ]
    return hmac.new(secret, exact_json(entries).encode(), hashlib.sha256).hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """List the files of a folder, recursively, in a fixed order; a symbolic link counts as a file."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _digest(path: Path) -> str:
    if path.is_symlink():
        raise TutelageError(f"expected a file at {path}, got a link")
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sources(folder: Path) -> list[str]:
    with contextlib.suppress(OSError, ValueError):
        content = read_json(folder / _SOURCES)
        if isinstance(content, list):
            return [str(source) for source in content]
    return []


def _remove(folder: Path) -> None:
    """Remove a folder with its content; of a symbolic link only the link."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
