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

OBJECTS = 64
"""Object numbers in a world: 1 to 63, doors among them; a set of objects is a uint64, bit i for object i."""


class Worlds(NamedTuple):
    """The whole state of B worlds of up to H rows and W columns, with up to N - 1 objects each.

    The grid: `cells` uint8 `[B, H, W]` looks; `things` uint8 `[B, H, W]` which object, 0 for none. `agent`
    int64 `[B, 3]` x, y and direction (0 right, 1 down, 2 left, 3 up). `carried` uint8 `[B, 2]` look and
    object in the agent's hands (0, 0 for none). `looks` uint8 `[B, N]` each object's look when it was made
    (a door's state may have changed since); `inside` uint8 `[B, N]` the object in box i. `where` uint8
    `[B, N, 2]` x and y of each object, or NOWHERE. `steps` and `limits` int64 `[B]`. `rooms` int64 `[B, 3]`
    side of a room with both its walls, columns and rows of rooms.

    The instruction: up to four clauses in two halves, 0 (and 1), 2 (and 3). `order` uint8 `[B]` ALONE, THEN
    or AFTER. `clauses` uint8 `[B, 4, 7]` verb, then kind, colour and place of one description and of another
    (PUT_NEXT: what, next to what). `sets` uint64 `[B, 4, 2]` the objects each description means. How far it
    is: `done` bool `[B, 4]`; `held` uint8 `[B, 4]` what was carried when the clause was last judged; `spots`
    uint8 `[B, N, 2]` `where` as it was at the start or at the last drop, by which minigrid judges.

    Chance: `seeds` and `dice` uint64 `[B]`, what the world was made from and the state of its dice.
    """

    cells: np.ndarray
    things: np.ndarray
    agent: np.ndarray
    carried: np.ndarray
    looks: np.ndarray
    inside: np.ndarray
    where: np.ndarray
    steps: np.ndarray
    limits: np.ndarray
    rooms: np.ndarray
    order: np.ndarray
    clauses: np.ndarray
    sets: np.ndarray
    done: np.ndarray
    held: np.ndarray
    spots: np.ndarray
    seeds: np.ndarray
    dice: np.ndarray


def empty_worlds(count: int, height: int, width: int, objects: int = OBJECTS) -> Worlds:
    """Make `count` worlds that are walls and nothing else, for a generator to carve."""
    return Worlds(
        cells=np.full((count, height, width), WALL, np.uint8),
        things=np.zeros((count, height, width), np.uint8),
        agent=np.zeros((count, 3), np.int64),
        carried=np.zeros((count, 2), np.uint8),
        looks=np.zeros((count, objects), np.uint8),
        inside=np.zeros((count, objects), np.uint8),
        where=np.full((count, objects, 2), NOWHERE, np.uint8),
        steps=np.zeros(count, np.int64),
        limits=np.full(count, 64, np.int64),
        rooms=np.ones((count, 3), np.int64),
        order=np.zeros(count, np.uint8),
        clauses=np.zeros((count, 4, 7), np.uint8),
        sets=np.zeros((count, 4, 2), np.uint64),
        done=np.zeros((count, 4), np.bool_),
        held=np.zeros((count, 4), np.uint8),
        spots=np.full((count, objects, 2), NOWHERE, np.uint8),
        seeds=np.zeros(count, np.uint64),
        dice=np.zeros(count, np.uint64),
    )


def chosen(worlds: Worlds, rows: slice) -> Worlds:
    """Return some of the worlds, as views: what is done to them is done to these."""
    return Worlds(*(array[rows] for array in worlds))


def copied(worlds: Worlds) -> Worlds:
    """Return a snapshot, that later steps leave alone."""
    return Worlds(*(array.copy() for array in worlds))


def restore(worlds: Worlds, snapshot: Worlds) -> None:
    """Put the worlds back to what they were at a snapshot of as many worlds of the same size."""
    for array, kept in zip(worlds, snapshot, strict=True):
        array[...] = kept
