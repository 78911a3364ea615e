"""Sample an instruction for a grid: of the level's own form, or any sentence of the BabyAI language."""

from __future__ import annotations

import numpy as np

from .cells import COLOR, IS_LOCKED, KIND, TYPES
from .kernels import kernel
from .levels import (
    ABOUT,
    BEHIND_LOCK,
    BOTH,
    CLAUSE,
    DOOR,
    FORMS,
    INTO_LOCKED,
    LOCKED_DOOR,
    PLACES,
    REACHABLE,
    RED_BALL,
    SENTENCE,
    SEQUENCE,
    TWO_DISTRACTORS,
    VERB,
    VERBS,
)
from .missions import contains, described
from .rng import randint
from .state import AFTER, ALONE, ANY, ANYWHERE, GO_TO, OBJECTS, OPEN, PUT_NEXT, THEN, Bits, GridState

_KEY = TYPES.index("key")
_NAMED = np.array([TYPES.index(name) for name in ("box", "ball", "key", "door")])
_EMPTY_SET = np.uint64(0)
_TRIES = 101  # minigrid's limit on draws of one description


@kernel
def instruct(grids: GridState, b: int, level: np.ndarray, first: int, locked: int) -> bool:
    """Sample an instruction for grid `b` over objects from `first` on; false to reject the grid."""
    grids.state[b].order = ALONE
    grids.state[b].clauses[:] = 0
    about = level[ABOUT]
    if about == SENTENCE:
        return _write_sentence(grids, b, level, locked)
    # candidates are objects first .. first + count - 1: distractors, else the doors before them
    count = 0
    while grids.state[b].codes[first + count]:
        count += 1
    if about == DOOR:
        count = first - 1
        first = 1
    elif about == LOCKED_DOOR:
        first = count = 1
    target = first + randint(grids, b, count)
    if about == TWO_DISTRACTORS:
        # a second object, uniform over the others
        moved = first + (target - first + 1 + randint(grids, b, count - 1)) % count
        grids.state[b].clauses[0, 0] = PUT_NEXT
        _copy_description(grids, b, 0, 1, moved)
    else:
        grids.state[b].clauses[0, 0] = OPEN if about in (DOOR, LOCKED_DOOR) else level[VERB]
        if about == RED_BALL:
            target = first
        elif about == BEHIND_LOCK:  # the object in the locked room was placed last
            target = first + count - 1
    _copy_description(grids, b, 0, 0, target)
    return _is_sensible(grids, b, 0, level)


@kernel
def _copy_description(grids: GridState, b: int, c: int, d: int, thing: int) -> None:
    """Set description d (0 or 1) of clause c to an object's type and color."""
    grids.state[b].clauses[c, 1 + 3 * d] = KIND[grids.state[b].codes[thing]]
    grids.state[b].clauses[c, 2 + 3 * d] = COLOR[grids.state[b].codes[thing]]
    grids.state[b].clauses[c, 3 + 3 * d] = ANYWHERE


@kernel
def _write_sentence(grids: GridState, b: int, level: np.ndarray, locked: int) -> bool:
    """Sample a sentence: one clause, two joined by "and", or two of these joined by "then" or "after you"."""
    form = _random_bit(grids, b, level[FORMS])
    halves = 2 if form == SEQUENCE else 1
    if halves == 2:
        grids.state[b].order = THEN if randint(grids, b, 2) else AFTER
    # half 0 uses clauses 0 and 1, half 1 clauses 2 and 3
    for half in range(halves):
        both = form == BOTH or (halves == 2 and randint(grids, b, 2) != CLAUSE)
        for c in range(2 * half, 2 * half + (2 if both else 1)):
            if not (_write_clause(grids, b, c, level, locked) and _is_sensible(grids, b, c, level)):
                return False
    return True


@kernel
def _random_bit(grids: GridState, b: int, bits: int) -> int:
    # uniform choice of a set bit: count them, then take the one at a random rank
    count = 0
    for bit in range(8):
        count += bits >> bit & 1
    remaining = randint(grids, b, count)
    for bit in range(8):
        if bits >> bit & 1:
            if remaining == 0:
                return bit
            remaining -= 1
    return 0


@kernel
def _write_clause(grids: GridState, b: int, c: int, level: np.ndarray, locked: int) -> bool:
    # as in BabyAI, doors can be opened and gone to, but not picked up or moved
    verb = _random_bit(grids, b, level[VERBS])
    grids.state[b].clauses[c, 0] = verb
    if verb == OPEN:
        return _describe(grids, b, c, 0, 3, 4, level, locked)
    if not _describe(grids, b, c, 0, 0, 4 if verb == GO_TO else 3, level, locked):
        return False
    return verb != PUT_NEXT or _describe(grids, b, c, 1, 0, 4, level, locked)


@kernel
def _describe(
    grids: GridState, b: int, c: int, d: int, low: int, high: int, level: np.ndarray, locked: int
) -> bool:
    """Draw descriptions with types `_NAMED[low:high]` until one matches an object; false after `_TRIES`."""
    for _ in range(_TRIES):
        color = randint(grids, b, 7)
        color = ANY if color == 6 else color  # "any color" is as likely as each of the six
        kind = _NAMED[low + randint(grids, b, high - low)]
        place = ANYWHERE
        if level[PLACES] and randint(grids, b, 2):
            place = 1 + randint(grids, b, 4)
        matching = described(grids, b, kind, color, place)
        if matching == _EMPTY_SET or (
            not level[INTO_LOCKED] and locked >= 0 and _all_in(grids, b, matching, locked)
        ):
            continue
        grids.state[b].clauses[c, 1 + 3 * d] = kind
        grids.state[b].clauses[c, 2 + 3 * d] = color
        grids.state[b].clauses[c, 3 + 3 * d] = place
        return True
    return False


@kernel
def _all_in(grids: GridState, b: int, objects: Bits, room: int) -> bool:
    """Whether all objects of a set lie in a room or in its walls (doors)."""
    side, columns = grids.state[b].rooms[0], grids.state[b].rooms[1]
    # top left corner of the room's own walls, in cells
    left, top = room % columns * (side - 1), room // columns * (side - 1)
    for thing in range(OBJECTS):
        if contains(objects, thing):
            x, y = grids.state[b].where[thing, 0], grids.state[b].where[thing, 1]
            if not (left <= x < left + side and top <= y < top + side):
                return False
    return True


@kernel
def _is_sensible(grids: GridState, b: int, c: int, level: np.ndarray) -> bool:
    """Whether minigrid would accept the clause.

    It rejects PUT_NEXT of overlapping or already adjacent sets, and clauses about the key of a locked door.
    """
    clause = grids.state[b].clauses[c]
    first = described(grids, b, clause[1], clause[2], clause[3])
    second: Bits = _EMPTY_SET
    if clause[0] == PUT_NEXT:
        second = described(grids, b, clause[4], clause[5], clause[6])
        if first & second != _EMPTY_SET or _any_adjacent(grids, b, first, second):
            return False
    if level[ABOUT] != SENTENCE or level[REACHABLE]:
        return True
    for thing in range(1, OBJECTS):
        code = grids.state[b].codes[thing]
        if IS_LOCKED[code]:
            for d in range(2):
                if clause[1 + 3 * d] == _KEY and clause[2 + 3 * d] == COLOR[code]:
                    return False
    return True


@kernel
def _any_adjacent(grids: GridState, b: int, first_set: Bits, second_set: Bits) -> bool:
    for first in range(OBJECTS):
        if contains(first_set, first):
            for second in range(OBJECTS):
                if contains(second_set, second):
                    x = np.int64(grids.state[b].where[first, 0]) - np.int64(grids.state[b].where[second, 0])
                    y = np.int64(grids.state[b].where[first, 1]) - np.int64(grids.state[b].where[second, 1])
                    if abs(x) + abs(y) == 1:
                        return True
    return False
