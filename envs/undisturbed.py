"""A picture that is drawn leaves an environment's random numbers as they were."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

_DEEPEST = 3
"""How many attributes away from the environment a generator is looked for."""

_MOST_OBJECTS = 300
_NOT_FOLLOWED = (ModuleType, type, FunctionType, np.ndarray, np.generic)


@contextlib.contextmanager
def undisturbed(environment: Any) -> Iterator[None]:
    """Put back the state of the random generators that an environment holds.

    Covers generators of NumPy and of Python that are attributes of the environment, or of objects that are
    its attributes. Does not cover those in containers or in compiled code, nor the global ones.
    """
    restores = [_restore(generator) for generator in _generators(environment)]
    try:
        yield
    finally:
        for restore in restores:
            restore()


def _restore(generator: Any) -> Callable[[], None]:
    """Return what puts a generator's present state back."""
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
    waiting, looked = [(_attributes(environment), 0)], {id(environment)}
    while waiting and len(looked) < _MOST_OBJECTS:
        attributes, depth = waiting.pop(0)
        for value in list(attributes.values()):
            if id(value) in looked or isinstance(value, _NOT_FOLLOWED):
                continue
            if isinstance(value, np.random.Generator | np.random.RandomState | random.Random):
                looked.add(id(value))
                yield value
            elif depth + 1 < _DEEPEST and (parts := _attributes(value)):
                looked.add(id(value))
                waiting.append((parts, depth + 1))


def _attributes(holder: Any) -> dict[str, Any]:
    try:
        attributes = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        return {}
    return attributes if isinstance(attributes, dict) else {}
