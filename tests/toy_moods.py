"""An environment that does as it is told: goes on, raises, hangs, or takes its whole process with it."""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

FINE, RAISES, HANGS, DIES = range(4)


class Moody(gymnasium.Env[Any, Any]):
    """Its action says what becomes of it."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Discrete(100)
    action_space = spaces.Discrete(4)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return 0, {}

    def step(self, action: Any) -> Any:
        match int(action):
            case 1:
                raise RuntimeError("in a mood")
            case 2:
                time.sleep(1000)
            case 3:
                os._exit(3)
        self.steps += 1
        return self.steps, 0.0, False, False, {}

    def render(self) -> Any:
        return np.full((32, 32, 3), self.steps, np.uint8)


gymnasium.register("toys/Moody-v0", entry_point=Moody)  # type: ignore[arg-type]
