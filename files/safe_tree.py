"""Remove, list and sync folder trees without following links out of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import TutelageError
from .atomic_files import disk_errors, sync_folder


def refuse_link(path: Path) -> None:
    """Raise TutelageError if `path` is a link: its target must not be changed."""
    if path.is_symlink():
        raise TutelageError(
            f"expected a file or folder of its own at {path}, got a link to {os.readlink(path)}; "
            f"name the place that it leads to, or remove the link"
        )


def refuse_links_in(folder: Path) -> None:
    """Raise TutelageError if `folder` contains a link at any depth: writing there would change its target."""
    if folder.is_dir():
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                refuse_link(Path(parent, name))


def remove_tree(path: Path) -> None:
    """Remove a folder with its content, if it exists. Links in it are removed, never followed.

    Raises TutelageError if `path` is a link or a file, and if the disk refuses.
    """
    refuse_link(path)
    if not path.exists():
        return
    if not path.is_dir():
        raise TutelageError(f"expected a folder at {path}, got a file; move it away")
    with disk_errors(path):
        shutil.rmtree(path)


def files_in(folder: Path) -> Iterator[str]:
    """Yield the files and links in a folder as relative POSIX paths, sorted within each folder."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield Path(parent, name).relative_to(folder).as_posix()


def sync_tree(folder: Path) -> None:
    """Sync every file and folder of a tree to the disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink():
                handle = os.open(path, os.O_RDWR)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        sync_folder(Path(parent))
