"""Toys that show images of every shape, whose bright quarter says what to do; importing it registers them."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from tutelage.envs.task import Task

LENGTH = 4


def image_space(*shape: int, dtype: Any = np.uint8, high: float = 255) -> spaces.Box:
    return spaces.Box(0, high, shape, dtype)


IMAGES: dict[str, tuple[spaces.Space[Any], str]] = {
    "gray": (image_space(40, 48), "HW"),
    "gray-with-an-axis": (image_space(40, 48, 1), "HWC"),
    "color": (image_space(64, 64, 3), "HWC"),
    "with-opacity": (image_space(40, 40, 4), "HWC"),
    "large": (image_space(224, 224, 3), "HWC"),
    "wide": (image_space(36, 130, 3), "HWC"),
    "tiny": (image_space(9, 9, 3), "HWC"),
    "channels-first": (image_space(3, 84, 84), "CHW"),
    "one-channel-first": (image_space(1, 84, 84), "CHW"),
    "stack": (image_space(4, 84, 84), "CHW"),
    "stack-of-colors": (image_space(2, 64, 64, 3), "KHWC"),
    "stack-of-gray": (image_space(3, 40, 40, 1), "KHWC"),
    "stack-of-channels-first": (image_space(2, 3, 40, 40), "KCHW"),
    "stack-in-channels": (image_space(64, 64, 12), "HWC"),
    "floats-to-1": (image_space(40, 40, 3, dtype=np.float32, high=1), "HWC"),
    "floats-to-255": (image_space(40, 40, 3, dtype=np.float64), "HWC"),
    "floats-channels-first": (image_space(3, 40, 40, dtype=np.float32, high=1), "CHW"),
    "gray-floats": (image_space(40, 40, dtype=np.float32, high=1), "HW"),
}
"""Name → a space, and the layout that is recognized."""

CAMERAS = spaces.Dict(
    {
        "wrist": image_space(40, 40, 3),
        "scene": image_space(40, 40, 3),
        "state": spaces.Box(-1, 1, (4,), np.float32),
        "said": spaces.Text(20),
    }
)


class ToyImages(gymnasium.Env[Any, Any]):
    """The top or the bottom of every image is bright; the action is which."""

    def __init__(self, world: str, render_mode: str | None = None) -> None:
        # a space has a generator of its own, which environments must not share
        self.observation_space = copy.deepcopy(CAMERAS if world == "cameras" else IMAGES[world][0])
        self.layout = "HWC" if world == "cameras" else IMAGES[world][1]
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode
        self.bright = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.right, self.steps = 0, 0
        return self._look(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        self.right += int(action == self.bright)
        return self._look(), float(action == self.bright), self.steps >= LENGTH, False, {}

    def _look(self) -> Any:
        self.bright = int(self.np_random.integers(2))
        seen = self.observation_space.sample()
        if isinstance(seen, dict):
            return seen | {name: self._lit(seen[name]) for name in ("wrist", "scene")} | {"said": "go"}
        return self._lit(seen)

    def _lit(self, image: np.ndarray) -> np.ndarray:
        rows = np.moveaxis(image, self.layout.index("H"), 0)
        half = len(rows) // 2
        rows[half * self.bright : half * (self.bright + 1)] = 1 if image.max() <= 1 else 255
        return image


gymnasium.register("toys/Images-v0", entry_point=ToyImages)  # type: ignore[arg-type]


def image_task(world: str) -> Task:
    return Task(
        world,
        "toys/Images-v0",
        kwargs={"world": world},
        max_steps=LENGTH,
        instruction="" if world == "cameras" else "point at the light",
    )
