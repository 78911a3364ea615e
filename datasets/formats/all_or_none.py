"""Exports and imports that end whole or leave nothing: written under other names, then given their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ...envs.suite import Suite
from ...files.atomic_files import disk_errors, sync_folder
from ...files.bounded_files import real_path
from ...files.safe_tree import remove_tree
from ..parquet.bounded_parquet import read_columns
from ..store import Progress, Store
from .export_registry import Export, register, strike
from .exports import dataset_writer
from .facts import refuse_existing

_UNDERWAY = ".import-underway"
"""A file that an import holds locked in the folder that it works in; its process's end frees it."""


def export_datasets(
    store: Store,
    to: str,
    places: Mapping[str, tuple[str, Path]],
    progress: Progress | None,
    prepare: Callable[[list[Path]], None] = lambda made: None,
) -> list[str]:
    """Write one dataset a task, all of them or none; returns what the format cannot hold.

    `places` maps task id → (the dataset's name, its folder). `prepare` runs before the datasets take their
    names and notes each file that it makes in the list it is given.
    """
    for _, folder in places.values():
        refuse_existing(folder)
    write = dataset_writer(to)
    report: list[str] = []
    exports: list[Export] = []
    made: list[Path] = []
    named: list[Path] = []
    try:
        for task, (name, folder) in places.items():
            with disk_errors(folder):
                _make_folders(folder.parent, made)
                exports.append(register(store, to, task, name, folder))
                report += write(store, exports[-1], progress)
        with disk_errors(store.path):
            prepare(made)
            for export in exports:
                export.fresh.rename(export.folder)
                named.append(export.folder)
                sync_folder(export.folder.parent)
    except BaseException:
        for export in exports:
            remove_tree(export.fresh)
            strike(export)
        for folder in named:
            remove_tree(folder)
        _remove_made(made)
        raise
    return report


@contextlib.contextmanager
def staged_import(out: Path, suite: Suite) -> Iterator[tuple[Store, set[str]]]:
    """Give a temporary store, and the episodes that `out` holds already; at the end the two are joined.

    Raises TutelageError when another suite's store is there. When the block raises, nothing of it is left.
    """
    out = real_path(out)
    there: set[str] = set()
    if (out / "dataset.yaml").exists():
        there = set(Store.create(out, suite).episodes()["episode"].to_pylist())
    made: list[Path] = []
    # in a folder that is there already, as its parent may be another disk, or not ours to write to
    parent = out if out.is_dir() else out.parent
    staging = parent / f".import-{uuid.uuid4().hex[:8]}"
    _remove_abandoned(parent)
    try:
        with disk_errors(out), contextlib.ExitStack() as stack:
            _make_folders(out.parent, made)
            staging.mkdir()
            _holds(stack.enter_context((staging / _UNDERWAY).open("xb")).fileno())
            store = Store.create(staging, suite)
            yield store, there
            (staging / _UNDERWAY).unlink()
            if not out.exists():
                staging.rename(out)
                sync_folder(out.parent)
            else:
                _append(store, Store.create(out, suite))
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_made(made)
        raise
    shutil.rmtree(staging, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove what imports left that were killed: their locks are free."""
    for path in parent.glob(".import-*") if parent.is_dir() else ():
        with contextlib.suppress(OSError):
            descriptor = os.open(path / _UNDERWAY, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _holds(descriptor):
                    remove_tree(path)
            finally:
                os.close(descriptor)


def _holds(descriptor: int) -> bool:
    """Lock a file for as long as it is open; False where another process holds it, or no system can tell."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _append(staged: Store, store: Store) -> None:
    """Add all parts of one store to another, or none."""
    added: list[str] = []
    try:
        for part in staged.parts():
            store.append_rows(read_columns(part))
            added += staged.episode_ids(part.name)
    except BaseException:
        store.take_back(added)
        raise


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make a folder and what is missing above it, and note each that was made."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        made.append(path)


def _remove_made(made: list[Path]) -> None:
    """Remove the files and folders that were made here; a folder that others use by now stays."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
