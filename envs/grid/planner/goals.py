"""What an expert wants next: the goals of its errand or of the instruction, or a place to look from."""

from __future__ import annotations

import numpy as np

from ..cells import COLOR, EMPTY, IS_DOOR, IS_LOCKED, IS_OPEN, LIFTED
from ..dynamics import AHEAD_X, AHEAD_Y, DROP, PICKUP, TOGGLE
from ..kernels import kernel
from ..missions import among
from ..state import ALONE, GO_TO, NO_VERB, OBJECTS, OPEN, PICK_UP, PUT_NEXT, THEN, Bits, GridState
from .memory import CLEAR, NO_ERRAND, PlannerMemory, end_keeping, gain, in_sight, promising, survey
from .path_search import add_goal, key_seen, opens, spread

LOOK, UNLOCK_AHEAD, CLEAR_AHEAD = 10, 11, 12
"""Deeds that are no actions: facing it is all; unlock what is ahead first; carry away what is ahead first."""
NOTHING, GOALS, LET_GO = range(3)
"""What a clause or an errand asks for next: it cannot say; to get to a goal; to put down what is carried."""

_MOST = 30
"""Exploring: a view is worth the unseen cells that it shows, of which so many count."""


@kernel
def keys_wanted(worlds: GridState, minds: PlannerMemory, b: int) -> Bits:
    """Return the keys of locked doors that have been seen."""
    state = worlds.state[b]
    keys = np.uint64(0)
    for door in range(1, OBJECTS):
        look = state.looks[door]
        if look == 0:
            break
        if not IS_LOCKED[look] or not in_sight(worlds, minds, b, door):
            continue
        if IS_LOCKED[worlds.cells[b, state.where[door, 1], state.where[door, 0]]]:
            for key in range(1, OBJECTS):
                if opens(state.looks[key], look):
                    keys |= np.uint64(1) << np.uint64(key)
    return keys


@kernel
def end_errand(worlds: GridState, minds: PlannerMemory, b: int) -> None:
    """Drop an errand that is over: the object lies elsewhere, the door is unlocked."""
    state, mind = worlds.state[b], minds.mind[b]
    if mind.errand == NO_ERRAND:
        return
    x, y = state.where[mind.thing, 0], state.where[mind.thing, 1]
    if mind.errand == CLEAR:
        lies = in_sight(worlds, minds, b, mind.thing)
        over = state.carried[1] != mind.thing and not (lies and minds.cells[b, y, x].kept)
    else:
        over = not IS_LOCKED[worlds.cells[b, y, x]]
    if over:
        mind.errand = NO_ERRAND
        end_keeping(minds, b)


@kernel
def errand_goals(worlds: GridState, minds: PlannerMemory, b: int) -> int:
    """Set the goals of the errand; returns what is wished for."""
    state, mind = worlds.state[b], minds.mind[b]
    x, y = state.where[mind.thing, 0], state.where[mind.thing, 1]
    if mind.errand == CLEAR:
        if state.carried[0]:
            return LET_GO
        add_goal(minds, x, y, 0, PICKUP)
        return GOALS
    door = worlds.cells[b, y, x]
    if opens(state.carried[0], door):
        add_goal(minds, x, y, 0, TOGGLE)
        return GOALS
    if state.carried[0]:
        return LET_GO
    key = key_seen(worlds, minds, b, COLOR[door])
    if key == 0:
        return NOTHING
    for other in range(key, OBJECTS):
        if opens(state.looks[other], door) and in_sight(worlds, minds, b, other):
            add_goal(minds, state.where[other, 0], state.where[other, 1], 0, PICKUP)
    return GOALS


@kernel
def mission_goals(worlds: GridState, minds: PlannerMemory, b: int) -> int:
    """Set the goals of the clauses that may be done now."""
    state = worlds.state[b]
    first = 0 if state.order == ALONE or state.order == THEN else 1
    half = first
    if state.order != ALONE and _finished(worlds, b, first):
        half = 1 - first
    busy = False  # hands that hold what one clause wants put somewhere are not free for another
    for c in range(2 * half, 2 * half + 2):
        puts = state.clauses[c, 0] == PUT_NEXT and not state.done[c]
        busy = busy or (puts and among(state.sets[c, 0], state.carried[1]))
    wish = NOTHING
    for c in range(2 * half, 2 * half + 2):
        if state.clauses[c, 0] != NO_VERB and not state.done[c]:
            wish = max(wish, _clause_goals(worlds, minds, b, c, busy))
    return wish


@kernel
def _finished(worlds: GridState, b: int, half: int) -> bool:
    state = worlds.state[b]
    for c in range(2 * half, 2 * half + 2):
        if state.clauses[c, 0] != NO_VERB and not state.done[c]:
            return False
    return True


@kernel
def _clause_goals(worlds: GridState, minds: PlannerMemory, b: int, c: int, busy: bool) -> int:
    state, mind = worlds.state[b], minds.mind[b]
    verb, objects = state.clauses[c, 0], state.sets[c, 0]
    held = state.carried[1]
    if verb == PUT_NEXT and among(objects, held):
        mind.wanted |= state.sets[c, 1]
        return _beside_goals(worlds, minds, b, state.sets[c, 1])
    mind.wanted |= objects
    if verb == GO_TO and among(objects, held):
        return LET_GO
    if busy and verb in (PICK_UP, PUT_NEXT):
        return NOTHING
    if verb == PICK_UP and among(objects, held):  # it was picked up before that counted
        return LET_GO
    wish = NOTHING
    for thing in range(1, OBJECTS):
        if not among(objects, thing) or not in_sight(worlds, minds, b, thing):
            continue
        x, y = state.where[thing, 0], state.where[thing, 1]
        wish = GOALS
        if verb == GO_TO:
            add_goal(minds, x, y, 0, LOOK)
        elif verb == OPEN:
            cell = worlds.cells[b, y, x]
            locked = IS_LOCKED[cell] and not opens(state.carried[0], cell)
            if not locked:
                add_goal(minds, x, y, 1 if IS_OPEN[cell] else 0, TOGGLE)
            elif key_seen(worlds, minds, b, COLOR[cell]):
                add_goal(minds, x, y, 30, UNLOCK_AHEAD)
            else:
                wish = NOTHING
        else:
            add_goal(minds, x, y, 0, PICKUP)
    if wish == GOALS and held and verb in (PICK_UP, PUT_NEXT):
        return LET_GO
    return wish


@kernel
def _beside_goals(worlds: GridState, minds: PlannerMemory, b: int, objects: Bits) -> int:
    """Set the empty cells next to some objects as goals to drop on; cells that must be cleared cost more."""
    state = worlds.state[b]
    wish = NOTHING
    for thing in range(1, OBJECTS):
        if not among(objects, thing) or not in_sight(worlds, minds, b, thing):
            continue
        for side in range(4):
            x, y = state.where[thing, 0] + AHEAD_X[side], state.where[thing, 1] + AHEAD_Y[side]
            if (
                not (0 <= y < minds.cells.shape[1] and 0 <= x < minds.cells.shape[2])
                or not minds.cells[b, y, x].seen
            ):
                continue
            if worlds.cells[b, y, x] == EMPTY:
                add_goal(minds, x, y, 0, DROP)
                wish = GOALS
            elif LIFTED[worlds.cells[b, y, x]]:
                add_goal(minds, x, y, 12, CLEAR_AHEAD)
                wish = GOALS
    return wish


@kernel
def explored(worlds: GridState, minds: PlannerMemory, b: int) -> int:
    """Return the pose from which the most is seen for the least walking, -1 if nothing is left to see."""
    mind = minds.mind[b]
    best = -1
    _, settled = spread(worlds, minds, b, True, False)
    for everything in range(2):
        doors = _only_doors(worlds, b, mind.wanted)
        if everything and not doors:
            break
        survey(worlds, minds, b, doors and not everything)
        if minds.table[-1, -1]:
            best = _best_view(worlds, minds, b, settled)
        if best >= 0:
            break
    if best >= 0:
        mind.exploring = 1
        mind.aim = best
        minds.poses[best].deed = LOOK
    return best


@kernel
def _best_view(worlds: GridState, minds: PlannerMemory, b: int, settled: int) -> int:
    """Return the pose that shows the most unseen cells for each step to it, -1 if none shows any."""
    best, best_rate = -1, 0.0
    for i in range(settled):
        pose = minds.poses[i].order
        cost = minds.poses[pose].cost + 0.5
        if best_rate * cost >= _MOST:
            break
        seen = min(gain(worlds, minds, b, pose), _MOST) if promising(minds, pose) else 0
        if seen > best_rate * cost:
            best, best_rate = pose, seen / cost
    return _way_round(worlds, minds, b, best)


@kernel
def _way_round(worlds: GridState, minds: PlannerMemory, b: int, aim: int) -> int:
    """Return the aim; where it is to turn right round, the side to turn over that shows more."""
    agent = worlds.state[b].agent
    here = (agent[1] * worlds.cells.shape[2] + agent[0]) * 4
    if aim != here + (agent[2] + 2) % 4:
        return aim
    left, right = here + (agent[2] + 3) % 4, here + (agent[2] + 1) % 4
    of_left, of_right = gain(worlds, minds, b, left), gain(worlds, minds, b, right)
    if of_left == 0 and of_right == 0:
        return aim
    return left if of_left >= of_right else right


@kernel
def _only_doors(worlds: GridState, b: int, wanted: int) -> bool:
    """Whether all that is wanted are doors."""
    for thing in range(1, OBJECTS):
        if among(wanted, thing) and not IS_DOOR[worlds.state[b].looks[thing]]:
            return False
    return wanted != np.uint64(0)
