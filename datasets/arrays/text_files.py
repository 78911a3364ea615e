"""Text leaves of training columns: distinct texts, in memory or in memory-mapped files.

A store of web pages has gigabytes of text. On disk, only 16 bytes of each distinct text stay in memory while
the file is written; while it is read, the texts of a batch.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TutelageError
from ...files.bounded_archives import npy_header
from ...files.bounded_files import open_regular

_ENCODING = ("utf-8", "surrogatepass")  # any str comes back as it was


class Texts:
    """Distinct texts in memory, numbered in the order in which they came."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text, which is added if it is new."""
        return self._numbers.setdefault(text, len(self._numbers))

    def leaf(self, codes: np.ndarray) -> Any:
        """Return the texts of `codes` `[N]`: an object array of `str`."""
        return np.array([*self._numbers], object)[codes]


class TextFiles:
    """Distinct texts written to `NAME.text`, UTF-8 end to end, and their ends in bytes to `NAME.ends.npy`."""

    def __init__(self, name: Path) -> None:
        self._name = name
        self._file = name.with_suffix(".text").open("wb")
        self._by_digest: dict[bytes, int] = {}
        self._ends = array("q")
        self._size = 0

    def number(self, text: str) -> int:
        """Return the number of a text, which is written if it is new."""
        data = text.encode(*_ENCODING)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        number = self._by_digest.setdefault(digest, len(self._ends))
        if number == len(self._ends):
            self._file.write(data)
            self._size += len(data)
            self._ends.append(self._size)
        return number

    def close(self) -> None:
        """Write what is not written yet."""
        self._file.close()
        np.save(self._name.with_suffix(".ends.npy"), np.array(self._ends, np.int64), allow_pickle=False)


class MappedTexts:
    """Distinct texts in memory-mapped files; raises TutelageError for files that do not fit each other."""

    def __init__(self, name: Path) -> None:
        ends, text = name.with_suffix(".ends.npy"), name.with_suffix(".text")
        with open_regular(ends) as file:
            npy_header(file, ends.name)
        # plain arrays over the mappings: numpy's memmap class makes every slice slow
        self._ends = np.asarray(np.load(ends, mmap_mode="r", allow_pickle=False))
        with open_regular(text) as file:
            size = file.seek(0, 2)
        is_sound = self._ends.dtype == np.int64 and self._ends.ndim == 1
        if not is_sound or size != (int(self._ends[-1]) if len(self._ends) else 0):
            raise TutelageError(f"ends of texts in {ends.name} that do not fit {text.name}")
        if (np.diff(self._ends, prepend=0) < 0).any():
            raise TutelageError(f"ends of texts in {ends.name} that do not ascend")
        self._data = np.asarray(np.memmap(text, np.uint8, "r")) if size else np.empty(0, np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str:
        begin = int(self._ends[number - 1]) if number else 0
        return bytes(self._data[begin : int(self._ends[number])]).decode(*_ENCODING)

    def leaf(self, codes: np.ndarray) -> TextLeaf:
        """Return the texts of `codes` `[N]`, decoded when they are asked for."""
        return TextLeaf(codes, self)


class TextLeaf:
    """A leaf of N texts, with the part of the array interface that training uses: length, slices, rows."""

    dtype = np.dtype(object)

    def __init__(self, codes: np.ndarray, texts: MappedTexts) -> None:
        self._codes, self._texts = codes, texts

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self._decoded(self._codes[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._decoded(self._codes)

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Return rows `[S]` of the leaf as an object array of `str`, one object for all that are equal."""
        return self._decoded(self._codes.take(rows))

    def _decoded(self, codes: np.ndarray) -> np.ndarray:
        numbers, position = np.unique(codes, return_inverse=True)
        return _objects(self._texts[number] for number in numbers.tolist())[position]


def _objects(texts: Iterable[str]) -> np.ndarray:
    listed = list(texts)
    made = np.empty(len(listed), object)
    made[:] = listed
    return made
