"""Export to and import from other projects' formats, by name: what `tutelage export` and `import` call."""

from __future__ import annotations

import re
from pathlib import Path

from ...envs.errors import TutelageError, nearest
from ..store import Progress, Store
from .exports import note_export

FORMATS = ("minari", "lerobot")


def export_store(store: Store, to: str, out: Path, progress: Progress | None = None) -> list[str]:
    """Write a store in another format under `out`; returns what was written and what it cannot hold."""
    _check(to)
    store.part_hashes()  # a damaged store is refused before anything is written
    note_export(store, to, out)
    if to == "minari":
        from .minari import export_minari

        name = re.sub(r"[^-_a-zA-Z0-9]", "_", store.suite.name)
        done = export_minari(store, f"{name}-v0", out, progress)
        written = [f"wrote {path}; open it with MINARI_DATASETS_PATH={out}" for path in done.paths]
        return [*written, *done.report]
    from .lerobot import export_lerobot

    return [f"wrote {out}", *export_lerobot(store, out, progress)]


def import_store(source: Path, origin: str, out: Path, progress: Progress | None = None) -> list[str]:
    """Read another format into a store at `out`; returns what was read and what had to be decided."""
    _check(origin)
    if origin == "minari":
        from .minari import import_minari

        return import_minari(source, out, progress).report
    from .lerobot import import_lerobot

    return import_lerobot(source, out, progress).report


def _check(name: str) -> None:
    if name not in FORMATS:
        raise TutelageError(f"expected a format ({', '.join(FORMATS)}), got {name!r}{nearest(name, FORMATS)}")
