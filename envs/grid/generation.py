"""How a level's worlds are made: rooms, doors, objects, agent, instruction; a pure function of the dice.

What minigrid throws away and makes anew (blocked ways, pointless instructions) is thrown away here too, so
that the worlds are spread the same.
"""

from __future__ import annotations

import numpy as np

from .cells import COLOR, COLORS, IS_DOOR, KIND, look
from .instructions import instruct
from .kernels import allocating, kernel
from .levels import (
    ABOUT,
    ALL_REACHABLE,
    BEHIND_LOCK,
    COLUMNS,
    DISTRACTORS,
    DOORS_OPEN,
    GREY,
    LOCKED_DOOR,
    LOCKED_PERCENT,
    REACHABLE,
    RED_BALL,
    ROOM_SIZE,
    ROWS,
    SENTENCE,
    UNIQUE,
)
from .missions import begin
from .rng import roll, seed
from .rooms import all_reachable, carve, connect, lock, place, place_agent
from .state import ANY, PUT_NEXT, GridState

_RED_BALL = look("ball", "red")
_KEY = look("key")
_GREY = COLORS.index("grey")
_TRIES = 20_000


@kernel
def generate(worlds: GridState, b: int, level: np.ndarray, value: int) -> bool:
    """Make world `b` from a packed level and a seed; false if the level is too full to be made."""
    seed(worlds, b, value)
    for _ in range(_TRIES):
        if _attempt(worlds, b, level):
            _finish(worlds, b, level)
            return True
    return False


@kernel
def _finish(worlds: GridState, b: int, level: np.ndarray) -> None:
    begin(worlds, b)
    journeys = 0
    for c in range(4):
        verb = worlds.state[b].clauses[c, 0]
        journeys += 2 if verb == PUT_NEXT else 1 if verb else 0
    worlds.state[b].steps = 0
    worlds.state[b].limits = journeys * level[ROOM_SIZE] ** 2 * level[ROWS] * level[COLUMNS]


@allocating
def _attempt(worlds: GridState, b: int, level: np.ndarray) -> bool:
    """Throw one world; false where minigrid would throw again."""
    gates, walls = carve(worlds, b, level[ROOM_SIZE], level[COLUMNS], level[ROWS])
    about = level[ABOUT]
    locked = -1
    always = about in (LOCKED_DOOR, BEHIND_LOCK)
    if always or (about == SENTENCE and roll(worlds, b, 100) < level[LOCKED_PERCENT]):
        locked = lock(worlds, b, gates, walls)
        if not _place_key(worlds, b, locked):
            return False
    elif about != SENTENCE and not place_agent(worlds, b, -1):
        return False
    # half the time the locked door is the only one of its colour
    unlike = ANY
    if about == LOCKED_DOOR and roll(worlds, b, 2):
        unlike = COLOR[worlds.state[b].looks[1]]
    if not connect(worlds, b, gates, walls, locked, unlike):
        return False
    first = _place_objects(worlds, b, level, locked)
    if first == 0 or ((locked >= 0 or about == SENTENCE) and not place_agent(worlds, b, locked)):
        return False
    if level[REACHABLE] and all_reachable(worlds, b) != (level[REACHABLE] == ALL_REACHABLE):
        return False
    if level[DOORS_OPEN]:
        _open_doors(worlds, b)
    if about == BEHIND_LOCK and not place(worlds, b, locked, _look(worlds, b)):
        return False
    return instruct(worlds, b, level, first, locked)


@kernel
def _place_key(worlds: GridState, b: int, locked: int) -> bool:
    """Put the key of the locked room's door, the world's first object, into another room."""
    rooms = worlds.state[b].rooms[1] * worlds.state[b].rooms[2]
    room = (locked + 1 + roll(worlds, b, rooms - 1)) % rooms
    return place(worlds, b, room, _KEY + COLOR[worlds.state[b].looks[1]] * 3)


@kernel
def _place_objects(worlds: GridState, b: int, level: np.ndarray, locked: int) -> int:
    """Place the objects; returns the number of the first that an instruction may be about, 0 for no room."""
    rooms = worlds.state[b].rooms[1] * worlds.state[b].rooms[2]
    first = 1
    while worlds.state[b].looks[first]:
        first += 1
    if level[ABOUT] == RED_BALL and not place(worlds, b, 0, _RED_BALL):
        return 0
    each = level[ABOUT] in (LOCKED_DOOR, BEHIND_LOCK)
    used = 0
    for count in range(level[DISTRACTORS] * (rooms if each else 1)):
        room = count // max(level[DISTRACTORS], 1) if each else roll(worlds, b, rooms)
        if each and room == locked:
            continue
        kind = _look(worlds, b)
        while level[UNIQUE] and used >> (kind // 3 - _KEY // 3) & 1:
            kind = _look(worlds, b)
        used |= 1 << (kind // 3 - _KEY // 3)
        if level[GREY]:
            kind = KIND[kind] * 18 + _GREY * 3
        if not place(worlds, b, room, kind):
            return 0
    return first


@kernel
def _look(worlds: GridState, b: int) -> int:
    """Throw a key, a ball or a box of any colour."""
    return _KEY + roll(worlds, b, 18) * 3


@kernel
def _open_doors(worlds: GridState, b: int) -> None:
    for y in range(worlds.cells.shape[1]):
        for x in range(worlds.cells.shape[2]):
            if IS_DOOR[worlds.cells[b, y, x]]:
                worlds.cells[b, y, x] -= worlds.cells[b, y, x] % 3
