"""Export to and import from other formats by name; called by `tutelage export` and `tutelage import`."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ...envs.suite import load_suite
from ...errors import TutelageError, nearest
from ...files.safe_tree import refuse_link
from ...foreign_code.objects import FORM, ObjectSpec, entry_points, is_object_text, parse_text
from ...foreign_code.objects import FORMATS as OWN_FORMATS
from ..recorded_only import FORMATS as RECORDED_FORMATS
from ..recorded_only import expect_environments
from ..store import Progress, Store

if TYPE_CHECKING:
    from .miniwob.census import Census

FORMATS = ("minari", "lerobot", "csv", "npz", "robomimic", "rlds")
"""Formats that a store can be exported to."""
SOURCES = ("minari", "lerobot", "miniwob-turk")
"""Formats that can be imported into a store."""
OWN = "docs/extend.md#formats"
"""Documentation of reading and writing any other format."""


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


def own_format(name: str) -> ObjectSpec | None:
    """Return the object of another package that a format's name means; None for one of ours, or none."""
    if name in (*FORMATS, *SOURCES):
        return None
    if is_object_text(name):
        return parse_text(name, "a format")
    return ObjectSpec(name) if name in entry_points(OWN_FORMATS) else None


def count_episodes(source: Path, origin: str) -> int:
    """Return the number of episodes that an import will read, 0 where it is unknown beforehand."""
    if own_format(origin) is not None:
        return 0
    _check_format(origin, SOURCES)
    if origin == "lerobot":
        from .lerobot.dataset_info import count_lerobot

        return count_lerobot(source)
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
    image_size: int | None = None,
    is_recorded: bool = False,
) -> list[str] | list[Census]:
    """Read another format into a store at `out`; return what was read and which decisions were made.

    `suite` names the suite with the tasks to import, for a format without one (miniwob-turk, one of another
    package). `keep_changed` imports episodes of tutelage's exports that were changed since their export,
    under new ids. `image_size` is the longer side of pictures, in pixels, of LeRobot datasets of others.
    With `is_recorded`, tasks of Minari datasets of others have recordings only.
    """
    refuse_link(out)
    if image_size is not None and origin != "lerobot":
        raise TutelageError(f"expected no --image-size with {origin}, only with lerobot; leave it out")
    if is_recorded and origin != "minari":
        raise TutelageError(f"expected no --recorded with {origin}, only with minari; leave it out")
    if (spec := own_format(origin)) is not None:
        from .own_format import import_own

        if keep_changed:
            raise TutelageError(f"expected no --changed with {spec.name}, which tutelage does not export")
        if not suite:
            raise TutelageError(f"expected --suite SUITE with {spec.name}: the tasks of its episodes")
        return import_own(spec, str(source), out, load_suite(suite), progress)
    _check_format(origin, SOURCES)
    if origin == "miniwob-turk":
        if keep_changed:
            raise TutelageError("expected no --changed with miniwob-turk, which tutelage does not export")
        from .miniwob.turk import SUITE, import_miniwob_turk

        return [import_miniwob_turk(source, out, load_suite(suite or SUITE), progress)]
    if suite:
        raise TutelageError(f"expected no --suite with {origin}, whose data name their own; leave it out")
    if origin == "minari":
        from .minari.exporter import import_minari

        return import_minari(source, out, progress, keep_changed=keep_changed, is_recorded=is_recorded).report
    from .lerobot.importer import import_lerobot

    result = import_lerobot(source, out, progress, keep_changed=keep_changed, image_size=image_size)
    return result.report


def _check_format(name: str, formats: tuple[str, ...]) -> None:
    if name in formats:
        return
    near = nearest(name, formats)
    if formats is SOURCES and not near:
        raise TutelageError(
            f"expected a format that is read ({', '.join(SOURCES)}), got {name!r}; write a function that "
            f"reads those files, and name it, {FORM}: see {OWN}"
        )
    raise TutelageError(f"expected a format ({', '.join(formats)}) or {FORM}, got {name!r}{near}")
