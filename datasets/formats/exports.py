"""What a store was exported to, so that what is forgotten in the store is forgotten there too."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from ..durable import disk_errors, write_whole
from ..store import Store
from ..traces import Search

_NOTES = ".exports"
_MARKS = {"minari": "data/metadata.json", "lerobot": "meta/tutelage.json"}
"""What lies in every dataset that an export wrote."""


def note_export(store: Store, to: str, out: Path) -> None:
    """Write down where a store has been exported to, and as what."""
    where = str(Path(out).resolve())
    name = hashlib.blake2b(f"{to} {where}".encode(), digest_size=8).hexdigest()
    with disk_errors(store.path):
        (store.path / _NOTES).mkdir(exist_ok=True)
        write_whole(store.path / _NOTES / f"{name}.json", json.dumps({"to": to, "out": where}).encode())


def exports(store: Store) -> list[tuple[str, Path]]:
    """List (format, folder) of the exports of a store that are still there."""
    notes = [json.loads(note.read_text()) for note in sorted((store.path / _NOTES).glob("*.json"))]
    return [(one["to"], Path(one["out"])) for one in notes if Path(one["out"]).is_dir()]


def renew_exports(store: Store, words: tuple[str, ...]) -> list[Path]:
    """Write every export anew in which one of the words stands; returns where. Without demonstrations, none
    is left."""
    from .exchange import export_store

    renewed = []
    for to, out in exports(store):
        search = Search(words)
        search.folder(out)
        if search.found:
            for mark in sorted(out.rglob(_MARKS[to])):
                shutil.rmtree(mark.parents[1])
            if len(store):
                export_store(store, to, out)
            renewed.append(out)
    return renewed
