"""Atomic exports and imports: written under temporary names, then renamed."""

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

_LOCK_FILE = ".import-underway"
"""File that a running import keeps locked in its staging folder; released when its process ends."""


def export_datasets(
    store: Store,
    to: str,
    places: Mapping[str, tuple[str, Path]],
    progress: Progress | None,
    prepare: Callable[[list[Path]], None] = lambda created: None,
) -> list[str]:
    """Write one dataset per task, all or none; return what the format cannot hold.

    `places` maps task id → (the dataset's name, its folder). `prepare` runs before the datasets are renamed;
    it appends each file that it creates to the list that it is given.
    """
    for _, folder in places.values():
        refuse_existing(folder)
    write = dataset_writer(to)
    report: list[str] = []
    exports: list[Export] = []
    created: list[Path] = []
    named: list[Path] = []
    try:
        for task, (name, folder) in places.items():
            with disk_errors(folder):
                _make_folders(folder.parent, created)
                exports.append(register(store, to, task, name, folder))
                report += write(store, exports[-1], progress)
        with disk_errors(store.path):
            prepare(created)
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
        _remove_created(created)
        raise
    return report


@contextlib.contextmanager
def staged_import(out: Path, suite: Suite) -> Iterator[tuple[Store, set[str]]]:
    """Yield a temporary store and the episode ids already in `out`; on exit, merge the two stores.

    Raises TutelageError when `out` is a store of another suite. When the block raises, nothing is left
    behind.
    """
    out = real_path(out)
    existing: set[str] = set()
    if (out / "dataset.yaml").exists():
        existing = set(Store.create(out, suite).episodes()["episode"].to_pylist())
    created: list[Path] = []
    # inside `out` if it exists, as its parent may be on another disk or read-only
    parent = out if out.is_dir() else out.parent
    staging = parent / f".import-{uuid.uuid4().hex[:8]}"
    _remove_abandoned(parent)
    try:
        with disk_errors(out), contextlib.ExitStack() as stack:
            _make_folders(out.parent, created)
            staging.mkdir()
            _try_lock(stack.enter_context((staging / _LOCK_FILE).open("xb")).fileno())
            store = Store.create(staging, suite)
            yield store, existing
            (staging / _LOCK_FILE).unlink()
            if not out.exists():
                staging.rename(out)
                sync_folder(out.parent)
            else:
                _append(store, Store.create(out, suite))
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_created(created)
        raise
    shutil.rmtree(staging, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove staging folders of killed imports: their locks are free."""
    for path in parent.glob(".import-*") if parent.is_dir() else ():
        with contextlib.suppress(OSError):
            descriptor = os.open(path / _LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _try_lock(descriptor):
                    remove_tree(path)
            finally:
                os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    """Lock a file until it is closed; False if another process holds it, or locks are not supported."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _append(staged: Store, store: Store) -> None:
    """Append all parts of one store to another, or none."""
    added: list[str] = []
    try:
        for part in staged.parts():
            store.append_rows(read_columns(part))
            added += staged.episode_ids(part.name)
    except BaseException:
        store.take_back(added)
        raise


def _make_folders(folder: Path, created: list[Path]) -> None:
    """Create a folder and its missing parents, and append each created one to `created`."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        created.append(path)


def _remove_created(created: list[Path]) -> None:
    """Remove created files and folders; a folder that is not empty stays."""
    for path in reversed(created):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
