"""Unpack .gz, .zip, .npz and .npy with limits on the unpacked size, checked before allocating."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, BinaryIO

import numpy as np

from ..console.wording import counted
from ..errors import TutelageError
from .bounded_files import Limits, too_large

_BLOCK = 1 << 20
_NPY_HEADER = 10_000
_KINDS = "biufcU"
_DIRECTORY = 16 << 20
"""Maximal size of an archive's central directory, in bytes; each member takes about fifty."""
_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_UNREADABLE = (SyntaxError, tokenize.TokenError, TypeError, KeyError, RecursionError, MemoryError)
_BROKEN = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error, ValueError)


def gunzip(data: bytes, where: str, limit: int | None = None) -> bytes:
    """Unpack .gz bytes to at most `limit` bytes (default: `text_bytes`); raises TutelageError."""
    most = Limits.current().text_bytes if limit is None else limit
    parts, total = [], 0
    for block in gunzip_blocks(io.BytesIO(data), where):
        total += len(block)
        if total > most:
            raise too_large(where, "bytes, unpacked,", most)
        parts.append(block)
    return b"".join(parts)


def gunzip_blocks(file: IO[bytes], where: str) -> Iterator[bytes]:
    """Unpack a .gz file block by block, at most `expanded_bytes` in total; raises TutelageError."""
    most, total = Limits.current().expanded_bytes, 0
    inflater = zlib.decompressobj(wbits=31)
    pending = file.read(_BLOCK)
    while pending:
        try:
            block = inflater.decompress(pending, _BLOCK)
        except zlib.error as error:
            raise TutelageError(f"expected a .gz file at {where}, got: {error}") from None
        total += len(block)
        if total > most:
            raise too_large(where, "bytes, unpacked,", most)
        yield block
        pending = inflater.unconsumed_tail or (b"" if inflater.eof else file.read(_BLOCK))
        if inflater.eof:  # concatenated .gz members; zero padding may follow
            pending = (inflater.unused_data or file.read(_BLOCK)).lstrip(b"\0")
            inflater = zlib.decompressobj(wbits=31)
            if not pending:
                return
    if not inflater.eof:
        raise TutelageError(f"expected a whole .gz file at {where}, got one that ends too early")


def open_zip(file: IO[bytes], where: str) -> zipfile.ZipFile:
    """Open an archive after checking the size of its central directory; raises TutelageError."""
    if (size := _directory_size(file)) > _DIRECTORY:
        raise too_large(where, f"bytes in the list of members, which has {size:,},", _DIRECTORY)
    try:
        return zipfile.ZipFile(file)  # type: ignore[arg-type]
    except _BROKEN as error:
        raise TutelageError(f"expected a .zip archive at {where}, got: {error}") from None


def zip_blocks(archive: zipfile.ZipFile, name: str, where: str) -> Iterator[bytes]:
    """Unpack one member block by block, at most `expanded_bytes`; raises TutelageError."""
    most, total = Limits.current().expanded_bytes, 0
    try:
        with archive.open(name) as member:
            while block := member.read(_BLOCK):
                total += len(block)
                if total > most:
                    raise too_large(f"{name} in {where}", "bytes, unpacked,", most)
                yield block
    except TutelageError:
        raise
    except (*_BROKEN, KeyError) as error:
        raise TutelageError(f"expected a sound member {name!r} in {where}, got: {error}") from None


def read_npz(data: Any, where: str) -> dict[str, np.ndarray]:
    """Read .npz bytes: name → array, at most `allocation_bytes` in total.

    Raises TutelageError for object arrays, shapes that do not match the data, and invalid archives.
    """
    limit, total = Limits.current().allocation_bytes, 0
    arrays: dict[str, np.ndarray] = {}
    with open_zip(io.BytesIO(data), where) as archive:
        for name in archive.namelist():
            array = _member(archive, name, where, limit - total)
            total += array.nbytes
            arrays[name.removesuffix(".npy")] = array
    return arrays


def npy_header(file: BinaryIO | IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read an .npy header: shape, whether in Fortran order, dtype; raises TutelageError."""
    try:
        version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise ValueError(f"version {version}")
        shape, fortran, dtype = read(file, max_header_size=_NPY_HEADER)  # type: ignore[arg-type]
    except (*_BROKEN, *_UNREADABLE) as error:
        raise TutelageError(f"expected a NumPy array in {where}, got: {_first_line(error)}") from None
    if dtype.kind not in _KINDS or dtype.fields or dtype.subdtype or min(shape, default=0) < 0:
        raise TutelageError(f"expected numbers or text in {where}, got {shape} of {dtype}")
    return shape, fortran, dtype


def _member(archive: zipfile.ZipFile, name: str, where: str, limit: int) -> np.ndarray:
    place = f"{name} in {where}"
    try:
        with archive.open(name) as member:
            shape, fortran, dtype = npy_header(member, place)
            size = math.prod(shape) * dtype.itemsize
            if size > limit:
                raise too_large(place, f"bytes in its arrays, where this one has {size:,},", limit)
            flat = np.empty(math.prod(shape), dtype)
            filled = _fill(flat, member)
            is_complete = filled == size and not member.read(1)
    except TutelageError:
        raise
    except (*_BROKEN, KeyError) as error:
        raise TutelageError(
            f"expected a sound member {name!r} in {where}, got: {_first_line(error)}"
        ) from None
    if not is_complete:
        raise TutelageError(
            f"expected {counted(size, 'byte')} for {shape} of {dtype} in {place}, got another number"
        )
    return flat.reshape(shape, order="F" if fortran else "C")


def _fill(flat: np.ndarray, member: IO[bytes]) -> int:
    """Read bytes into an array until it is full or the member ends; returns their number."""
    view = flat.view(np.uint8).data if flat.nbytes else memoryview(b"")
    filled = 0
    while filled < len(view) and (block := member.read(min(_BLOCK, len(view) - filled))):
        view[filled : filled + len(block)] = block
        filled += len(block)
    return filled


def _directory_size(file: IO[bytes]) -> int:
    """Return the size of the central directory as the archive declares it, in bytes, before reading it."""
    size = file.seek(0, 2)
    begin = max(0, size - (1 << 16) - 22 - 76)
    file.seek(begin)
    tail = file.read(size - begin)
    file.seek(0)
    position = tail.rfind(_END)
    if position < 0 or position + 22 > len(tail):
        return 0
    length = int.from_bytes(tail[position + 12 : position + 16], "little")
    if (
        tail[max(0, position - 20) : position].startswith(_LOCATOR_64)
        and (position_64 := tail.rfind(_END_64, 0, position)) >= 0
    ):
        length = max(
            length * (length != 0xFFFFFFFF),
            int.from_bytes(tail[position_64 + 40 : position_64 + 48], "little"),
        )
    return length


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
