"""Remove, list and sync trees of folders without following a link out of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import TutelageError
from .atomic_files import disk_errors, sync_folder


def refuse_link(path: Path) -> None:
    """Raise TutelageError when a link stands at `path`: what it leads to is not ours to change."""
    if path.is_symlink():
        raise TutelageError(
            f"expected a file or folder of its own at {path}, got a link to {os.readlink(path)}; "
            f"name the place that it leads to, or remove the link"
        )


def refuse_links_in(folder: Path) -> None:
    """Raise TutelageError when `folder` holds a link anywhere: writing there would change another place."""
    if folder.is_dir():
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                refuse_link(Path(parent, name))


def remove_tree(path: Path) -> None:
    """Remove a folder with all that lies in it, if it is there. Links in it are removed, never followed.

    Raises TutelageError when a link or a file stands at `path`, and when the disk refuses.
    """
    refuse_link(path)
    if not path.exists():
        return
    if not path.is_dir():
        raise TutelageError(f"expected a folder at {path}, got a file; move it away")
    with disk_errors(path):
        shutil.rmtree(path)


def files_in(folder: Path) -> Iterator[str]:
    """Yield the files and links in a folder, by their paths in it: with slashes, sorted."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield Path(parent, name).relative_to(folder).as_posix()


def sync_tree(folder: Path) -> None:
    """Put every file and folder of a tree on the disk."""
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
