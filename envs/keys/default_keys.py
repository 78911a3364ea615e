"""Default keys for action spaces, and the mixing of keys held together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from ..spaces import Leaf, leaves
from .key_names import DIGITS, LETTERS

SINGLE_KEYS = (
    *(*DIGITS, *LETTERS, "Minus", "Equal", "BracketLeft", "BracketRight", "Semicolon", "Quote"),
    *("Comma", "Period", "Slash", *(f"Numpad{digit}" for digit in range(10))),
)
"""Keys in the order in which they are assigned to single values, such as the actions of a Discrete space."""

AXIS_KEYS = (
    *(("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp"), ("KeyA", "KeyD"), ("KeyS", "KeyW")),
    *(("KeyJ", "KeyL"), ("KeyK", "KeyI"), ("KeyF", "KeyH"), ("KeyG", "KeyT")),
    *(("Numpad4", "Numpad6"), ("Numpad2", "Numpad8"), ("Numpad1", "Numpad3"), ("Numpad7", "Numpad9")),
    *(("Comma", "Period"), ("BracketLeft", "BracketRight"), ("Minus", "Equal"), ("Semicolon", "Quote")),
)
"""Pairs of keys (decrease, increase) for the axes of a Box, in order."""


@dataclass(frozen=True)
class ActionMixer:
    """Combines the actions of several keys into one row `[k]`.

    `rest` is the row for no key. An `additive` (continuous) entry sums the changes of all keys, clipped to
    `low` and `high`; any other entry takes the value of the key pressed last that changes it.
    """

    rest: tuple[float, ...]
    additive: tuple[bool, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def mix(self, actions: Sequence[Sequence[float]]) -> np.ndarray:
        """Combine rows, oldest key first."""
        rest, additive = np.array(self.rest), np.array(self.additive)
        row = rest.copy()
        for action in actions:
            value = np.array(action)
            row = np.where(additive, row + value - rest, np.where(value != rest, value, row))
        return np.where(additive, np.clip(row, self.low, self.high), row)

    def is_part(self, action: Sequence[float], row: Sequence[float]) -> bool:
        """Return whether an action may be one of those combined into `row`."""
        changed = [
            (number, mixed)
            for number, mixed, rest in zip(action, row, self.rest, strict=True)
            if number != rest
        ]
        return bool(changed) and all(number == mixed for number, mixed in changed)


def mixer_of(space: spaces.Space[Any], idle: Sequence[float] | None) -> ActionMixer | None:
    """Return the mixer of a space; None for a Discrete or text space, whose actions cannot be combined."""
    if isinstance(space, spaces.Discrete):
        return None
    parts = leaves(space)
    if any(leaf.is_text for leaf in parts):
        return None
    low = np.concatenate([lowest(leaf) for leaf in parts])
    high = np.concatenate([_high(leaf) for leaf in parts])
    additive = np.concatenate([np.full(lowest(leaf).size, is_continuous(leaf)) for leaf in parts])
    rest = np.array(idle) if idle is not None else np.where(additive, np.clip(0.0, low, high), low)
    return ActionMixer(*(tuple(column.tolist()) for column in (rest, additive, low, high)))


def binding_keys(space: spaces.Space[Any]) -> list[tuple[str, tuple[float, ...], str]]:
    """Assign keys to every entry of an action: (code, row `[k]`, label), until the keys run out."""
    mixer = mixer_of(space, None)
    if mixer is None:
        return []
    parts = [(leaf, index_in_leaf) for leaf in leaves(space) for index_in_leaf in range(lowest(leaf).size)]
    continuous = [index for index, (leaf, _) in enumerate(parts) if is_continuous(leaf)]
    pairs = dict(zip(continuous, AXIS_KEYS, strict=False))
    axis_codes = {code for pair in pairs.values() for code in pair}
    free = iter([code for code in SINGLE_KEYS if code not in axis_codes])
    bindings = []
    for index, (leaf, index_in_leaf) in enumerate(parts):
        for code, value, label in _keys_of(leaf, index_in_leaf, index, pairs.get(index), free, mixer):
            row = list(mixer.rest)
            row[index] = value
            bindings.append((code, tuple(row), label))
    return bindings


def _keys_of(
    leaf: Leaf,
    index_in_leaf: int,
    index: int,
    pair: tuple[str, str] | None,
    free: Iterator[str],
    mixer: ActionMixer,
) -> Iterator[tuple[str, float, str]]:
    """Yield (code, value, label) for one entry of an action."""
    rest, low, high = mixer.rest[index], mixer.low[index], mixer.high[index]
    if is_continuous(leaf):
        name = f"{leaf.path} {index_in_leaf + 1}" if leaf.path else f"axis {index_in_leaf + 1}"
        for code, bound in zip(pair or (), (low, high), strict=False):
            if bound != rest:
                yield code, bound, f"{name} {'-' if bound < rest else '+'}"
        return
    name = f"{leaf.path or 'number'} {index_in_leaf + 1}" if lowest(leaf).size > 1 else leaf.path or "number"
    for value in range(int(low), int(high) + 1):
        if value != rest and (key := next(free, None)) is not None:
            is_bit = isinstance(leaf.space, spaces.MultiBinary)
            yield key, float(value), name if is_bit else f"{name} = {value}"


def is_continuous(leaf: Leaf) -> bool:
    """Return whether a leaf is a Box of floats."""
    return isinstance(leaf.space, spaces.Box) and np.issubdtype(leaf.space.dtype, np.floating)


def lowest(leaf: Leaf) -> np.ndarray:
    """Return the lowest value of each entry of a leaf, flat; unbounded below counts as -1."""
    if isinstance(leaf.space, spaces.Box):
        return np.maximum(np.nan_to_num(leaf.space.low.astype(float), neginf=-1.0), -1e30).ravel()
    if isinstance(leaf.space, spaces.Discrete | spaces.MultiDiscrete):
        return np.asarray(leaf.space.start, float).ravel()
    return np.zeros(int(np.prod(leaf.space.shape or ())))


def _high(leaf: Leaf) -> np.ndarray:
    if isinstance(leaf.space, spaces.Box):
        return np.minimum(np.nan_to_num(leaf.space.high.astype(float), posinf=1.0), 1e30).ravel()
    if isinstance(leaf.space, spaces.Discrete):
        return lowest(leaf) + float(leaf.space.n) - 1
    if isinstance(leaf.space, spaces.MultiDiscrete):
        return lowest(leaf) + np.asarray(leaf.space.nvec, float).ravel() - 1
    return np.ones(int(np.prod(leaf.space.shape or ())))
