"""The nineteen levels of BabyAI (arXiv 1810.08272) as a table; other levels of the same form can be built.

Two levels deliberately follow the paper instead of minigrid 3.2.0. There, `Unlock` and `GoToImpUnlock`
compare room indices with `is`, which never holds for NumPy integers: one key in nine lies behind its own door
and the level cannot be solved, and the locked room gets distractors too. minigrid also no longer has
`PutNext`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TutelageError
from .state import GO_TO, OBJECTS, OPEN, PICK_UP, PUT_NEXT

RED_BALL, DISTRACTOR, TWO_DISTRACTORS, DOOR, LOCKED_DOOR, BEHIND_LOCK, SENTENCE = range(7)
"""What a level's instruction refers to."""

FREE, ALL_REACHABLE, SOME_BLOCKED = range(3)
"""Whether every object must be reachable without moving another."""

CLAUSE, BOTH, SEQUENCE = range(3)
"""Forms of a sentence: one clause; two joined by "and"; two halves joined by "then" or "after"."""


@dataclass(frozen=True)
class Level:
    """Parameters of a level's generator. `room_size` counts both walls, as in minigrid."""

    about: int
    verb: int = GO_TO
    room_size: int = 8
    rows: int = 3
    columns: int = 3
    distractors: int = 18
    """Number of distractors; for LOCKED_DOOR and BEHIND_LOCK, per room."""
    unique: bool = False
    """No two objects share type and color."""
    grey: bool = False
    """Distractors are grey."""
    reachable: int = ALL_REACHABLE
    doors_open: bool = False
    locked_percent: int = 0
    """SENTENCE: how often, in percent, one room is locked and its key lies elsewhere."""
    verbs: tuple[int, ...] = (GO_TO, PICK_UP, OPEN, PUT_NEXT)
    forms: tuple[int, ...] = (CLAUSE,)
    places: bool = False
    """SENTENCE: descriptions may name a location, e.g. "on your left", "behind you"."""
    into_locked: bool = True
    """SENTENCE: a description may match objects in the locked room only."""

    @property
    def height(self) -> int:
        """Cells from the top wall to the bottom wall; neighboring rooms share a wall."""
        return (self.room_size - 1) * self.rows + 1

    @property
    def width(self) -> int:
        """Cells from the left wall to the right wall."""
        return (self.room_size - 1) * self.columns + 1

    def packed(self) -> np.ndarray:
        """Return the fields as the generator reads them: int64 `[PACKED]`, in their order, sets as bits."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        bits = [sum(1 << bit for bit in value) if isinstance(value, tuple) else value for value in values]
        return np.array([int(value) for value in bits], np.int64)

    def check(self) -> None:
        """Raise TutelageError if no grid can be generated with these parameters."""
        fewest = {DISTRACTOR: 1, TWO_DISTRACTORS: 2}.get(self.about, 0)
        rooms = self.rows * self.columns
        copies_per_object = rooms if self.about in (LOCKED_DOOR, BEHIND_LOCK) else 1
        doors = 2 * rooms - self.rows - self.columns  # at most one in every inner wall
        # 18 (type, color) pairs; object ids run from 1, and a set of objects has 64 bits
        most = (18 if self.unique else OBJECTS - 4 - doors) // copies_per_object
        for name, low, high in (
            ("room_size", 4, 40),
            ("rows", 1, 5),
            ("columns", 1, 5),
            ("distractors", fewest, most),
        ):
            if not low <= getattr(self, name) <= high:
                raise TutelageError(f"expected {name} from {low} to {high}, got {getattr(self, name)}")
        if self.about in (DOOR, LOCKED_DOOR, BEHIND_LOCK) and rooms < 2:
            raise TutelageError("expected two rooms or more, since there must be a door, got one")
        if self.locked_percent and rooms < 2:
            raise TutelageError(
                f"expected two rooms or more where locked_percent is {self.locked_percent}, got one"
            )


_LOCAL: dict[str, Any] = {"rows": 1, "columns": 1}
_SENTENCE = Level(SENTENCE, reachable=FREE, locked_percent=50, into_locked=False)

LEVELS: dict[str, Level] = {
    "GoToObj": Level(DISTRACTOR, distractors=1, unique=True, **_LOCAL),
    "GoToRedBallGrey": Level(RED_BALL, distractors=7, grey=True, **_LOCAL),
    "GoToRedBall": Level(RED_BALL, distractors=7, **_LOCAL),
    "GoToLocal": Level(DISTRACTOR, distractors=8, **_LOCAL),
    "PutNextLocal": Level(TWO_DISTRACTORS, distractors=8, unique=True, **_LOCAL),
    "PickupLoc": Level(SENTENCE, distractors=8, verbs=(PICK_UP,), places=True, **_LOCAL),
    "GoToObjMaze": Level(DISTRACTOR, distractors=1),
    "GoTo": Level(DISTRACTOR),
    "Pickup": Level(DISTRACTOR, PICK_UP),
    "UnblockPickup": Level(DISTRACTOR, PICK_UP, distractors=20, reachable=SOME_BLOCKED),
    "Open": Level(DOOR),
    "Unlock": Level(LOCKED_DOOR, distractors=3),
    "PutNext": Level(TWO_DISTRACTORS),
    "Synth": _SENTENCE,
    "SynthLoc": dataclasses.replace(_SENTENCE, places=True),
    "GoToSeq": Level(SENTENCE, verbs=(GO_TO,), forms=(CLAUSE, BOTH, SEQUENCE)),
    "SynthSeq": dataclasses.replace(_SENTENCE, places=True, forms=(CLAUSE, BOTH, SEQUENCE)),
    "GoToImpUnlock": Level(BEHIND_LOCK, distractors=2),
    "BossLevel": dataclasses.replace(
        _SENTENCE, places=True, forms=(CLAUSE, BOTH, SEQUENCE), into_locked=True
    ),
}
"""The paper's levels, in the paper's order."""

SINGLE_ROOM = [name for name, level in LEVELS.items() if level.rows == level.columns == 1]

(
    ABOUT, VERB, ROOM_SIZE, ROWS, COLUMNS, DISTRACTORS, UNIQUE, GREY, REACHABLE, DOORS_OPEN, LOCKED_PERCENT,
    VERBS, FORMS, PLACES, INTO_LOCKED,
) = range(15)  # fmt: skip
"""Indices into a packed level; their order is that of the fields of Level."""
