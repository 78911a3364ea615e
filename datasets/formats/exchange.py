"""Export to and import from other formats by name; called by `tutelage export` and `tutelage import`."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ...envs.suite import load_suite
from ...errors import TutelageError, nearest
from ...files.safe_tree import refuse_link
from ..recorded_only import FORMATS as RECORDED_FORMATS
from ..recorded_only import expect_environments
from ..store import Progress, Store

if TYPE_CHECKING:
    from .miniwob.census import Census

FORMATS = ("minari", "lerobot", "csv", "npz", "robomimic", "rlds")
"""Formats that a store can be exported to."""
SOURCES = ("minari", "lerobot", "miniwob-turk")
"""Formats that can be imported into a store."""
THROUGH_MINARI = "docs/demonstrations.md#from-other-files-through-minari"
"""Documentation of importing any other format through Minari."""


def export_store(store: Store, to: str, out: Path, progress: Progress | None = None) -> list[str]:
    """Write a store in another format under `out`; return what was written and what it cannot hold."""
    _check_format(to, FORMATS)
    store.part_hashes()  # a damaged store is refused before anything is written
    store.admit_played()
    if to not in RECORDED_FORMATS:
        expect_environments(store)
    if to == "minari":
        from .minari.exporter import export_minari

        name = re.sub(r"[^-_a-zA-Z0-9]", "_", store.suite.name)
        result = export_minari(store, f"{name}-v0", out, progress)
        written = [f"wrote {path}; open it with MINARI_DATASETS_PATH={out}" for path in result.paths]
        return [*written, *result.report]
    module, function = _EXPORTERS[to]
    write = getattr(importlib.import_module(module, __package__), function)
    return [f"wrote {out}", *write(store, out, progress)]


_EXPORTERS = {
    "lerobot": (".lerobot.exporter", "export_lerobot"),
    "csv": (".csv_export", "export_csv"),
    "npz": (".npz_export", "export_npz"),
    "robomimic": (".robomimic_export", "export_robomimic"),
    "rlds": (".rlds_export", "export_rlds"),
}


def count_episodes(source: Path, origin: str) -> int:
    """Return the number of episodes that an import will read, 0 where it is unknown beforehand."""
    _check_format(origin, SOURCES)
    if origin != "miniwob-turk":
        return 0
    from .miniwob.turk import count_miniwob_turk

    return count_miniwob_turk(source)


def import_store(
    source: Path,
    origin: str,
    out: Path,
    progress: Progress | None = None,
    *,
    suite: str = "",
    keep_changed: bool = False,
) -> list[str] | list[Census]:
    """Read another format into a store at `out`; return what was read and which decisions were made.

    `suite` names the suite with the tasks to import, for a format without one (miniwob-turk). `keep_changed`
    imports episodes of tutelage's exports that were changed since their export, under new ids.
    """
    _check_format(origin, SOURCES)
    refuse_link(out)
    if origin == "miniwob-turk":
        if keep_changed:
            raise TutelageError("expected no --changed with miniwob-turk, which tutelage does not export")
        from .miniwob.turk import SUITE, import_miniwob_turk

        return [import_miniwob_turk(source, out, load_suite(suite or SUITE), progress)]
    if suite:
        raise TutelageError(f"expected no --suite with {origin}, whose data name their own; leave it out")
    if origin == "minari":
        from .minari.exporter import import_minari

        return import_minari(source, out, progress, keep_changed=keep_changed).report
    from .lerobot.importer import import_lerobot

    return import_lerobot(source, out, progress, keep_changed=keep_changed).report


def _check_format(name: str, formats: tuple[str, ...]) -> None:
    if name in formats:
        return
    near = nearest(name, formats)
    if formats is SOURCES and not near:
        raise TutelageError(
            f"expected a format that is read ({', '.join(SOURCES)}), got {name!r}; make a Minari dataset of "
            f"those files, in ten lines of Python, and import that: see {THROUGH_MINARI}"
        )
    raise TutelageError(f"expected a format ({', '.join(formats)}), got {name!r}{near}")
