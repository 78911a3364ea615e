"""Goal poses of the planner: from its errand or the instruction, or a pose that reveals unseen cells."""

from __future__ import annotations

import numpy as np

from ..cells import COLOR, EMPTY, IS_DOOR, IS_LOCKED, IS_OPEN, LIFTED
from ..dynamics import AHEAD_X, AHEAD_Y, DROP, PICKUP, TOGGLE
from ..kernels import kernel
from ..missions import contains
from ..state import ALONE, GO_TO, NO_VERB, OBJECTS, OPEN, PICK_UP, PUT_NEXT, THEN, Bits, GridState
from .memory import CLEAR, NO_ERRAND, PlannerMemory, faces_frontier, gain, is_seen, release_cells, survey
from .path_search import add_goal, find_key, opens, search

LOOK, UNLOCK_AHEAD, CLEAR_AHEAD = 10, 11, 12
"""Final actions beyond the environment's: only face the cell; unlock the door ahead; clear the cell ahead."""
NOTHING, GOALS, LET_GO = range(3)
"""What a clause or an errand needs next: unknown (explore); reach a goal; put down what is carried."""

_MAX_GAIN = 30
"""Exploration: the value of a view is the number of unseen cells that it shows, capped here."""


@kernel
def needed_keys(grids: GridState, memory: PlannerMemory, b: int) -> Bits:
    """Return the set of keys that fit locked doors seen so far."""
    state = grids.state[b]
    keys = np.uint64(0)
    for door in range(1, OBJECTS):
        code = state.codes[door]
        if code == 0:
            break
        if not IS_LOCKED[code] or not is_seen(grids, memory, b, door):
            continue
        # codes keep the state at generation: check that the door is locked still
        if IS_LOCKED[grids.cells[b, state.where[door, 1], state.where[door, 0]]]:
            for key in range(1, OBJECTS):
                if opens(state.codes[key], code):
                    keys |= np.uint64(1) << np.uint64(key)
    return keys


@kernel
def end_errand(grids: GridState, memory: PlannerMemory, b: int) -> None:
    """End a finished errand: the object was moved off the reserved cells, or the door was unlocked."""
    state, plan = grids.state[b], memory.plan[b]
    if plan.errand == NO_ERRAND:
        return
    x, y = state.where[plan.thing, 0], state.where[plan.thing, 1]
    if plan.errand == CLEAR:
        is_visible = is_seen(grids, memory, b, plan.thing)
        is_over = state.carried[1] != plan.thing and not (is_visible and memory.cells[b, y, x].reserved)
    else:
        is_over = not IS_LOCKED[grids.cells[b, y, x]]
    if is_over:
        plan.errand = NO_ERRAND
        release_cells(memory, b)


@kernel
def errand_goals(grids: GridState, memory: PlannerMemory, b: int) -> int:
    """Add the goals of the errand; returns NOTHING, GOALS or LET_GO."""
    state, plan = grids.state[b], memory.plan[b]
    x, y = state.where[plan.thing, 0], state.where[plan.thing, 1]
    if plan.errand == CLEAR:
        if state.carried[0]:
            return LET_GO
        add_goal(memory, x, y, 0, PICKUP)
        return GOALS
    # UNLOCK: fetch a matching key, which takes empty hands, then toggle the door
    door = grids.cells[b, y, x]
    if opens(state.carried[0], door):
        add_goal(memory, x, y, 0, TOGGLE)
        return GOALS
    if state.carried[0]:
        return LET_GO
    key = find_key(grids, memory, b, COLOR[door])
    if key == 0:
        return NOTHING
    for other_key in range(key, OBJECTS):
        if opens(state.codes[other_key], door) and is_seen(grids, memory, b, other_key):
            add_goal(memory, state.where[other_key, 0], state.where[other_key, 1], 0, PICKUP)
    return GOALS


@kernel
def mission_goals(grids: GridState, memory: PlannerMemory, b: int) -> int:
    """Add the goals of the clauses that may be fulfilled now; returns the best of their outcomes."""
    state = grids.state[b]
    first = 0 if state.order == ALONE or state.order == THEN else 1
    half = first
    if state.order != ALONE and _finished(grids, b, first):
        half = 1 - first
    hands_full = False  # what is carried is to be placed by a PUT_NEXT clause: no other clause may pick up
    for c in range(2 * half, 2 * half + 2):
        is_placing = state.clauses[c, 0] == PUT_NEXT and not state.done[c]
        hands_full = hands_full or (is_placing and contains(state.sets[c, 0], state.carried[1]))
    outcome = NOTHING
    for c in range(2 * half, 2 * half + 2):
        if state.clauses[c, 0] != NO_VERB and not state.done[c]:
            outcome = max(outcome, _clause_goals(grids, memory, b, c, hands_full))
    return outcome


@kernel
def _finished(grids: GridState, b: int, half: int) -> bool:
    state = grids.state[b]
    for c in range(2 * half, 2 * half + 2):
        if state.clauses[c, 0] != NO_VERB and not state.done[c]:
            return False
    return True


@kernel
def _clause_goals(grids: GridState, memory: PlannerMemory, b: int, c: int, hands_full: bool) -> int:
    state, plan = grids.state[b], memory.plan[b]
    verb, objects = state.clauses[c, 0], state.sets[c, 0]
    held = state.carried[1]
    # record what is looked for, even where no goal follows: seeing one of these triggers a new plan
    if verb == PUT_NEXT and contains(objects, held):
        plan.targets |= state.sets[c, 1]
        return _beside_goals(grids, memory, b, state.sets[c, 1])
    plan.targets |= objects
    if verb == GO_TO and contains(objects, held):
        return LET_GO
    if hands_full and verb in (PICK_UP, PUT_NEXT):
        return NOTHING
    if verb == PICK_UP and contains(objects, held):  # picked up before the clause was evaluated
        return LET_GO
    outcome = NOTHING
    for thing in range(1, OBJECTS):
        if not contains(objects, thing) or not is_seen(grids, memory, b, thing):
            continue
        x, y = state.where[thing, 0], state.where[thing, 1]
        outcome = GOALS
        if verb == GO_TO:
            add_goal(memory, x, y, 0, LOOK)
        elif verb == OPEN:
            cell = grids.cells[b, y, x]
            locked = IS_LOCKED[cell] and not opens(state.carried[0], cell)
            # an open door is closed first, so TOGGLE costs one step more
            if not locked:
                add_goal(memory, x, y, 1 if IS_OPEN[cell] else 0, TOGGLE)
            elif find_key(grids, memory, b, COLOR[cell]):
                add_goal(memory, x, y, 30, UNLOCK_AHEAD)  # 30: about the steps to fetch the key
            else:
                outcome = NOTHING
        else:
            add_goal(memory, x, y, 0, PICKUP)
    if outcome == GOALS and held and verb in (PICK_UP, PUT_NEXT):
        return LET_GO
    return outcome


@kernel
def _beside_goals(grids: GridState, memory: PlannerMemory, b: int, objects: Bits) -> int:
    """Add the cells next to the objects as goals for DROP; an occupied cell costs 12 more, to clear it."""
    state = grids.state[b]
    outcome = NOTHING
    for thing in range(1, OBJECTS):
        if not contains(objects, thing) or not is_seen(grids, memory, b, thing):
            continue
        for side in range(4):
            x, y = state.where[thing, 0] + AHEAD_X[side], state.where[thing, 1] + AHEAD_Y[side]
            if (
                not (0 <= y < memory.cells.shape[1] and 0 <= x < memory.cells.shape[2])
                or not memory.cells[b, y, x].seen
            ):
                continue
            if grids.cells[b, y, x] == EMPTY:
                add_goal(memory, x, y, 0, DROP)
                outcome = GOALS
            elif LIFTED[grids.cells[b, y, x]]:
                add_goal(memory, x, y, 12, CLEAR_AHEAD)
                outcome = GOALS
    return outcome


@kernel
def exploration_pose(grids: GridState, memory: PlannerMemory, b: int) -> int:
    """Return the pose with the best ratio of unseen cells revealed to cost, -1 if nothing is left to see."""
    plan = memory.plan[b]
    best = -1
    _, settled = search(grids, memory, b, True, False)
    # where only doors are looked for, survey walls first; then, if no view shows any, all unseen cells
    for survey_all in range(2):
        doors = _only_doors(grids, b, plan.targets)
        if survey_all and not doors:
            break
        survey(grids, memory, b, doors and not survey_all)
        if memory.table[-1, -1]:  # the total: any frontier at all
            best = _best_view(grids, memory, b, settled)
        if best >= 0:
            break
    if best >= 0:
        plan.exploring = 1
        plan.aim = best
        memory.poses[best].final_action = LOOK
    return best


@kernel
def _best_view(grids: GridState, memory: PlannerMemory, b: int, settled: int) -> int:
    """Return the pose that maximizes unseen cells shown over cost, -1 if none shows any."""
    best, best_rate = -1, 0.0
    for i in range(settled):
        pose = memory.poses[i].order
        cost = memory.poses[pose].cost + 0.5  # not 0 at the current pose
        # poses come by rising cost: even the maximal gain cannot beat the best rate any more
        if best_rate * cost >= _MAX_GAIN:
            break
        shown = min(gain(grids, memory, b, pose), _MAX_GAIN) if faces_frontier(memory, pose) else 0
        if shown > best_rate * cost:
            best, best_rate = pose, shown / cost
    return _better_turn(grids, memory, b, best)


@kernel
def _better_turn(grids: GridState, memory: PlannerMemory, b: int, aim: int) -> int:
    """Return the aim; if it is a half turn in place, the quarter turn on the way that reveals more."""
    agent = grids.state[b].agent
    first_pose = (agent[1] * grids.cells.shape[2] + agent[0]) * 4
    if aim != first_pose + (agent[2] + 2) % 4:
        return aim
    left, right = first_pose + (agent[2] + 3) % 4, first_pose + (agent[2] + 1) % 4
    left_gain, right_gain = gain(grids, memory, b, left), gain(grids, memory, b, right)
    if left_gain == 0 and right_gain == 0:
        return aim
    return left if left_gain >= right_gain else right


@kernel
def _only_doors(grids: GridState, b: int, targets: int) -> bool:
    """Whether the targets are doors only (and not empty)."""
    for thing in range(1, OBJECTS):
        if contains(targets, thing) and not IS_DOOR[grids.state[b].codes[thing]]:
            return False
    return targets != np.uint64(0)
