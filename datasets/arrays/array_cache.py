"""Where training columns are kept, and the proof that they are this person's own work.

A cache lies in its store, else in the person's cache folder: where there are several stores, and where the
store cannot be written. It is read only when its keyed hash over sources and content is right; the key never
leaves the person's state folder. Covers: caches that came with a store, and changed bytes; they are made
anew. Does not cover: programs that run as the same person.
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
"""The folder, in a store or in the person's cache folder, for what was computed from parts."""
_PROOF, _SOURCES = "proof", "sources.json"


def cached_folder(stores: Sequence[Path], key: str, fill: Callable[[Path], None]) -> Path | None:
    """Return a folder that `fill` filled, now or earlier; None where there is no place to keep one.

    `key` names the content: layout, hashes of parts, episodes. A folder that is not proven is filled again.
    """
    try:
        parent, secret = _place(stores), state_key("training columns")
    except TutelageError:  # no folder of their own to write to: nothing is kept
        return None
    folder = parent / key
    if _is_proven(folder, key, secret):
        return folder
    temporary = parent / f".{key}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with disk_errors(parent):
            temporary.mkdir(parents=True)
            sources = json_text([str(real_path(store)) for store in stores])
            (temporary / _SOURCES).write_text(sources, encoding="utf-8")
            fill(temporary)
            (temporary / _PROOF).write_text(_proof(temporary, key, secret), "ascii")
            if not _is_proven(folder, key, secret):  # else another process was faster
                _remove(folder)
                temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def remove_columns(store: Path) -> None:
    """Remove what was computed from a store: in the store, and in this person's cache folder."""
    _remove(store / COLUMNS)
    try:
        kept = cache_folder() / COLUMNS
    except TutelageError:
        return
    for folder in kept.iterdir() if kept.is_dir() else ():
        sources = _sources(folder)
        # those of a store that was moved or deleted would never be found again
        if str(real_path(store)) in sources or not all(
            (Path(source) / DOCUMENT).exists() for source in sources
        ):
            _remove(folder)


def _place(stores: Sequence[Path]) -> Path:
    within = stores[0] / COLUMNS
    is_own = not within.is_symlink() and (not within.exists() or os.access(within, os.W_OK))
    if len(stores) == 1 and is_own and os.access(stores[0], os.W_OK):
        return within
    return cache_folder() / COLUMNS


def _is_proven(folder: Path, key: str, secret: bytes) -> bool:
    """Say whether a folder is as it was when a process of this person filled it."""
    try:
        if folder.is_symlink() or not folder.is_dir():
            return False
        with open_regular(folder / _PROOF) as file:
            given = file.read(100)
        return hmac.compare_digest(given, _proof(folder, key, secret).encode())
    except (OSError, TutelageError):
        return False


def _proof(folder: Path, key: str, secret: bytes) -> str:
    """Return the keyed hash of the key, and of the names and bytes of all files but the proof itself."""
    files = [path for path in _files(folder) if path != folder / _PROOF]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:  # hashing lets go of the interpreter
        digests = list(threads.map(_digest, files))
    told = [
        key,
        *(f"{path.relative_to(folder)} {digest}" for path, digest in zip(files, digests, strict=True)),
    ]
    return hmac.new(secret, exact_json(told).encode(), hashlib.sha256).hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """List the files of a folder and those below in a fixed order; a link counts as a file."""
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
    """Remove a folder with all that lies in it; of a link only the link."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
