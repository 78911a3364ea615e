"""Shortest ways over what has been seen: turns, steps, doors to open, objects to carry away first."""

from __future__ import annotations

from ..cells import COLOR, ENTERED, IS_DOOR, IS_KEY, IS_LOCKED, LIFTED
from ..dynamics import AHEAD_X, AHEAD_Y
from ..kernels import kernel
from ..state import GridState
from .memory import BUCKETS, PlannerMemory, in_sight

FAR = 1 << 20

BLOCKED, LOCKED = 8, 40
"""What an object in the way costs, and a locked door whose key was seen: about the steps that they take."""


@kernel
def opens(carried: int, door: int) -> bool:
    """Whether what is carried is the key of a door; both are looks."""
    return IS_KEY[carried] and COLOR[carried] == COLOR[door]


@kernel
def key_seen(worlds: GridState, minds: PlannerMemory, b: int, color: int) -> int:
    """Return a key of a colour that lies in sight or memory, 0 for none."""
    state = worlds.state[b]
    for thing in range(1, len(state.looks)):
        look = state.looks[thing]
        if look == 0:
            return 0
        if IS_KEY[look] and COLOR[look] == color and in_sight(worlds, minds, b, thing):
            return thing
    return 0


@kernel
def _keys_seen(worlds: GridState, minds: PlannerMemory, b: int) -> int:
    colors = 0
    for color in range(6):
        if key_seen(worlds, minds, b, color):
            colors |= 1 << color
    return colors


@kernel
def entry(worlds: GridState, minds: PlannerMemory, b: int, x: int, y: int, keys: int, through: bool) -> int:
    """Return what it costs to enter a cell, 0 for never; `through` counts ways that must be cleared first."""
    if not minds.cells[b, y, x].seen:
        return 0
    cell = worlds.cells[b, y, x]
    if ENTERED[cell]:
        return 1
    if LIFTED[cell]:
        return BLOCKED if through else 0
    if not IS_DOOR[cell]:
        return 0
    if not IS_LOCKED[cell] or opens(worlds.state[b].carried[0], cell):
        return 2
    return LOCKED if through and keys >> COLOR[cell] & 1 else 0


@kernel
def no_goals(minds: PlannerMemory) -> None:
    """Forget all goals."""
    for pose in range(len(minds.poses)):
        minds.poses[pose].goal = -1


@kernel
def add_goal(minds: PlannerMemory, x: int, y: int, extra: int, deed: int) -> None:
    """Let facing a cell be a goal, at so much extra cost; `deed` is what is done there."""
    height, width = minds.cells.shape[1:]
    for direction in range(4):
        column, row = x - AHEAD_X[direction], y - AHEAD_Y[direction]
        if 0 <= column < width and 0 <= row < height:
            pose = (row * width + column) * 4 + direction
            if minds.poses[pose].goal < 0 or extra < minds.poses[pose].goal:
                minds.poses[pose].goal = extra
                minds.poses[pose].deed = deed


@kernel
def spread(worlds: GridState, minds: PlannerMemory, b: int, through: bool, stop: bool) -> tuple[int, int]:
    """Search from the agent's pose by rising cost (Dial's buckets), until a goal if `stop`.

    Returns the best goal's pose, -1 for none, and how many poses are in the `order` of `minds.poses`.
    """
    width = worlds.cells.shape[2]
    keys = _keys_seen(worlds, minds, b) if through else 0
    agent = worlds.state[b].agent
    start = (agent[1] * width + agent[0]) * 4 + agent[2]
    heads = minds.mind[b].heads
    for pose in range(len(minds.poses)):
        minds.poses[pose].cost = FAR
    for bucket in range(BUCKETS):
        heads[bucket] = -1
    minds.poses[start].cost, minds.poses[start].before = 0, -1
    minds.nodes[0].pose, minds.nodes[0].after, heads[0] = start, -1, 0
    pushed, pending, cost, settled, best, best_cost = 1, 1, 0, 0, -1, FAR
    while pending and cost < best_cost:
        top = heads[cost % BUCKETS]
        if top < 0:
            cost += 1
            continue
        heads[cost % BUCKETS] = minds.nodes[top].after
        pending -= 1
        pose = minds.nodes[top].pose
        if minds.poses[pose].cost != cost:
            continue
        minds.poses[settled].order = pose
        settled += 1
        if stop and minds.poses[pose].goal >= 0 and cost + minds.poses[pose].goal < best_cost:
            best, best_cost = pose, cost + minds.poses[pose].goal
        cell, direction = pose // 4, pose % 4
        for move in range(3):
            if move < 2:
                after, price = cell * 4 + (direction + 1 + 2 * move) % 4, 1
            else:
                x, y = cell % width + AHEAD_X[direction], cell // width + AHEAD_Y[direction]
                after = (y * width + x) * 4 + direction
                if not (0 <= after < len(minds.poses)) or minds.poses[after].cost <= cost:
                    continue
                price = entry(worlds, minds, b, x, y, keys, through)
            if price and cost + price < minds.poses[after].cost:
                minds.poses[after].cost, minds.poses[after].before = cost + price, pose
                minds.nodes[pushed].pose, minds.nodes[pushed].after = after, heads[(cost + price) % BUCKETS]
                heads[(cost + price) % BUCKETS] = pushed
                pushed += 1
                pending += 1
    return best, settled
