"""Shortest paths over the cells seen: turns, steps, doors to open, objects to carry away first."""

from __future__ import annotations

from ..cells import COLOR, ENTERED, IS_DOOR, IS_KEY, IS_LOCKED, LIFTED
from ..dynamics import AHEAD_X, AHEAD_Y
from ..kernels import kernel
from ..state import GridState
from .memory import BUCKETS, PlannerMemory, is_seen

FAR = 1 << 20

BLOCKED, LOCKED = 8, 40
"""Cost of passing an object, and a locked door whose key was seen: about the steps that clearing takes."""


@kernel
def opens(carried: int, door: int) -> bool:
    """Whether the carried object is the key of a door; both are cell codes."""
    return IS_KEY[carried] and COLOR[carried] == COLOR[door]


@kernel
def find_key(grids: GridState, memory: PlannerMemory, b: int, color: int) -> int:
    """Return the first key of a color that lies on a seen cell, 0 for none."""
    state = grids.state[b]
    for thing in range(1, len(state.codes)):
        code = state.codes[thing]
        if code == 0:
            return 0
        if IS_KEY[code] and COLOR[code] == color and is_seen(grids, memory, b, thing):
            return thing
    return 0


@kernel
def _colors_of_seen_keys(grids: GridState, memory: PlannerMemory, b: int) -> int:
    color_bits = 0  # bit i: a key of color i lies on a seen cell
    for color in range(6):
        if find_key(grids, memory, b, color):
            color_bits |= 1 << color
    return color_bits


@kernel
def entry_cost(
    grids: GridState, memory: PlannerMemory, b: int, x: int, y: int, keys: int, through_obstacles: bool
) -> int:
    """Return the cost of entering a cell, 0 if impossible; `through_obstacles` admits cells to be cleared."""
    if not memory.cells[b, y, x].seen:
        return 0
    cell = grids.cells[b, y, x]
    if ENTERED[cell]:
        return 1
    if LIFTED[cell]:
        return BLOCKED if through_obstacles else 0
    if not IS_DOOR[cell]:
        return 0
    if not IS_LOCKED[cell] or opens(grids.state[b].carried[0], cell):
        return 2  # toggle, then step
    return LOCKED if through_obstacles and keys >> COLOR[cell] & 1 else 0


@kernel
def clear_goals(memory: PlannerMemory) -> None:
    """Remove all goals."""
    for pose in range(len(memory.poses)):
        memory.poses[pose].goal = -1


@kernel
def add_goal(memory: PlannerMemory, x: int, y: int, extra: int, final_action: int) -> None:
    """Make the four poses that face a cell goals, at `extra` cost; `final_action` is taken there."""
    height, width = memory.cells.shape[1:]
    # of two goals at one pose, the cheaper stays
    for direction in range(4):
        column, row = x - AHEAD_X[direction], y - AHEAD_Y[direction]
        if 0 <= column < width and 0 <= row < height:
            pose = (row * width + column) * 4 + direction
            if memory.poses[pose].goal < 0 or extra < memory.poses[pose].goal:
                memory.poses[pose].goal = extra
                memory.poses[pose].final_action = final_action


@kernel
def search(
    grids: GridState, memory: PlannerMemory, b: int, through_obstacles: bool, stop_at_goal: bool
) -> tuple[int, int]:
    """Run Dijkstra's algorithm from the agent's pose (Dial's buckets), until the best goal if `stop_at_goal`.

    Returns the best goal's pose, -1 for none, and the number of settled poses in the `order` of
    `memory.poses`.
    """
    width = grids.cells.shape[2]
    keys = _colors_of_seen_keys(grids, memory, b) if through_obstacles else 0
    agent = grids.state[b].agent
    start = (agent[1] * width + agent[0]) * 4 + agent[2]
    heads = memory.plan[b].heads
    for pose in range(len(memory.poses)):
        memory.poses[pose].cost = FAR
    for bucket in range(BUCKETS):
        heads[bucket] = -1
    memory.poses[start].cost, memory.poses[start].parent = 0, -1
    memory.nodes[0].pose, memory.nodes[0].next, heads[0] = start, -1, 0
    # no move costs BUCKETS or more, so cost % BUCKETS never mixes two costs in one bucket
    pushed, pending, cost, settled, best, best_cost = 1, 1, 0, 0, -1, FAR
    while pending and cost < best_cost:
        top = heads[cost % BUCKETS]
        if top < 0:
            cost += 1
            continue
        heads[cost % BUCKETS] = memory.nodes[top].next
        pending -= 1
        pose = memory.nodes[top].pose
        if memory.poses[pose].cost != cost:  # stale entry: a cheaper path was found since
            continue
        memory.poses[settled].order = pose
        settled += 1
        if stop_at_goal and memory.poses[pose].goal >= 0 and cost + memory.poses[pose].goal < best_cost:
            best, best_cost = pose, cost + memory.poses[pose].goal
        cell, direction = pose // 4, pose % 4
        for move in range(3):  # turn right, turn left, step forward
            if move < 2:
                neighbor, price = cell * 4 + (direction + 1 + 2 * move) % 4, 1
            else:
                x, y = cell % width + AHEAD_X[direction], cell // width + AHEAD_Y[direction]
                neighbor = (y * width + x) * 4 + direction
                if not (0 <= neighbor < len(memory.poses)) or memory.poses[neighbor].cost <= cost:
                    continue
                price = entry_cost(grids, memory, b, x, y, keys, through_obstacles)
            if price and cost + price < memory.poses[neighbor].cost:
                memory.poses[neighbor].cost, memory.poses[neighbor].parent = cost + price, pose
                memory.nodes[pushed].pose, memory.nodes[pushed].next = (
                    neighbor,
                    heads[(cost + price) % BUCKETS],
                )
                heads[(cost + price) % BUCKETS] = pushed
                pushed += 1
                pending += 1
    return best, settled
