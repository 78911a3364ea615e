"""Rooms in rows and columns, the doors between them, and where things may be put."""

from __future__ import annotations

import numpy as np

from .cells import EMPTY, IS_DOOR, WALL, look
from .dynamics import AHEAD_X, AHEAD_Y
from .kernels import allocating, kernel
from .rng import roll
from .state import ANY, NOWHERE, GridState

_DOOR, _LOCKED = look("door", "red", "closed"), look("door", "red", "locked")
_TRIES = 1000

NO_WAY, SOLID, PASSAGE = range(3)
"""What is on a side of a room: the outer wall, a wall, a door."""


@allocating
def carve(worlds: GridState, b: int, side: int, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Make rooms without doors. Returns where doors would be, `[rooms, 4, 2]` x, y, and what is there now.

    Sides in the order of directions: right, down, left, up. The agent waits in the middle of the world.
    """
    worlds.cells[b] = WALL
    worlds.things[b] = 0
    worlds.state[b].where[:] = NOWHERE
    worlds.state[b].looks[:] = 0
    worlds.state[b].inside[:] = 0
    worlds.state[b].carried[:] = 0
    worlds.state[b].rooms[0], worlds.state[b].rooms[1], worlds.state[b].rooms[2] = side, columns, rows
    worlds.state[b].agent[0] = columns // 2 * (side - 1) + side // 2
    worlds.state[b].agent[1] = rows // 2 * (side - 1) + side // 2
    worlds.state[b].agent[2] = 0
    gates = np.zeros((columns * rows, 4, 2), np.int64)
    walls = np.zeros((columns * rows, 4), np.int64)  # NO_WAY
    for row in range(rows):
        for column in range(columns):
            room, left, top = row * columns + column, column * (side - 1), row * (side - 1)
            worlds.cells[b, top + 1 : top + side - 1, left + 1 : left + side - 1] = EMPTY
            if column < columns - 1:
                gate = top + 1 + roll(worlds, b, side - 2)
                _gate(gates, walls, room, room + 1, 0, left + side - 1, gate)
            if row < rows - 1:
                gate = left + 1 + roll(worlds, b, side - 2)
                _gate(gates, walls, room, room + columns, 1, gate, top + side - 1)
    return gates, walls


@kernel
def _gate(gates: np.ndarray, walls: np.ndarray, room: int, other: int, side: int, x: int, y: int) -> None:
    gates[room, side, 0] = gates[other, side + 2, 0] = x
    gates[room, side, 1] = gates[other, side + 2, 1] = y
    walls[room, side] = walls[other, side + 2] = SOLID


@kernel
def neighbour(worlds: GridState, room: int, side: int, b: int) -> int:
    """Return the room beyond a side that is not the outer wall."""
    return room + AHEAD_X[side] + AHEAD_Y[side] * worlds.state[b].rooms[1]


@kernel
def lock(worlds: GridState, b: int, gates: np.ndarray, walls: np.ndarray) -> int:
    """Lock a room: one door in one of its inner walls, of any colour; returns the room."""
    while True:
        room, side = roll(worlds, b, len(walls)), roll(worlds, b, 4)
        if walls[room, side] == SOLID:
            _add_door(worlds, b, gates, walls, room, side, _LOCKED + 3 * roll(worlds, b, 6))
            return room


@allocating
def connect(
    worlds: GridState, b: int, gates: np.ndarray, walls: np.ndarray, locked: int, unlike: int
) -> bool:
    """Add shut doors, none to the locked room or of colour `unlike`, until every room can be reached."""
    reached = np.zeros(len(walls), np.bool_)
    for _ in range(5000):
        if _all_joined(worlds, b, walls, reached):
            return True
        room, side = roll(worlds, b, len(walls)), roll(worlds, b, 4)
        if walls[room, side] != SOLID or room == locked or neighbour(worlds, room, side, b) == locked:
            continue
        color = roll(worlds, b, 6 if unlike == ANY else 5)
        if unlike != ANY and color >= unlike:
            color += 1
        _add_door(worlds, b, gates, walls, room, side, _DOOR + 3 * color)
    return False


@kernel
def _all_joined(worlds: GridState, b: int, walls: np.ndarray, reached: np.ndarray) -> bool:
    reached[:] = False
    reached[0] = True
    count, grown = 1, True
    while grown:
        grown = False
        for room in range(len(walls)):
            for side in range(4):
                if reached[room] and walls[room, side] == PASSAGE:
                    beyond = neighbour(worlds, room, side, b)
                    if not reached[beyond]:
                        reached[beyond] = grown = True
                        count += 1
    return count == len(walls)


@kernel
def _add_door(
    worlds: GridState, b: int, gates: np.ndarray, walls: np.ndarray, room: int, side: int, door: int
) -> None:
    put(worlds, b, gates[room, side, 0], gates[room, side, 1], door)
    walls[room, side] = walls[neighbour(worlds, room, side, b), (side + 2) % 4] = PASSAGE


@kernel
def put(worlds: GridState, b: int, x: int, y: int, what: int) -> None:
    """Put a new object on a cell; it gets the next number."""
    thing = 1
    while worlds.state[b].looks[thing]:
        thing += 1
    worlds.state[b].looks[thing] = what
    worlds.state[b].where[thing, 0] = x
    worlds.state[b].where[thing, 1] = y
    worlds.cells[b, y, x] = what
    worlds.things[b, y, x] = thing


@kernel
def place(worlds: GridState, b: int, room: int, what: int) -> bool:
    """Put a new object on an empty cell of a room, not on or beside the agent; false if there is no room."""
    for _ in range(_TRIES):
        x, y = _somewhere(worlds, b, room)
        near = abs(x - worlds.state[b].agent[0]) + abs(y - worlds.state[b].agent[1]) < 2
        if worlds.cells[b, y, x] == EMPTY and not near:
            put(worlds, b, x, y, what)
            return True
    return False


@kernel
def place_agent(worlds: GridState, b: int, locked: int) -> bool:
    """Put the agent on an empty cell of any room but the locked one, facing a wall or an empty cell."""
    room = roll(worlds, b, worlds.state[b].rooms[1] * worlds.state[b].rooms[2])
    while room == locked:
        room = roll(worlds, b, worlds.state[b].rooms[1] * worlds.state[b].rooms[2])
    for _ in range(_TRIES):
        x, y = _somewhere(worlds, b, room)
        if worlds.cells[b, y, x] != EMPTY:
            continue
        direction = roll(worlds, b, 4)
        if worlds.cells[b, y + AHEAD_Y[direction], x + AHEAD_X[direction]] in (EMPTY, WALL):
            worlds.state[b].agent[0], worlds.state[b].agent[1], worlds.state[b].agent[2] = x, y, direction
            return True
    return False


@kernel
def _somewhere(worlds: GridState, b: int, room: int) -> tuple[int, int]:
    side, columns = worlds.state[b].rooms[0], worlds.state[b].rooms[1]
    x = room % columns * (side - 1) + 1 + roll(worlds, b, side - 2)
    return x, room // columns * (side - 1) + 1 + roll(worlds, b, side - 2)


@allocating
def all_reachable(worlds: GridState, b: int) -> bool:
    """Whether the agent could walk up to every object without moving one, if every door were open."""
    width = worlds.cells.shape[2]
    reached = np.zeros(worlds.cells.shape[1] * width, np.bool_)
    stack = np.empty(worlds.cells.shape[1] * width, np.int64)
    stack[0] = worlds.state[b].agent[1] * width + worlds.state[b].agent[0]
    reached[stack[0]] = True
    depth, missing = 1, 0
    while worlds.state[b].looks[missing + 1]:
        missing += 1
    while depth:
        depth -= 1
        at = stack[depth]
        for side in range(4):
            x, y = at % width + AHEAD_X[side], at // width + AHEAD_Y[side]
            cell = worlds.cells[b, y, x]
            if reached[y * width + x] or cell == WALL:
                continue
            reached[y * width + x] = True
            if cell != EMPTY:
                missing -= 1
            if cell == EMPTY or IS_DOOR[cell]:
                stack[depth] = y * width + x
                depth += 1
    return missing == 0
