"""Random numbers: each grid has its own generator, a pure function of its seed (SplitMix64)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import kernel
from .state import Bits, GridState

# constants of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# shifts as uint64: a mix of uint64 and int64 would change the type in numba
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


@kernel
def mix64(state: Bits) -> Bits:
    """Return 64 well-mixed bits (the output function of SplitMix64)."""
    bits = (state ^ (state >> _30)) * _FIRST
    bits = (bits ^ (bits >> _27)) * _SECOND
    return bits ^ (bits >> _31)


@kernel
def seed(grids: GridState, b: int, value: Bits) -> None:
    """Seed the generator of grid `b`; the same seed draws the same numbers."""
    grids.state[b].seeds = np.uint64(value)
    grids.state[b].rng = mix64(np.uint64(value) + _STEP)


@kernel
def next_seed(value: Bits) -> Any:
    """Return the seed of the episode that follows the one of seed `value`, below 2^63."""
    return np.int64(mix64(np.uint64(value) * _STEP + _STEP) >> np.uint64(1))


@kernel
def randint(grids: GridState, b: int, high: int) -> Any:
    """Draw an integer in [0, high) from grid `b`'s generator; its bias is below high / 2^32."""
    # multiply-shift instead of modulo (Lemire, 2019), on the upper 32 bits
    grids.state[b].rng += _STEP
    return np.int64(((mix64(grids.state[b].rng) >> _32) * np.uint64(high)) >> _32)
