"""A copy of a store, in a folder or at a URL, from which `tutelage repair` restores parts."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ...errors import TutelageError
from ...files.bounded_files import Limits
from ..manifest import COPIED, DOCUMENT, MANIFEST, Manifest, PartEntry, check_document, joined
from ..parquet.bounded_parquet import read_columns
from ..remote import RemoteFolder

T = TypeVar("T")


class StoreCopy:
    """Read-only access to the files of a copy; damaged files count as missing.

    `document` is the text of its `dataset.yaml`, None without a valid one; `manifest` likewise. Raises
    TutelageError if the location cannot be listed.
    """

    def __init__(self, location: str) -> None:
        self.name = location
        url = location if "://" in location else Path(location).absolute().as_uri()
        self._remote = RemoteFolder(url)
        self._sizes = self._call(self._remote.sizes)
        if not self._sizes:
            raise TutelageError(f"expected a copy of the store at {location}, found no files there")
        self.manifest = self._read_manifest()
        self.document = self._read_document()

    def episode_ids(self, name: str, entry: PartEntry) -> list[str] | None:
        """Return the episode ids of a part; None if the copy lacks it or differs from the manifest entry."""
        if self._sizes.get(name) != entry.bytes:
            return None
        try:
            data = self.fetch(name, entry)
        except TutelageError:
            return None
        return list(read_columns(io.BytesIO(data), ["episode"])["episode"].to_pylist())

    def fetch(self, name: str, entry: PartEntry) -> bytes:
        """Return the bytes of a part; raises TutelageError if they differ from the manifest entry."""
        data = self._read(name, entry.bytes)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise TutelageError(f"expected part {name} at {self.name} as it was written, it is damaged")
        return data

    def _read_manifest(self) -> Manifest | None:
        names = [MANIFEST] if MANIFEST in self._sizes else sorted(filter(COPIED.fullmatch, self._sizes))
        try:
            return (
                joined([Manifest.decode(self._read(name), Path(self.name)) for name in names])
                if names
                else None
            )
        except TutelageError:
            return None

    def _read_document(self) -> str | None:
        try:
            data = self._read(DOCUMENT) if DOCUMENT in self._sizes else b""
            check_document(data, Path(self.name))
        except TutelageError:
            return self.manifest.document if self.manifest else None
        return data.decode()

    def _read(self, name: str, size: int | None = None) -> bytes:
        most = Limits.current().text_bytes if size is None else size

        def read() -> bytes:
            with self._remote.open(name) as file:
                return file.read(most)

        return self._call(read)

    def _call(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except TutelageError:
            raise
        except Exception as error:  # file systems may raise anything
            raise TutelageError(
                f"expected to read the copy at {self.name}, got {type(error).__name__}: {error}"
            ) from None
