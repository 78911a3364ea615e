"""The parts of an action, as a policy decides them one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 41
POINTING = ("element", "word")
"""Kinds of parts that point at what is seen."""

SKIPPED = -2.0
"""In place of a number that is not decided, since the verb has no such part."""


@dataclass(frozen=True)
class ActionPart:
    """One number of an action: a `choice` among `size`, counted from `low`, or `size` `bins` on [low, high].

    An `element` or a `word` points at the step's own tokens: its options are the elements of the page
    (-1 for none) or the words of the instruction. Only some of the choices of the first part (`verbs`) may
    have this part; a word `after` another is never before it. `names` say what choices mean.
    """

    kind: str
    size: int
    low: float
    high: float = 0.0
    verbs: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    after: bool = False


def targets(part: ActionPart, column: np.ndarray) -> np.ndarray:
    """Turn one column of actions `[S]` into what the part should answer.

    A choice gives indices int64 `[S]`; bins give float32 `[S, size]`: the two bins around the number
    share the weight so that their mean is the number itself.
    """
    if part.kind == "choice":
        return np.clip(column - part.low, 0, part.size - 1).astype(np.int64)
    scaled = np.clip((column - part.low) / (part.high - part.low), 0, 1) * (part.size - 1)
    below = np.minimum(np.floor(scaled).astype(np.int64), part.size - 2)
    soft = np.zeros((len(column), part.size), np.float32)
    rows = np.arange(len(column))
    soft[rows, below + 1] = scaled - below
    soft[rows, below] = 1 - soft[rows, below + 1]
    return soft
