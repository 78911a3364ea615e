"""A planner that solves every level, in kernels; it uses only what has been seen, and can act at any step.

It goes to the nearest object that the instruction still needs, explores while it knows of none, clears
obstacles and fetches keys. It keeps one route and one errand; everything else derives from the current state,
so it can take over from any other actor in the middle of an episode.
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
    exploration_pose,
    mission_goals,
    needed_keys,
)
from .memory import CLEAR, NO_ERRAND, ROUTE, UNLOCK, PlannerMemory, gain, release_cells, update_seen
from .path_search import FAR, clear_goals, opens, search


@kernel
def advise(grids: GridState, memory: PlannerMemory, b: int) -> int:
    """Return the action to take in grid `b`; DONE if no path is known. A repeated call changes nothing."""
    state, plan = grids.state[b], memory.plan[b]
    # the same step and pose as at the last call: the same answer
    if plan.steps == state.steps and plan.length and _same_pose(plan.pose, state.agent):
        return plan.route[plan.cursor]
    appeared = update_seen(grids, memory, b)
    # replan after another actor's action, a new target in view, the end of the route, or a blocked cell ahead
    on_route = plan.steps + 1 == state.steps and _same_pose(plan.expected, state.agent)
    if on_route:
        plan.cursor += 1
    has_new_target = appeared & plan.targets != np.uint64(0)
    must_replan = (
        not on_route
        or has_new_target
        or plan.cursor >= plan.length
        or _is_blocked(grids, b, plan.route[plan.cursor])
    )
    # exploration also ends once its view would reveal nothing any more
    if must_replan or (plan.exploring and gain(grids, memory, b, plan.aim) == 0):
        _plan(grids, memory, b)
    action = plan.route[plan.cursor]
    plan.steps = state.steps
    for i in range(3):
        plan.pose[i] = state.agent[i]
    _set_expected_pose(grids, memory, b, action)
    return action


@kernel
def _same_pose(first: np.ndarray, second: np.ndarray) -> bool:
    return first[0] == second[0] and first[1] == second[1] and first[2] == second[2]


@kernel
def _is_blocked(grids: GridState, b: int, action: int) -> bool:
    agent = grids.state[b].agent
    ahead = grids.cells[b, agent[1] + AHEAD_Y[agent[2]], agent[0] + AHEAD_X[agent[2]]]
    return action == FORWARD and not ENTERED[ahead]


@kernel
def _set_expected_pose(grids: GridState, memory: PlannerMemory, b: int, action: int) -> None:
    """Store the pose that the action leads to, to detect at the next call whether it was taken."""
    plan, agent = memory.plan[b], grids.state[b].agent
    for i in range(3):
        plan.expected[i] = agent[i]
    if action == FORWARD:
        plan.expected[0] += AHEAD_X[agent[2]]
        plan.expected[1] += AHEAD_Y[agent[2]]
    elif action == LEFT:
        plan.expected[2] = (agent[2] + 3) % 4
    elif action == RIGHT:
        plan.expected[2] = (agent[2] + 1) % 4


@kernel
def _plan(grids: GridState, memory: PlannerMemory, b: int) -> None:
    """Write a route; each try either does so or begins the errand that must be done first."""
    plan = memory.plan[b]
    plan.plans += 1
    # the path of an errand may be blocked too, which begins another errand instead
    for _ in range(8):
        plan.cursor = plan.length = plan.exploring = 0
        end_errand(grids, memory, b)
        clear_goals(memory)
        plan.targets = needed_keys(grids, memory, b)
        outcome = errand_goals(grids, memory, b) if plan.errand else mission_goals(grids, memory, b)
        if outcome == LET_GO:
            _plan_drop(grids, memory, b)
            return
        pose = -1
        if outcome == GOALS:
            pose, _ = search(grids, memory, b, True, True)
        # an errand without a path is given up; with no goal in reach, explore
        if pose < 0 and plan.errand:
            plan.errand = NO_ERRAND
            release_cells(memory, b)
        if pose < 0:
            pose = exploration_pose(grids, memory, b)
        if pose < 0:
            break
        if _write_route(grids, memory, b, pose):
            return
    if plan.length == 0:
        plan.route[0] = DONE
        plan.length = 1


@kernel
def _write_route(grids: GridState, memory: PlannerMemory, b: int, pose: int) -> bool:
    """Write the actions to a pose and its final action; false if an errand was begun instead."""
    plan = memory.plan[b]
    width = grids.cells.shape[2]
    count = 0
    last = pose
    while pose >= 0:  # `order` is free after the search: reuse it for the path, from its end
        memory.poses[count].order = pose
        count += 1
        pose = memory.poses[pose].parent
    for i in range(count - 1, 0, -1):
        pose_now, pose_next = memory.poses[i].order, memory.poses[i - 1].order
        if pose_now // 4 == pose_next // 4:  # same cell: a turn
            _append_action(memory, b, RIGHT if (pose_next - pose_now) % 4 == 1 else LEFT)
            continue
        x, y = pose_next // 4 % width, pose_next // 4 // width
        cell = grids.cells[b, y, x]
        if not ENTERED[cell]:
            if LIFTED[cell]:
                return _begin_errand(grids, memory, b, CLEAR, x, y, i)
            if IS_LOCKED[cell] and not opens(grids.state[b].carried[0], cell):
                return _begin_errand(grids, memory, b, UNLOCK, x, y, i)
            _append_action(memory, b, TOGGLE)
        _append_action(memory, b, FORWARD)
    final_action = memory.poses[last].final_action
    x, y = last // 4 % width + AHEAD_X[last % 4], last // 4 // width + AHEAD_Y[last % 4]
    if final_action == UNLOCK_AHEAD:
        return _begin_errand(grids, memory, b, UNLOCK, x, y, 0)
    if final_action == CLEAR_AHEAD:
        return _begin_errand(grids, memory, b, CLEAR, x, y, 0)
    if final_action != LOOK:
        _append_action(memory, b, final_action)
    return plan.length > 0


@kernel
def _append_action(memory: PlannerMemory, b: int, action: int) -> None:
    plan = memory.plan[b]
    if plan.length < ROUTE:
        plan.route[plan.length] = action
        plan.length += 1


@kernel
def _begin_errand(
    grids: GridState, memory: PlannerMemory, b: int, errand: int, x: int, y: int, count: int
) -> bool:
    """Begin an errand about the object at a cell; reserve that cell and the rest of the path.

    The rest of the path is the first `count` poses in the `order` of `memory.poses`. Returns false.
    """
    plan = memory.plan[b]
    width = grids.cells.shape[2]
    plan.errand = errand
    plan.thing = grids.things[b, y, x]
    release_cells(memory, b)
    memory.cells[b, y, x].reserved = True
    for i in range(count):
        memory.cells[
            b, memory.poses[i].order // 4 // width, memory.poses[i].order // 4 % width
        ].reserved = True
    return False


@kernel
def _plan_drop(grids: GridState, memory: PlannerMemory, b: int) -> None:
    """Write the route to the cheapest place to put down the carried object: distance plus `_drop_penalty`."""
    width = grids.cells.shape[2]
    _, settled = search(grids, memory, b, False, False)
    best, best_cost = -1, FAR
    for i in range(settled):
        pose = memory.poses[i].order
        if memory.poses[pose].cost >= best_cost:  # poses come by rising cost, and no penalty is negative
            break
        x, y = pose // 4 % width + AHEAD_X[pose % 4], pose // 4 // width + AHEAD_Y[pose % 4]
        if memory.cells[b, y, x].seen and grids.cells[b, y, x] == EMPTY:
            cost = memory.poses[pose].cost + _drop_penalty(grids, memory, b, x, y)
            if cost < best_cost:
                best, best_cost = pose, cost
    if best < 0:  # no free cell seen yet: turn, to see more
        _append_action(memory, b, RIGHT)
        return
    memory.poses[best].final_action = DROP
    _write_route(grids, memory, b, best)


@kernel
def _drop_penalty(grids: GridState, memory: PlannerMemory, b: int, x: int, y: int) -> int:
    """Return the penalty, in steps, of dropping on a cell: on the path, by a door, between two obstacles."""
    if memory.cells[b, y, x].reserved:
        return 60
    for side in range(4):
        row, column = y + AHEAD_Y[side], x + AHEAD_X[side]
        if memory.cells[b, row, column].seen and IS_DOOR[grids.cells[b, row, column]]:
            return 30
    # count the runs of free cells among the 8 neighbors: more than one, and dropping may split the free space
    pieces, was_free = 0, memory.cells[b, y - 1, x - 1].seen and ENTERED[grids.cells[b, y - 1, x - 1]]
    for step in range(1, 9):
        index = step % 8
        column = x + (index in (2, 3, 4)) - (index in (0, 6, 7)) + 0
        row = y + (index in (4, 5, 6)) - (index in (0, 1, 2))
        is_free = memory.cells[b, row, column].seen and ENTERED[grids.cells[b, row, column]]
        pieces += is_free and not was_free
        was_free = is_free
    return 12 if pieces > 1 else 0
