"""Rooms in rows and columns, the doors between them, and the placement of objects and agent."""

from __future__ import annotations

import numpy as np

from .cells import EMPTY, IS_DOOR, WALL, cell_code
from .dynamics import AHEAD_X, AHEAD_Y
from .kernels import allocating, kernel
from .rng import randint
from .state import ANY, NOWHERE, GridState

_DOOR, _LOCKED = cell_code("door", "red", "closed"), cell_code("door", "red", "locked")
_TRIES = 1000

NO_WAY, SOLID, PASSAGE = range(3)
"""The side of a room: outer wall, inner wall without a door, door."""


@allocating
def carve(grids: GridState, b: int, side: int, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Make rooms without doors. Returns door positions (x, y) `[rooms, 4, 2]` and sides `[rooms, 4]`, int64.

    Sides are in the order of directions: right, down, left, up. The agent starts in the middle of the grid.
    """
    grids.cells[b] = WALL
    grids.things[b] = 0
    grids.state[b].where[:] = NOWHERE
    grids.state[b].codes[:] = 0
    grids.state[b].inside[:] = 0
    grids.state[b].carried[:] = 0
    grids.state[b].rooms[0], grids.state[b].rooms[1], grids.state[b].rooms[2] = side, columns, rows
    grids.state[b].agent[0] = columns // 2 * (side - 1) + side // 2
    grids.state[b].agent[1] = rows // 2 * (side - 1) + side // 2
    grids.state[b].agent[2] = 0
    gates = np.zeros((columns * rows, 4, 2), np.int64)
    walls = np.zeros((columns * rows, 4), np.int64)  # NO_WAY
    for row in range(rows):
        for column in range(columns):
            room, left, top = row * columns + column, column * (side - 1), row * (side - 1)
            grids.cells[b, top + 1 : top + side - 1, left + 1 : left + side - 1] = EMPTY
            # draw one door position per inner wall, corners excluded; both rooms share it
            if column < columns - 1:
                gate = top + 1 + randint(grids, b, side - 2)
                _add_gate(gates, walls, room, room + 1, 0, left + side - 1, gate)
            if row < rows - 1:
                gate = left + 1 + randint(grids, b, side - 2)
                _add_gate(gates, walls, room, room + columns, 1, gate, top + side - 1)
    return gates, walls


@kernel
def _add_gate(gates: np.ndarray, walls: np.ndarray, room: int, other: int, side: int, x: int, y: int) -> None:
    # the opposite side of `side` (0 right, 1 down) is side + 2
    gates[room, side, 0] = gates[other, side + 2, 0] = x
    gates[room, side, 1] = gates[other, side + 2, 1] = y
    walls[room, side] = walls[other, side + 2] = SOLID


@kernel
def neighbor(grids: GridState, room: int, side: int, b: int) -> int:
    """Return the room beyond an inner side; rooms are numbered row by row."""
    return room + AHEAD_X[side] + AHEAD_Y[side] * grids.state[b].rooms[1]


@kernel
def lock(grids: GridState, b: int, gates: np.ndarray, walls: np.ndarray) -> int:
    """Add one locked door of random color to a random room; returns the room."""
    while True:  # rejection sampling over inner walls, of which there must be one
        room, side = randint(grids, b, len(walls)), randint(grids, b, 4)
        if walls[room, side] == SOLID:
            _add_door(grids, b, gates, walls, room, side, _LOCKED + 3 * randint(grids, b, 6))
            return room


@allocating
def connect(
    grids: GridState, b: int, gates: np.ndarray, walls: np.ndarray, locked: int, excluded: int
) -> bool:
    """Add closed doors until all rooms are connected, none to the locked room or of color `excluded`.

    Returns false after 5,000 draws.
    """
    reached = np.zeros(len(walls), np.bool_)
    for _ in range(5000):
        if _is_connected(grids, b, walls, reached):
            return True
        room, side = randint(grids, b, len(walls)), randint(grids, b, 4)
        if walls[room, side] != SOLID or room == locked or neighbor(grids, room, side, b) == locked:
            continue
        # uniform over the remaining colors: draw one of 5 and skip the excluded one
        color = randint(grids, b, 6 if excluded == ANY else 5)
        if excluded != ANY and color >= excluded:
            color += 1
        _add_door(grids, b, gates, walls, room, side, _DOOR + 3 * color)
    return False


@kernel
def _is_connected(grids: GridState, b: int, walls: np.ndarray, reached: np.ndarray) -> bool:
    # relax over all doors until nothing changes: at most 25 rooms, and no allocation
    reached[:] = False
    reached[0] = True
    count, has_grown = 1, True
    while has_grown:
        has_grown = False
        for room in range(len(walls)):
            for side in range(4):
                if reached[room] and walls[room, side] == PASSAGE:
                    beyond = neighbor(grids, room, side, b)
                    if not reached[beyond]:
                        reached[beyond] = has_grown = True
                        count += 1
    return count == len(walls)


@kernel
def _add_door(
    grids: GridState, b: int, gates: np.ndarray, walls: np.ndarray, room: int, side: int, door: int
) -> None:
    put(grids, b, gates[room, side, 0], gates[room, side, 1], door)
    walls[room, side] = walls[neighbor(grids, room, side, b), (side + 2) % 4] = PASSAGE


@kernel
def put(grids: GridState, b: int, x: int, y: int, code: int) -> None:
    """Put a new object on a cell; it gets the next id."""
    # ids are dense and start at 1
    thing = 1
    while grids.state[b].codes[thing]:
        thing += 1
    grids.state[b].codes[thing] = code
    grids.state[b].where[thing, 0] = x
    grids.state[b].where[thing, 1] = y
    grids.cells[b, y, x] = code
    grids.things[b, y, x] = thing


@kernel
def place(grids: GridState, b: int, room: int, code: int) -> bool:
    """Put a new object on a random empty cell of a room, not at or beside the agent; false after `_TRIES`."""
    for _ in range(_TRIES):
        x, y = _random_cell(grids, b, room)
        is_near_agent = abs(x - grids.state[b].agent[0]) + abs(y - grids.state[b].agent[1]) < 2
        if grids.cells[b, y, x] == EMPTY and not is_near_agent:
            put(grids, b, x, y, code)
            return True
    return False


@kernel
def place_agent(grids: GridState, b: int, locked: int) -> bool:
    """Put the agent on a random empty cell outside the locked room, facing a wall or an empty cell."""
    room = randint(grids, b, grids.state[b].rooms[1] * grids.state[b].rooms[2])
    while room == locked:
        room = randint(grids, b, grids.state[b].rooms[1] * grids.state[b].rooms[2])
    for _ in range(_TRIES):
        x, y = _random_cell(grids, b, room)
        if grids.cells[b, y, x] != EMPTY:
            continue
        direction = randint(grids, b, 4)
        # as in minigrid: not in front of a door or an object
        if grids.cells[b, y + AHEAD_Y[direction], x + AHEAD_X[direction]] in (EMPTY, WALL):
            grids.state[b].agent[0], grids.state[b].agent[1], grids.state[b].agent[2] = x, y, direction
            return True
    return False


@kernel
def _random_cell(grids: GridState, b: int, room: int) -> tuple[int, int]:
    side, columns = grids.state[b].rooms[0], grids.state[b].rooms[1]
    x = room % columns * (side - 1) + 1 + randint(grids, b, side - 2)
    return x, room // columns * (side - 1) + 1 + randint(grids, b, side - 2)


@allocating
def all_reachable(grids: GridState, b: int) -> bool:
    """Whether the agent can walk up to every object without moving one, with all doors open."""
    # depth-first flood fill; `unreached` counts down from the number of objects, doors included
    width = grids.cells.shape[2]
    reached = np.zeros(grids.cells.shape[1] * width, np.bool_)
    stack = np.empty(grids.cells.shape[1] * width, np.int64)
    stack[0] = grids.state[b].agent[1] * width + grids.state[b].agent[0]
    reached[stack[0]] = True
    depth, unreached = 1, 0
    while grids.state[b].codes[unreached + 1]:
        unreached += 1
    while depth:
        depth -= 1
        cell_index = stack[depth]
        for side in range(4):
            x, y = cell_index % width + AHEAD_X[side], cell_index // width + AHEAD_Y[side]
            cell = grids.cells[b, y, x]
            if reached[y * width + x] or cell == WALL:
                continue
            reached[y * width + x] = True
            if cell != EMPTY:
                unreached -= 1
            if cell == EMPTY or IS_DOOR[cell]:
                stack[depth] = y * width + x
                depth += 1
    return unreached == 0
