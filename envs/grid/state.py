"""The state of a batch of grid worlds: plain arrays with a leading batch axis, read and written by kernels.

The content of a cell is one byte, its code (`cells`). A second byte identifies the object, so that two red
balls stay distinct.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .cells import WALL

VIEW = 7
"""Side of the agent's square view, in cells; the agent is in the middle of its near edge."""

NOWHERE = 255
"""Both coordinates of an object that lies on no cell: it is carried, in a box, or was removed."""

ANY = 255
"""Wildcard for the type or color of a description."""

NO_VERB, GO_TO, PICK_UP, OPEN, PUT_NEXT = range(5)
"""Verbs of a clause."""

ALONE, THEN, AFTER = range(3)
"""Order of the halves of an instruction: a single half; first, then second; first after second."""

ANYWHERE, ON_LEFT, ON_RIGHT, IN_FRONT, BEHIND = range(5)
"""Location of a described object, relative to the agent's initial pose."""

Bits: TypeAlias = Any
"""A uint64 inside kernels: numba types its arithmetic, mypy cannot."""

OBJECTS = 64
"""Object ids of a grid are 1 to 63, doors included; a set of objects is a uint64, bit i for object i."""


STATE = np.dtype(
    [
        # widest types first; coordinates and ids fit into a byte
        ("agent", np.int64, (3,)),
        ("steps", np.int64),
        ("limits", np.int64),
        ("rooms", np.int64, (3,)),
        ("seeds", np.uint64),
        ("rng", np.uint64),
        ("sets", np.uint64, (4, 2)),
        ("clauses", np.uint8, (4, 7)),
        ("held", np.uint8, (4,)),
        ("done", np.uint8, (4,)),
        ("order", np.uint8),
        ("carried", np.uint8, (2,)),
        ("codes", np.uint8, (OBJECTS,)),
        ("inside", np.uint8, (OBJECTS,)),
        ("where", np.uint8, (OBJECTS, 2)),
        ("spots", np.uint8, (OBJECTS, 2)),
    ],
    align=True,
)
"""The state of a grid besides its cells; one record, since kernels compile faster with fewer arguments.

`agent`: x, y and direction (0 right, 1 down, 2 left, 3 up). `steps`: taken so far, of `limits`. `carried`:
code and id of the carried object (0, 0 for none). `codes`: each object's code when it was made (a door's
state may have changed since), 0 after the last. `inside`: id of the object in box i. `where`: x and y of each
object, or NOWHERE. `rooms`: side of a room including both walls, columns and rows of rooms.

The instruction has up to four clauses in two halves: 0 (and 1), 2 (and 3). `order`: ALONE, THEN or AFTER.
`clauses`: verb, then type, color and place of two descriptions (PUT_NEXT: what, next to what). `sets`: the
objects that match each description. Progress: `done`, the clauses fulfilled; `held`, the object carried when
a clause was last evaluated; `spots`, a copy of `where` from the start or the last drop, which minigrid judges
by.

`seeds`: the seed of the episode. `rng`: the state of its generator.
"""


class GridState(NamedTuple):
    """The whole state of B grids of up to H rows and W columns.

    `cells` uint8 `[B, H, W]`: codes; `things` uint8 `[B, H, W]`: object ids, 0 for none; `state` STATE `[B]`.
    """

    cells: np.ndarray
    things: np.ndarray
    state: np.ndarray


def empty_grids(count: int, height: int, width: int) -> GridState:
    """Make `count` grids that consist of walls only, for the generator."""
    state = np.zeros(count, STATE)
    state["where"] = state["spots"] = NOWHERE
    # placeholders until a level is generated; a side of 1 means that there are no rooms
    state["limits"], state["rooms"] = 64, 1
    cells = np.full((count, height, width), WALL, np.uint8)
    return GridState(cells, np.zeros((count, height, width), np.uint8), state)


def chosen(grids: GridState, rows: slice) -> GridState:
    """Return a slice of the batch, as views."""
    return GridState(*(array[rows] for array in grids))


def copied(grids: GridState) -> GridState:
    """Return a deep copy."""
    return GridState(*(array.copy() for array in grids))


def restore(grids: GridState, snapshot: GridState) -> None:
    """Copy a snapshot of the same shape back into `grids`."""
    # in place: views of these arrays stay valid
    for array, saved in zip(grids, snapshot, strict=True):
        array[...] = saved
