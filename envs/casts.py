"""Values that are not of the dtype or shape that their space declares, and what a cast changes of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from ..errors import TutelageError, brief


def cast(space: spaces.Space[Any], value: Any) -> tuple[np.ndarray, str]:
    """Return a copy of a leaf's value in the shape and dtype of its space, and what that changed.

    The change is "" where every number is what it was: rounding from one float to another is none, an
    infinity that was none before is. Raises TutelageError for what is no number, and for another size.
    """
    shape, dtype = space.shape or (), np.dtype(space.dtype)
    try:
        raw = np.array(value)
    except (TypeError, ValueError):  # lists of several lengths
        raw = np.array(None)
    if raw.dtype == dtype and raw.shape == shape:
        return raw, ""
    if raw.dtype.kind not in "biuf" or raw.size != math.prod(shape):
        got = _described(raw, raw.shape) if raw.dtype.kind in "biuf" else brief(value)
        raise TutelageError(f"expected {declared(space)}, got {got}")
    with np.errstate(all="ignore"):
        made = raw.astype(dtype)
    # what is played a million times is looked at no closer than it has to be
    is_rounded = raw.dtype.kind == dtype.kind == "f" and np.isfinite(made).all()
    if raw.shape == shape and (is_rounded or np.can_cast(raw.dtype, dtype)):
        return made, ""
    return made.reshape(shape), change_of(space, raw, made, raw.shape)


def declared(space: spaces.Space[Any]) -> str:
    """Name the dtype and the shape that a space declares."""
    return f"{np.dtype(space.dtype)} {list(space.shape or ())}"


def change_of(space: spaces.Space[Any], raw: np.ndarray, made: np.ndarray, given: tuple[int, ...]) -> str:
    """Say in one line what a cast of one or many values changed, whose shape was `given`; "" for nothing."""
    if _long(given) != _long(space.shape or ()):
        return f"declared {declared(space)}, got {_described(raw, given)}: the shape was changed"
    before, after = raw.astype(np.float64).ravel(), made.astype(np.float64).ravel()
    if raw.dtype.kind == made.dtype.kind == "f":
        changed = np.isfinite(before) & ~np.isfinite(after)
    else:
        changed = (before != after) & ~(np.isnan(before) & np.isnan(after))
    if not changed.any():
        return ""
    first = int(np.argmax(changed))
    what = f"declared {declared(space)}, got {_described(raw, given)}"
    return f"{what}: {raw.flat[first]:g} became {made.flat[first]:g}"


def _described(raw: np.ndarray, shape: tuple[int, ...]) -> str:
    finite = raw[np.isfinite(raw)]
    within = f" from {finite.min():g} to {finite.max():g}" if finite.size else ""
    return f"{raw.dtype} {list(shape)}{within}"


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out the dimensions of one."""
    return tuple(size for size in shape if size != 1)
