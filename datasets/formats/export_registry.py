"""Which folders a person exported from which of their stores: kept in their state folder, not in a store.

A store may come from another person, so nothing that it says leads to a folder outside of it. An export
is touched only where three things agree: this registry (by the store's real path and its folder's inode),
the token that the store keeps for it, and the token in the export's own marker.
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
    """One dataset that was exported: from where, as what, to which folder. Paths are real and absolute."""

    token: str
    store: str
    inode: int
    to: str
    task: str
    name: str
    folder: Path

    @property
    def fresh(self) -> Path:
        """Return the sibling folder that the dataset is written to before it takes its name."""
        return self.folder.with_name(f".{self.folder.name}.{self.token}.new")

    @property
    def old(self) -> Path:
        """Return the sibling folder that the dataset's former state is moved to before it is removed."""
        return self.folder.with_name(f".{self.folder.name}.{self.token}.old")

    @property
    def places(self) -> list[Path]:
        """List where anything of the export is now: one folder, or several after an interruption."""
        return [
            path for path in (self.folder, self.fresh, self.old) if path.is_dir() and not path.is_symlink()
        ]


@dataclass(frozen=True)
class ExportRegistry:
    """The exports of one store: `rewritable` may be written anew, `doubtful` only be named.

    `unknown` counts tokens of exports that another person or machine made.
    """

    rewritable: list[Export]
    doubtful: list[Export]
    unknown: int


def register(store: Store, to: str, task: str, name: str, folder: Path) -> Export:
    """Enter an export that is about to be written. Raises TutelageError when that is impossible."""
    real = real_path(store.path)
    parent = real_path(folder.absolute().parent)
    inode = real.stat().st_ino
    export = Export(secrets.token_hex(16), str(real), inode, to, task, name, parent / folder.name)
    document = {**asdict(export), "folder": str(export.folder)}
    path = _registry() / f"{export.token}.json"
    with disk_errors(path.parent):
        write_whole(path, json_text(document).encode())
    with contextlib.suppress(OSError):  # `forget` cannot change a read-only store either
        notes = real / _NOTES
        notes.mkdir(exist_ok=True)
        if not notes.is_symlink():
            write_whole(notes / f"{export.token}.json", json_text({"to": to}).encode())
    return export


def strike(export: Export) -> None:
    """Remove an export that is no more from the registry, and its token from the store."""
    notes = Path(export.store) / _NOTES
    with contextlib.suppress(OSError):
        if not notes.is_symlink():
            (notes / f"{export.token}.json").unlink(missing_ok=True)
    with disk_errors(_registry()):
        (_registry() / f"{export.token}.json").unlink(missing_ok=True)
        sync_folder(_registry())


def exports_of(store: Store) -> ExportRegistry:
    """Look up what a store was exported to."""
    real = real_path(store.path)
    inode, notes = real.stat().st_ino, _noted_tokens(real)
    entries = _entries()
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
    """Let one process at a time finish, rewrite or remove exports."""
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


def _entries() -> list[Export]:
    entries = [_entry(path) for path in _registry().glob("*.json")]
    return sorted(entries, key=lambda entry: str(entry.folder))


def _is_folder(path: str) -> bool:
    """Say whether a path is one that `register` writes: absolute, of a folder with a name, without dots."""
    folder = Path(path)
    return folder.is_absolute() and bool(folder.name) and ".." not in folder.parts and "\0" not in path


def _entry(path: Path) -> Export:
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
