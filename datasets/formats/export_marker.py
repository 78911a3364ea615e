"""Marker file of every exported dataset: identity of the export, and hashes of all files written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import TutelageError
from ...files.atomic_files import write_whole
from ...files.bounded_files import open_regular, read_json, real_path
from ...files.finite_json import exact_json
from ...files.safe_tree import files_in
from ..sealed_yaml import seal_of

MARKERS = {
    "minari": "data/tutelage.json",
    "lerobot": "meta/tutelage.json",
    "csv": "tutelage/csv.json",
    "npz": "tutelage/npz.json",
    "robomimic": "tutelage/robomimic.json",
    "rlds": "tutelage/rlds.json",
}
"""Format → path of the marker in a dataset."""

_TYPES = {"token": str, "task": str, "episodes": int, "suite": dict, "files": dict}

VERSION = 3
"""Raised whenever an older reader would misread an export."""


@dataclass(frozen=True)
class ExportMarker:
    """Content of an export's marker.

    `token` links the folder to the registry of the user who exported it; `files` maps relative path →
    hexadecimal SHA-256 of every file that was written, except the marker.
    """

    token: str
    task: str
    episodes: int
    suite: Mapping[str, Any]
    files: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path, to: str) -> ExportMarker:
        """Read the marker of a dataset; raises TutelageError when it is missing, changed or invalid."""
        path = folder / MARKERS[to]
        try:
            document = read_json(path)
        except FileNotFoundError:
            raise TutelageError(
                f"expected {MARKERS[to]} in {folder}, found none: it was exported by an older version, or "
                f"changed since; export it again"
            ) from None
        if not isinstance(document, dict) or document.get("version") != VERSION:
            got = document.get("version") if isinstance(document, dict) else type(document).__name__
            raise TutelageError(f"expected version {VERSION} in {path}, got {got!r}; export it again")
        content: dict[str, Any] = {name: document.get(name) for name in cls.__dataclass_fields__}
        if document.get("hash") != seal_of(content):
            raise TutelageError(f"expected {path} as it was written, got another: it was changed")
        for name, kind in _TYPES.items():
            if type(content[name]) is not kind:
                raise TutelageError(f"expected {name} in {path} to be a {kind.__name__}, got another value")
        for name in content["files"]:
            if not _is_within(name):
                raise TutelageError(f"expected files of the export in {path}, got {name!r}; get another copy")
        return cls(**content)

    def path(self, folder: Path, name: str) -> Path:
        """Return the path of a file of the export; raises TutelageError for a link out of the folder."""
        path = folder / name
        if not real_path(path).is_relative_to(real_path(folder)):
            raise TutelageError(f"expected {path} to be a file of the export, got a link to another place")
        return path

    def changed_files(self, folder: Path) -> list[str]:
        """List the files that are missing in `folder` or whose bytes differ from those written."""
        return [name for name, digest in self.files.items() if _file_hash(folder, name) != digest]


def write_marker(
    folder: Path, to: str, token: str, task: str, episodes: int, suite: Mapping[str, Any]
) -> None:
    """Hash every file of a finished dataset, and write the marker."""
    files = {name: _file_hash(folder, name) for name in files_in(folder)}
    content = {"token": token, "task": task, "episodes": episodes, "suite": dict(suite), "files": files}
    content = json.loads(exact_json(content))  # hash the content as it will be read: JSON keys are text
    document = {"version": VERSION, **content, "hash": seal_of(content)}
    text = exact_json(document, indent=1)
    path = folder / MARKERS[to]
    path.parent.mkdir(exist_ok=True)
    write_whole(path, text.encode())


def _is_within(name: str) -> bool:
    """Return whether a relative path, as `files_in` returns it, stays in its folder."""
    return "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def _file_hash(folder: Path, name: str) -> str:
    """Return the SHA-256 of a file inside `folder`; "" for a missing file, or a link out of the folder."""
    path = folder / name
    if not real_path(path).is_relative_to(real_path(folder)):
        return ""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, TutelageError):
        return ""
