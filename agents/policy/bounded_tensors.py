"""Read tensors from untrusted .safetensors files: sizes stated in the header are checked before use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from ...errors import TutelageError
from ...files.bounded_files import Limits, parse_json, read_bytes, too_large

_HEADER = 16 << 20  # most bytes of a header


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of tensors and its metadata; raises FileNotFoundError or TutelageError."""
    return parse_tensors(read_bytes(path, Limits.current().expanded_bytes), str(path))


def parse_tensors(data: bytes, where: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Parse the bytes of such a file: tensors by name, and metadata; raises TutelageError."""
    header = _header(data, where)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TutelageError(f"expected texts as the metadata of {where}, got something else")
    try:
        # the parser of safetensors may raise any of these on malformed input
        return load_tensors(data), metadata
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise TutelageError(f"expected tensors in {where}, got: {' '.join(str(error).split())}") from None


def check_shapes(tensors: Mapping[str, Tensor], module: nn.Module, where: str) -> None:
    """Raise TutelageError unless tensors have exactly the names, shapes and types of a module's weights."""
    state = module.state_dict()
    if odd := sorted(state.keys() ^ tensors.keys()):
        raise TutelageError(f"expected weights that fit {where}, got others, such as {odd[0]!r}")
    for name, weight in state.items():
        got = tensors[name]
        if got.shape != weight.shape or got.dtype != weight.dtype:
            raise TutelageError(
                f"expected weights that fit {where}, got {name!r} of {tuple(got.shape)}, "
                f"not {tuple(weight.shape)}"
            )
        if got.is_floating_point() and not bool(torch.isfinite(got).all()):
            raise TutelageError(f"expected finite weights in {where}, got others in {name!r}")


def _header(data: bytes, where: str) -> dict[str, Any]:
    # format: 8 bytes of header length, the header as JSON, then the data
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise TutelageError(f"expected tensors in {where}, got something else, or a part of them")
    if length > _HEADER:
        raise too_large(where, "bytes in its header", _HEADER)
    header = parse_json(data[8 : 8 + length], where)
    if not isinstance(header, dict):
        raise TutelageError(f"expected tensors in {where}, got no table of them")
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise TutelageError(f"expected the shape of {name!r} in {where}, got none")
        # at least one byte a number: a larger shape cannot be in the file
        if math.prod(shape) > len(data):
            raise TutelageError(f"expected {name!r} in {where} to lie in the file, got shape {shape}")
    return header
