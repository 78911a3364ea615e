"""Change the notes, tags and marks on episodes of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...console.printable import printable
from ...errors import TutelageError
from ...files.atomic_files import disk_errors
from ..store import Store
from ..store_lock import writing
from .annotations import Annotation, sweep_annotations, write_annotations


def annotate(store: Store, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Annotation]:
    """Change fields (`note`, `tags`, `marked`) of the annotations of episodes; on disk when this returns.

    Returns the annotations of these episodes. Raises TutelageError for an episode that the store does not
    hold, and for a note or tag that is none.
    """
    folder = store.path
    with disk_errors(folder), writing(folder):
        manifest = store.settled()
        held = set(store.episodes()["episode"].to_pylist())
        if missing := sorted(changes.keys() - held):
            raise TutelageError(f"expected an episode of {folder}, got {printable(missing[0])!r}")
        before = store.annotations(is_locked=True)
        changed = {
            episode: Annotation.from_dict({**before[episode].to_dict(), **fields})
            for episode, fields in changes.items()
        }
        after = before.changed(changed)
        if after != before:
            changed_manifest = replace(manifest, annotations=write_annotations(folder, after))
            changed_manifest.write(folder)
            sweep_annotations(folder, changed_manifest)
    return changed
