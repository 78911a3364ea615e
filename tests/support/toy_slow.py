"""A toy with a picture of any size that is slow, waits or breaks as files say; importing it registers it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

LIMIT = 1000


class Slow(gymnasium.Env[Any, Any]):
    """A bar that grows with the steps.

    While the file `shut` exists, the step whose number is in it waits, a reset for 0; while `broken` exists,
    a reset fails.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        render_mode: str | None = None,
        shut: str = "",
        broken: str = "",
        step_seconds: float = 0.0,
        actions: int = 4,
        size: tuple[int, int] = (160, 120),
    ) -> None:
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(actions)
        self.observation_space = spaces.Box(0, np.inf, (1,), np.float32)
        self._shut, self._broken, self._seconds, self._size = shut, broken, step_seconds, tuple(size)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._steps = 0
        if self._broken and Path(self._broken).exists():
            raise RuntimeError("the simulator is not running")
        self._wait(0)
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        self._steps += 1
        self._wait(self._steps)
        time.sleep(self._seconds)
        return self._seen(), 0.0, False, False, {}

    def render(self) -> Any:
        width, height = self._size
        picture = np.full((height, width, 3), 230, np.uint8)
        picture[:, : 1 + self._steps % width] = (60, 120, 220)
        return picture

    def _seen(self) -> np.ndarray:
        return np.array([self._steps], np.float32)

    def _wait(self, step: int) -> None:
        while self._shut and Path(self._shut).exists() and _number(self._shut) == step:
            time.sleep(0.01)


def _number(file: str) -> int:
    try:
        return int(Path(file).read_text() or 0)
    except FileNotFoundError:
        return -1


gymnasium.register("toys/Slow-v0", "tutelage.tests.support.toy_slow:Slow", max_episode_steps=LIMIT)
