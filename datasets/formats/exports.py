"""Rewrite the exports of a store after people were removed from it.

A new dataset is written beside the old one, synced, and swapped by two renames. `finish` recovers from a kill
at any point: either the old or the new state is complete at every moment.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import TutelageError
from ...files.atomic_files import disk_errors, sync_folder
from ...files.bounded_files import real_path
from ...files.safe_tree import files_in, remove_tree
from ..maintenance.byte_search import ByteSearch
from ..store import Progress, Store
from .export_marker import MARKERS, ExportMarker
from .export_registry import Export, registry_lock, strike


@dataclass
class ExportRewrite:
    """The result of a rewrite: folders rewritten, removed, and left to be removed by hand."""

    renewed: list[Path] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def mentions(export: Export, words: tuple[str, ...]) -> bool:
    """Return whether one of the words occurs in a dataset, or in its leftovers of an interruption."""
    search = ByteSearch(words)
    for folder in export.places:
        search.folder(folder)
    return bool(search.found)


def is_linked(export: Export) -> bool:
    """Return whether the export's folder, or one above it, is now a symbolic link, which is not followed."""
    return export.folder.is_symlink() or real_path(export.folder.parent) != export.folder.parent


def renew(store: Store, exports: list[Export], words: tuple[str, ...]) -> ExportRewrite:
    """Rewrite every dataset that contains one of the words; remove one without any episode.

    A dataset that cannot be rewritten, or is not the registered export, stays and is listed in `left`.
    """
    rewrite = ExportRewrite()
    with registry_lock():
        for export in exports:
            try:
                _renew_one(store, export, words, rewrite)
            except TutelageError as error:
                rewrite.left.append(f"{export.folder}, which must be removed by hand: {error}")
    return rewrite


def finish(export: Export) -> None:
    """Complete or undo an interrupted export, or an interrupted swap."""
    if export.folder.exists():
        remove_tree(export.fresh)
        remove_tree(export.old)
    elif export.old.exists():
        # `fresh` is complete before the old state is moved away
        with disk_errors(export.folder):
            (export.fresh if export.fresh.exists() else export.old).rename(export.folder)
            sync_folder(export.folder.parent)
        remove_tree(export.old)
    else:
        remove_tree(export.fresh)  # the first export was interrupted
        if export.folder.parent.is_dir():  # else it is on a disk that is not mounted
            strike(export)


def _renew_one(store: Store, export: Export, words: tuple[str, ...], rewrite: ExportRewrite) -> None:
    if is_linked(export):
        raise TutelageError("a link stands in its place now")
    finish(export)
    if not export.places:
        return
    has_episodes = export.task in set(store.episodes()["task"].to_pylist())
    if not mentions(export, words) and (has_episodes or not _is_torn(export)):
        return
    if ExportMarker.read(export.folder, export.to).token != export.token:
        raise TutelageError("what lies there now is another export")
    if has_episodes:
        _rewrite(store, export)
        rewrite.renewed.append(export.folder)
    else:
        _remove(export)
        rewrite.removed.append(export.folder)


def _is_torn(export: Export) -> bool:
    """Return whether a removal was interrupted: the marker is removed last."""
    marker = export.folder / MARKERS[export.to]
    return marker.is_file() and any(
        not os.path.lexists(export.folder / name)
        for name in ExportMarker.read(export.folder, export.to).files
    )


def _rewrite(store: Store, export: Export) -> None:
    """Write the dataset beside the old one, carry over files that were added to it, and swap the two."""
    remove_tree(export.fresh)
    try:
        dataset_writer(export.to)(store, export, None)
        _carry_over(export)
    except BaseException:
        remove_tree(export.fresh)
        raise
    with disk_errors(export.folder):
        export.folder.rename(export.old)
        export.fresh.rename(export.folder)
        sync_folder(export.folder.parent)
    remove_tree(export.old)


def _carry_over(export: Export) -> None:
    """Copy files that no export wrote (such as an added dataset card) into the new state."""
    written = {*ExportMarker.read(export.folder, export.to).files, MARKERS[export.to]}
    with disk_errors(export.fresh):
        for name in files_in(export.folder):
            target = export.fresh / name
            if name not in written and not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(export.folder / name, target, follow_symlinks=False)


def _remove(export: Export) -> None:
    """Remove the files that the export wrote, the marker last, and folders that become empty."""
    marker = MARKERS[export.to]
    written = set(ExportMarker.read(export.folder, export.to).files)
    with disk_errors(export.folder):
        for name in [*(name for name in files_in(export.folder) if name in written), marker]:
            (export.folder / name).unlink()
        for parent, _, _ in os.walk(export.folder, topdown=False):
            if not any(Path(parent).iterdir()):
                Path(parent).rmdir()
        sync_folder(export.folder.parent)
    strike(export)


def dataset_writer(to: str) -> Callable[[Store, Export, Progress | None], list[str]]:
    """Return the function that writes one task's dataset to an export's `fresh` folder, with its marker."""
    module, name = _WRITERS[to]
    write: Callable[[Store, Export, Progress | None], list[str]]
    write = getattr(importlib.import_module(module, __package__), name)
    return write


_WRITERS = {
    "minari": (".minari.exporter", "write_minari"),
    "lerobot": (".lerobot.exporter", "write_lerobot"),
    "csv": (".csv_export", "write_csv"),
    "npz": (".npz_export", "write_npz"),
    "robomimic": (".robomimic_export", "write_robomimic"),
    "rlds": (".rlds_export", "write_rlds"),
}
"""Format → module and function; imported lazily, as some need optional packages."""
