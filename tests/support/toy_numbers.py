"""A toy whose rewards and observations are not finite; importing it registers it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

MODULE = "tutelage.tests.support.toy_numbers"
REWARDS = (1.0, np.nan, np.inf, -np.inf)
"""The reward of each action, from 1 on."""


class Numbers(gymnasium.Env[Any, Any]):
    """Each action gives its own reward, which is observed too; over after `length` steps."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012
    observation_space = spaces.Dict(
        {"dial": spaces.Box(-np.inf, np.inf, (2,), np.float32), "place": spaces.Discrete(100)}
    )
    action_space = spaces.Discrete(4, start=1)  # type: ignore[arg-type]

    def __init__(self, render_mode: str | None = None, length: int = 4) -> None:
        self.render_mode = render_mode
        self.length = length
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(0.0), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        reward = REWARDS[int(action) - 1]
        return self._observation(reward), reward, self.steps >= self.length, False, {}

    def render(self) -> Any:
        return f"step {self.steps}"

    def _observation(self, reward: float) -> Any:
        return {"dial": np.array([self.steps, reward], np.float32), "place": self.steps}


gymnasium.register("toys/Numbers-v0", Numbers)

TASK: dict[str, Any] = {
    "id": "numbers",
    "env": f"{MODULE}:toys/Numbers-v0",
    "success": "terminated",
    "actions": ["plain", "missing", "endless", "minus"],
    "controls": {"KeyA": 1, "KeyB": 2, "KeyC": 3, "KeyD": 4},
}
SUITE: dict[str, Any] = {"suite": "numbers", "tasks": [TASK]}


class Signal(gymnasium.Env[Any, Any]):
    """The first number says which action is right: 1, 5 or 9. Seed 0 has an infinity, seed 1 a sentinel."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = spaces.Discrete(3)
    length = 6

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.spoiled = {0: np.inf, 1: 1e30}.get(-1 if seed is None else seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        reward = float(int(action) == self.right)
        self.steps += 1
        return self._observation(), reward, self.steps >= self.length, False, {}

    def _observation(self) -> Any:
        self.right = int(self.np_random.integers(3))
        first = 1.0 + 4 * self.right
        if self.spoiled is not None and self.steps == 3:
            first = self.spoiled
        return np.array([first, self.np_random.normal(), 2.5], np.float32)


gymnasium.register("toys/Signal-v0", Signal)
SIGNAL: dict[str, Any] = {
    "suite": "signal",
    "tasks": [{"id": "signal", "env": f"{MODULE}:toys/Signal-v0", "success": "return >= 6"}],
}


def right_actions(seed: int) -> list[int]:
    """Return the actions that solve an episode of Signal."""
    environment = Signal()
    environment.reset(seed=seed)
    actions = []
    for _ in range(Signal.length):
        actions.append(environment.right)
        environment.step(environment.right)
    return actions
