"""Registry of the folders that a user exported from each store, in the user's state folder.

A store may come from another person, so its content never refers to a folder outside of it. An export is
modified only where three records agree: this registry (by the store's real path and its folder's inode), the
token in the store, and the token in the export's marker.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import TutelageError
from ...files.atomic_files import disk_errors, sync_folder, write_whole
from ...files.bounded_files import read_json, real_path
from ...files.finite_json import json_text
from ...files.state_folder import state_folder
from ..store import Store
from .export_marker import MARKERS

_REGISTRY = "exports"
_NOTES = ".exports"
_TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Export:
    """One exported dataset: source store, format, target folder. Paths are real and absolute."""

    token: str
    store: str
    inode: int
    to: str
    task: str
    name: str
    folder: Path

    @property
    def fresh(self) -> Path:
        """Return the sibling folder in which the dataset is written before it is renamed to `folder`."""
        return self.folder.with_name(f".{self.folder.name}.{self.token}.new")

    @property
    def old(self) -> Path:
        """Return the sibling folder to which the former dataset is moved before it is removed."""
        return self.folder.with_name(f".{self.folder.name}.{self.token}.old")

    @property
    def places(self) -> list[Path]:
        """List the existing folders of the export: one, or several after an interruption."""
        return [
            path for path in (self.folder, self.fresh, self.old) if path.is_dir() and not path.is_symlink()
        ]


@dataclass(frozen=True)
class ExportRegistry:
    """The exports of one store: `rewritable` may be rewritten, `doubtful` may only be reported.

    `unknown` counts tokens of exports made by another user or machine.
    """

    rewritable: list[Export]
    doubtful: list[Export]
    unknown: int


def register(store: Store, to: str, task: str, name: str, folder: Path) -> Export:
    """Register an export before it is written; raises TutelageError when that is impossible."""
    real = real_path(store.path)
    parent = real_path(folder.absolute().parent)
    inode = real.stat().st_ino
    export = Export(secrets.token_hex(16), str(real), inode, to, task, name, parent / folder.name)
    document = {**asdict(export), "folder": str(export.folder)}
    path = _registry() / f"{export.token}.json"
    with disk_errors(path.parent):
        write_whole(path, json_text(document).encode())
    with contextlib.suppress(OSError):  # a read-only store cannot be changed by `forget` either
        notes = real / _NOTES
        notes.mkdir(exist_ok=True)
        if not notes.is_symlink():
            write_whole(notes / f"{export.token}.json", json_text({"to": to}).encode())
    return export


def strike(export: Export) -> None:
    """Remove a deleted export from the registry, and its token from the store."""
    notes = Path(export.store) / _NOTES
    with contextlib.suppress(OSError):
        if not notes.is_symlink():
            (notes / f"{export.token}.json").unlink(missing_ok=True)
    with disk_errors(_registry()):
        (_registry() / f"{export.token}.json").unlink(missing_ok=True)
        sync_folder(_registry())


def exports_of(store: Store) -> ExportRegistry:
    """Return the registered exports of a store."""
    real = real_path(store.path)
    inode, notes = real.stat().st_ino, _noted_tokens(real)
    entries = _read_entries()
    rewritable, doubtful = [], []
    for export in entries:
        is_here = export.store == str(real)
        if is_here and export.inode == inode and export.token in notes:
            rewritable.append(export)
        elif is_here or export.token in notes:
            doubtful.append(export)
    return ExportRegistry(rewritable, doubtful, len(notes - {export.token for export in entries}))


@contextlib.contextmanager
def registry_lock() -> Iterator[None]:
    """Hold the exclusive lock for finishing, rewriting or removing exports."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock
        yield
        return
    with (_registry() / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _registry() -> Path:
    folder = state_folder() / _REGISTRY
    with disk_errors(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _noted_tokens(store: Path) -> set[str]:
    notes = store / _NOTES
    names = [] if notes.is_symlink() or not notes.is_dir() else [path.stem for path in notes.glob("*.json")]
    return {name for name in names if _TOKEN.fullmatch(name)}


def _read_entries() -> list[Export]:
    entries = [_read_entry(path) for path in _registry().glob("*.json")]
    return sorted(entries, key=lambda entry: str(entry.folder))


def _is_folder(path: str) -> bool:
    """Return whether a path is of the form that `register` writes: absolute, named, without `..`."""
    folder = Path(path)
    return folder.is_absolute() and bool(folder.name) and ".." not in folder.parts and "\0" not in path


def _read_entry(path: Path) -> Export:
    document: Any = read_json(path)
    types = {"token": str, "store": str, "inode": int, "to": str, "task": str, "name": str, "folder": str}
    if (
        not isinstance(document, dict)
        or document.keys() != types.keys()
        or any(not isinstance(document[name], kind) for name, kind in types.items())
        or document["token"] != path.stem
        or document["to"] not in MARKERS
        or not _is_folder(document["folder"])
    ):
        raise TutelageError(f"expected one of your exports in {path}, got something else; remove that file")
    return Export(**{**document, "folder": Path(document["folder"])})
