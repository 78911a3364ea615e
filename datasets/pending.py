"""A change of a store that is under way: which files are stale, whether it has happened or not.

Several files change at one moment: the manifest's. Before it, `edits/pending.json` names the new files and
the old ones: after a crash a reader ignores those that do not count, and the next writer removes them.
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
"""A store's folder for what undoes its edits."""
PENDING = f"{EDITS}/pending.json"
_NAME = re.compile(
    r"part-\d{8}T\d{12}-[0-9a-f]{8}-r\d+-[0-9a-f]{16}\.parquet|annotations-[0-9a-f]{16}\.json"
    r"|edits/(redo-)?\d{4,9}\.(json|parquet)"
)


@dataclass(frozen=True)
class PendingChange:
    """One change: the SHA-256 of the manifest `before` and `after` it, and files by their names in the store.

    `old` are stale once the change has happened, `new` are stale unless it has.
    """

    before: str
    after: str
    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    def stale(self, manifest: bytes) -> frozenset[str]:
        """Return the files that do not count, given the bytes of the manifest that is on disk."""
        seal = hashlib.sha256(manifest).hexdigest()
        if seal == self.after:
            return frozenset(self.old)
        return frozenset(self.new) if seal == self.before else frozenset()

    def has_happened(self, manifest: bytes) -> bool:
        """Say whether the manifest on disk is the one after the change."""
        return hashlib.sha256(manifest).hexdigest() == self.after

    def write(self, folder: Path) -> None:
        """Write it into a store, whole or not at all."""
        write_whole(folder / PENDING, json_text(asdict(self), is_compact=True).encode())


def read_pending(folder: Path) -> PendingChange | None:
    """Read the change that is under way in a store; None where there is none.

    A file that holds anything but names of a store's own files counts as none.
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
