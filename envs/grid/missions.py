"""What an instruction means: which objects it speaks of, and when each clause is fulfilled.

The rules are those of minigrid 3.2.0, bit for bit, with their oddities: positions are looked up at the start
and at every drop only, and a clause does not know what was carried before it was judged for the first time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .cells import COLOR, IS_OPEN, KIND
from .dynamics import AHEAD_X, AHEAD_Y, DROP, PICKUP, TOGGLE
from .kernels import inlined, kernel
from .state import (
    ALONE,
    ANY,
    BEHIND,
    GO_TO,
    IN_FRONT,
    NO_VERB,
    NOWHERE,
    OBJECTS,
    ON_LEFT,
    ON_RIGHT,
    OPEN,
    PICK_UP,
    PUT_NEXT,
    THEN,
    Bits,
    GridState,
)

_ONE = np.uint64(1)
_NOBODY = np.uint64(0)


@kernel
def begin(worlds: GridState, b: int) -> None:
    """Find what the instruction of world `b` speaks of, as things stand; nothing is done yet."""
    for c in range(4):
        worlds.state[b].done[c] = False
        worlds.state[b].held[c] = 0
        for d in range(2):
            clause = worlds.state[b].clauses[c]
            kind, color, place = clause[1 + 3 * d], clause[2 + 3 * d], clause[3 + 3 * d]
            worlds.state[b].sets[c, d] = described(worlds, b, kind, color, place) if kind else _NOBODY
    _look_up(worlds, b)


@inlined
def _look_up(worlds: GridState, b: int) -> None:
    """Note where everything is; in loops, since numba compiles an array's copy for a whole second."""
    for thing in range(OBJECTS):
        worlds.state[b].spots[thing, 0] = worlds.state[b].where[thing, 0]
        worlds.state[b].spots[thing, 1] = worlds.state[b].where[thing, 1]


@kernel
def described(worlds: GridState, b: int, kind: int, color: int, place: int) -> Bits:
    """Return the set of objects of this kind and colour; a place is as the agent sees it, in its own room."""
    found = _NOBODY
    for thing in range(1, OBJECTS):
        look = worlds.state[b].looks[thing]
        if look == 0:
            break
        if KIND[look] != kind or (color != ANY and COLOR[look] != color):
            continue
        if worlds.state[b].where[thing, 0] != NOWHERE and (place == 0 or _stands(worlds, b, thing, place)):
            found |= _ONE << np.uint64(thing)
    return found


@kernel
def _stands(worlds: GridState, b: int, thing: int, place: int) -> bool:
    side = worlds.state[b].rooms[0]
    x, y, direction = worlds.state[b].agent[0], worlds.state[b].agent[1], worlds.state[b].agent[2]
    left, top = x // (side - 1) * (side - 1), y // (side - 1) * (side - 1)
    at_x, at_y = np.int64(worlds.state[b].where[thing, 0]), np.int64(worlds.state[b].where[thing, 1])
    if not (left <= at_x < left + side and top <= at_y < top + side):
        return False
    ahead_x, ahead_y = AHEAD_X[direction], AHEAD_Y[direction]
    ahead = (at_x - x) * ahead_x + (at_y - y) * ahead_y
    right = (at_y - y) * ahead_x - (at_x - x) * ahead_y
    if place == ON_LEFT:
        return right < 0
    if place == ON_RIGHT:
        return right > 0
    if place == IN_FRONT:
        return ahead > 0
    return place == BEHIND and ahead < 0


@inlined
def judge(worlds: GridState, b: int, action: int) -> bool:
    """Look at world `b` after an action; true when its instruction is fulfilled."""
    if action == DROP:
        _look_up(worlds, b)
    first = 0 if worlds.state[b].order in (ALONE, THEN) else 1
    if not _judge_half(worlds, b, first, action):
        return False
    return worlds.state[b].order == ALONE or _judge_half(worlds, b, 1 - first, action)


@inlined
def _judge_half(worlds: GridState, b: int, half: int, action: int) -> bool:
    finished = True
    for c in range(2 * half, 2 * half + 2):
        if worlds.state[b].clauses[c, 0] != NO_VERB and not worlds.state[b].done[c]:
            worlds.state[b].done[c] = _judge_clause(worlds, b, c, action)
            finished = finished and worlds.state[b].done[c]
    return finished


@inlined
def _judge_clause(worlds: GridState, b: int, c: int, action: int) -> bool:
    verb = worlds.state[b].clauses[c, 0]
    before = worlds.state[b].held[c]
    worlds.state[b].held[c] = worlds.state[b].carried[1]
    direction = worlds.state[b].agent[2]
    x, y = worlds.state[b].agent[0] + AHEAD_X[direction], worlds.state[b].agent[1] + AHEAD_Y[direction]
    if verb == GO_TO:
        return _any_spot(worlds, b, worlds.state[b].sets[c, 0], x, y, 0)
    if verb == PICK_UP:
        return (
            action == PICKUP and before == 0 and among(worlds.state[b].sets[c, 0], worlds.state[b].carried[1])
        )
    if verb == OPEN:
        opened = action == TOGGLE and IS_OPEN[worlds.cells[b, y, x]]
        return opened and among(worlds.state[b].sets[c, 0], worlds.things[b, y, x])
    if verb == PUT_NEXT and action == DROP and among(worlds.state[b].sets[c, 0], before):
        x, y = np.int64(worlds.state[b].where[before, 0]), np.int64(worlds.state[b].where[before, 1])
        return _any_spot(worlds, b, worlds.state[b].sets[c, 1], x, y, 1)
    return False


@inlined
def among(objects: Bits, thing: int) -> bool:
    """Whether an object is in a set; 0, nothing, is in none."""
    return thing != 0 and ((objects >> np.uint64(thing)) & _ONE) != _NOBODY


@inlined
def _any_spot(worlds: GridState, b: int, objects: Bits, x: Any, y: Any, distance: int) -> bool:
    """Whether one of the objects was last seen so many cells from here, by the steps of a rook."""
    thing = 0
    while objects != _NOBODY:
        if objects & _ONE:
            at_x, at_y = np.int64(worlds.state[b].spots[thing, 0]), np.int64(worlds.state[b].spots[thing, 1])
            if at_x != NOWHERE and abs(at_x - x) + abs(at_y - y) == distance:
                return True
        objects >>= _ONE
        thing += 1
    return False
