"""An expert for every level, in kernels: it knows what it has seen, and can be asked at any step.

It goes for the nearest thing that the instruction still wants, explores while it knows of none, clears what
lies in its way and fetches keys. It keeps one route and one errand; everything else follows from the world,
so it can take over from whoever acted before.
"""

from __future__ import annotations

import numpy as np

from ..cells import EMPTY, ENTERED, IS_DOOR, IS_LOCKED, LIFTED
from ..dynamics import AHEAD_X, AHEAD_Y, DONE, DROP, FORWARD, LEFT, RIGHT, TOGGLE
from ..kernels import kernel
from ..state import GridState
from .goals import (
    CLEAR_AHEAD,
    GOALS,
    LET_GO,
    LOOK,
    UNLOCK_AHEAD,
    end_errand,
    errand_goals,
    explored,
    keys_wanted,
    mission_goals,
)
from .memory import CLEAR, NO_ERRAND, ROUTE, UNLOCK, PlannerMemory, end_keeping, gain, look_around
from .path_search import FAR, no_goals, opens, spread


@kernel
def advise(worlds: GridState, minds: PlannerMemory, b: int) -> int:
    """Return the action to take now in world `b`; DONE when no way is known. Asking again changes nothing."""
    state, mind = worlds.state[b], minds.mind[b]
    if mind.steps == state.steps and mind.length and _same(mind.pose, state.agent):
        return mind.route[mind.at]
    found = look_around(worlds, minds, b)
    on_route = mind.steps + 1 == state.steps and _same(mind.expected, state.agent)
    if on_route:
        mind.at += 1
    surprised = found & mind.wanted != np.uint64(0)
    anew = not on_route or surprised or mind.at >= mind.length or _hindered(worlds, b, mind.route[mind.at])
    if anew or (mind.exploring and gain(worlds, minds, b, mind.aim) == 0):
        _plan(worlds, minds, b)
    action = mind.route[mind.at]
    mind.steps = state.steps
    for i in range(3):
        mind.pose[i] = state.agent[i]
    _expect(worlds, minds, b, action)
    return action


@kernel
def _same(pose: np.ndarray, other: np.ndarray) -> bool:
    return pose[0] == other[0] and pose[1] == other[1] and pose[2] == other[2]


@kernel
def _hindered(worlds: GridState, b: int, action: int) -> bool:
    agent = worlds.state[b].agent
    ahead = worlds.cells[b, agent[1] + AHEAD_Y[agent[2]], agent[0] + AHEAD_X[agent[2]]]
    return action == FORWARD and not ENTERED[ahead]


@kernel
def _expect(worlds: GridState, minds: PlannerMemory, b: int, action: int) -> None:
    mind, agent = minds.mind[b], worlds.state[b].agent
    for i in range(3):
        mind.expected[i] = agent[i]
    if action == FORWARD:
        mind.expected[0] += AHEAD_X[agent[2]]
        mind.expected[1] += AHEAD_Y[agent[2]]
    elif action == LEFT:
        mind.expected[2] = (agent[2] + 3) % 4
    elif action == RIGHT:
        mind.expected[2] = (agent[2] + 1) % 4


@kernel
def _plan(worlds: GridState, minds: PlannerMemory, b: int) -> None:
    """Write a route; each try either does so or takes on the errand that stands in its way."""
    mind = minds.mind[b]
    mind.plans += 1
    for _ in range(8):
        mind.at = mind.length = mind.exploring = 0
        end_errand(worlds, minds, b)
        no_goals(minds)
        mind.wanted = keys_wanted(worlds, minds, b)
        wish = errand_goals(worlds, minds, b) if mind.errand else mission_goals(worlds, minds, b)
        if wish == LET_GO:
            _plan_drop(worlds, minds, b)
            return
        pose = -1
        if wish == GOALS:
            pose, _ = spread(worlds, minds, b, True, True)
        if pose < 0 and mind.errand:
            mind.errand = NO_ERRAND
            end_keeping(minds, b)
        if pose < 0:
            pose = explored(worlds, minds, b)
        if pose < 0:
            break
        if _walk(worlds, minds, b, pose):
            return
    if mind.length == 0:
        mind.route[0] = DONE
        mind.length = 1


@kernel
def _walk(worlds: GridState, minds: PlannerMemory, b: int, pose: int) -> bool:
    """Write the actions to a pose and its deed; false if an errand was taken on instead."""
    mind = minds.mind[b]
    width = worlds.cells.shape[2]
    count = 0
    last = pose
    while pose >= 0:  # order is free again: it takes the poses of the way, from its end
        minds.poses[count].order = pose
        count += 1
        pose = minds.poses[pose].before
    for i in range(count - 1, 0, -1):
        here, after = minds.poses[i].order, minds.poses[i - 1].order
        if here // 4 == after // 4:
            _write(minds, b, RIGHT if (after - here) % 4 == 1 else LEFT)
            continue
        x, y = after // 4 % width, after // 4 // width
        cell = worlds.cells[b, y, x]
        if not ENTERED[cell]:
            if LIFTED[cell]:
                return _take_on(worlds, minds, b, CLEAR, x, y, i)
            if IS_LOCKED[cell] and not opens(worlds.state[b].carried[0], cell):
                return _take_on(worlds, minds, b, UNLOCK, x, y, i)
            _write(minds, b, TOGGLE)
        _write(minds, b, FORWARD)
    deed = minds.poses[last].deed
    x, y = last // 4 % width + AHEAD_X[last % 4], last // 4 // width + AHEAD_Y[last % 4]
    if deed == UNLOCK_AHEAD:
        return _take_on(worlds, minds, b, UNLOCK, x, y, 0)
    if deed == CLEAR_AHEAD:
        return _take_on(worlds, minds, b, CLEAR, x, y, 0)
    if deed != LOOK:
        _write(minds, b, deed)
    return mind.length > 0


@kernel
def _write(minds: PlannerMemory, b: int, action: int) -> None:
    mind = minds.mind[b]
    if mind.length < ROUTE:
        mind.route[mind.length] = action
        mind.length += 1


@kernel
def _take_on(
    worlds: GridState, minds: PlannerMemory, b: int, errand: int, x: int, y: int, count: int
) -> bool:
    """Begin an errand about what lies at a cell; nothing may be put down there or on the way beyond.

    The way beyond is the first `count` poses in the `order` of `minds.poses`.
    """
    mind = minds.mind[b]
    width = worlds.cells.shape[2]
    mind.errand = errand
    mind.thing = worlds.things[b, y, x]
    end_keeping(minds, b)
    minds.cells[b, y, x].kept = True
    for i in range(count):
        minds.cells[b, minds.poses[i].order // 4 // width, minds.poses[i].order // 4 % width].kept = True
    return False


@kernel
def _plan_drop(worlds: GridState, minds: PlannerMemory, b: int) -> None:
    """Write the way to the nearest cell where what is carried will be in nobody's way, and put it there."""
    width = worlds.cells.shape[2]
    _, settled = spread(worlds, minds, b, False, False)
    best, best_cost = -1, FAR
    for i in range(settled):
        pose = minds.poses[i].order
        if minds.poses[pose].cost >= best_cost:
            break
        x, y = pose // 4 % width + AHEAD_X[pose % 4], pose // 4 // width + AHEAD_Y[pose % 4]
        if minds.cells[b, y, x].seen and worlds.cells[b, y, x] == EMPTY:
            cost = minds.poses[pose].cost + _nuisance(worlds, minds, b, x, y)
            if cost < best_cost:
                best, best_cost = pose, cost
    if best < 0:
        _write(minds, b, RIGHT)
        return
    minds.poses[best].deed = DROP
    _walk(worlds, minds, b, best)


@kernel
def _nuisance(worlds: GridState, minds: PlannerMemory, b: int, x: int, y: int) -> int:
    """Return how bad it is to put something on a cell: on the way, by a door, between two obstacles."""
    if minds.cells[b, y, x].kept:
        return 60
    for side in range(4):
        row, column = y + AHEAD_Y[side], x + AHEAD_X[side]
        if minds.cells[b, row, column].seen and IS_DOOR[worlds.cells[b, row, column]]:
            return 30
    # around the cell, free ground must not fall into two pieces
    pieces, free = 0, minds.cells[b, y - 1, x - 1].seen and ENTERED[worlds.cells[b, y - 1, x - 1]]
    for at in range(1, 9):
        turn = at % 8
        column = x + (turn in (2, 3, 4)) - (turn in (0, 6, 7)) + 0
        row = y + (turn in (4, 5, 6)) - (turn in (0, 1, 2))
        now = minds.cells[b, row, column].seen and ENTERED[worlds.cells[b, row, column]]
        pieces += now and not free
        free = now
    return 12 if pieces > 1 else 0
