"""What an expert remembers of each world: what it has seen, the route it is on, the errand it has begun."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..cells import IS_DOOR, SEEN_THROUGH
from ..dynamics import AHEAD_X, AHEAD_Y, MIDDLE, look_from, spread_light
from ..kernels import allocating, kernel
from ..state import OBJECTS, VIEW, Bits, GridState

NO_ERRAND, CLEAR, UNLOCK = range(3)
"""Nothing; carry an object out of the way; open a locked door, first fetching its key."""

ROUTE = 240
"""Actions that a route may have; a longer one is walked in parts."""

BUCKETS = 64
"""Of a search: a power of two above the price of any move."""

MIND = np.dtype(
    [
        ("errand", np.uint8),
        ("thing", np.uint8),
        ("exploring", np.uint8),
        ("at", np.int16),
        ("length", np.int16),
        ("plans", np.int64),
        ("steps", np.int64),
        ("pose", np.int64, (3,)),
        ("expected", np.int64, (3,)),
        ("aim", np.int64),
        ("wanted", np.uint64),
        ("route", np.uint8, (ROUTE,)),
        ("heads", np.int32, (BUCKETS,)),
    ],
    align=True,
)
"""`errand` and the object it is about; the `route`, how long it is and where on it we are; the `pose` and
step when last asked and the pose `expected` after what was answered; the pose aimed at when `exploring`; the
objects `wanted`, which to see is to think again; how often a route was planned. `heads` are the first nodes
of the buckets of a search."""


CELL = np.dtype([("seen", np.bool_), ("kept", np.bool_), ("worth", np.bool_)])
"""Of a cell: it was in view; nothing may be put down there; scratch of `survey`: worth a walk to see."""

POSE = np.dtype(
    [
        ("cost", np.int32),
        ("before", np.int32),
        ("order", np.int32),
        ("goal", np.int32),
        ("deed", np.uint8),
    ],
    align=True,
)
"""Scratch of a search, of a pose (y * W + x) * 4 + direction: `cost` to get there and the pose `before` it;
`goal`, what it costs more to end there (-1: no goal), and the `deed` that is done there. `order` is a list
of its own: the poses by rising cost."""

NODE = np.dtype([("pose", np.int32), ("after", np.int32)])
"""An entry of the search's buckets, and the next one in its bucket, -1 for none."""


class PlannerMemory(NamedTuple):
    """The memories of B experts, and the scratch that they share (one set of minds a thread).

    `cells` CELL `[B, H, W]` and `mind` MIND `[B]` are remembered. Scratch: `poses` POSE `[H * W * 4]`,
    `nodes` NODE `[H * W * 16]`, and `table` int32 `[H + 1, W + 1]`, sums over the frontier.
    """

    cells: np.ndarray
    mind: np.ndarray
    poses: np.ndarray
    nodes: np.ndarray
    table: np.ndarray


def empty_minds(count: int, height: int, width: int) -> PlannerMemory:
    """Make the memories of `count` experts who have seen nothing."""
    poses = height * width * 4
    return PlannerMemory(
        cells=np.zeros((count, height, width), CELL),
        mind=np.zeros(count, MIND),
        poses=np.zeros(poses, POSE),
        nodes=np.zeros(poses * 4, NODE),
        table=np.zeros((height + 1, width + 1), np.int32),
    )


@kernel
def forget(minds: PlannerMemory, b: int) -> None:
    """Begin an episode: remember nothing."""
    for y in range(minds.cells.shape[1]):
        for x in range(minds.cells.shape[2]):
            minds.cells[b, y, x].seen = False
    end_keeping(minds, b)
    mind = minds.mind[b]
    mind.errand = NO_ERRAND
    mind.at = mind.length = mind.exploring = 0
    mind.plans = 0
    mind.steps = -1
    mind.wanted = np.uint64(0)


@kernel
def end_keeping(minds: PlannerMemory, b: int) -> None:
    """Let things be put down anywhere again."""
    for y in range(minds.cells.shape[1]):
        for x in range(minds.cells.shape[2]):
            minds.cells[b, y, x].kept = False


@kernel
def in_sight(worlds: GridState, minds: PlannerMemory, b: int, thing: int) -> bool:
    """Whether an object lies on a cell that has been seen."""
    where = worlds.state[b].where
    x, y = where[thing, 0], where[thing, 1]
    return y < minds.cells.shape[1] and x < minds.cells.shape[2] and minds.cells[b, y, x].seen


@allocating
def look_around(worlds: GridState, minds: PlannerMemory, b: int) -> Bits:
    """Remember what is in view now; returns the set of objects that came into view."""
    view, lit = np.empty((VIEW, VIEW), np.uint8), np.empty(VIEW, np.int64)
    agent = worlds.state[b].agent
    look_from(worlds, b, agent[0], agent[1], agent[2], view, lit)
    found = np.uint64(0)
    ahead_x, ahead_y = AHEAD_X[agent[2]], AHEAD_Y[agent[2]]
    for i in range(VIEW):
        for j in range(VIEW):
            if lit[j] >> i & 1:
                far, side = VIEW - 1 - j, i - VIEW // 2
                x, y = agent[0] + ahead_x * far - ahead_y * side, agent[1] + ahead_y * far + ahead_x * side
                if (
                    0 <= y < minds.cells.shape[1]
                    and 0 <= x < minds.cells.shape[2]
                    and not minds.cells[b, y, x].seen
                ):
                    minds.cells[b, y, x].seen = True
                    found |= np.uint64(1) << np.uint64(worlds.things[b, y, x])
    return found


@kernel
def promising(minds: PlannerMemory, pose: int) -> bool:
    """Whether the square ahead of a pose has any of the frontier that was surveyed last."""
    height, width = minds.cells.shape[1:]
    x, y, direction = pose // 4 % width, pose // 4 // width, pose % 4
    ahead_x, ahead_y = AHEAD_X[direction], AHEAD_Y[direction]
    near_x, near_y = x - ahead_y * 3, y + ahead_x * 3
    far_x, far_y = x + ahead_x * 6 + ahead_y * 3, y + ahead_y * 6 - ahead_x * 3
    left, right = max(min(near_x, far_x), 0), min(max(near_x, far_x), width - 1) + 1
    top, bottom = max(min(near_y, far_y), 0), min(max(near_y, far_y), height - 1) + 1
    table = minds.table
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left] != 0


@kernel
def gain(worlds: GridState, minds: PlannerMemory, b: int, pose: int) -> int:
    """Count the unseen cells worth seeing that will be seen from a pose, at least.

    Rooms are known to stand on a grid: an unseen cell of a wall's line counts as wall, others as empty.
    """
    height, width = worlds.cells.shape[1:]
    side = worlds.state[b].rooms[0] - 1
    x, y, direction = pose // 4 % width, pose // 4 // width, pose % 4
    ahead_x, ahead_y = AHEAD_X[direction], AHEAD_Y[direction]
    count = 0
    lit = MIDDLE
    for far in range(VIEW):
        fresh: Bits = 0
        clear: Bits = 0 if far else MIDDLE  # an agent there will see past what stands there now
        column = x + ahead_x * far + ahead_y * (VIEW // 2)
        row = y + ahead_y * far - ahead_x * (VIEW // 2)
        for i in range(VIEW):
            if 0 <= column < width and 0 <= row < height:
                if minds.cells[b, row, column].seen:
                    clear |= np.int64(SEEN_THROUGH[worlds.cells[b, row, column]]) << i
                else:
                    clear |= np.int64(column % side != 0 and row % side != 0) << i
                    fresh |= np.int64(minds.cells[b, row, column].worth) << i
            column -= ahead_y
            row += ahead_x
        row_lit, lit = spread_light(clear, lit)
        fresh &= row_lit
        while fresh:
            fresh &= fresh - 1
            count += 1
        if lit == 0:
            break
    return count


@kernel
def survey(worlds: GridState, minds: PlannerMemory, b: int, doors: bool) -> None:
    """Find the cells worth seeing, `doors` only or all, and sum up those beside what has been seen.

    A wall between two rooms has one door at most; outer walls and corners have none.
    """
    height, width = worlds.cells.shape[1:]
    side = worlds.state[b].rooms[0] - 1
    for y in range(height):
        for x in range(width):
            inside = 0 < x < width - 1 and 0 < y < height - 1 and not minds.cells[b, y, x].seen
            walls = (x % side == 0) + (y % side == 0)
            minds.cells[b, y, x].worth = inside and (walls == 1 or (walls == 0 and not doors))
    _pass_over(worlds, minds, b, side)
    for y in range(height):
        across = 0
        for x in range(width):
            lit_through = minds.cells[b, y, x].worth or (
                x % side and y % side and not minds.cells[b, y, x].seen
            )
            if lit_through and _borders(worlds, minds, b, x, y):
                across += 1
            minds.table[y + 1, x + 1] = minds.table[y, x + 1] + across


@kernel
def _pass_over(worlds: GridState, minds: PlannerMemory, b: int, side: int) -> None:
    """A wall whose door has been seen has no other."""
    state = worlds.state[b]
    for thing in range(1, OBJECTS):
        look = state.looks[thing]
        if look == 0:
            return
        if IS_DOOR[look] and in_sight(worlds, minds, b, thing):
            x, y = np.int64(state.where[thing, 0]), np.int64(state.where[thing, 1])
            for at in range(1, side):
                if x % side == 0:
                    minds.cells[b, y // side * side + at, x].worth = False
                else:
                    minds.cells[b, y, x // side * side + at].worth = False


@kernel
def _borders(worlds: GridState, minds: PlannerMemory, b: int, x: int, y: int) -> bool:
    for row in range(max(y - 1, 0), min(y + 2, worlds.cells.shape[1])):
        for column in range(max(x - 1, 0), min(x + 2, worlds.cells.shape[2])):
            if minds.cells[b, row, column].seen:
                cell = worlds.cells[b, row, column]
                if SEEN_THROUGH[cell] or IS_DOOR[cell]:
                    return True
    return False
