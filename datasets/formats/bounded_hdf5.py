"""HDF5 files that may come from strangers: nothing is read that lies outside of the file or beyond a limit.

An HDF5 file may name other files as the place of its groups or numbers, say that a few bytes are a billion
numbers, and refer to one long text a million times.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import TutelageError
from ...files.bounded_files import Limits, open_regular, real_path, too_large

_OBJECTS, _ATTRIBUTES = 2_000_000, 1 << 20
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 6: "scaleoffset", 32000: "lzf"}
_KINDS = "biufcSUO?"


def check_hdf5_files(folder: Path) -> None:
    """Do what `check_hdf5` does for every HDF5 file of a folder; a link out of the folder is refused, too."""
    root = real_path(folder)
    for path in sorted(folder.rglob("*")):
        if not real_path(path).is_relative_to(root):
            raise TutelageError(
                f"expected {path} to lie in {folder}, got a link out of it; copy the file there"
            )
        if path.suffix in (".hdf5", ".h5"):
            check_hdf5(path)


def check_hdf5(path: Path) -> None:
    """Look at every object of an HDF5 file without reading its numbers; raises TutelageError."""
    import h5py

    open_regular(path).close()
    limits, total, objects = Limits.current(), 0, 0
    try:
        with h5py.File(path, "r") as file:
            for place, thing in _objects(h5py, file, path):
                objects += 1
                if objects > _OBJECTS:
                    raise too_large(path, "objects", _OBJECTS)
                _check_attributes(thing, f"{place} in {path}")
                if isinstance(thing, h5py.Dataset):
                    total += _check_dataset(h5py, thing, f"{place} in {path}", limits, path.stat().st_size)
                if total > limits.expanded_bytes:
                    raise too_large(path, "bytes, unpacked,", limits.expanded_bytes)
    except TutelageError:
        raise
    except (
        ArithmeticError,
        OSError,
        RuntimeError,
        SystemError,
        LookupError,
        ValueError,
        TypeError,
        MemoryError,
    ) as error:
        raise TutelageError(f"expected an HDF5 file at {path}, got: {' '.join(str(error).split())}") from None


def _objects(h5py: Any, file: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """List every object once; raises TutelageError for links that leave the tree."""
    waiting, passed = [("/", file["/"])], set()
    while waiting:
        place, thing = waiting.pop()
        address = h5py.h5o.get_info(thing.id).addr
        if address in passed:
            continue
        passed.add(address)
        yield place, thing
        if isinstance(thing, h5py.Group):
            for name in thing:
                here = f"{place.rstrip('/')}/{name}"
                if not isinstance(thing.get(name, getlink=True), h5py.HardLink):
                    raise TutelageError(
                        f"expected all of it in {path}, got a link at {here}, which may lead elsewhere"
                    )
                waiting.append((here, thing[name]))


def _check_attributes(thing: Any, where: str) -> None:
    for name in thing.attrs:
        attribute = thing.attrs.get_id(name)
        size = math.prod(attribute.shape or ()) * attribute.dtype.itemsize
        if size > _ATTRIBUTES:
            raise too_large(f"attribute {name!r} of {where}", "bytes", _ATTRIBUTES)


def _check_dataset(h5py: Any, dataset: Any, where: str, limits: Limits, file_size: int) -> int:
    """Return the bytes that a data set takes in memory at most."""
    if dataset.external or dataset.is_virtual:
        raise TutelageError(
            f"expected the numbers of {where} in the file itself, got the names of other files"
        )
    properties = dataset.id.get_create_plist()
    for at in range(properties.get_nfilters()):
        if (code := properties.get_filter(at)[0]) not in _FILTERS:
            names = ", ".join(_FILTERS.values())
            raise TutelageError(f"expected {where} to be packed with {names}, got filter {code}")
    if dataset.shape is None:
        return 0
    dtype, count = dataset.dtype, math.prod(dataset.shape)
    kind = dtype.base.kind
    if kind not in _KINDS or dtype.fields:
        raise TutelageError(f"expected numbers or text in {where}, got {dtype}")
    size = count * dtype.itemsize
    chunk = math.prod(dataset.chunks or ()) * dtype.itemsize
    if max(size, chunk) > limits.allocation_bytes:
        raise too_large(where, f"bytes, where this has {max(size, chunk):,},", limits.allocation_bytes)
    if kind == "O":
        if h5py.check_string_dtype(dtype) is None and h5py.check_vlen_dtype(dtype) != np.uint8:
            raise TutelageError(f"expected numbers or text in {where}, got {dtype}")
        size += _text_bytes(h5py, dataset, count, where, limits, file_size)
    return int(size)


def _text_bytes(h5py: Any, dataset: Any, count: int, where: str, limits: Limits, file_size: int) -> int:
    """Count the bytes of texts and pictures: each may lie in the file once and be referred to often."""
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    if not dataset.shape or (is_text and count * file_size <= limits.allocation_bytes):
        return count * file_size
    step = max(1, limits.allocation_bytes // 8 // max(1, file_size * math.prod(dataset.shape[1:])))
    total = 0
    for begin in range(0, dataset.shape[0], step):
        values = dataset[begin : begin + step].reshape(-1)
        total += sum(len(value) if is_text else _pixels(value, where) for value in values)
        if total > limits.allocation_bytes:
            raise too_large(where, "bytes of texts or pictures", limits.allocation_bytes)
    return total


def _pixels(value: Any, where: str) -> int:
    """Return the bytes that a packed picture unpacks to, as its header says."""
    try:
        with Image.open(io.BytesIO(bytes(value))) as image:
            return image.width * image.height * len(image.getbands())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TutelageError(f"expected pictures in {where}, got: {error}") from None
