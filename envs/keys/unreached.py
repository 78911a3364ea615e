"""List the actions of a space that no key reaches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from gymnasium import spaces

from ..spaces import action_size, leaves
from .controls import Controls
from .default_keys import ActionMixer, is_continuous, lowest


def unreached(controls: Controls, space: spaces.Space[Any], real_time: bool) -> list[str]:
    """Describe the actions that no key reaches, for people; none where mouse and keyboard act directly."""
    if controls.hands:
        return []
    rows = [binding.action for binding in controls.bindings]
    if real_time and controls.idle is not None:
        rows.append(controls.idle)
    if isinstance(space, spaces.Discrete):
        reached = {row[0] for row in rows}
        first = int(space.start)
        missing = [value for value in range(first, first + int(space.n)) if value not in reached]
        return [f"action {text}" for text in _ranges(missing)]
    if controls.mixer is None:
        return [] if rows else [f"any action of {space}"]
    columns = np.array(rows, float).reshape(len(rows), action_size(space))
    return list(_missing_numbers(space, controls.mixer, columns))


def _missing_numbers(space: spaces.Space[Any], mixer: ActionMixer, rows: np.ndarray) -> Iterator[str]:
    parts = [(leaf, index_in_leaf) for leaf in leaves(space) for index_in_leaf in range(lowest(leaf).size)]
    unreachable: dict[str, list[int]] = {}
    for index, (leaf, index_in_leaf) in enumerate(parts):
        column, rest = rows[:, index], mixer.rest[index]
        name = leaf.path or ("axes" if is_continuous(leaf) else "numbers")
        if is_continuous(leaf):
            lowered = mixer.low[index] >= rest or bool((column < rest).any())
            raised = mixer.high[index] <= rest or bool((column > rest).any())
            if not (lowered and raised):
                unreachable.setdefault(name, []).append(index_in_leaf + 1)
            continue
        values = range(int(mixer.low[index]), int(mixer.high[index]) + 1)
        missing = [value for value in values if value != rest and value not in column]
        if len(missing) == len(values) - 1:
            unreachable.setdefault(name, []).append(index_in_leaf + 1)
        elif missing:
            yield f"{leaf.path or 'number'} {index_in_leaf + 1} = {', '.join(_ranges(missing))}"
    for name, places in unreachable.items():
        yield f"{name} {', '.join(_ranges(places))}"


def _ranges(numbers: Sequence[int]) -> list[str]:
    """Write integers as ranges: 3, 5 to 9."""
    groups = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    runs = [[value for _, value in group] for _, group in groups]
    return [f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
