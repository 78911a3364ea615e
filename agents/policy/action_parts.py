"""The parts of an action: the numbers that a policy decides one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 41  # odd, so that one bin lies at the middle of the range
POINTING = ("element", "word")
"""Kinds of parts that point at tokens of the observation."""

SKIPPED = -2.0
"""Stands for a number that is not decided, since the verb has no such part."""


@dataclass(frozen=True)
class ActionPart:
    """One number of an action: a `choice` among `size`, counted from `low`, or `size` `bins` on [low, high].

    An `element` or a `word` points at tokens of the same step: its options are the elements of the page
    (-1 for none) or the words of the instruction. `verbs` lists the choices of the first part that have this
    part; empty means all. A word with `after` never precedes the word before it. `names` name the choices.
    """

    kind: str
    size: int
    low: float
    high: float = 0.0
    verbs: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    after: bool = False


@dataclass(frozen=True)
class FlowSpec:
    """Settings of an interface whose actions a flow head generates, `chunk` steps at once.

    `ranges` are the usual (low, high) of each number, which map to -1 and 1; what is decoded is clipped to
    `low` and `high` of the number's part. A chunk is played for `replan` steps before the next is generated;
    with 0 one is generated at every step, and overlapping chunks are averaged.
    """

    chunk: int
    replan: int
    ranges: tuple[tuple[float, float], ...]


def targets(part: ActionPart, column: np.ndarray) -> np.ndarray:
    """Turn one column of actions `[S]` into training targets of a part.

    A choice gives indices int64 `[S]`. Bins give probabilities float32 `[S, size]`: the two bins around the
    number share the weight so that their mean is the number itself ("two-hot").
    """
    if part.kind == "choice":
        return np.clip(column - part.low, 0, part.size - 1).astype(np.int64)
    # position on the bin axis, from 0 to size - 1
    scaled = np.clip((column - part.low) / (part.high - part.low), 0, 1) * (part.size - 1)
    below = np.minimum(np.floor(scaled).astype(np.int64), part.size - 2)
    soft = np.zeros((len(column), part.size), np.float32)
    rows = np.arange(len(column))
    soft[rows, below + 1] = scaled - below
    soft[rows, below] = 1 - soft[rows, below + 1]
    return soft
