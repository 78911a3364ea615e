"""What the process that proves must not share with the one that played: generators, and the order of memory.

An environment may draw from a generator that is nobody's own, or go through a set of objects, which their
addresses order. Two processes that come from the same one would do the same, and no later process would.
"""

from __future__ import annotations

import random

import numpy as np

_SIZES = range(16, 513, 16)
"""Python's allocator keeps a pool for each of these sizes, in bytes."""
_MOST = 600
_kept: list[bytearray] = []


def draw_apart() -> None:
    """Seed Python's and NumPy's global generators from the operating system."""
    random.seed()
    np.random.seed(None)  # noqa: NPY002


def scatter() -> None:
    """Leave holes in memory at random places, so that objects that are made now lie in no order."""
    dice = random.Random()
    filled = [bytearray(size) for size in _SIZES for _ in range(dice.randrange(_MOST // 2, _MOST))]
    dice.shuffle(filled)
    _kept[:] = filled[::2]
