"""However often an environment is drawn, its episode goes on the same."""

from __future__ import annotations

import random
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv


class World:
    """What a simulator holds: generators of its own, one of each kind."""

    def __init__(self, seed: int) -> None:
        self.legacy, self.python = np.random.RandomState(seed), random.Random(seed)


class Engine:
    def __init__(self, seed: int) -> None:
        self.world = World(seed)


class Noisy(gymnasium.Env[Any, Any]):
    """Every picture has noise from the generator, of the kind `draws_from`, that the steps draw from too."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Box(0, 1, (1,), np.float64)
    action_space = spaces.Discrete(2)

    def __init__(self, draws_from: str, render_mode: str | None = None) -> None:
        self.draws_from, self.render_mode = draws_from, render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.engine = Engine(seed or 0)
        return np.zeros(1), {}

    def step(self, action: Any) -> Any:
        return np.array([self.draw()]), 0.0, False, False, {}

    def render(self) -> Any:
        return np.array([[[255 * self.draw()] * 3, [0, 0, 0]]], np.uint8)

    def draw(self) -> float:
        match self.draws_from:
            case "gymnasium":
                return float(self.np_random.random())
            case "legacy":
                return float(self.engine.world.legacy.uniform())
            case _:
                return self.engine.world.python.random()


gymnasium.register("undisturbed/Noisy-v0", Noisy)


@pytest.mark.parametrize("kind", ["gymnasium", "legacy", "python"])
def test_an_episode_goes_on_the_same_however_often_it_is_drawn(kind: str) -> None:
    document = {"id": "noisy", "env": "undisturbed/Noisy-v0", "kwargs": {"draws_from": kind}}
    (task,) = suite_from({"suite": "noise", "tasks": [document]})
    courses = []
    for pictures in (0, 1, 3):
        environment = TaskEnv(task, rgb=True)
        environment.reset(4)
        course = []
        for _ in range(5):
            for _ in range(pictures):
                environment.frame()
            course.append(float(environment.step(np.array([0.0])).observation[""][0]))
        courses.append(course)
        environment.close()
    assert courses[0] == courses[1] == courses[2]
    assert len(set(courses[0])) == 5
