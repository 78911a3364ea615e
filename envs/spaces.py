"""Any Gymnasium space as a flat list of named leaves, and its values as one array (or string) a leaf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from .errors import TutelageError

Observation = dict[str, Any]
"""Path of a leaf → numpy array of the leaf's shape and dtype, or `str` for a text leaf."""


@dataclass(frozen=True)
class Leaf:
    """One indivisible part of a space.

    `path` is `""` for a bare space, `"image"` or `"hand/0"` inside a Dict or Tuple.
    """

    path: str
    space: spaces.Space[Any]

    @property
    def is_text(self) -> bool:
        return is_text(self.space)


def is_text(space: spaces.Space[Any]) -> bool:
    """Say whether the space's values are strings (Gymnasium's Text, minigrid's MissionSpace)."""
    return isinstance(space, spaces.Text) or (space.dtype is not None and space.dtype.kind == "U")


def leaves(space: spaces.Space[Any], path: str = "") -> tuple[Leaf, ...]:
    """List the leaves of a space, depth first, in the space's own order.

    Raises TutelageError for Graph, Sequence and OneOf spaces: their values have no fixed layout.
    """
    parts: Iterable[tuple[str, spaces.Space[Any]]]
    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        parts = ((str(i), part) for i, part in enumerate(space.spaces))
    elif is_text(space) or isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    ):
        return (Leaf(path, space),)
    else:
        raise TutelageError(
            f"expected a space made of Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict and Tuple, "
            f"got {type(space).__name__} at {path or 'the root'!r}; wrap the environment to change it"
        )
    return tuple(leaf for key, part in parts for leaf in leaves(part, f"{path}/{key}" if path else key))


def flatten(space: spaces.Space[Any], value: Any, path: str = "") -> Observation:
    """Split a value of `space` into its leaves; numbers take the leaf's own dtype and shape."""
    if isinstance(space, spaces.Dict):
        parts = ((key, part, value[key]) for key, part in space.spaces.items())
    elif isinstance(space, spaces.Tuple):
        parts = ((str(i), part, value[i]) for i, part in enumerate(space.spaces))
    elif is_text(space):
        return {path: str(value)}
    else:
        return {path: np.array(value, dtype=space.dtype).reshape(space.shape or ())}
    flat: Observation = {}
    for key, part, item in parts:
        flat |= flatten(part, item, f"{path}/{key}" if path else key)
    return flat


def unflatten(space: spaces.Space[Any], flat: Mapping[str, Any], path: str = "") -> Any:
    """Put leaves together again into a value that the environment takes: the inverse of `flatten`."""
    if isinstance(space, spaces.Dict):
        return {k: unflatten(s, flat, f"{path}/{k}" if path else k) for k, s in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(
            unflatten(s, flat, f"{path}/{i}" if path else str(i)) for i, s in enumerate(space.spaces)
        )
    if is_text(space):
        return str(flat[path])
    array = np.asarray(flat[path], dtype=space.dtype)
    return int(array) if isinstance(space, spaces.Discrete) else array.reshape(space.shape or ())


def action_size(space: spaces.Space[Any]) -> int:
    """Count the numbers that one action is made of: 1 for Discrete, k for MultiDiscrete(k) or Box(k)."""
    return sum(int(np.prod(leaf.space.shape or (), dtype=np.int64)) for leaf in leaves(space))


def action_to_row(space: spaces.Space[Any], action: Any) -> np.ndarray:
    """Write an action as one row of float64 `[k]`; exact for float32 and for integers below 2**53."""
    flat = flatten(space, action)
    return np.concatenate([np.asarray(flat[leaf.path], np.float64).ravel() for leaf in leaves(space)])


def row_to_action(space: spaces.Space[Any], row: np.ndarray) -> Any:
    """Read an action back from its row: the inverse of `action_to_row`."""
    flat: Observation = {}
    at = 0
    for leaf in leaves(space):
        shape = leaf.space.shape or ()
        size = int(np.prod(shape, dtype=np.int64))
        flat[leaf.path] = np.asarray(row[at : at + size]).reshape(shape).astype(leaf.space.dtype)
        at += size
    return unflatten(space, flat)
