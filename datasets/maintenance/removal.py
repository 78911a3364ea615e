"""Remove rows from all parts of a store at one moment: after a crash, all of it has happened or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ...files.atomic_files import disk_errors, sync_folder
from ..arrays.array_cache import remove_columns
from ..editing.annotations import sweep_annotations, write_annotations
from ..manifest import PartEntry, revision, stem
from ..schema import seal
from ..store_lock import writing

if TYPE_CHECKING:
    from ..store import Store


def remove_rows(store: Store, column: str, values: Sequence[str], words: Sequence[str] = ()) -> int:
    """Remove the rows whose `column` is one of the values, and what was computed from the parts; count them.

    Their annotations go too, and the notes and tags of others in which one of the `words` stands. New
    revisions of parts are written first, then the manifest, which is the moment of change, and the old parts
    go last.
    """
    folder = store.path
    with disk_errors(folder), writing(folder):
        manifest = store.settled()
        added: dict[str, PartEntry] = {}
        removed: dict[str, int] = {}
        gone: set[str] = set()
        for part in store.parts():
            table = store.part_rows(part)
            theirs = pc.is_in(table[column], pa.array(list(values), pa.string()))
            if count := int(pc.sum(theirs).as_py() or 0):
                removed[part.name] = count
                gone.update(table.filter(theirs)["episode"].to_pylist())
            if 0 < count < len(table):
                kept = table.filter(pc.invert(theirs))
                number = revision(part.name) + 1
                path, entry = store.write_part(stem(part.name), number, seal(kept), len(kept))
                added[path.name] = entry
        before = store.annotations(is_locked=True)
        after = before.without(gone, words)
        changed = manifest.changed(added, frozenset(removed))
        if after != before:
            changed = replace(changed, annotations=write_annotations(folder, after))
        if changed != manifest:
            changed.write(folder)
        sweep_annotations(folder, changed)
        for stale in (*(folder / name for name in removed), *folder.glob(".*.tmp")):
            stale.unlink()
        remove_columns(folder)
        sync_folder(folder)
    return sum(removed.values())
