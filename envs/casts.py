"""Cast values to the dtype and shape that their space declares, and report what the cast changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from ..errors import TutelageError, brief


def cast(space: spaces.Space[Any], value: Any) -> tuple[np.ndarray, str]:
    """Return a copy of a leaf's value in the shape and dtype of its space, and a description of the change.

    The description is "" if no number changed: rounding between float types does not count, an overflow to
    infinity does. Raises TutelageError for values that are not numbers, and for a different size.
    """
    shape, dtype = space.shape or (), np.dtype(space.dtype)
    try:
        raw = np.array(value)
    except (TypeError, ValueError):  # ragged lists
        raw = np.array(None)
    if raw.dtype == dtype and raw.shape == shape:
        return raw, ""
    if raw.dtype.kind not in "biuf" or raw.size != math.prod(shape):
        got = _describe(raw, raw.shape) if raw.dtype.kind in "biuf" else brief(value)
        raise TutelageError(f"expected {declared(space)}, got {got}")
    with np.errstate(all="ignore"):
        converted = raw.astype(dtype)
    # fast path: this runs at every step
    is_rounded = raw.dtype.kind == dtype.kind == "f" and np.isfinite(converted).all()
    if raw.shape == shape and (is_rounded or np.can_cast(raw.dtype, dtype)):
        return converted, ""
    return converted.reshape(shape), change_of(space, raw, converted, raw.shape)


def declared(space: spaces.Space[Any]) -> str:
    """Return the dtype and shape that a space declares, as text."""
    return f"{np.dtype(space.dtype)} {list(space.shape or ())}"


def change_of(
    space: spaces.Space[Any], raw: np.ndarray, converted: np.ndarray, shape: tuple[int, ...]
) -> str:
    """Describe in one line what a cast of values of shape `shape` changed; "" for nothing."""
    if _squeezed(shape) != _squeezed(space.shape or ()):
        return f"declared {declared(space)}, got {_describe(raw, shape)}: the shape was changed"
    before, after = raw.astype(np.float64).ravel(), converted.astype(np.float64).ravel()
    if raw.dtype.kind == converted.dtype.kind == "f":
        changed = np.isfinite(before) & ~np.isfinite(after)
    else:
        changed = (before != after) & ~(np.isnan(before) & np.isnan(after))
    if not changed.any():
        return ""
    first = int(np.argmax(changed))
    head = f"declared {declared(space)}, got {_describe(raw, shape)}"
    return f"{head}: {raw.flat[first]:g} became {converted.flat[first]:g}"


def _describe(raw: np.ndarray, shape: tuple[int, ...]) -> str:
    finite = raw[np.isfinite(raw)]
    within = f" from {finite.min():g} to {finite.max():g}" if finite.size else ""
    return f"{raw.dtype} {list(shape)}{within}"


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the dimensions of size one."""
    return tuple(size for size in shape if size != 1)
