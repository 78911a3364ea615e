"""The planner's memory of each grid: the cells seen, the current route, the current errand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..cells import IS_DOOR, SEEN_THROUGH
from ..dynamics import AHEAD_X, AHEAD_Y, MIDDLE, spread_light, view_from
from ..kernels import allocating, kernel
from ..state import OBJECTS, VIEW, Bits, GridState

NO_ERRAND, CLEAR, UNLOCK = range(3)
"""Errands: none; carry an object out of the way; open a locked door, first fetching its key."""

ROUTE = 240
"""Most actions of a route; a longer one is planned in parts."""

BUCKETS = 64
"""Buckets of the search queue: a power of two above the cost of any move."""

PLAN = np.dtype(
    [
        ("errand", np.uint8),
        ("thing", np.uint8),
        ("exploring", np.uint8),
        ("cursor", np.int16),
        ("length", np.int16),
        ("plans", np.int64),
        ("steps", np.int64),
        ("pose", np.int64, (3,)),
        ("expected", np.int64, (3,)),
        ("aim", np.int64),
        ("targets", np.uint64),
        ("route", np.uint8, (ROUTE,)),
        ("heads", np.int32, (BUCKETS,)),
    ],
    align=True,
)
"""State of the planner: the `errand` and the object (`thing`) it concerns; the `route`, its `length` and the
`cursor` on it; `pose` and `steps` at the last call, and the pose `expected` after the action returned; the
pose to `aim` at while `exploring`; the set of `targets`, whose sight triggers a new plan; `plans` counts
planning runs. `heads` is scratch: the first node of each bucket of the search, -1 for none."""


CELL = np.dtype([("seen", np.bool_), ("reserved", np.bool_), ("worth", np.bool_)])
"""Per cell: has been in view; nothing may be put down there; scratch of `survey`: worth seeing."""

POSE = np.dtype(
    [
        ("cost", np.int32),
        ("parent", np.int32),
        ("order", np.int32),
        ("goal", np.int32),
        ("final_action", np.uint8),
    ],
    align=True,
)
"""Scratch of a search, one per pose (y * W + x) * 4 + direction: `cost` to reach it and its `parent` pose;
`goal`, the extra cost of ending there (-1: no goal), and the `final_action` to take there. `order` is an
independent list: the poses by rising cost."""

NODE = np.dtype([("pose", np.int32), ("next", np.int32)])
"""An entry of the search's buckets, linked to the next entry of its bucket, -1 for none."""


class PlannerMemory(NamedTuple):
    """The memory of B planners and the scratch that they share; threads must not share a PlannerMemory.

    Memory: `cells` CELL `[B, H, W]` and `plan` PLAN `[B]`. Scratch: `poses` POSE `[H * W * 4]`, `nodes` NODE
    `[H * W * 16]`, and `table` int32 `[H + 1, W + 1]`, a summed-area table of the frontier.
    """

    cells: np.ndarray
    plan: np.ndarray
    poses: np.ndarray
    nodes: np.ndarray
    table: np.ndarray


def empty_memory(count: int, height: int, width: int) -> PlannerMemory:
    """Make the memory of `count` planners that have seen nothing, for grids of `height` x `width` cells."""
    poses = height * width * 4  # each pose is pushed at most once per predecessor: 4 nodes a pose
    return PlannerMemory(
        cells=np.zeros((count, height, width), CELL),
        plan=np.zeros(count, PLAN),
        poses=np.zeros(poses, POSE),
        nodes=np.zeros(poses * 4, NODE),
        table=np.zeros((height + 1, width + 1), np.int32),
    )


@kernel
def forget(memory: PlannerMemory, b: int) -> None:
    """Clear the memory of planner `b`, at the start of an episode."""
    # `steps` = -1 makes the first call of an episode plan
    for y in range(memory.cells.shape[1]):
        for x in range(memory.cells.shape[2]):
            memory.cells[b, y, x].seen = False
    release_cells(memory, b)
    plan = memory.plan[b]
    plan.errand = NO_ERRAND
    plan.cursor = plan.length = plan.exploring = 0
    plan.plans = 0
    plan.steps = -1
    plan.targets = np.uint64(0)


@kernel
def release_cells(memory: PlannerMemory, b: int) -> None:
    """Release all reserved cells: objects may be put down anywhere again."""
    for y in range(memory.cells.shape[1]):
        for x in range(memory.cells.shape[2]):
            memory.cells[b, y, x].reserved = False


@kernel
def is_seen(grids: GridState, memory: PlannerMemory, b: int, thing: int) -> bool:
    """Whether an object lies on a cell that has been seen; false where it lies NOWHERE."""
    where = grids.state[b].where
    x, y = where[thing, 0], where[thing, 1]
    return y < memory.cells.shape[1] and x < memory.cells.shape[2] and memory.cells[b, y, x].seen


@allocating
def update_seen(grids: GridState, memory: PlannerMemory, b: int) -> Bits:
    """Mark the cells in view as seen; returns the set of objects on cells that were unseen."""
    view, lit = np.empty((VIEW, VIEW), np.uint8), np.empty(VIEW, np.int64)
    agent = grids.state[b].agent
    view_from(grids, b, agent[0], agent[1], agent[2], view, lit)
    appeared = np.uint64(0)
    ahead_x, ahead_y = AHEAD_X[agent[2]], AHEAD_Y[agent[2]]
    for i in range(VIEW):
        for j in range(VIEW):
            if lit[j] >> i & 1:
                # view (column i, row j) → cells ahead and to the right → grid coordinates
                far, side = VIEW - 1 - j, i - VIEW // 2
                x, y = agent[0] + ahead_x * far - ahead_y * side, agent[1] + ahead_y * far + ahead_x * side
                if (
                    0 <= y < memory.cells.shape[1]
                    and 0 <= x < memory.cells.shape[2]
                    and not memory.cells[b, y, x].seen
                ):
                    memory.cells[b, y, x].seen = True
                    appeared |= np.uint64(1) << np.uint64(grids.things[b, y, x])
    return appeared


@kernel
def faces_frontier(memory: PlannerMemory, pose: int) -> bool:
    """Whether the 7 x 7 view ahead of a pose contains frontier cells, by the table of the last `survey`."""
    height, width = memory.cells.shape[1:]
    x, y, direction = pose // 4 % width, pose // 4 // width, pose % 4
    ahead_x, ahead_y = AHEAD_X[direction], AHEAD_Y[direction]
    # two opposite corners of the view, clipped to the grid; 3 is VIEW // 2, 6 is VIEW - 1
    near_x, near_y = x - ahead_y * 3, y + ahead_x * 3
    far_x, far_y = x + ahead_x * 6 + ahead_y * 3, y + ahead_y * 6 - ahead_x * 3
    left, right = max(min(near_x, far_x), 0), min(max(near_x, far_x), width - 1) + 1
    top, bottom = max(min(near_y, far_y), 0), min(max(near_y, far_y), height - 1) + 1
    # sum over a rectangle in O(1): a filter before the costly `gain`
    table = memory.table
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left] != 0


@kernel
def gain(grids: GridState, memory: PlannerMemory, b: int, pose: int) -> int:
    """Return a lower bound on the unseen cells worth seeing that a pose reveals.

    The layout of the rooms is known: an unseen cell on a wall line counts as wall, any other as empty.
    """
    height, width = grids.cells.shape[1:]
    # same projection as `view_from`, row by row away from the agent
    side = grids.state[b].rooms[0] - 1
    x, y, direction = pose // 4 % width, pose // 4 // width, pose % 4
    ahead_x, ahead_y = AHEAD_X[direction], AHEAD_Y[direction]
    count = 0
    lit = MIDDLE
    for far in range(VIEW):
        fresh: Bits = 0
        # the agent's own cell is transparent to it, whatever stands there now
        clear: Bits = 0 if far else MIDDLE
        column = x + ahead_x * far + ahead_y * (VIEW // 2)
        row = y + ahead_y * far - ahead_x * (VIEW // 2)
        for i in range(VIEW):
            if 0 <= column < width and 0 <= row < height:
                if memory.cells[b, row, column].seen:
                    clear |= np.int64(SEEN_THROUGH[grids.cells[b, row, column]]) << i
                else:
                    clear |= np.int64(column % side != 0 and row % side != 0) << i
                    fresh |= np.int64(memory.cells[b, row, column].worth) << i
            column -= ahead_y
            row += ahead_x
        row_lit, lit = spread_light(clear, lit)
        fresh &= row_lit
        while fresh:  # population count
            fresh &= fresh - 1
            count += 1
        if lit == 0:
            break
    return count


@kernel
def survey(grids: GridState, memory: PlannerMemory, b: int, doors: bool) -> None:
    """Mark the cells worth seeing (`doors`: wall cells only) and fill `memory.table` with frontier counts.

    The frontier is the unseen cells next to seen transparent ones. A wall between two rooms has one door at
    most; outer walls and corners have none.
    """
    height, width = grids.cells.shape[1:]
    side = grids.state[b].rooms[0] - 1
    for y in range(height):
        for x in range(width):
            # wall_lines: 0 inside a room, 1 on a wall (a door may be there), 2 at a corner
            inside = 0 < x < width - 1 and 0 < y < height - 1 and not memory.cells[b, y, x].seen
            wall_lines = (x % side == 0) + (y % side == 0)
            memory.cells[b, y, x].worth = inside and (wall_lines == 1 or (wall_lines == 0 and not doors))
    _exclude_walls_with_doors(grids, memory, b, side)
    # summed-area table: table[y, x] counts frontier cells in rows < y and columns < x
    for y in range(height):
        row_sum = 0
        for x in range(width):
            is_unseen = memory.cells[b, y, x].worth or (
                x % side and y % side and not memory.cells[b, y, x].seen
            )
            if is_unseen and _is_frontier(grids, memory, b, x, y):
                row_sum += 1
            memory.table[y + 1, x + 1] = memory.table[y, x + 1] + row_sum


@kernel
def _exclude_walls_with_doors(grids: GridState, memory: PlannerMemory, b: int, side: int) -> None:
    """Mark walls whose door has been seen as not worth seeing: they have no other door."""
    state = grids.state[b]
    for thing in range(1, OBJECTS):
        code = state.codes[thing]
        if code == 0:
            return
        if IS_DOOR[code] and is_seen(grids, memory, b, thing):
            x, y = np.int64(state.where[thing, 0]), np.int64(state.where[thing, 1])
            # the wall's cells between its two corners, along y or along x
            for offset in range(1, side):
                if x % side == 0:
                    memory.cells[b, y // side * side + offset, x].worth = False
                else:
                    memory.cells[b, y, x // side * side + offset].worth = False


@kernel
def _is_frontier(grids: GridState, memory: PlannerMemory, b: int, x: int, y: int) -> bool:
    """Whether one of the 8 neighbors of a cell is seen and transparent, or a door."""
    for row in range(max(y - 1, 0), min(y + 2, grids.cells.shape[1])):
        for column in range(max(x - 1, 0), min(x + 2, grids.cells.shape[2])):
            if memory.cells[b, row, column].seen:
                cell = grids.cells[b, row, column]
                if SEEN_THROUGH[cell] or IS_DOOR[cell]:
                    return True
    return False
