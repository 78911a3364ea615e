"""An environment whose info says how it goes: a flag that comes and goes, nested numbers, odd keys."""

from __future__ import annotations

import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Visits(gymnasium.Env[Any, Any]):
    """Walk on a line from 0; info says whether the walker stands on `goal` now. Ends after six steps.

    A `fickle` one never looks the same twice, so that its observations have to be stored.
    """

    observation_space = spaces.Discrete(1 << 30)
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None, goal: int = 2, fickle: bool = False) -> None:
        self.goal, self.fickle = goal, fickle
        self.at, self.steps = 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.at, self.steps = 0, 0
        return self._look(), {}

    def step(self, action: Any) -> Any:
        self.at += 2 * int(action) - 1
        self.steps += 1
        info: dict[str, Any] = {
            "success": np.bool_(self.at == self.goal),
            "walk": {"distance": abs(self.at - self.goal), "return": float(self.at), "path": [self.at]},
            "by hand": None,
            "name": "a walk",
        }
        if self.at == self.goal:
            info["found"] = 1
        return self._look(), 0.0, self.steps == 6, False, info

    def _look(self) -> int:
        return int.from_bytes(os.urandom(3), "big") if self.fickle else self.at + 100


gymnasium.register("toys/Visits-v0", entry_point=Visits)
