"""Relations between elements of a page: elements of one kind, and elements in one group."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

READ = 16
"""Most elements of a group that are read."""

_NUMBERS = re.compile(r"\d+")


def crowd_of(kinds: Sequence[object]) -> np.ndarray:
    """Return the number of elements of each element's kind, including itself, int64 `[E]`."""
    counts = Counter(kinds)
    return np.array([counts[kind] for kind in kinds], np.int64)


def extremes(kinds: Sequence[object], texts: Sequence[str]) -> np.ndarray:
    """Return which elements show the smallest and the largest number of their kind, bool `[E, 2]`.

    Several numbers, as in 17h 35m, compare in order. A kind with a single distinct number has no extremes.
    """
    numbers = [tuple(int(digits) for digits in _NUMBERS.findall(text)[:3]) for text in texts]
    by_kind: dict[object, set[tuple[int, ...]]] = defaultdict(set)
    for kind, number in zip(kinds, numbers, strict=True):
        if number:
            by_kind[kind].add(number)
    ends = {kind: (min(values), max(values)) for kind, values in by_kind.items() if len(values) > 1}
    at_ends = [
        [number == end for end in ends.get(kind, (None, None))] if number else [False, False]
        for kind, number in zip(kinds, numbers, strict=True)
    ]
    return np.array(at_ends, bool).reshape(-1, 2)


def groups(parents: Sequence[int], reads: Sequence[bool]) -> list[list[int]]:
    """Return, for each element, the elements with text in its smallest group that has any; at most READ.

    A group is an ancestor with its descendants, without the element and its own descendants. So a field finds
    its label, and a button its row. `parents` are indices, -1 for a root; parents precede their children.
    """
    size = len(parents)
    # document order: the subtree of element e is the range e .. ends[e] - 1
    ends = np.arange(1, size + 1)
    for element in range(size - 1, -1, -1):
        if parents[element] >= 0:
            ends[parents[element]] = max(ends[parents[element]], ends[element])
    readers = np.flatnonzero(np.array(reads, bool))
    # index in `readers` of the first one at or after each element
    first = np.searchsorted(readers, np.arange(size + 1))
    result: list[list[int]] = []
    for element in range(size):
        neighbors: list[int] = []
        group = parents[element]
        while group >= 0 and not neighbors:
            # readers in the ancestor's subtree, left and right of the element's own
            before = readers[first[group] : first[element]]
            after = readers[first[ends[element]] : first[ends[group]]]
            neighbors = [*before.tolist(), *after.tolist()][:READ]
            group = parents[group]
        result.append(neighbors)
    return result
