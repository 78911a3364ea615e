"""The instruction as a sentence: "put a red ball next to the door on your left, then open the red door"."""

from __future__ import annotations

import numpy as np

from .cells import COLORS, TYPES
from .state import AFTER, ALONE, ANY, GO_TO, NO_VERB, OPEN, PICK_UP, PUT_NEXT, GridState

_VERBS = {GO_TO: "go to ", PICK_UP: "pick up ", OPEN: "open ", PUT_NEXT: "put "}
_PLACES = ("", " on your left", " on your right", " in front of you", " behind you")
_JOINED = {1: ", then ", AFTER: " after you "}
_spoken: dict[bytes, str] = {}


def sentences(worlds: GridState, rows: np.ndarray) -> list[str]:
    """Return the instructions of some worlds; what fits several objects is "a ...", else "the ..."."""
    state = worlds.state[rows]
    several = state["sets"] & (state["sets"] - np.uint64(1)) != 0
    parts = (state["order"], state["clauses"], several)
    packed = np.concatenate([part.reshape(len(rows), -1).view(np.uint8) for part in parts], axis=1)
    keys = [row.tobytes() for row in packed]
    for n, key in enumerate(keys):
        if key not in _spoken:
            _spoken[key] = _composed(int(state["order"][n]), state["clauses"][n], several[n])
    return [_spoken[key] for key in keys]


def sentence(worlds: GridState, b: int) -> str:
    """Return the instruction of world `b`."""
    return sentences(worlds, np.array([b]))[0]


def _composed(order: int, clauses: np.ndarray, several: np.ndarray) -> str:
    said = [
        _clause(clause, many) for clause, many in zip(clauses, several, strict=True) if clause[0] != NO_VERB
    ]
    if order == ALONE:
        return " and ".join(said)
    split = 2 if clauses[1, 0] != NO_VERB else 1
    return _JOINED[order].join([" and ".join(said[:split]), " and ".join(said[split:])])


def _clause(clause: np.ndarray, several: np.ndarray) -> str:
    said = _VERBS[int(clause[0])] + _described(clause[1:4], bool(several[0]))
    if clause[0] == PUT_NEXT:
        said += " next to " + _described(clause[4:7], bool(several[1]))
    return said


def _described(description: np.ndarray, several: bool) -> str:
    kind, color, place = (int(part) for part in description)
    named = ("" if color == ANY else COLORS[color] + " ") + TYPES[kind] + _PLACES[place]
    return ("a " if several else "the ") + named
