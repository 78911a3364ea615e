"""The instruction as a sentence: "put a red ball next to the door on your left, then open the red door"."""

from __future__ import annotations

import numpy as np

from .cells import COLORS, TYPES
from .state import AFTER, ALONE, ANY, GO_TO, NO_VERB, OPEN, PICK_UP, PUT_NEXT, GridState

_VERBS = {GO_TO: "go to ", PICK_UP: "pick up ", OPEN: "open ", PUT_NEXT: "put "}
_PLACES = ("", " on your left", " on your right", " in front of you", " behind you")
_JOINED = {1: ", then ", AFTER: " after you "}
_sentences: dict[bytes, str] = {}  # cache, by the bytes of the packed instruction


def sentences(grids: GridState, rows: np.ndarray) -> list[str]:
    """Return the instructions of grids `rows`; one that fits several objects is "a ...", else "the ..."."""
    state = grids.state[rows]
    # more than one bit set in [n, 4, 2] object sets: n & (n - 1) clears the lowest bit
    several = state["sets"] & (state["sets"] - np.uint64(1)) != 0
    parts = (state["order"], state["clauses"], several)
    packed = np.concatenate([part.reshape(len(rows), -1).view(np.uint8) for part in parts], axis=1)
    keys = [row.tobytes() for row in packed]
    for n, key in enumerate(keys):
        if key not in _sentences:
            _sentences[key] = _compose(int(state["order"][n]), state["clauses"][n], several[n])
    return [_sentences[key] for key in keys]


def sentence(grids: GridState, b: int) -> str:
    """Return the instruction of grid `b`."""
    return sentences(grids, np.array([b]))[0]


def _compose(order: int, clauses: np.ndarray, several: np.ndarray) -> str:
    clause_texts = [
        _clause_text(clause, is_several)
        for clause, is_several in zip(clauses, several, strict=True)
        if clause[0] != NO_VERB
    ]
    if order == ALONE:
        return " and ".join(clause_texts)
    split = 2 if clauses[1, 0] != NO_VERB else 1
    return _JOINED[order].join([" and ".join(clause_texts[:split]), " and ".join(clause_texts[split:])])


def _clause_text(clause: np.ndarray, several: np.ndarray) -> str:
    text = _VERBS[int(clause[0])] + _describe(clause[1:4], bool(several[0]))
    if clause[0] == PUT_NEXT:
        text += " next to " + _describe(clause[4:7], bool(several[1]))
    return text


def _describe(description: np.ndarray, several: bool) -> str:
    kind, color, place = (int(part) for part in description)
    name = ("" if color == ANY else COLORS[color] + " ") + TYPES[kind] + _PLACES[place]
    return ("a " if several else "the ") + name
