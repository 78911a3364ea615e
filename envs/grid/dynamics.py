"""MiniGrid's dynamics as kernels: the seven actions and the agent's view, bit for bit as minigrid 3.2.0.

Missions are handled elsewhere (`missions`): here, only goal and lava end an episode.
"""

from __future__ import annotations

import numpy as np

from .cells import (
    COLOR,
    EMPTY,
    ENTERED,
    IS_BOX,
    IS_DOOR,
    IS_GOAL,
    IS_KEY,
    IS_LAVA,
    IS_LOCKED,
    IS_OPEN,
    KIND,
    LIFTED,
    SEEN_THROUGH,
    STATUS,
    UNSEEN,
    WALL,
)
from .kernels import allocating, inlined, kernel
from .state import NOWHERE, VIEW, Bits, GridState

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)

MIDDLE = 1 << VIEW // 2  # the agent's column, as a bit of a view row
# masks that keep a shift by one column inside the view
_NOT_LAST, _NOT_FIRST = (1 << VIEW - 1) - 1, (1 << VIEW) - 2
# unit vector of each direction: 0 right, 1 down, 2 left, 3 up
AHEAD_X = np.array([1, 0, -1, 0])
AHEAD_Y = np.array([0, 1, 0, -1])


@kernel
def step(
    grids: GridState,
    actions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
) -> None:
    """Step every grid with its action `[B]`; writes rewards float64, terminated and truncated bool `[B]`."""
    for b in range(len(actions)):
        grids.state[b].steps += 1
        rewards[b] = 0.0
        terminated[b] = False
        ahead = act(grids, b, actions[b])
        if IS_GOAL[ahead]:
            rewards[b] = 1 - 0.9 * (grids.state[b].steps / grids.state[b].limits)
        terminated[b] = IS_GOAL[ahead] or IS_LAVA[ahead]
        truncated[b] = grids.state[b].steps >= grids.state[b].limits


@inlined
def act(grids: GridState, b: int, action: int) -> int:
    """Apply one action in grid `b`; returns the code of the cell stepped onto, else 0."""
    x, y, direction = grids.state[b].agent[0], grids.state[b].agent[1], grids.state[b].agent[2]
    if action == LEFT:
        grids.state[b].agent[2] = (direction + 3) % 4
        return 0
    if action == RIGHT:
        grids.state[b].agent[2] = (direction + 1) % 4
        return 0
    # the outer wall encloses the grid, so the cell ahead always exists
    x += AHEAD_X[direction]
    y += AHEAD_Y[direction]
    ahead = grids.cells[b, y, x]
    if action == FORWARD:
        if ENTERED[ahead]:
            grids.state[b].agent[0] = x
            grids.state[b].agent[1] = y
            return ahead
    elif action == PICKUP:
        if LIFTED[ahead] and grids.state[b].carried[0] == 0:
            grids.state[b].carried[0] = ahead
            grids.state[b].carried[1] = grids.things[b, y, x]
            _move(grids, b, grids.things[b, y, x], NOWHERE, NOWHERE)
            grids.cells[b, y, x] = EMPTY
            grids.things[b, y, x] = 0
    elif action == DROP:
        if ahead == EMPTY and grids.state[b].carried[0] != 0:
            grids.cells[b, y, x] = grids.state[b].carried[0]
            grids.things[b, y, x] = grids.state[b].carried[1]
            _move(grids, b, grids.state[b].carried[1], x, y)
            grids.state[b].carried[0] = 0
            grids.state[b].carried[1] = 0
    elif action == TOGGLE:
        _toggle(grids, b, y, x)
    return 0


@inlined
def _move(grids: GridState, b: int, thing: int, x: int, y: int) -> None:
    grids.state[b].where[thing, 0] = x
    grids.state[b].where[thing, 1] = y


@inlined
def _toggle(grids: GridState, b: int, y: int, x: int) -> None:
    """Open or close a door, unlock it with a key of its color, or replace a box by its content."""
    ahead = grids.cells[b, y, x]
    if IS_DOOR[ahead]:
        if IS_LOCKED[ahead]:
            key = grids.state[b].carried[0]
            if IS_KEY[key] and COLOR[key] == COLOR[ahead]:
                grids.cells[b, y, x] = ahead - 2  # locked (2) → open (0)
        else:  # open (0) ↔ closed (1)
            grids.cells[b, y, x] = ahead + 1 if IS_OPEN[ahead] else ahead - 1
    elif IS_BOX[ahead]:
        thing = grids.state[b].inside[grids.things[b, y, x]]
        _move(grids, b, grids.things[b, y, x], NOWHERE, NOWHERE)
        if thing:
            _move(grids, b, thing, x, y)
        grids.things[b, y, x] = thing
        grids.cells[b, y, x] = grids.state[b].codes[thing] if thing else EMPTY


@allocating
def observe(grids: GridState, images: np.ndarray, directions: np.ndarray) -> None:
    """Write the observations: images uint8 `[B, 7, 7, 3]` by (column, row), directions int64 `[B]`."""
    view = np.empty((VIEW, VIEW), np.uint8)
    lit = np.empty(VIEW, np.int64)
    for b in range(len(images)):
        observe_one(grids, b, images[b], view, lit)
        directions[b] = grids.state[b].agent[2]


@inlined
def observe_one(grids: GridState, b: int, image: np.ndarray, view: np.ndarray, lit: np.ndarray) -> None:
    """Write the image that the agent of grid `b` observes, uint8 `[7, 7, 3]`; scratch as in `view_from`."""
    agent, carried = grids.state[b].agent, grids.state[b].carried[0]
    view_from(grids, b, agent[0], agent[1], agent[2], view, lit)
    # as in minigrid, the agent's own cell shows what it carries
    view[VIEW // 2, VIEW - 1] = carried if carried else EMPTY
    for column in range(VIEW):
        for row in range(VIEW):
            code = view[column, row] if lit[row] >> column & 1 else np.uint8(UNSEEN)
            image[column, row, 0], image[column, row, 1], image[column, row, 2] = (
                KIND[code],
                COLOR[code],
                STATUS[code],
            )


@inlined
def view_from(
    grids: GridState, b: int, x: int, y: int, direction: int, view: np.ndarray, lit: np.ndarray
) -> None:
    """Write the view ahead of a pose: codes `[7, 7]` by (column, row); bit i of `lit[j]` `[7]` marks visible.

    Light spreads row by row away from the agent; rows beyond the last lit one are not read.
    """
    height, width = grids.cells.shape[1:]
    ahead_x, ahead_y = AHEAD_X[direction], AHEAD_Y[direction]
    lit[:] = 0
    light = MIDDLE
    for j in range(VIEW - 1, -1, -1):
        clear: Bits = 0
        # leftmost cell of the row that is VIEW - 1 - j steps ahead, in grid coordinates
        column = x + ahead_x * (VIEW - 1 - j) + ahead_y * (VIEW // 2)
        row = y + ahead_y * (VIEW - 1 - j) - ahead_x * (VIEW // 2)
        for i in range(VIEW):
            # a negative coordinate wraps to a huge uint64: one comparison checks both bounds
            is_inside = np.uint64(column) < np.uint64(width) and np.uint64(row) < np.uint64(height)
            code = grids.cells[b, np.uint64(row), np.uint64(column)] if is_inside else np.uint8(WALL)
            view[i, j] = code
            clear |= np.int64(SEEN_THROUGH[code]) << i
            column -= ahead_y
            row += ahead_x
        lit[j], light = spread_light(clear, light)
        if light == 0:
            break


@inlined
def spread_light(clear: int, lit: int) -> tuple[int, int]:
    """Return the lit cells of a row and of the row ahead, as bits; `clear` marks the transparent cells.

    Light spreads right, then left: through clear cells to the next cell, and from them to the row ahead
    (straight and diagonally). Each direction is a Kogge-Stone flood fill in three doubling steps, as in chess
    engines.
    """
    way = clear & _NOT_LAST
    through = way << 1  # cells whose left neighbor is clear
    lit |= through & lit << 1
    through &= through << 1
    lit |= through & lit << 2
    through &= through << 2
    lit |= through & lit << 4
    ahead = lit & way | (lit & way) << 1  # straight ahead, and diagonally to the right
    way = clear & _NOT_FIRST
    through = way >> 1
    lit |= through & lit >> 1
    through &= through >> 1
    lit |= through & lit >> 2
    through &= through >> 2
    lit |= through & lit >> 4
    return lit, ahead | lit & way | (lit & way) >> 1
