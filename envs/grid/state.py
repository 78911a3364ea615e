"""Many grid worlds side by side: plain arrays, one row a world, that the kernels read and write.

What stands in a cell is one byte, its look (`looks.py`). Which object it is, is another byte, so that two
red balls stay two.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .cells import WALL

VIEW = 7
"""Side of the square that the agent sees; it stands in the middle of its near edge."""

NOWHERE = 255
"""Both coordinates of an object that lies on no cell: it is carried, in a box, or gone."""

ANY = 255
"""A description's kind or colour that may be any."""

NO_VERB, GO_TO, PICK_UP, OPEN, PUT_NEXT = range(5)
"""What a clause asks for."""

ALONE, THEN, AFTER = range(3)
"""How the halves of an instruction follow each other: one half; first, then second; first after second."""

ANYWHERE, ON_LEFT, ON_RIGHT, IN_FRONT, BEHIND = range(5)
"""Where a described object stood, as the agent saw it from where it started."""

Bits: TypeAlias = Any
"""A uint64 inside kernels, whose arithmetic numba types and mypy cannot."""

OBJECTS = 64
"""Object numbers in a world: 1 to 63, doors among them; a set of objects is a uint64, bit i for object i."""


STATE = np.dtype(
    [
        ("agent", np.int64, (3,)),
        ("steps", np.int64),
        ("limits", np.int64),
        ("rooms", np.int64, (3,)),
        ("seeds", np.uint64),
        ("dice", np.uint64),
        ("sets", np.uint64, (4, 2)),
        ("clauses", np.uint8, (4, 7)),
        ("held", np.uint8, (4,)),
        ("done", np.uint8, (4,)),
        ("order", np.uint8),
        ("carried", np.uint8, (2,)),
        ("looks", np.uint8, (OBJECTS,)),
        ("inside", np.uint8, (OBJECTS,)),
        ("where", np.uint8, (OBJECTS, 2)),
        ("spots", np.uint8, (OBJECTS, 2)),
    ],
    align=True,
)
"""All of a world but its grid; one record, since a kernel is compiled faster the fewer arrays it is given.

`agent` x, y and direction (0 right, 1 down, 2 left, 3 up); `steps` taken, of `limits`. `carried` look and
object in the agent's hands (0, 0 for none). `looks` each object's look when it was made (a door's state may
have changed since), 0 after the last; `inside` the object in box i; `where` x and y of each object, or
NOWHERE. `rooms` side of a room with both its walls, columns and rows of rooms.

The instruction has up to four clauses in two halves, 0 (and 1), 2 (and 3). `order` ALONE, THEN or AFTER.
`clauses` verb, then kind, colour and place of one description and of another (PUT_NEXT: what, next to what).
`sets` the objects that each description means. How far it is: `done`, which clauses; `held`, what was
carried when a clause was last judged; `spots`, `where` as it was at the start or at the last drop, by which
minigrid judges.

`seeds` what the world was made from, `dice` the state of its dice.
"""


class GridState(NamedTuple):
    """The whole state of B worlds of up to H rows and W columns.

    `cells` uint8 `[B, H, W]` looks; `things` uint8 `[B, H, W]` which object, 0 for none; `state` STATE `[B]`.
    """

    cells: np.ndarray
    things: np.ndarray
    state: np.ndarray


def empty_worlds(count: int, height: int, width: int) -> GridState:
    """Make `count` worlds that are walls and nothing else, for a generator to carve."""
    state = np.zeros(count, STATE)
    state["where"] = state["spots"] = NOWHERE
    state["limits"], state["rooms"] = 64, 1
    cells = np.full((count, height, width), WALL, np.uint8)
    return GridState(cells, np.zeros((count, height, width), np.uint8), state)


def chosen(worlds: GridState, rows: slice) -> GridState:
    """Return some of the worlds, as views: what is done to them is done to those."""
    return GridState(*(array[rows] for array in worlds))


def copied(worlds: GridState) -> GridState:
    """Return a snapshot, that later steps leave alone."""
    return GridState(*(array.copy() for array in worlds))


def restore(worlds: GridState, snapshot: GridState) -> None:
    """Put the worlds back to what they were at a snapshot of as many worlds of the same size."""
    for array, kept in zip(worlds, snapshot, strict=True):
        array[...] = kept
