"""How an instruction is chosen for a world: a level's own kind, or any sentence of the language."""

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
from .missions import among, described
from .rng import roll
from .state import AFTER, ALONE, ANY, ANYWHERE, GO_TO, OBJECTS, OPEN, PUT_NEXT, THEN, Bits, GridState

_KEY = TYPES.index("key")
_NAMED = np.array([TYPES.index(name) for name in ("box", "ball", "key", "door")])
_NOBODY = np.uint64(0)
_TRIES = 101


@kernel
def instruct(worlds: GridState, b: int, level: np.ndarray, first: int, locked: int) -> bool:
    """Write an instruction for world `b`; `first` is the first object it may be about. False: throw again."""
    worlds.state[b].order = ALONE
    worlds.state[b].clauses[:] = 0
    about = level[ABOUT]
    if about == SENTENCE:
        return _speak(worlds, b, level, locked)
    count = 0
    while worlds.state[b].looks[first + count]:
        count += 1
    if about == DOOR:
        count = first - 1
        first = 1
    elif about == LOCKED_DOOR:
        first = count = 1
    chosen = first + roll(worlds, b, count)
    if about == TWO_DISTRACTORS:
        other = first + (chosen - first + 1 + roll(worlds, b, count - 1)) % count
        worlds.state[b].clauses[0, 0] = PUT_NEXT
        _name(worlds, b, 0, 1, other)
    else:
        worlds.state[b].clauses[0, 0] = OPEN if about in (DOOR, LOCKED_DOOR) else level[VERB]
        if about == RED_BALL:
            chosen = first
        elif about == BEHIND_LOCK:
            chosen = first + count - 1
    _name(worlds, b, 0, 0, chosen)
    return _sensible(worlds, b, 0, level)


@kernel
def _name(worlds: GridState, b: int, c: int, d: int, thing: int) -> None:
    """Let a clause's description be an object's kind and colour."""
    worlds.state[b].clauses[c, 1 + 3 * d] = KIND[worlds.state[b].looks[thing]]
    worlds.state[b].clauses[c, 2 + 3 * d] = COLOR[worlds.state[b].looks[thing]]
    worlds.state[b].clauses[c, 3 + 3 * d] = ANYWHERE


@kernel
def _speak(worlds: GridState, b: int, level: np.ndarray, locked: int) -> bool:
    """Say a sentence: a clause, two with "and", or two of either with "then" or "after you"."""
    form = _one_of(worlds, b, level[FORMS])
    halves = 2 if form == SEQUENCE else 1
    if halves == 2:
        worlds.state[b].order = THEN if roll(worlds, b, 2) else AFTER
    for half in range(halves):
        both = form == BOTH or (halves == 2 and roll(worlds, b, 2) != CLAUSE)
        for c in range(2 * half, 2 * half + (2 if both else 1)):
            if not (_say(worlds, b, c, level, locked) and _sensible(worlds, b, c, level)):
                return False
    return True


@kernel
def _one_of(worlds: GridState, b: int, bits: int) -> int:
    count = 0
    for bit in range(8):
        count += bits >> bit & 1
    left = roll(worlds, b, count)
    for bit in range(8):
        if bits >> bit & 1:
            if left == 0:
                return bit
            left -= 1
    return 0


@kernel
def _say(worlds: GridState, b: int, c: int, level: np.ndarray, locked: int) -> bool:
    verb = _one_of(worlds, b, level[VERBS])
    worlds.state[b].clauses[c, 0] = verb
    if verb == OPEN:
        return _describe(worlds, b, c, 0, 3, 4, level, locked)
    if not _describe(worlds, b, c, 0, 0, 4 if verb == GO_TO else 3, level, locked):
        return False
    return verb != PUT_NEXT or _describe(worlds, b, c, 1, 0, 4, level, locked)


@kernel
def _describe(
    worlds: GridState, b: int, c: int, d: int, low: int, high: int, level: np.ndarray, locked: int
) -> bool:
    """Throw descriptions of kinds `low` to `high` until one fits something."""
    for _ in range(_TRIES):
        color = roll(worlds, b, 7)
        color = ANY if color == 6 else color
        kind = _NAMED[low + roll(worlds, b, high - low)]
        place = ANYWHERE
        if level[PLACES] and roll(worlds, b, 2):
            place = 1 + roll(worlds, b, 4)
        meant = described(worlds, b, kind, color, place)
        if meant == _NOBODY or (not level[INTO_LOCKED] and locked >= 0 and _all_in(worlds, b, meant, locked)):
            continue
        worlds.state[b].clauses[c, 1 + 3 * d] = kind
        worlds.state[b].clauses[c, 2 + 3 * d] = color
        worlds.state[b].clauses[c, 3 + 3 * d] = place
        return True
    return False


@kernel
def _all_in(worlds: GridState, b: int, objects: Bits, room: int) -> bool:
    """Whether all of a set stand in a room or in its walls."""
    side, columns = worlds.state[b].rooms[0], worlds.state[b].rooms[1]
    left, top = room % columns * (side - 1), room // columns * (side - 1)
    for thing in range(OBJECTS):
        if among(objects, thing):
            x, y = worlds.state[b].where[thing, 0], worlds.state[b].where[thing, 1]
            if not (left <= x < left + side and top <= y < top + side):
                return False
    return True


@kernel
def _sensible(worlds: GridState, b: int, c: int, level: np.ndarray) -> bool:
    """Whether minigrid would ask for this: nothing next to itself or already there, no key that is needed."""
    clause = worlds.state[b].clauses[c]
    first = described(worlds, b, clause[1], clause[2], clause[3])
    second: Bits = _NOBODY
    if clause[0] == PUT_NEXT:
        second = described(worlds, b, clause[4], clause[5], clause[6])
        if first & second != _NOBODY or _beside(worlds, b, first, second):
            return False
    if level[ABOUT] != SENTENCE or level[REACHABLE]:
        return True
    for thing in range(1, OBJECTS):
        look = worlds.state[b].looks[thing]
        if IS_LOCKED[look]:
            for d in range(2):
                if clause[1 + 3 * d] == _KEY and clause[2 + 3 * d] == COLOR[look]:
                    return False
    return True


@kernel
def _beside(worlds: GridState, b: int, some: Bits, others: Bits) -> bool:
    for one in range(OBJECTS):
        if among(some, one):
            for other in range(OBJECTS):
                if among(others, other):
                    x = np.int64(worlds.state[b].where[one, 0]) - np.int64(worlds.state[b].where[other, 0])
                    y = np.int64(worlds.state[b].where[one, 1]) - np.int64(worlds.state[b].where[other, 1])
                    if abs(x) + abs(y) == 1:
                        return True
    return False
