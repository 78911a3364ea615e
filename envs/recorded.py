"""An environment of spaces only, for episodes that were recorded elsewhere, for instance by a robot.

A suite declares the spaces as mappings (`space_from`); policies are trained on the recordings, and nothing
can be reset or stepped.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import register, registry

from ..errors import TutelageError, brief, nearest
from .task import Task

ENV_ID = "tutelage/Recorded-v0"
_KEYS = {
    "shape": ("shape", "dtype", "low", "high"),
    "n": ("n", "start"),
    "nvec": ("nvec", "start"),
    "text": ("text",),
}
"""The key that tells the kind of a leaf → all keys of that kind: Box, Discrete, MultiDiscrete, Text."""
_MOST_NUMBERS = 1 << 26
_MOST_LETTERS = 1 << 20
_MOST_CHOICES = 1 << 16


def register_recorded() -> None:
    """Register the environment, once."""
    if ENV_ID not in registry:
        register(id=ENV_ID, entry_point="tutelage.envs.recorded:RecordedEnv")


class RecordedEnv(gymnasium.Env[Any, Any]):
    """Declares spaces for recorded episodes; `reset` and `step` raise TutelageError."""

    def __init__(
        self, observation: Any = None, action: Any = None, render_mode: str | None = None, **others: Any
    ) -> None:
        if others:
            raise TutelageError(f"{ENV_ID}: expected observation and action, got {', '.join(others)}")
        self.observation_space = space_from(observation, "observation")
        self.action_space = space_from(action, "action")
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        raise TutelageError(NOT_PLAYED)

    def step(self, action: Any) -> Any:
        raise TutelageError(NOT_PLAYED)

    def render(self) -> Any:
        raise TutelageError(NOT_PLAYED)


def is_recorded_only(task: Task) -> bool:
    """Return whether a task has recordings only."""
    return task.env == ENV_ID


NOT_PLAYED = (
    f"expected an environment that can be played, got {ENV_ID}, which has recordings only; name the task's "
    "environment in its suite"
)


def space_from(description: Any, where: str = "the space") -> spaces.Space[Any]:
    """Return the space that a mapping describes.

    `{shape, dtype: float32, low, high}` is a Box; a bound that is left out, or null in a list of them, is the
    dtype's own. `{n, start: 0}` is a Discrete, `{nvec}` a MultiDiscrete, `{text: N}` a Text of at most N
    letters; any other mapping is a Dict of such. Raises TutelageError for anything else.
    """
    if not isinstance(description, Mapping) or not description:
        raise TutelageError(
            f"expected a space at {where}, such as {{shape: [3]}}, {{n: 4}}, {{text: 200}} or a mapping of "
            f"them, got {brief(description)}"
        )
    if all(isinstance(part, Mapping) for part in description.values()):
        parts = {str(key): space_from(part, f"{where}.{key}") for key, part in description.items()}
        return spaces.Dict(parts)
    kinds = [key for key in _KEYS if key in description]
    allowed = _KEYS[kinds[0]] if kinds else tuple(_KEYS)
    if len(kinds) > 1:
        raise TutelageError(f"expected one of {', '.join(_KEYS)} at {where}, got {' and '.join(kinds)}")
    for key in description:
        if not kinds or key not in allowed:
            near = nearest(str(key), allowed)
            raise TutelageError(f"expected {', '.join(allowed)} at {where}, got {brief(key)}{near}")
    try:
        return _leaf(kinds[0], description)
    except TutelageError as error:
        raise TutelageError(f"{where}: {error}") from None
    except Exception as error:  # numpy and gymnasium refuse values by exceptions of any kind
        message = " ".join(str(error).split())
        raise TutelageError(f"expected a space at {where}, got {brief(description)}: {message}") from None


def describe_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """Return the mapping that describes a space: the inverse of `space_from`."""
    if isinstance(space, spaces.Dict):
        return {str(key): describe_space(part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n)} | ({"start": int(space.start)} if space.start else {})
    if isinstance(space, spaces.MultiDiscrete):
        start = {"start": space.start.tolist()} if np.any(space.start) else {}
        return {"nvec": space.nvec.tolist()} | start
    if isinstance(space, spaces.Text):
        return {"text": int(space.max_length)}
    if isinstance(space, spaces.MultiBinary):
        return {"shape": list(space.shape), "dtype": "int8", "low": 0, "high": 1}
    if isinstance(space, spaces.Box):
        dtype = np.dtype(space.dtype)
        lowest, highest = _limits(dtype)
        described: dict[str, Any] = {"shape": list(space.shape)}
        if dtype != np.float32:
            described["dtype"] = dtype.name
        for name, bounds, limit in (("low", space.low, lowest), ("high", space.high, highest)):
            if not (bounds == limit).all():
                is_same = bounds.size > 0 and (bounds == bounds.flat[0]).all()
                numbers = [None if number == limit else number.item() for number in bounds.flat]
                described[name] = numbers[0] if is_same else _nested(numbers, space.shape)
        return described
    raise TutelageError(
        f"expected a space of Box, Discrete, MultiDiscrete, MultiBinary, Text and Dict, got {space}"
    )


def _leaf(kind: str, description: Mapping[str, Any]) -> spaces.Space[Any]:
    sizes = [description.get("n", 1), *np.ravel(description.get("nvec", 1)).tolist()]
    if max(map(_whole, sizes)) > _MOST_CHOICES:
        raise TutelageError(f"expected at most {_MOST_CHOICES:,} choices, got {max(sizes):,}")
    if kind == "n":
        return spaces.Discrete(_whole(description["n"]), start=_whole(description.get("start", 0)))
    if kind == "nvec":
        start = description.get("start")
        return spaces.MultiDiscrete(
            np.array(description["nvec"], np.int64),
            start=None if start is None else np.array(start, np.int64),
        )
    if kind == "text":
        letters = _whole(description["text"])
        if letters > _MOST_LETTERS:
            raise TutelageError(f"expected text of at most {_MOST_LETTERS} letters, got {letters}")
        return spaces.Text(letters, min_length=0, charset=string.printable)
    shape = tuple(_whole(size) for size in description["shape"])
    if np.prod([float(size) for size in shape]) > _MOST_NUMBERS or min(shape, default=1) < 1:
        raise TutelageError(f"expected a shape of 1 to {_MOST_NUMBERS} numbers, got {brief(list(shape))}")
    dtype = np.dtype(str(description.get("dtype", "float32")))
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise TutelageError(f"expected a dtype of numbers, got {brief(dtype.name)}")
    if dtype.kind == "b":
        dtype = np.dtype(np.int8)
        description = {"low": 0, "high": 1, **description}
    lowest, highest = _limits(dtype)
    low = _bound(description.get("low"), lowest, shape, dtype)
    high = _bound(description.get("high"), highest, shape, dtype)
    if not (low <= high).all():
        raise TutelageError(f"expected low at most high, got {brief(description)}")
    return spaces.Box(low, high, shape, dtype.type)


def _bound(values: Any, limit: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return a bound of each number; None stands for the limit of the dtype."""
    numbers = np.array(limit if values is None else values, object)
    is_open = np.vectorize(lambda number: number is None, otypes=[bool])(numbers)
    numbers[is_open] = limit
    bound = numbers.astype(dtype)
    if bound.dtype.kind != "f" and (bound != numbers).any():
        raise TutelageError(f"expected bounds of {dtype.name}, got {brief(values)}")
    return np.broadcast_to(bound, shape)


def _nested(numbers: list[Any], shape: tuple[int, ...]) -> Any:
    return np.array(numbers, object).reshape(shape).tolist()


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TutelageError(f"expected a whole number, got {brief(value)}")
    return int(value)


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    return np.iinfo(dtype).min, np.iinfo(dtype).max
