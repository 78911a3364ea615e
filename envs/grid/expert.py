"""An expert for every level, in kernels: it knows what it has seen, and can be asked at any step.

It goes for the nearest thing that the instruction still wants, explores while it knows of none, clears what
lies in its way and fetches keys. It keeps one route and one errand; everything else follows from the world,
so it can take over from whoever acted before.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .minds import CLEAR, NO_ERRAND, ROUTE, UNLOCK, Minds, gain, look_around, survey
from .missions import among
from .routes import FAR, add_goal, in_sight, key_seen, no_goals, opens, spread
from .rules import AHEAD_X, AHEAD_Y, DONE, DROP, ENTERED, FORWARD, LEFT, LIFTED, PICKUP, RIGHT, TOGGLE
from .worlds import (
    ALONE,
    EMPTY,
    GO_TO,
    LOOKS,
    NO_VERB,
    OBJECTS,
    OPEN,
    PICK_UP,
    PUT_NEXT,
    THEN,
    TYPES,
    VIEW,
    Bits,
    Worlds,
)

_KIND = LOOKS[:, 0].copy()
_COLOR = LOOKS[:, 1].copy()
_STATE = LOOKS[:, 2].copy()
_DOOR = TYPES.index("door")

_LOOK, _UNLOCK, _CLEAR = 10, 11, 12
"""Deeds that are no actions: facing it is all; unlock what is ahead first; carry away what is ahead first."""
_NOTHING, _GOALS, _DROP = range(3)
"""What a clause or an errand asks for next: it cannot say; to get to a goal; to put down what is carried."""

_PRICE, _MOST = 2, 24
"""Exploring: a step costs as much as this many unseen cells are worth, of which so many count."""


@njit(cache=True, nogil=True)
def advise(worlds: Worlds, minds: Minds, b: int) -> int:
    """Return the action to take now in world `b`; DONE when no way is known. Asking again changes nothing."""
    state, mind = worlds.state[b], minds.mind[b]
    if mind.steps == state.steps and mind.length and _same(mind.pose, state.agent):
        return mind.route[mind.at]
    view, lit = np.empty((VIEW, VIEW), np.uint8), np.empty((VIEW, VIEW), np.bool_)
    found = look_around(worlds, minds, b, view, lit)
    on_route = mind.steps + 1 == state.steps and _same(mind.expected, state.agent)
    if on_route:
        mind.at += 1
    surprised = found & mind.wanted != np.uint64(0)
    anew = not on_route or surprised or mind.at >= mind.length or _hindered(worlds, b, mind.route[mind.at])
    if anew or (mind.exploring and gain(worlds, minds, b, mind.aim, view, lit) == 0):
        _plan(worlds, minds, b, view, lit)
    action = mind.route[mind.at]
    mind.steps = state.steps
    mind.pose[:] = state.agent
    _expect(worlds, minds, b, action)
    return action


@njit(cache=True, nogil=True)
def _same(pose: np.ndarray, other: np.ndarray) -> bool:
    return pose[0] == other[0] and pose[1] == other[1] and pose[2] == other[2]


@njit(cache=True, nogil=True)
def _hindered(worlds: Worlds, b: int, action: int) -> bool:
    agent = worlds.state[b].agent
    ahead = worlds.cells[b, agent[1] + AHEAD_Y[agent[2]], agent[0] + AHEAD_X[agent[2]]]
    return action == FORWARD and not ENTERED[ahead]


@njit(cache=True, nogil=True)
def _expect(worlds: Worlds, minds: Minds, b: int, action: int) -> None:
    mind, agent = minds.mind[b], worlds.state[b].agent
    mind.expected[:] = agent
    if action == FORWARD:
        mind.expected[0] += AHEAD_X[agent[2]]
        mind.expected[1] += AHEAD_Y[agent[2]]
    elif action == LEFT:
        mind.expected[2] = (agent[2] + 3) % 4
    elif action == RIGHT:
        mind.expected[2] = (agent[2] + 1) % 4


@njit(cache=True, nogil=True)
def _plan(worlds: Worlds, minds: Minds, b: int, view: np.ndarray, lit: np.ndarray) -> None:
    """Write a route; each try either does so or takes on the errand that stands in its way."""
    mind = minds.mind[b]
    mind.plans += 1
    for _ in range(8):
        mind.at = mind.length = mind.exploring = 0
        _end_errand(worlds, minds, b)
        no_goals(minds)
        mind.wanted = _keys_wanted(worlds, minds, b)
        wish = _errand_goals(worlds, minds, b) if mind.errand else _mission_goals(worlds, minds, b)
        if wish == _DROP:
            _plan_drop(worlds, minds, b)
            return
        pose = -1
        if wish == _GOALS:
            pose, _ = spread(worlds, minds, b, True, True)
        if pose < 0 and mind.errand:
            mind.errand = NO_ERRAND
            minds.kept[b] = False
        if pose < 0:
            pose = _explored(worlds, minds, b, view, lit)
        if pose < 0:
            break
        if _walk(worlds, minds, b, pose):
            return
    if mind.length == 0:
        mind.route[0] = DONE
        mind.length = 1


@njit(cache=True, nogil=True)
def _keys_wanted(worlds: Worlds, minds: Minds, b: int) -> Bits:
    """Return the keys of locked doors that have been seen."""
    state = worlds.state[b]
    keys = np.uint64(0)
    for door in range(1, OBJECTS):
        look = state.looks[door]
        if look == 0:
            break
        if _KIND[look] != _DOOR or _STATE[look] != 2 or not in_sight(worlds, minds, b, door):
            continue
        if _STATE[worlds.cells[b, state.where[door, 1], state.where[door, 0]]] == 2:
            for key in range(1, OBJECTS):
                if opens(state.looks[key], look):
                    keys |= np.uint64(1) << np.uint64(key)
    return keys


@njit(cache=True, nogil=True)
def _end_errand(worlds: Worlds, minds: Minds, b: int) -> None:
    """Drop an errand that is over: the object lies elsewhere, the door is unlocked."""
    state, mind = worlds.state[b], minds.mind[b]
    if mind.errand == NO_ERRAND:
        return
    x, y = state.where[mind.thing, 0], state.where[mind.thing, 1]
    if mind.errand == CLEAR:
        lies = in_sight(worlds, minds, b, mind.thing)
        over = state.carried[1] != mind.thing and not (lies and minds.kept[b, y, x])
    else:
        over = _STATE[worlds.cells[b, y, x]] != 2
    if over:
        mind.errand = NO_ERRAND
        minds.kept[b] = False


@njit(cache=True, nogil=True)
def _errand_goals(worlds: Worlds, minds: Minds, b: int) -> int:
    state, mind = worlds.state[b], minds.mind[b]
    x, y = state.where[mind.thing, 0], state.where[mind.thing, 1]
    if mind.errand == CLEAR:
        if state.carried[0]:
            return _DROP
        add_goal(minds, x, y, 0, PICKUP)
        return _GOALS
    door = worlds.cells[b, y, x]
    if opens(state.carried[0], door):
        add_goal(minds, x, y, 0, TOGGLE)
        return _GOALS
    if state.carried[0]:
        return _DROP
    key = key_seen(worlds, minds, b, _COLOR[door])
    if key == 0:
        return _NOTHING
    for other in range(key, OBJECTS):
        if opens(state.looks[other], door) and in_sight(worlds, minds, b, other):
            add_goal(minds, state.where[other, 0], state.where[other, 1], 0, PICKUP)
    return _GOALS


@njit(cache=True, nogil=True)
def _mission_goals(worlds: Worlds, minds: Minds, b: int) -> int:
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
    wish = _NOTHING
    for c in range(2 * half, 2 * half + 2):
        if state.clauses[c, 0] != NO_VERB and not state.done[c]:
            wish = max(wish, _clause_goals(worlds, minds, b, c, busy))
    return wish


@njit(cache=True, nogil=True)
def _finished(worlds: Worlds, b: int, half: int) -> bool:
    state = worlds.state[b]
    for c in range(2 * half, 2 * half + 2):
        if state.clauses[c, 0] != NO_VERB and not state.done[c]:
            return False
    return True


@njit(cache=True, nogil=True)
def _clause_goals(worlds: Worlds, minds: Minds, b: int, c: int, busy: bool) -> int:
    state, mind = worlds.state[b], minds.mind[b]
    verb, objects = state.clauses[c, 0], state.sets[c, 0]
    held = state.carried[1]
    if verb == PUT_NEXT and among(objects, held):
        mind.wanted |= state.sets[c, 1]
        return _beside_goals(worlds, minds, b, state.sets[c, 1])
    mind.wanted |= objects
    if verb == GO_TO and among(objects, held):
        return _DROP
    if busy and verb in (PICK_UP, PUT_NEXT):
        return _NOTHING
    if verb == PICK_UP and among(objects, held):  # it was picked up before that counted
        return _DROP
    wish = _NOTHING
    for thing in range(1, OBJECTS):
        if not among(objects, thing) or not in_sight(worlds, minds, b, thing):
            continue
        x, y = state.where[thing, 0], state.where[thing, 1]
        wish = _GOALS
        if verb == GO_TO:
            add_goal(minds, x, y, 0, _LOOK)
        elif verb == OPEN:
            cell = worlds.cells[b, y, x]
            locked = _STATE[cell] == 2 and not opens(state.carried[0], cell)
            if not locked:
                add_goal(minds, x, y, 1 if _STATE[cell] == 0 else 0, TOGGLE)
            elif key_seen(worlds, minds, b, _COLOR[cell]):
                add_goal(minds, x, y, 30, _UNLOCK)
            else:
                wish = _NOTHING
        else:
            add_goal(minds, x, y, 0, PICKUP)
    if wish == _GOALS and held and verb in (PICK_UP, PUT_NEXT):
        return _DROP
    return wish


@njit(cache=True, nogil=True)
def _beside_goals(worlds: Worlds, minds: Minds, b: int, objects: Bits) -> int:
    """Set the empty cells next to some objects as goals to drop on; cells that must be cleared cost more."""
    state = worlds.state[b]
    wish = _NOTHING
    for thing in range(1, OBJECTS):
        if not among(objects, thing) or not in_sight(worlds, minds, b, thing):
            continue
        for side in range(4):
            x, y = state.where[thing, 0] + AHEAD_X[side], state.where[thing, 1] + AHEAD_Y[side]
            if not (0 <= y < minds.seen.shape[1] and 0 <= x < minds.seen.shape[2]) or not minds.seen[b, y, x]:
                continue
            if worlds.cells[b, y, x] == EMPTY:
                add_goal(minds, x, y, 0, DROP)
                wish = _GOALS
            elif LIFTED[worlds.cells[b, y, x]]:
                add_goal(minds, x, y, 12, _CLEAR)
                wish = _GOALS
    return wish


@njit(cache=True, nogil=True)
def _explored(worlds: Worlds, minds: Minds, b: int, view: np.ndarray, lit: np.ndarray) -> int:
    """Return the pose from which the most is seen for the least walking, -1 if nothing is left to see."""
    mind = minds.mind[b]
    survey(worlds, minds, b)
    if minds.table[-1, -1] == 0:
        return -1
    _, settled = spread(worlds, minds, b, True, False)
    best, best_score = -1, FAR
    for i in range(settled):
        pose = minds.order[i]
        cost = minds.cost[pose]
        if cost * _PRICE - _MOST >= best_score:
            break
        seen = gain(worlds, minds, b, pose, view, lit)
        if seen and cost * _PRICE - min(seen, _MOST) < best_score:
            best, best_score = pose, cost * _PRICE - min(seen, _MOST)
    if best >= 0:
        mind.exploring = 1
        mind.aim = best
        minds.deed[best] = _LOOK
    return best


@njit(cache=True, nogil=True)
def _walk(worlds: Worlds, minds: Minds, b: int, pose: int) -> bool:
    """Write the actions to a pose and its deed; false if an errand was taken on instead."""
    mind = minds.mind[b]
    width = worlds.cells.shape[2]
    count = 0
    last = pose
    while pose >= 0:  # order is free again: it takes the poses of the way, from its end
        minds.order[count] = pose
        count += 1
        pose = minds.before[pose]
    for i in range(count - 1, 0, -1):
        here, after = minds.order[i], minds.order[i - 1]
        if here // 4 == after // 4:
            _write(minds, b, RIGHT if (after - here) % 4 == 1 else LEFT)
            continue
        x, y = after // 4 % width, after // 4 // width
        cell = worlds.cells[b, y, x]
        if not ENTERED[cell]:
            if LIFTED[cell]:
                return _take_on(worlds, minds, b, CLEAR, x, y, i)
            if _STATE[cell] == 2 and not opens(worlds.state[b].carried[0], cell):
                return _take_on(worlds, minds, b, UNLOCK, x, y, i)
            _write(minds, b, TOGGLE)
        _write(minds, b, FORWARD)
    deed = minds.deed[last]
    x, y = last // 4 % width + AHEAD_X[last % 4], last // 4 // width + AHEAD_Y[last % 4]
    if deed == _UNLOCK:
        return _take_on(worlds, minds, b, UNLOCK, x, y, 0)
    if deed == _CLEAR:
        return _take_on(worlds, minds, b, CLEAR, x, y, 0)
    if deed != _LOOK:
        _write(minds, b, deed)
    return mind.length > 0


@njit(cache=True, nogil=True)
def _write(minds: Minds, b: int, action: int) -> None:
    mind = minds.mind[b]
    if mind.length < ROUTE:
        mind.route[mind.length] = action
        mind.length += 1


@njit(cache=True, nogil=True)
def _take_on(worlds: Worlds, minds: Minds, b: int, errand: int, x: int, y: int, count: int) -> bool:
    """Begin an errand about what lies at a cell; nothing may be put down there or on the way beyond.

    The way beyond is the first `count` poses of `minds.order`.
    """
    mind = minds.mind[b]
    width = worlds.cells.shape[2]
    mind.errand = errand
    mind.thing = worlds.things[b, y, x]
    minds.kept[b] = False
    minds.kept[b, y, x] = True
    for i in range(count):
        minds.kept[b, minds.order[i] // 4 // width, minds.order[i] // 4 % width] = True
    return False


@njit(cache=True, nogil=True)
def _plan_drop(worlds: Worlds, minds: Minds, b: int) -> None:
    """Write the way to the nearest cell where what is carried will be in nobody's way, and put it there."""
    width = worlds.cells.shape[2]
    _, settled = spread(worlds, minds, b, False, False)
    best, best_cost = -1, FAR
    for i in range(settled):
        pose = minds.order[i]
        if minds.cost[pose] >= best_cost:
            break
        x, y = pose // 4 % width + AHEAD_X[pose % 4], pose // 4 // width + AHEAD_Y[pose % 4]
        if minds.seen[b, y, x] and worlds.cells[b, y, x] == EMPTY:
            cost = minds.cost[pose] + _nuisance(worlds, minds, b, x, y)
            if cost < best_cost:
                best, best_cost = pose, cost
    if best < 0:
        _write(minds, b, RIGHT)
        return
    minds.deed[best] = DROP
    _walk(worlds, minds, b, best)


@njit(cache=True, nogil=True)
def _nuisance(worlds: Worlds, minds: Minds, b: int, x: int, y: int) -> int:
    """Return how bad it is to put something on a cell: on the way, by a door, between two obstacles."""
    if minds.kept[b, y, x]:
        return 60
    for side in range(4):
        if _KIND[worlds.cells[b, y + AHEAD_Y[side], x + AHEAD_X[side]]] == _DOOR:
            return 30
    # around the cell, free ground must not fall into two pieces
    pieces, free = 0, ENTERED[worlds.cells[b, y - 1, x - 1]]
    for at in range(1, 9):
        turn = at % 8
        column = x + (turn in (2, 3, 4)) - (turn in (0, 6, 7)) + 0
        row = y + (turn in (4, 5, 6)) - (turn in (0, 1, 2))
        now = ENTERED[worlds.cells[b, row, column]]
        pieces += now and not free
        free = now
    return 12 if pieces > 1 else 0
