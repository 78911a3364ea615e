"""Protect an environment's random generators from being advanced by rendering."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

_DEEPEST = 3
"""Depth of attributes, from the environment, to which generators are searched for."""

_MOST_OBJECTS = 300
_NOT_FOLLOWED = (ModuleType, type, FunctionType, np.ndarray, np.generic)


@contextlib.contextmanager
def undisturbed(environment: Any) -> Iterator[None]:
    """Restore, on exit, the state of the random generators that an environment holds.

    Covers generators of NumPy and Python that are attributes of the environment or of objects that are its
    attributes. Does not cover generators in containers or in compiled code, nor the global ones.
    """
    restores = [_restore(generator) for generator in _generators(environment)]
    try:
        yield
    finally:
        for restore in restores:
            restore()


def _restore(generator: Any) -> Callable[[], None]:
    """Return a function that restores a generator's current state."""
    if isinstance(generator, random.Random):
        state = generator.getstate()
        return lambda: generator.setstate(state)
    if isinstance(generator, np.random.RandomState):
        legacy = generator.get_state()
        return lambda: generator.set_state(legacy)
    bits = generator.bit_generator
    before = bits.state
    return lambda: setattr(bits, "state", before)


def _generators(environment: Any) -> Iterator[Any]:
    queue, visited = [(_attributes(environment), 0)], {id(environment)}
    while queue and len(visited) < _MOST_OBJECTS:
        attributes, depth = queue.pop(0)
        for value in list(attributes.values()):
            if id(value) in visited or isinstance(value, _NOT_FOLLOWED):
                continue
            if isinstance(value, np.random.Generator | np.random.RandomState | random.Random):
                visited.add(id(value))
                yield value
            elif depth + 1 < _DEEPEST and (parts := _attributes(value)):
                visited.add(id(value))
                queue.append((parts, depth + 1))


def _attributes(holder: Any) -> dict[str, Any]:
    try:
        attributes = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        return {}
    return attributes if isinstance(attributes, dict) else {}
