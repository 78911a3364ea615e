"""What elements of a page have to do with each other: which are of a kind, which share a group."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

READ = 16
"""Elements of a group that are read, at most."""

_NUMBERS = re.compile(r"\d+")


def crowd_of(kinds: Sequence[object]) -> np.ndarray:
    """Return how many elements are of each one's kind, itself among them, int64 `[E]`."""
    counts = Counter(kinds)
    return np.array([counts[kind] for kind in kinds], np.int64)


def extremes(kinds: Sequence[object], texts: Sequence[str]) -> np.ndarray:
    """Say which elements read the least and the greatest number of their kind, bool `[E, 2]`.

    Several numbers, as of 17h 35m, count one after the other. Of a kind that reads one number alone, none is.
    """
    numbers = [tuple(int(one) for one in _NUMBERS.findall(text)[:3]) for text in texts]
    every: dict[object, set[tuple[int, ...]]] = defaultdict(set)
    for kind, number in zip(kinds, numbers, strict=True):
        if number:
            every[kind].add(number)
    ends = {kind: (min(some), max(some)) for kind, some in every.items() if len(some) > 1}
    at_ends = [
        [number == end for end in ends.get(kind, (None, None))] if number else [False, False]
        for kind, number in zip(kinds, numbers, strict=True)
    ]
    return np.array(at_ends, bool).reshape(-1, 2)


def groups(parents: Sequence[int], reads: Sequence[bool]) -> list[list[int]]:
    """Return, for each element, those which read something in the smallest group that has such, at most READ.

    A group is an element with all that lies in it; what lies in the element itself does not count. So a field
    finds its label, and a button the row that it is in. Parents come before their children.
    """
    size = len(parents)
    ends = np.arange(1, size + 1)
    for at in range(size - 1, -1, -1):
        if parents[at] >= 0:
            ends[parents[at]] = max(ends[parents[at]], ends[at])
    readers = np.flatnonzero(np.array(reads, bool))
    first = np.searchsorted(readers, np.arange(size + 1))
    found: list[list[int]] = []
    for at in range(size):
        others: list[int] = []
        group = parents[at]
        while group >= 0 and not others:
            before = readers[first[group] : first[at]]
            after = readers[first[ends[at]] : first[ends[group]]]
            others = [*before.tolist(), *after.tolist()][:READ]
            group = parents[group]
        found.append(others)
    return found
