"""Generate grids of a level: rooms, doors, objects, agent, instruction; a pure function of the seed.

Rejection sampling as in minigrid (blocked paths and pointless instructions are rejected), so that both draw
from the same distribution.
"""

from __future__ import annotations

import numpy as np

from .cells import COLOR, COLORS, IS_DOOR, KIND, cell_code
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
from .rng import randint, seed
from .rooms import all_reachable, carve, connect, lock, place, place_agent
from .state import ANY, PUT_NEXT, GridState

_RED_BALL = cell_code("ball", "red")
_KEY = cell_code("key")
_GREY = COLORS.index("grey")
_TRIES = 20_000


@kernel
def generate(grids: GridState, b: int, level: np.ndarray, episode_seed: int) -> bool:
    """Generate grid `b` from a packed level and a seed; false if the level is too full."""
    seed(grids, b, episode_seed)
    for _ in range(_TRIES):  # the generator runs on across rejections
        if _attempt(grids, b, level):
            _finish(grids, b, level)
            return True
    return False


@kernel
def _finish(grids: GridState, b: int, level: np.ndarray) -> None:
    # minigrid's step limit: room_size² × rooms for every journey; PUT_NEXT takes two (fetch, carry)
    begin(grids, b)
    journeys = 0
    for c in range(4):
        verb = grids.state[b].clauses[c, 0]
        journeys += 2 if verb == PUT_NEXT else 1 if verb else 0
    grids.state[b].steps = 0
    grids.state[b].limits = journeys * level[ROOM_SIZE] ** 2 * level[ROWS] * level[COLUMNS]


@allocating
def _attempt(grids: GridState, b: int, level: np.ndarray) -> bool:
    """Draw one grid; false where minigrid would reject it. The order of draws decides what a seed yields."""
    gates, walls = carve(grids, b, level[ROOM_SIZE], level[COLUMNS], level[ROWS])
    about = level[ABOUT]
    locked = -1  # index of the locked room, -1 for none
    always_locked = about in (LOCKED_DOOR, BEHIND_LOCK)
    if always_locked or (about == SENTENCE and randint(grids, b, 100) < level[LOCKED_PERCENT]):
        locked = lock(grids, b, gates, walls)
        if not _place_key(grids, b, locked):
            return False
    elif about != SENTENCE and not place_agent(grids, b, -1):
        return False
    # half the time the locked door is the only one of its color
    excluded = ANY
    if about == LOCKED_DOOR and randint(grids, b, 2):
        excluded = COLOR[grids.state[b].codes[1]]
    if not connect(grids, b, gates, walls, locked, excluded):
        return False
    first = _place_objects(grids, b, level, locked)
    if first == 0 or ((locked >= 0 or about == SENTENCE) and not place_agent(grids, b, locked)):
        return False
    if level[REACHABLE] and all_reachable(grids, b) != (level[REACHABLE] == ALL_REACHABLE):
        return False
    if level[DOORS_OPEN]:
        _open_doors(grids, b)
    if about == BEHIND_LOCK and not place(grids, b, locked, _random_object(grids, b)):
        return False
    return instruct(grids, b, level, first, locked)


@kernel
def _place_key(grids: GridState, b: int, locked: int) -> bool:
    """Place the key of the locked door (object 1) in another room."""
    rooms = grids.state[b].rooms[1] * grids.state[b].rooms[2]
    room = (locked + 1 + randint(grids, b, rooms - 1)) % rooms
    return place(grids, b, room, _KEY + COLOR[grids.state[b].codes[1]] * 3)


@kernel
def _place_objects(grids: GridState, b: int, level: np.ndarray, locked: int) -> int:
    """Place the objects; returns the first that an instruction may refer to, 0 if there is no space."""
    rooms = grids.state[b].rooms[1] * grids.state[b].rooms[2]
    # doors, and a key if any, came first
    first = 1
    while grids.state[b].codes[first]:
        first += 1
    if level[ABOUT] == RED_BALL and not place(grids, b, 0, _RED_BALL):
        return 0
    per_room = level[ABOUT] in (LOCKED_DOOR, BEHIND_LOCK)
    used_objects = 0  # bit set over the 18 (type, color) pairs, for UNIQUE
    for count in range(level[DISTRACTORS] * (rooms if per_room else 1)):
        # LOCKED_DOOR and BEHIND_LOCK: so many distractors in every room; else in random rooms
        room = count // max(level[DISTRACTORS], 1) if per_room else randint(grids, b, rooms)
        if per_room and room == locked:
            continue
        code = _random_object(grids, b)
        while level[UNIQUE] and used_objects >> (code // 3 - _KEY // 3) & 1:
            code = _random_object(grids, b)
        used_objects |= 1 << (code // 3 - _KEY // 3)
        if level[GREY]:
            code = KIND[code] * 18 + _GREY * 3
        if not place(grids, b, room, code):
            return 0
    return first


@kernel
def _random_object(grids: GridState, b: int) -> int:
    """Draw a key, a ball or a box of any color, uniformly."""
    return _KEY + randint(grids, b, 18) * 3


@kernel
def _open_doors(grids: GridState, b: int) -> None:
    for y in range(grids.cells.shape[1]):
        for x in range(grids.cells.shape[2]):
            if IS_DOOR[grids.cells[b, y, x]]:
                grids.cells[b, y, x] -= grids.cells[b, y, x] % 3  # state 0 is open
