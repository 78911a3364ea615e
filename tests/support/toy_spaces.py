"""Toys with odd keys, or with observations that are not what is declared; importing it registers them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

MODULE = "tutelage.tests.support.toy_spaces"
_BOX = spaces.Box(-10.0, 10.0, (2,), np.float32)


class OddKeys(gymnasium.Env[Any, Any]):
    """Keys that are paths, dots, empty, escapes of others; each leaf has numbers of its own."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012
    observation_space = spaces.Dict(
        {
            "a/b": _BOX,
            "a": spaces.Dict({"b": _BOX, "": _BOX, ".": _BOX}),
            "a.b": _BOX,
            "a%2Fb": _BOX,
            "": _BOX,
            "..": spaces.Tuple([_BOX, spaces.Discrete(50)]),
            "images": spaces.Dict({"eye": _BOX}),
            "eye": spaces.Box(0, 255, (32, 32, 3), np.uint8),
            "größe": _BOX,
        }
    )
    action_space = spaces.Dict(
        {"go/left": spaces.Discrete(2), "go": spaces.Dict({"left": spaces.Discrete(3)})}
    )

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.observation_space.sample(), float(action["go"]["left"]), self.steps >= 3, False, {}

    def render(self) -> Any:
        return f"step {self.steps}"


PICTURE = spaces.Box(0, 255, (2, 2, 3), np.uint8)
DECLARED: dict[str, tuple[spaces.Space[Any], Any]] = {
    "float": (PICTURE, np.full((2, 2, 3), 0.5)),
    "minus": (spaces.Box(0, 9, (2,), np.uint8), np.array([-1, 3])),
    "wide": (spaces.Box(-np.inf, np.inf, (2,), np.float32), np.array([0.5, 1e300])),
    "long": (spaces.Box(-9, 9, (1,), np.int32), np.array([2**40])),
    "turned": (PICTURE, np.zeros((3, 2, 2), np.uint8)),
    "half": (spaces.Discrete(5), 1.5),
    "text": (spaces.Text(9), b"text"),
}
"""Name → what a space declares, and what is returned instead: a cast changes it."""
SAME: dict[str, tuple[spaces.Space[Any], Any]] = {
    "double": (spaces.Box(-1, 1, (2,), np.float32), np.array([0.1, np.nan])),
    "whole": (PICTURE, np.full((2, 2, 3), 7.0)),
    "flag": (spaces.MultiBinary(2), np.array([True, False])),
    "scalar": (spaces.Box(-1, 1, (1,), np.float32), 0.25),
    "integer": (spaces.Discrete(5), np.int32(3)),
}
"""Name → what a space declares, and what is returned: a cast keeps it, but for rounding."""


class Undeclared(gymnasium.Env[Any, Any]):
    """Returns what its space does not declare, from step `after` on."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None, what: str = "float", after: int = 0) -> None:
        self.render_mode, self.what, self.after = render_mode, what, after
        self.declared, self.returned = (DECLARED | SAME)[what]
        self.observation_space = spaces.Dict({"eye": self.declared})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self._observation(), 1.0, self.steps >= 6, False, {}

    def render(self) -> Any:
        return f"step {self.steps}"

    def _observation(self) -> Any:
        sound = (
            ""
            if isinstance(self.declared, spaces.Text)
            else np.zeros(self.declared.shape, self.declared.dtype)
        )
        return {"eye": self.returned if self.steps >= self.after else sound}


gymnasium.register("toys/OddKeys-v0", OddKeys)
gymnasium.register("toys/Undeclared-v0", Undeclared)


def undeclared(**kwargs: Any) -> dict[str, Any]:
    """Give a suite of one task whose observations are not what is declared."""
    task = {
        "id": "odd",
        "env": f"{MODULE}:toys/Undeclared-v0",
        "kwargs": kwargs,
        "success": "terminated",
        "controls": {"KeyA": 0, "KeyB": 1},
    }
    return {"suite": "odd", "tasks": [task]}


ODD_KEYS: dict[str, Any] = {
    "suite": "keys",
    "tasks": [{"id": "keys", "env": f"{MODULE}:toys/OddKeys-v0", "success": "terminated"}],
}
