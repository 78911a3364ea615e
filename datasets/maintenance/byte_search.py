"""Search files for words, byte by byte; compressed files are searched after decompression."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote

import pyarrow as pa

from ...errors import TutelageError
from ...files.bounded_archives import gunzip_blocks, open_zip, zip_blocks
from ...files.bounded_files import Limits, open_regular, too_large
from ...files.finite_json import json_text
from ...files.safe_tree import refuse_link
from ..parquet.bounded_parquet import BoundedParquet

_BLOCK = 1 << 20
_NESTED = 4
"""Most levels of nested archives that are searched."""


@dataclass
class ByteSearch:
    """A search for `words`: number and size of the files searched, and where words were `found`.

    Covers: words as bytes, JSON-escaped and URL-quoted; Parquet files by their columns' values, .zip and .gz
    files by their decompressed content, names of files, and targets of links. Does not cover: words inside
    other compressed or encrypted files, and remains of deleted files on the disk. Links are never followed;
    `links` lists them.
    """

    words: tuple[str, ...]
    files: int = 0
    size: int = 0
    found: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    depth: int = 0  # of nested archives

    def __post_init__(self) -> None:
        self._needles = needles(self.words)
        self._unpacked = 0

    def folder(self, folder: Path) -> None:
        """Search every file under a folder; raises TutelageError if the folder is a link."""
        refuse_link(folder)
        for parent, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted([*folders, *files]):
                self._path(Path(parent, name))

    def _path(self, path: Path) -> None:
        if self._is_in(os.fsencode(path.name)):
            self.found.append(f"the name of {path}")
        if path.is_symlink():
            self.links.append(str(path))
            if self._is_in(os.fsencode(os.readlink(path))):
                self.found.append(f"where the link {path} leads")
        elif path.is_file():
            try:
                with open_regular(path) as file:
                    self.file(file, str(path))
            except FileNotFoundError:
                return  # another process removed it meanwhile
            except (TutelageError, OSError) as error:
                self.found.append(f"{path}, perhaps: it cannot be read ({error})")

    def file(self, file: IO[bytes], name: str) -> None:
        """Search one open file."""
        self.files += 1
        try:
            if any(self._is_in(block) for block in self._blocks(file)) or self._is_inside(file, name):
                self.found.append(name)
        except (TutelageError, OSError) as error:
            self.found.append(f"{name}, perhaps: it cannot be read ({error})")

    def _blocks(self, file: IO[bytes]) -> Iterator[bytes]:
        """Read a file in blocks that overlap by the length of the longest word."""
        return self._overlapping(iter(lambda: file.read(_BLOCK), b""))

    def _overlapping(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        overlap = max(map(len, self._needles), default=1) - 1
        tail = b""
        for block in blocks:
            self.size += len(block)
            yield tail + block
            tail = (tail + block)[-overlap:] if overlap else b""

    def _is_inside(self, file: IO[bytes], name: str) -> bool:
        file.seek(0)
        if name.endswith(".parquet"):
            return any(self._is_in(data) for data in _parquet_buffers(file, name))
        if name.endswith(".gz"):
            return any(self._is_in(block) for block in self._overlapping(gunzip_blocks(file, name)))
        if name.endswith(".zip"):
            self._unpacked = 0
            with open_zip(file, name) as archive:
                return any(self._is_in_member(archive, member, name) for member in archive.namelist())
        return False

    def _is_in_member(self, archive: zipfile.ZipFile, member: str, name: str) -> bool:
        """Search a member of an archive: its name, and its content, decompressed into a temporary file."""
        if self._is_in(member.encode(errors="surrogateescape")):
            return True
        if self.depth == _NESTED:
            raise TutelageError(f"expected at most {_NESTED} archives in one another, got more")
        inner = ByteSearch(self.words, depth=self.depth + 1)
        limit = Limits.current().expanded_bytes
        with tempfile.TemporaryFile() as copy:
            for block in zip_blocks(archive, member, name):
                copy.write(block)
                self._unpacked += len(block)
                if self._unpacked > limit:
                    raise too_large(name, "bytes, unpacked,", limit)
            copy.seek(0)
            inner.file(copy, member)
        self.size += inner.size
        return bool(inner.found)

    def _is_in(self, data: bytes) -> bool:
        return any(needle in data for needle in self._needles)


def needles(words: Iterable[str]) -> tuple[bytes, ...]:
    """Return the encodings of words in files: plain, JSON-escaped and URL-quoted."""
    return tuple(
        sorted(
            {form.encode() for word in words for form in (word, json_text(word)[1:-1], quote(word, safe=""))}
        )
    )


def _parquet_buffers(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield the uncompressed in-memory buffers of a Parquet file's columns."""
    parquet = BoundedParquet(file, name)
    for batch in parquet.iter_batches(batch_size=4096):
        for column in batch.columns:
            if isinstance(column, pa.DictionaryArray):
                column = column.dictionary_decode()
            for buffer in column.buffers():
                if buffer is not None:
                    yield buffer.to_pybytes()
