"""Record of a store change in progress: which files are stale before and after its commit.

Writing the manifest commits a change of several files. Before the commit, `edits/pending.json` lists the new
and the old files: after a crash, readers ignore the stale ones, and the next writer removes them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import TutelageError
from ..files.atomic_files import write_whole
from ..files.bounded_files import parse_json, read_bytes
from ..files.finite_json import json_text

EDITS = "edits"
"""A store's folder for the undo data of its edits."""
PENDING = f"{EDITS}/pending.json"
_NAME = re.compile(
    r"part-\d{8}T\d{12}-[0-9a-f]{8}-r\d+-[0-9a-f]{16}\.parquet|annotations-[0-9a-f]{16}\.json"
    r"|edits/(redo-)?\d{4,9}\.(json|parquet)"
)


@dataclass(frozen=True)
class PendingChange:
    """One change: the SHA-256 of the manifest `before` and `after` it, and names of files in the store.

    `old` files are stale once the change is committed, `new` files are stale until then.
    """

    before: str
    after: str
    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    def stale(self, manifest: bytes) -> frozenset[str]:
        """Return the stale files, given the bytes of the manifest on disk."""
        seal = hashlib.sha256(manifest).hexdigest()
        if seal == self.after:
            return frozenset(self.old)
        return frozenset(self.new) if seal == self.before else frozenset()

    def has_happened(self, manifest: bytes) -> bool:
        """Return whether the manifest on disk is the one after the change."""
        return hashlib.sha256(manifest).hexdigest() == self.after

    def write(self, folder: Path) -> None:
        """Write the record into a store, atomically."""
        write_whole(folder / PENDING, json_text(asdict(self), is_compact=True).encode())


def read_pending(folder: Path) -> PendingChange | None:
    """Read the pending change of a store; None without one.

    A file with anything but names of the store's own files is ignored.
    """
    try:
        document = parse_json(read_bytes(folder / PENDING), str(folder / PENDING))
        pending = PendingChange(
            str(document["before"]),
            str(document["after"]),
            tuple(map(str, document["old"])),
            tuple(map(str, document["new"])),
        )
    except (OSError, TutelageError, ValueError, TypeError, KeyError):
        return None
    if (folder / EDITS).is_symlink() or not all(map(_NAME.fullmatch, (*pending.old, *pending.new))):
        return None
    return pending
