"""Semantics of instructions: the objects that a description matches, and when each clause is fulfilled.

Bit for bit as minigrid 3.2.0, including its quirks: object positions are refreshed at the start and at every
drop only, and a clause ignores what was carried before it was first evaluated.
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
_EMPTY_SET = np.uint64(0)


@kernel
def begin(grids: GridState, b: int) -> None:
    """Resolve the descriptions of grid `b` to sets of objects, now; no clause is fulfilled yet."""
    for c in range(4):
        grids.state[b].done[c] = False
        grids.state[b].held[c] = 0
        for d in range(2):
            clause = grids.state[b].clauses[c]
            # uint8 [7]: verb, then (type, color, place) of two descriptions; type 0 means none
            kind, color, place = clause[1 + 3 * d], clause[2 + 3 * d], clause[3 + 3 * d]
            grids.state[b].sets[c, d] = described(grids, b, kind, color, place) if kind else _EMPTY_SET
    _update_spots(grids, b)


@inlined
def _update_spots(grids: GridState, b: int) -> None:
    """Refresh the positions that judging uses; in loops, since an array copy takes a second to compile."""
    for thing in range(OBJECTS):
        grids.state[b].spots[thing, 0] = grids.state[b].where[thing, 0]
        grids.state[b].spots[thing, 1] = grids.state[b].where[thing, 1]


@kernel
def described(grids: GridState, b: int, kind: int, color: int, place: int) -> Bits:
    """Return the set of objects with this type and color; a place is relative to the agent, in its room."""
    matching = _EMPTY_SET
    for thing in range(1, OBJECTS):
        code = grids.state[b].codes[thing]
        if code == 0:  # ids are dense: no object follows
            break
        if KIND[code] != kind or (color != ANY and COLOR[code] != color):
            continue
        if grids.state[b].where[thing, 0] != NOWHERE and (place == 0 or _is_at_place(grids, b, thing, place)):
            matching |= _ONE << np.uint64(thing)
    return matching


@kernel
def _is_at_place(grids: GridState, b: int, thing: int, place: int) -> bool:
    # rooms share walls, so they repeat every side - 1 cells
    side = grids.state[b].rooms[0]
    x, y, direction = grids.state[b].agent[0], grids.state[b].agent[1], grids.state[b].agent[2]
    left, top = x // (side - 1) * (side - 1), y // (side - 1) * (side - 1)
    thing_x, thing_y = np.int64(grids.state[b].where[thing, 0]), np.int64(grids.state[b].where[thing, 1])
    if not (left <= thing_x < left + side and top <= thing_y < top + side):
        return False
    # offset in the agent's frame: dot and cross product with its direction
    ahead_x, ahead_y = AHEAD_X[direction], AHEAD_Y[direction]
    ahead = (thing_x - x) * ahead_x + (thing_y - y) * ahead_y
    right = (thing_y - y) * ahead_x - (thing_x - x) * ahead_y
    if place == ON_LEFT:
        return right < 0
    if place == ON_RIGHT:
        return right > 0
    if place == IN_FRONT:
        return ahead > 0
    return place == BEHIND and ahead < 0


@inlined
def judge(grids: GridState, b: int, action: int) -> bool:
    """Evaluate grid `b` after an action; true when its instruction is fulfilled."""
    if action == DROP:
        _update_spots(grids, b)
    # AFTER swaps the halves; the later half is evaluated only once the earlier is fulfilled
    first = 0 if grids.state[b].order in (ALONE, THEN) else 1
    if not _judge_half(grids, b, first, action):
        return False
    return grids.state[b].order == ALONE or _judge_half(grids, b, 1 - first, action)


@inlined
def _judge_half(grids: GridState, b: int, half: int, action: int) -> bool:
    finished = True
    # minigrid evaluates every open clause of a half at each step, without short circuit
    for c in range(2 * half, 2 * half + 2):
        if grids.state[b].clauses[c, 0] != NO_VERB and not grids.state[b].done[c]:
            grids.state[b].done[c] = _judge_clause(grids, b, c, action)
            finished = finished and grids.state[b].done[c]
    return finished


@inlined
def _judge_clause(grids: GridState, b: int, c: int, action: int) -> bool:
    verb = grids.state[b].clauses[c, 0]
    # PICK_UP and PUT_NEXT compare with what was carried when this clause was last evaluated
    held_before = grids.state[b].held[c]
    grids.state[b].held[c] = grids.state[b].carried[1]
    direction = grids.state[b].agent[2]
    x, y = grids.state[b].agent[0] + AHEAD_X[direction], grids.state[b].agent[1] + AHEAD_Y[direction]
    if verb == GO_TO:
        return _any_spot(grids, b, grids.state[b].sets[c, 0], x, y, 0)
    if verb == PICK_UP:
        return (
            action == PICKUP
            and held_before == 0
            and contains(grids.state[b].sets[c, 0], grids.state[b].carried[1])
        )
    if verb == OPEN:
        opened = action == TOGGLE and IS_OPEN[grids.cells[b, y, x]]
        return opened and contains(grids.state[b].sets[c, 0], grids.things[b, y, x])
    if verb == PUT_NEXT and action == DROP and contains(grids.state[b].sets[c, 0], held_before):
        x, y = np.int64(grids.state[b].where[held_before, 0]), np.int64(grids.state[b].where[held_before, 1])
        return _any_spot(grids, b, grids.state[b].sets[c, 1], x, y, 1)
    return False


@inlined
def contains(objects: Bits, thing: int) -> bool:
    """Whether a set contains an object; 0 (no object) is in no set."""
    return thing != 0 and ((objects >> np.uint64(thing)) & _ONE) != _EMPTY_SET


@inlined
def _any_spot(grids: GridState, b: int, objects: Bits, x: Any, y: Any, distance: int) -> bool:
    """Whether the last recorded position of one of the objects is at this Manhattan distance from (x, y)."""
    # iterate over the set bits
    thing = 0
    while objects != _EMPTY_SET:
        if objects & _ONE:
            thing_x, thing_y = (
                np.int64(grids.state[b].spots[thing, 0]),
                np.int64(grids.state[b].spots[thing, 1]),
            )
            if thing_x != NOWHERE and abs(thing_x - x) + abs(thing_y - y) == distance:
                return True
        objects >>= _ONE
        thing += 1
    return False
