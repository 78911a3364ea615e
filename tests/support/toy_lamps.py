"""A toy shown as text, with an action of several bits; importing it registers it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Lamps(gymnasium.Env[Any, Any]):
    """A row of lamps, shown as text; an action switches each of them."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012
    observation_space = spaces.MultiBinary(3)
    action_space = spaces.MultiBinary(3)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.lit = np.zeros(3, np.int8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.lit = np.zeros(3, np.int8)
        return self.lit.copy(), {}

    def step(self, action: Any) -> Any:
        self.lit = np.asarray(action, np.int8)
        return self.lit.copy(), float(self.lit.sum()), bool(self.lit.all()), False, {}

    def render(self) -> Any:
        return "lamps: " + " ".join("\x1b[41mo\x1b[0m" if lamp else "." for lamp in self.lit)


gymnasium.register("toys/Lamps-v0", Lamps, max_episode_steps=20)
