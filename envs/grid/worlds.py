"""Many grid worlds side by side: plain arrays, one row a world, that the kernels read and write.

What stands in a cell is one byte, its look: MiniGrid's (type, colour, state) as type * 18 + colour * 3 +
state. Which object it is, is another byte, so that two red balls stay two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TYPES = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")
COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
STATES = ("open", "closed", "locked")
"""MiniGrid's names, in the order of their numbers."""

VIEW = 7
"""Side of the square that the agent sees; it stands in the middle of its near edge."""


def look(kind: str, color: str = "red", state: str = "open") -> int:
    """Return the byte of a cell, as of `look("door", "blue", "locked")`."""
    return TYPES.index(kind) * 18 + COLORS.index(color) * 3 + STATES.index(state)


UNSEEN, EMPTY, WALL = look("unseen"), look("empty"), look("wall", "grey")
LOOKS = np.array(
    [(kind, color, state) for kind in range(len(TYPES)) for color in range(6) for state in range(3)], np.uint8
)
"""Look → (type, colour, state), `[198, 3]`."""


class Worlds(NamedTuple):
    """The whole state of B worlds of up to H rows and W columns, with up to N - 1 objects each.

    `cells` uint8 `[B, H, W]` looks; `things` uint8 `[B, H, W]` which object, 0 for none. `agent` int64
    `[B, 3]` x, y and direction (0 right, 1 down, 2 left, 3 up). `carried` uint8 `[B, 2]` look and object in
    the agent's hands (0, 0 for none). `inside` uint8 `[B, N]` the object in box i; `looks` uint8 `[B, N]`
    the look of objects that lie in boxes. `steps` and `limits` int64 `[B]`.
    """

    cells: np.ndarray
    things: np.ndarray
    agent: np.ndarray
    carried: np.ndarray
    inside: np.ndarray
    looks: np.ndarray
    steps: np.ndarray
    limits: np.ndarray


def empty_worlds(count: int, height: int, width: int, objects: int = 64) -> Worlds:
    """Make `count` worlds that are walls and nothing else, for a generator to carve."""
    return Worlds(
        cells=np.full((count, height, width), WALL, np.uint8),
        things=np.zeros((count, height, width), np.uint8),
        agent=np.zeros((count, 3), np.int64),
        carried=np.zeros((count, 2), np.uint8),
        inside=np.zeros((count, objects), np.uint8),
        looks=np.zeros((count, objects), np.uint8),
        steps=np.zeros(count, np.int64),
        limits=np.full(count, 64, np.int64),
    )
