"""MiniGrid's rules as kernels: seven actions, and what the agent sees; bit for bit as minigrid 3.2.0.

Missions are not known here: goal and lava end an episode, everything else is for the mission to judge.
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

MIDDLE = 1 << VIEW // 2
_NOT_LAST, _NOT_FIRST = (1 << VIEW - 1) - 1, (1 << VIEW) - 2
AHEAD_X = np.array([1, 0, -1, 0])
AHEAD_Y = np.array([0, 1, 0, -1])


@kernel
def step(
    worlds: GridState,
    actions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
) -> None:
    """Let every world take its action `[B]`; writes rewards float64, terminated and truncated bool `[B]`."""
    for b in range(len(actions)):
        worlds.state[b].steps += 1
        rewards[b] = 0.0
        terminated[b] = False
        ahead = act(worlds, b, actions[b])
        if IS_GOAL[ahead]:
            rewards[b] = 1 - 0.9 * (worlds.state[b].steps / worlds.state[b].limits)
        terminated[b] = IS_GOAL[ahead] or IS_LAVA[ahead]
        truncated[b] = worlds.state[b].steps >= worlds.state[b].limits


@inlined
def act(worlds: GridState, b: int, action: int) -> int:
    """Do one action in world `b`; returns the look of the cell that was stepped onto, else 0."""
    x, y, direction = worlds.state[b].agent[0], worlds.state[b].agent[1], worlds.state[b].agent[2]
    if action == LEFT:
        worlds.state[b].agent[2] = (direction + 3) % 4
        return 0
    if action == RIGHT:
        worlds.state[b].agent[2] = (direction + 1) % 4
        return 0
    x += AHEAD_X[direction]
    y += AHEAD_Y[direction]
    ahead = worlds.cells[b, y, x]
    if action == FORWARD:
        if ENTERED[ahead]:
            worlds.state[b].agent[0] = x
            worlds.state[b].agent[1] = y
            return ahead
    elif action == PICKUP:
        if LIFTED[ahead] and worlds.state[b].carried[0] == 0:
            worlds.state[b].carried[0] = ahead
            worlds.state[b].carried[1] = worlds.things[b, y, x]
            _move(worlds, b, worlds.things[b, y, x], NOWHERE, NOWHERE)
            worlds.cells[b, y, x] = EMPTY
            worlds.things[b, y, x] = 0
    elif action == DROP:
        if ahead == EMPTY and worlds.state[b].carried[0] != 0:
            worlds.cells[b, y, x] = worlds.state[b].carried[0]
            worlds.things[b, y, x] = worlds.state[b].carried[1]
            _move(worlds, b, worlds.state[b].carried[1], x, y)
            worlds.state[b].carried[0] = 0
            worlds.state[b].carried[1] = 0
    elif action == TOGGLE:
        _toggle(worlds, b, y, x)
    return 0


@inlined
def _move(worlds: GridState, b: int, thing: int, x: int, y: int) -> None:
    worlds.state[b].where[thing, 0] = x
    worlds.state[b].where[thing, 1] = y


@inlined
def _toggle(worlds: GridState, b: int, y: int, x: int) -> None:
    """Open or shut a door, unlock it with a key of its colour, or open a box, which leaves what was in it."""
    ahead = worlds.cells[b, y, x]
    if IS_DOOR[ahead]:
        if IS_LOCKED[ahead]:
            key = worlds.state[b].carried[0]
            if IS_KEY[key] and COLOR[key] == COLOR[ahead]:
                worlds.cells[b, y, x] = ahead - 2
        else:
            worlds.cells[b, y, x] = ahead + 1 if IS_OPEN[ahead] else ahead - 1
    elif IS_BOX[ahead]:
        thing = worlds.state[b].inside[worlds.things[b, y, x]]
        _move(worlds, b, worlds.things[b, y, x], NOWHERE, NOWHERE)
        if thing:
            _move(worlds, b, thing, x, y)
        worlds.things[b, y, x] = thing
        worlds.cells[b, y, x] = worlds.state[b].looks[thing] if thing else EMPTY


@allocating
def observe(worlds: GridState, images: np.ndarray, directions: np.ndarray) -> None:
    """Write what each agent sees: images uint8 `[B, 7, 7, 3]` by (column, row), directions int64 `[B]`."""
    view = np.empty((VIEW, VIEW), np.uint8)
    seen = np.empty(VIEW, np.int64)
    for b in range(len(images)):
        observe_one(worlds, b, images[b], view, seen)
        directions[b] = worlds.state[b].agent[2]


@inlined
def observe_one(worlds: GridState, b: int, image: np.ndarray, view: np.ndarray, seen: np.ndarray) -> None:
    """Write what the agent of world `b` sees, uint8 `[7, 7, 3]`; scratch as of `look_from`."""
    agent, carried = worlds.state[b].agent, worlds.state[b].carried[0]
    look_from(worlds, b, agent[0], agent[1], agent[2], view, seen)
    view[VIEW // 2, VIEW - 1] = carried if carried else EMPTY
    for i in range(VIEW):
        for j in range(VIEW):
            one = view[i, j] if seen[j] >> i & 1 else np.uint8(UNSEEN)
            image[i, j, 0], image[i, j, 1], image[i, j, 2] = KIND[one], COLOR[one], STATUS[one]


@inlined
def look_from(
    worlds: GridState, b: int, x: int, y: int, direction: int, view: np.ndarray, seen: np.ndarray
) -> None:
    """Write the looks `[7, 7]`, by column and row, ahead of a pose; of `seen` `[7]`, bit i of row j.

    Light spreads row by row away from the agent; rows beyond the last that is lit are not even looked up.
    """
    height, width = worlds.cells.shape[1:]
    ahead_x, ahead_y = AHEAD_X[direction], AHEAD_Y[direction]
    seen[:] = 0
    lit = MIDDLE
    for j in range(VIEW - 1, -1, -1):
        clear: Bits = 0
        column = x + ahead_x * (VIEW - 1 - j) + ahead_y * (VIEW // 2)
        row = y + ahead_y * (VIEW - 1 - j) - ahead_x * (VIEW // 2)
        for i in range(VIEW):
            inside = np.uint64(column) < np.uint64(width) and np.uint64(row) < np.uint64(height)
            one = worlds.cells[b, np.uint64(row), np.uint64(column)] if inside else np.uint8(WALL)
            view[i, j] = one
            clear |= np.int64(SEEN_THROUGH[one]) << i
            column -= ahead_y
            row += ahead_x
        seen[j], lit = spread_light(clear, lit)
        if lit == 0:
            break


@inlined
def spread_light(clear: int, lit: int) -> tuple[int, int]:
    """Return which cells of a row are lit, and of the row ahead, as bits; `clear` are those seen through.

    Light goes right and then left, through clear cells to the next one, and ahead of and past them. Each way
    is flooded in three doubling steps (Kogge and Stone's, as chess programs do).
    """
    way = clear & _NOT_LAST
    through = way << 1
    lit |= through & lit << 1
    through &= through << 1
    lit |= through & lit << 2
    through &= through << 2
    lit |= through & lit << 4
    ahead = lit & way | (lit & way) << 1
    way = clear & _NOT_FIRST
    through = way >> 1
    lit |= through & lit >> 1
    through &= through >> 1
    lit |= through & lit >> 2
    through &= through >> 2
    lit |= through & lit >> 4
    return lit, ahead | lit & way | (lit & way) >> 1
