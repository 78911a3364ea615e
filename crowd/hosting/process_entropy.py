"""Entropy of a proving process: it must not share generator states or memory layout with the playing one.

An environment may draw from a global generator, or iterate over a set of objects, whose order depends on
their addresses. Two forks of one process would agree, and no later process would.
"""

from __future__ import annotations

import random

import numpy as np

_SIZES = range(16, 513, 16)
"""Python's allocator has one pool per size, in bytes."""
_MOST = 600
_kept_blocks: list[bytearray] = []


def reseed_generators() -> None:
    """Seed Python's and NumPy's global generators from the operating system."""
    random.seed()
    np.random.seed(None)  # noqa: NPY002


def fragment_memory() -> None:
    """Leave holes in memory at random places, so that new objects lie in no particular order."""
    generator = random.Random()
    blocks = [bytearray(size) for size in _SIZES for _ in range(generator.randrange(_MOST // 2, _MOST))]
    generator.shuffle(blocks)
    _kept_blocks[:] = blocks[::2]
