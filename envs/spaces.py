"""Flatten any Gymnasium space to named leaves, and its values to one array (or string) per leaf."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from ..errors import TutelageError, brief
from .casts import cast

Observation = dict[str, Any]
"""Path of a leaf → numpy array of the leaf's shape and dtype, or `str` for a text leaf."""


@dataclass(frozen=True)
class Leaf:
    """One indivisible part of a space.

    `path` is `""` for a bare space, `"image"` or `"hand/0"` inside a Dict or Tuple; `join_path` escapes other
    keys.
    """

    path: str
    space: spaces.Space[Any]

    @property
    def is_text(self) -> bool:
        return is_text(self.space)

    @property
    def is_words(self) -> bool:
        """Whether the leaf is text for people, not serialized data."""
        return self.is_text and not isinstance(self.space, JSONText)


class JSONText(spaces.Space[str]):
    """A space of strings that hold serialized data (JSON), not words."""

    def __init__(self, seed: int | np.random.Generator | None = None) -> None:
        super().__init__((), np.str_, seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False


def is_text(space: spaces.Space[Any]) -> bool:
    """Return whether the space's values are strings (Gymnasium's Text, minigrid's MissionSpace)."""
    return isinstance(space, spaces.Text) or (space.dtype is not None and space.dtype.kind == "U")


def join_path(path: str, key: Any) -> str:
    """Return the path of part `key` inside `path`; different keys give different paths.

    In a key, "%", "/", ".", control characters and lone surrogates are percent-encoded as UTF-8 bytes; an
    empty key is "%".
    """
    name = escape_key(key)
    return f"{path}/{name}" if path else name


def escape_key(key: Any) -> str:
    """Return a key as a plain name, see `join_path`; the mapping is injective."""
    return _ODD.sub(_escaped, str(key)) or "%"


_ODD = re.compile(r"[%/.\x00-\x1f\x7f\ud800-\udfff]")


def _escaped(letter: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in letter[0].encode("utf-8", "surrogatepass"))


def leaves(space: spaces.Space[Any]) -> tuple[Leaf, ...]:
    """Return the leaves of a space, depth first, in the space's own order.

    Raises TutelageError for Graph, Sequence and OneOf spaces, whose values have no fixed layout, and for keys
    that are equal as text.
    """
    all_leaves = _leaves(space, "")
    paths = [leaf.path for leaf in all_leaves]
    if len(set(paths)) < len(paths):
        duplicate = next(path for path in paths if paths.count(path) > 1)
        raise TutelageError(f"expected keys that differ as text, got {duplicate!r} twice; rename one")
    return all_leaves


def _leaves(space: spaces.Space[Any], path: str) -> tuple[Leaf, ...]:
    parts: Iterable[tuple[Any, spaces.Space[Any]]]
    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
    elif is_text(space) or isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    ):
        return (Leaf(path, space),)
    else:
        raise TutelageError(
            f"expected a space made of Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict and Tuple, "
            f"got {type(space).__name__} at {path or 'the root'!r}; wrap the environment to change it"
        )
    return tuple(leaf for key, part in parts for leaf in _leaves(part, join_path(path, key)))


def flatten(
    space: spaces.Space[Any], value: Any, path: str = "", casts: dict[str, str] | None = None
) -> Observation:
    """Split a value of `space` into its leaves; numbers are cast to the leaf's dtype and shape.

    The first change per leaf is recorded in `casts`: leaf path → description. Raises TutelageError for a
    value with a missing part or a part of another size.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        flat: Observation = {}
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, part in parts:
            try:
                item = value[key]
            except (KeyError, IndexError, TypeError):
                raise TutelageError(f"expected a part {key!r} at {path or 'the root'!r}, got none") from None
            flat |= flatten(part, item, join_path(path, key), casts)
        return flat
    if is_text(space):
        if casts is not None and not isinstance(value, str):
            casts.setdefault(path, f"declared text, got {type(value).__name__}")
        return {path: str(value)}
    try:
        array, change = cast(space, value)
    except TutelageError as error:
        raise TutelageError(f"{path or 'the value'!r}: {error}") from None
    if change and casts is not None:
        casts.setdefault(path, change)
    return {path: array}


def unflatten(space: spaces.Space[Any], flat: Mapping[str, Any], path: str = "") -> Any:
    """Rebuild a value of the space from its leaves: the inverse of `flatten`."""
    if isinstance(space, spaces.Dict):
        return {key: unflatten(part, flat, join_path(path, key)) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(unflatten(part, flat, join_path(path, i)) for i, part in enumerate(space.spaces))
    if is_text(space):
        return str(flat[path])
    array = np.asarray(flat[path], dtype=space.dtype)
    return int(array) if isinstance(space, spaces.Discrete) else array.reshape(space.shape or ())


def action_size(space: spaces.Space[Any]) -> int:
    """Return the length k of an action row: 1 for Discrete, k for MultiDiscrete(k), Box(k) or Text(2k)."""
    return sum(_size(leaf) for leaf in leaves(space))


def whole_numbers(space: spaces.Space[Any]) -> np.ndarray:
    """Return which entries of an action row are integers, bool `[k]`: those of leaves with integer dtype."""
    kinds = [(leaf, leaf.space.dtype.kind if leaf.space.dtype else "") for leaf in leaves(space)]
    return np.concatenate([np.full(_size(leaf), kind in "iub") for leaf, kind in kinds])


def action_to_row(space: spaces.Space[Any], action: Any) -> np.ndarray:
    """Encode an action as one row float64 `[k]`; exact for float32, integers below 2**53, and text.

    Raises TutelageError for an action that a cast to the space's dtype would change.
    """
    casts: dict[str, str] = {}
    flat = flatten(space, action, casts=casts)
    if casts:
        change = next(iter(casts.values()))
        raise TutelageError(f"expected an action of {space}, got {brief(action)}: {change}")
    parts = [
        _letters(flat[leaf.path], _size(leaf)) if leaf.is_text else np.asarray(flat[leaf.path], np.float64)
        for leaf in leaves(space)
    ]
    return np.concatenate([part.ravel() for part in parts])


def row_to_action(space: spaces.Space[Any], row: np.ndarray) -> Any:
    """Decode an action from its row: the inverse of `action_to_row`."""
    flat: Observation = {}
    offset = 0
    for leaf in leaves(space):
        size = _size(leaf)
        part = np.asarray(row[offset : offset + size])
        shape, dtype = leaf.space.shape or (), leaf.space.dtype
        flat[leaf.path] = _text(part) if leaf.is_text else part.reshape(shape).astype(dtype)
        offset += size
    return unflatten(space, flat)


def rows_to_actions(space: spaces.Space[Any], rows: np.ndarray) -> Any:
    """Read a batch of actions back from rows `[N, k]`: each leaf as `[N, ...]` in its own dtype.

    A Dict or Tuple space gives a dict or tuple of them, a text leaf an object array of `str`.
    """
    flat: dict[str, np.ndarray] = {}
    start = 0
    for leaf in leaves(space):
        part = rows[:, start : start + _size(leaf)]
        start += _size(leaf)
        if leaf.is_text:
            flat[leaf.path] = np.array([_text(row) for row in part], object)
        else:
            flat[leaf.path] = part.reshape(len(rows), *(leaf.space.shape or ())).astype(leaf.space.dtype)
    return unflatten_batch(space, flat)


def unflatten_batch(space: spaces.Space[Any], flat: Mapping[str, Any], path: str = "") -> Any:
    """Put leaves `[N, ...]` together as the space is built: an array, or a dict or tuple of arrays."""
    if isinstance(space, spaces.Dict):
        return {key: unflatten_batch(part, flat, join_path(path, key)) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
        return tuple(unflatten_batch(part, flat, join_path(path, index)) for index, part in parts)
    return flat[path]


def _size(leaf: Leaf) -> int:
    if isinstance(leaf.space, spaces.Text):
        return (leaf.space.max_length + 1) // 2
    return int(np.prod(leaf.space.shape or (), dtype=np.int64))


def _letters(text: str, size: int) -> np.ndarray:
    """Encode a text as `[size]` numbers, two characters each, 21 bits a character, zero-padded."""
    codes = np.zeros(2 * size, np.int64)
    codes[: len(text)] = [ord(letter) for letter in text]
    return (codes[::2] + (codes[1::2] << 21)).astype(np.float64)


def _text(numbers: np.ndarray) -> str:
    codes = numbers.astype(np.int64)
    pairs = np.stack([codes & 0x1FFFFF, codes >> 21], 1).ravel()
    return "".join(map(chr, pairs[pairs > 0].tolist()))
