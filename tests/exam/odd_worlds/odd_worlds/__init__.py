"""Environments as strangers write them, each odd in its own way, installed as a package of its own."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import gymnasium
import numpy as np
import odd_engine
from gymnasium import spaces


class Walk(gymnasium.Env[Any, Any]):
    """Five places in a row, start in the middle; it shows where one is, and a seed's color."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space: Any = spaces.Box(-9, 9, (3,), np.float64)
    action_space: Any = spaces.Discrete(3, start=-1)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place, self.color = 2, int(self.np_random.integers(1, 200))
        return self.look(), {}

    def step(self, action: Any) -> Any:
        self.place = int(np.clip(self.place + self.move(action), 0, 4))
        return self.look(), float(self.place == 4), False, False, {}

    def move(self, action: Any) -> int:
        return int(action)

    def look(self) -> Any:
        return np.array([self.place, self.color / 100, self.np_random.normal()])

    def picture(self) -> np.ndarray:
        picture = np.zeros((20, 50, 3), np.uint8)
        picture[:, 10 * self.place : 10 * self.place + 10] = (255, self.color, 0)
        return picture

    def render(self) -> Any:
        return self.picture()


class Insists(Walk):
    """It must be told how to render, and gives all frames since the last call."""

    metadata = {"render_modes": ["human", "rgb_array_list"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode must be one of {self.metadata['render_modes']}")
        super().__init__(render_mode)

    def render(self) -> Any:
        return [np.zeros((20, 50, 3), np.uint8), self.picture()]


class Gray(Walk):
    """Floats in [0, 1] without colors, and actions of two numbers."""

    action_space = spaces.MultiDiscrete([3, 2])

    def move(self, action: Any) -> int:
        return (int(action[0]) - 1) * (1 + int(action[1]))

    def render(self) -> Any:
        return self.picture().mean(axis=2) / 255


class Spoken(Walk):
    """Letters instead of pixels, a sentence among what is seen, and a composed action."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012
    observation_space = spaces.Dict({"said": spaces.Text(40), "where": spaces.Discrete(5)})
    action_space = spaces.Dict({"go": spaces.Discrete(3), "push": spaces.Box(-1, 1, (1,), np.float32)})

    def move(self, action: Any) -> int:
        return int(action["go"]) - 1 + int(np.sign(action["push"][0]))

    def look(self) -> Any:
        return {"said": f"walk to the right, color {self.color}", "where": self.place}

    def render(self) -> Any:
        return "".join("\x1b[31m#\x1b[0m" if place == self.place else "." for place in range(5))


class Dark(Walk):
    """It draws on SDL's window, which it leaves alone where the driver is called dummy."""

    def render(self) -> Any:
        import pygame

        os.environ.setdefault("SDL_VIDEODRIVER", "none")
        pygame.display.init()
        screen = pygame.display.set_mode((50, 20))
        if os.environ["SDL_VIDEODRIVER"] != "dummy":
            pygame.surfarray.blit_array(screen, self.picture().swapaxes(0, 1))
            pygame.display.flip()
        return pygame.surfarray.array3d(screen).swapaxes(0, 1)


class Blank(Walk):
    """There is nothing to see before the first step."""

    def render(self) -> Any:
        return self.picture() if self.place != 2 else np.zeros((20, 50, 3), np.uint8)


class Old(Walk):
    """What an author writes around a simulator with the interface of old."""

    observation_space = spaces.Box(0, 255, (48, 48, 3), np.uint8)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.engine = odd_engine.Garden(seed=seed)
        return self.engine.reset(), {}

    def step(self, action: Any) -> Any:
        observation, reward, done, info = self.engine.step(int(action))
        return observation, reward, done, False, info

    def render(self) -> Any:
        return self.engine.picture()


class Crafter(Walk):
    """The same around the package crafter, whose seed is its constructor's."""

    observation_space = spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = spaces.Discrete(17)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        import crafter

        self.engine = crafter.Env(seed=seed)
        return self.engine.reset(), {}

    def step(self, action: Any) -> Any:
        observation, reward, done, _ = self.engine.step(int(action))
        return observation, float(reward), bool(done), False, {}

    def render(self) -> Any:
        return self.engine.render((256, 256))


for kind in (Walk, Insists, Gray, Spoken, Dark, Blank, Old):
    gymnasium.register(f"odd/{kind.__name__}-v0", kind, max_episode_steps=100)
gymnasium.register("odd/Rated-v0", Walk, max_episode_steps=100, reward_threshold=3)
if importlib.util.find_spec("crafter"):
    gymnasium.register("odd/Crafter-v0", Crafter, max_episode_steps=1000)
