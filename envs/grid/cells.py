"""What stands in a cell is one byte, its look; and what the rules say of every look.

A look is MiniGrid's (type, colour, state) as type * 18 + colour * 3 + state.
"""

from __future__ import annotations

import numpy as np

TYPES = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")
COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
STATES = ("open", "closed", "locked")
"""MiniGrid's names, in the order of their numbers."""


def look(kind: str, color: str = "red", state: str = "open") -> int:
    """Return the byte of a cell, as of `look("door", "blue", "locked")`."""
    return TYPES.index(kind) * 18 + COLORS.index(color) * 3 + STATES.index(state)


UNSEEN, EMPTY, WALL = look("unseen"), look("empty"), look("wall", "grey")
LOOKS = np.array(
    [(kind, color, state) for kind in range(len(TYPES)) for color in range(6) for state in range(3)], np.uint8
)
"""Look → (type, colour, state), `[198, 3]`."""

KIND, COLOR, STATUS = LOOKS[:, 0].copy(), LOOKS[:, 1].copy(), LOOKS[:, 2].copy()
"""The columns of LOOKS, `[198]` each: what kernels read."""


def _of(*kinds: str) -> np.ndarray:
    return np.isin(KIND, [TYPES.index(kind) for kind in kinds])


IS_DOOR, IS_KEY, IS_BOX, IS_GOAL, IS_LAVA = (_of(kind) for kind in ("door", "key", "box", "goal", "lava"))
IS_OPEN, IS_LOCKED = (IS_DOOR & (STATES.index(name) == STATUS) for name in ("open", "locked"))
ENTERED = _of("empty", "floor", "goal", "lava") | IS_OPEN
LIFTED = _of("key", "ball", "box")
SEEN_THROUGH = ~_of("wall") & (~IS_DOOR | IS_OPEN)
"""Look → whether it is so, bool `[198]`: open and locked are doors; lifted is what can be picked up."""
