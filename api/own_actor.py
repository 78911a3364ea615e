"""An actor that a program brings: it sees observations and gives actions as the environment has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..envs.spaces import action_size, action_to_row, unflatten
from ..envs.task import Task
from ..envs.task_env import StepResult, TaskEnv
from ..errors import TutelageError


class OwnActor:
    """Let an object act that has `act(observation)`, one episode at a time.

    `act` returns a value of the action space, or None, which gives up. `reset()`, where the object has it, is
    called before each episode; `name`, or else the name of its class, is what tables show.
    """

    kind = "policy"
    batch = 1
    """One episode at a time: the object holds the state of one."""

    def __init__(self, acting: Any) -> None:
        self.name = str(getattr(acting, "name", "") or type(acting).__name__)
        self._acting = acting
        self._environment: TaskEnv | None = None

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        (self._environment,) = environments
        if reset := getattr(self._acting, "reset", None):
            reset()

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        assert self._environment is not None
        space = self._environment.action_space
        observation = unflatten(self._environment.observation_space, steps[0].observation)
        action = self._acting.act(observation)
        if action is None:
            return np.full((1, action_size(space)), np.nan)
        try:
            return action_to_row(space, action)[None]
        except TutelageError as error:
            raise TutelageError(f"actor {self.name}: {error}") from None
