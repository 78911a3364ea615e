"""What unpacks (.gz, .zip, .npz, .npy): how much is known before, and never more is unpacked."""

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
"""Bytes of an archive's list of members, at most: each takes some fifty."""
_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_UNREADABLE = (SyntaxError, tokenize.TokenError, TypeError, KeyError, RecursionError, MemoryError)
_BROKEN = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error, ValueError)


def gunzip(data: bytes, where: str, limit: int | None = None) -> bytes:
    """Unpack .gz bytes to `limit` bytes at most (default: `text_bytes`); raises TutelageError."""
    most = Limits.current().text_bytes if limit is None else limit
    parts, total = [], 0
    for block in gunzip_blocks(io.BytesIO(data), where):
        total += len(block)
        if total > most:
            raise too_large(where, "bytes, unpacked,", most)
        parts.append(block)
    return b"".join(parts)


def gunzip_blocks(file: IO[bytes], where: str) -> Iterator[bytes]:
    """Unpack a .gz file block by block, `expanded_bytes` in all at most; raises TutelageError."""
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
        if inflater.eof:  # several files may be packed one after another; zeros may follow
            pending = (inflater.unused_data or file.read(_BLOCK)).lstrip(b"\0")
            inflater = zlib.decompressobj(wbits=31)
            if not pending:
                return
    if not inflater.eof:
        raise TutelageError(f"expected a whole .gz file at {where}, got one that ends too early")


def open_zip(file: IO[bytes], where: str) -> zipfile.ZipFile:
    """Open an archive whose list of members is not too long; raises TutelageError."""
    if (size := _directory_size(file)) > _DIRECTORY:
        raise too_large(where, f"bytes in the list of members, which has {size:,},", _DIRECTORY)
    try:
        return zipfile.ZipFile(file)  # type: ignore[arg-type]
    except _BROKEN as error:
        raise TutelageError(f"expected a .zip archive at {where}, got: {error}") from None


def zip_blocks(archive: zipfile.ZipFile, name: str, where: str) -> Iterator[bytes]:
    """Unpack one member block by block, `expanded_bytes` at most; raises TutelageError."""
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
    """Read .npz bytes: name → array, `allocation_bytes` together at most.

    Raises TutelageError for objects, for shapes that the bytes do not fill, and for what is no archive.
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
    """Read an .npy header: shape, whether in Fortran's order, dtype; raises TutelageError."""
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
    here = f"{name} in {where}"
    try:
        with archive.open(name) as member:
            shape, fortran, dtype = npy_header(member, here)
            size = math.prod(shape) * dtype.itemsize
            if size > limit:
                raise too_large(here, f"bytes in its arrays, where this one has {size:,},", limit)
            flat = np.empty(math.prod(shape), dtype)
            filled = _fill(flat, member)
            whole = filled == size and not member.read(1)
    except TutelageError:
        raise
    except (*_BROKEN, KeyError) as error:
        raise TutelageError(
            f"expected a sound member {name!r} in {where}, got: {_first_line(error)}"
        ) from None
    if not whole:
        raise TutelageError(
            f"expected {counted(size, 'byte')} for {shape} of {dtype} in {here}, got another number"
        )
    return flat.reshape(shape, order="F" if fortran else "C")


def _fill(flat: np.ndarray, member: IO[bytes]) -> int:
    """Read bytes into an array until it is full or they end; returns how many."""
    view = flat.view(np.uint8).data if flat.nbytes else memoryview(b"")
    filled = 0
    while filled < len(view) and (block := member.read(min(_BLOCK, len(view) - filled))):
        view[filled : filled + len(block)] = block
        filled += len(block)
    return filled


def _directory_size(file: IO[bytes]) -> int:
    """Return the bytes of the list of members as the archive gives it, before anything of it is read."""
    size = file.seek(0, 2)
    begin = max(0, size - (1 << 16) - 22 - 76)
    file.seek(begin)
    tail = file.read(size - begin)
    file.seek(0)
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        return 0
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if tail[max(0, at - 20) : at].startswith(_LOCATOR_64) and (at64 := tail.rfind(_END_64, 0, at)) >= 0:
        length = max(length * (length != 0xFFFFFFFF), int.from_bytes(tail[at64 + 40 : at64 + 48], "little"))
    return length


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
