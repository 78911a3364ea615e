"""Cell codes: the content of a cell in one byte, and lookup tables of its properties.

A code packs MiniGrid's (type, color, state) as type * 18 + color * 3 + state.
"""

from __future__ import annotations

import numpy as np

TYPES = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")
COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
STATES = ("open", "closed", "locked")
"""MiniGrid's names, in the order of their indices."""


def cell_code(kind: str, color: str = "red", state: str = "open") -> int:
    """Return the code of a cell, e.g. `cell_code("door", "blue", "locked")`."""
    return TYPES.index(kind) * 18 + COLORS.index(color) * 3 + STATES.index(state)


# MiniGrid encodes empty and unseen cells with color 0, walls with gray
UNSEEN, EMPTY, WALL = cell_code("unseen"), cell_code("empty"), cell_code("wall", "grey")
CELL_CODES = np.array(
    [(kind, color, state) for kind in range(len(TYPES)) for color in range(6) for state in range(3)], np.uint8
)
"""Code → (type, color, state), uint8 `[198, 3]`."""

KIND, COLOR, STATUS = CELL_CODES[:, 0].copy(), CELL_CODES[:, 1].copy(), CELL_CODES[:, 2].copy()
"""The columns of CELL_CODES, contiguous uint8 `[198]` each, for the kernels."""


def _is_kind(*kinds: str) -> np.ndarray:
    return np.isin(KIND, [TYPES.index(kind) for kind in kinds])


# tables instead of arithmetic on codes: one load per test in the kernels
IS_DOOR, IS_KEY, IS_BOX, IS_GOAL, IS_LAVA = (
    _is_kind(kind) for kind in ("door", "key", "box", "goal", "lava")
)
IS_OPEN, IS_LOCKED = (IS_DOOR & (STATES.index(name) == STATUS) for name in ("open", "locked"))
ENTERED = _is_kind("empty", "floor", "goal", "lava") | IS_OPEN
LIFTED = _is_kind("key", "ball", "box")
SEEN_THROUGH = ~_is_kind("wall") & (~IS_DOOR | IS_OPEN)
"""Code → property, bool `[198]`. IS_OPEN and IS_LOCKED hold for doors only. ENTERED: the agent can step onto
the cell; LIFTED: it can pick the object up; SEEN_THROUGH: the cell does not block the view."""
