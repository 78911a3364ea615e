"""Check untrusted HDF5 files: no access outside of the file, no allocation beyond a limit.

An HDF5 file may link its groups or data to other files, expand a few bytes to a billion numbers, and refer to
one long text a million times.
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
    """Call `check_hdf5` for every HDF5 file of a folder; also refuse links out of the folder."""
    root = real_path(folder)
    for path in sorted(folder.rglob("*")):
        if not real_path(path).is_relative_to(root):
            raise TutelageError(
                f"expected {path} to lie in {folder}, got a link out of it; copy the file there"
            )
        if path.suffix in (".hdf5", ".h5"):
            check_hdf5(path)


def check_hdf5(path: Path) -> None:
    """Check every object of an HDF5 file without reading its data; raises TutelageError."""
    import h5py

    open_regular(path).close()
    limits, total, objects = Limits.current(), 0, 0
    try:
        with h5py.File(path, "r") as file:
            for path_in_file, item in _objects(h5py, file, path):
                objects += 1
                if objects > _OBJECTS:
                    raise too_large(path, "objects", _OBJECTS)
                _check_attributes(item, f"{path_in_file} in {path}")
                if isinstance(item, h5py.Dataset):
                    total += _check_dataset(
                        h5py, item, f"{path_in_file} in {path}", limits, path.stat().st_size
                    )
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
    """Yield every object once, with its path; raises TutelageError for links that leave the tree."""
    stack, visited = [("/", file["/"])], set()
    while stack:
        path_in_file, item = stack.pop()
        address = h5py.h5o.get_info(item.id).addr
        if address in visited:
            continue
        visited.add(address)
        yield path_in_file, item
        if isinstance(item, h5py.Group):
            for name in item:
                child_path = f"{path_in_file.rstrip('/')}/{name}"
                if not isinstance(item.get(name, getlink=True), h5py.HardLink):
                    raise TutelageError(
                        f"expected all of it in {path}, got a link at {child_path}, which may lead elsewhere"
                    )
                stack.append((child_path, item[name]))


def _check_attributes(item: Any, where: str) -> None:
    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        size = math.prod(attribute.shape or ()) * attribute.dtype.itemsize
        if size > _ATTRIBUTES:
            raise too_large(f"attribute {name!r} of {where}", "bytes", _ATTRIBUTES)


def _check_dataset(h5py: Any, dataset: Any, where: str, limits: Limits, file_size: int) -> int:
    """Return an upper bound of a dataset's bytes in memory."""
    if dataset.external or dataset.is_virtual:
        raise TutelageError(
            f"expected the numbers of {where} in the file itself, got the names of other files"
        )
    properties = dataset.id.get_create_plist()
    for index in range(properties.get_nfilters()):
        if (code := properties.get_filter(index)[0]) not in _FILTERS:
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
    """Bound the bytes of texts and images: each may be stored once and referred to often."""
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
    """Return the bytes of a compressed image after decoding, according to its header."""
    try:
        with Image.open(io.BytesIO(bytes(value))) as image:
            return image.width * image.height * len(image.getbands())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TutelageError(f"expected pictures in {where}, got: {error}") from None
