"""Chance: every world has dice of its own, which are a pure function of its seed (SplitMix64)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import kernel
from .state import Bits, GridState

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


@kernel
def mixed(state: Bits) -> Bits:
    """Return 64 bits that look unrelated to those given (the output function of SplitMix64)."""
    bits = (state ^ (state >> _30)) * _FIRST
    bits = (bits ^ (bits >> _27)) * _SECOND
    return bits ^ (bits >> _31)


@kernel
def seed(worlds: GridState, b: int, value: Bits) -> None:
    """Give world `b` the dice of a seed; the same seed throws the same."""
    worlds.state[b].seeds = np.uint64(value)
    worlds.state[b].dice = mixed(np.uint64(value) + _STEP)


@kernel
def following(value: Bits) -> Any:
    """Return the seed of the episode after the one of `value`, below 2^63."""
    return np.int64(mixed(np.uint64(value) * _STEP + _STEP) >> np.uint64(1))


@kernel
def roll(worlds: GridState, b: int, sides: int) -> Any:
    """Throw a die of world `b`: a number in [0, sides); uneven by less than sides / 2^32."""
    worlds.state[b].dice += _STEP
    return np.int64(((mixed(worlds.state[b].dice) >> _32) * np.uint64(sides)) >> _32)
