"""What was exported from a store is written anew without the people who are forgotten there.

A new dataset is written beside the old one, synced, and swapped by two renames. `finish` puts right what a
kill at any point left: the old state or the new one is whole at every moment.
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
    """What became of a store's exports: folders written anew, removed, and left to be removed by hand."""

    renewed: list[Path] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def mentions(export: Export, words: tuple[str, ...]) -> bool:
    """Say whether one of the words stands in a dataset, or in what an interruption left beside it."""
    search = ByteSearch(words)
    for folder in export.places:
        search.folder(folder)
    return bool(search.found)


def is_linked(export: Export) -> bool:
    """Say whether a link stands where the export was written, or in the path to it: it is not followed."""
    return export.folder.is_symlink() or real_path(export.folder.parent) != export.folder.parent


def renew(store: Store, exports: list[Export], words: tuple[str, ...]) -> ExportRewrite:
    """Write every dataset anew in which one of the words stands; one without any episode is removed.

    What cannot be written anew, or is not the export that it should be, stays and is named in `left`.
    """
    done = ExportRewrite()
    with registry_lock():
        for export in exports:
            try:
                _renew_one(store, export, words, done)
            except TutelageError as error:
                done.left.append(f"{export.folder}, which must be removed by hand: {error}")
    return done


def finish(export: Export) -> None:
    """Complete or undo what an interrupted export, or an interrupted swap, has left."""
    if export.folder.exists():
        remove_tree(export.fresh)
        remove_tree(export.old)
    elif export.old.exists():
        # `fresh` is whole by the time the old state is moved away
        with disk_errors(export.folder):
            (export.fresh if export.fresh.exists() else export.old).rename(export.folder)
            sync_folder(export.folder.parent)
        remove_tree(export.old)
    else:
        remove_tree(export.fresh)  # the very first writing was interrupted
        if export.folder.parent.is_dir():  # else on a disk that is not here now
            strike(export)


def _renew_one(store: Store, export: Export, words: tuple[str, ...], done: ExportRewrite) -> None:
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
        done.renewed.append(export.folder)
    else:
        _remove(export)
        done.removed.append(export.folder)


def _is_torn(export: Export) -> bool:
    """Say whether a removal was interrupted: the marker goes last."""
    marker = export.folder / MARKERS[export.to]
    return marker.is_file() and any(
        not os.path.lexists(export.folder / name)
        for name in ExportMarker.read(export.folder, export.to).files
    )


def _rewrite(store: Store, export: Export) -> None:
    """Write the dataset beside the old one, carry over what others put into it, and swap the two."""
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
    """Copy the files that no export wrote (a card that was added, say) into the new state."""
    ours = {*ExportMarker.read(export.folder, export.to).files, MARKERS[export.to]}
    with disk_errors(export.fresh):
        for name in files_in(export.folder):
            target = export.fresh / name
            if name not in ours and not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(export.folder / name, target, follow_symlinks=False)


def _remove(export: Export) -> None:
    """Remove the files that the export wrote, its marker last, and the folders that are empty then."""
    marker = MARKERS[export.to]
    ours = set(ExportMarker.read(export.folder, export.to).files)
    with disk_errors(export.folder):
        for name in [*(name for name in files_in(export.folder) if name in ours), marker]:
            (export.folder / name).unlink()
        for parent, _, _ in os.walk(export.folder, topdown=False):
            if not any(Path(parent).iterdir()):
                Path(parent).rmdir()
        sync_folder(export.folder.parent)
    strike(export)


def dataset_writer(to: str) -> Callable[[Store, Export, Progress | None], list[str]]:
    """Return what writes the dataset of one task to an export's `fresh` folder, synced, with its marker."""
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
"""Format → module and function; imported when asked for, as some need packages that may be missing."""
