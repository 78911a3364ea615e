"""Refuse HDF5 files that would have other files of this machine read for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...envs.bounded_files import real_path
from ...envs.errors import TutelageError


def refuse_outside(folder: Path) -> None:
    """Raise TutelageError for an HDF5 file in a folder that points at another file, or is a link out of it.

    Covers external links, external storage and virtual datasets. What is no HDF5 is left to the reader.
    """
    import h5py

    root = real_path(folder)
    for path in sorted(folder.rglob("*")):
        if not real_path(path).is_relative_to(root):
            raise TutelageError(
                f"expected {path} to lie in {folder}, got a link out of it; copy the file there"
            )
        if path.suffix in (".hdf5", ".h5") and path.is_file():
            try:
                with h5py.File(path) as file:
                    outside = _outside(h5py, file)
            except (
                OSError,
                RuntimeError,
                SystemError,
                ValueError,
                KeyError,
            ):  # the reader says what is wrong
                continue
            if outside:
                raise TutelageError(
                    f"expected {path} to hold its own data, got {outside!r}, which is read from another file"
                )


def _outside(h5py: Any, file: Any) -> str:
    """Return the name of something that lies in another file, empty where all is in this one."""

    def link(name: str, found: Any) -> str | None:
        if isinstance(found, h5py.ExternalLink):
            return name
        return None

    def item(name: str, found: Any) -> str | None:
        if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
            return name
        return None

    return file.visititems_links(link) or file.visititems(item) or ""
