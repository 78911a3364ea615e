"""Random worlds of every kind of space, their episodes as arrays, and a policy without a zero weight."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from tutelage.agents.policy.encoding import ChooseHead, Encoding
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.datasets.arrays.sampler import TaskArrays
from tutelage.envs.spaces import action_to_row
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv

LENGTH = 9
GRID = spaces.Dict({"view": spaces.Box(0, 9, (3, 3, 2), np.uint8), "said": spaces.Text(20)})
WORLDS: dict[str, tuple[spaces.Space[Any], spaces.Space[Any]]] = {
    "grid": (GRID, spaces.Discrete(6, start=2)),
    "vector": (spaces.Box(-1, 1, (3,), np.float32), spaces.Box(-2, 2, (2,), np.float32)),
    "number": (spaces.Discrete(20), spaces.MultiDiscrete([3, 4])),
    "picture": (spaces.Box(0, 255, (36, 40, 3), np.uint8), spaces.MultiBinary(2)),
}


class PolicyToy(gymnasium.Env[Any, Any]):
    """Random members of a world's spaces, nine steps long."""

    def __init__(self, world: str, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = WORLDS[world]
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self._look(), {}

    def step(self, action: Any) -> Any:
        return self._look(), 1.0, False, False, {}

    def _look(self) -> Any:
        seen = self.observation_space.sample()
        if isinstance(seen, dict):  # a sparse grid, and sentences of one to three words
            seen["view"] = np.where(seen["view"][..., :1] > 6, seen["view"], 0).astype(np.uint8)
            seen["said"] = " ".join(["go", "red", "ball"][: 1 + int(self.np_random.integers(3))])
        return seen


gymnasium.register("toys/PolicyToy-v0", entry_point=PolicyToy, max_episode_steps=LENGTH)  # type: ignore[arg-type]


def columns_of(world: str, episodes: int = 6) -> TaskArrays:
    instruction = "" if world == "grid" else f"do the {world}"
    task = Task(world, "toys/PolicyToy-v0", kwargs={"world": world}, instruction=instruction)
    return random_columns(task, episodes)


def random_columns(task: Task, episodes: int, length: int = LENGTH) -> TaskArrays:
    """Play random actions for some episodes of `length` steps."""
    environment = TaskEnv(task)
    seen, rows = [], []
    for seed in range(episodes):
        step = environment.reset(seed)
        while not step.done:
            seen.append(step.observation)
            rows.append(action_to_row(environment.action_space, environment.action_space.sample()))
            step = environment.step(rows[-1])
    environment.close()
    observations = {path: np.stack([np.asarray(leaves[path]) for leaves in seen]) for path in seen[0]}
    return TaskArrays(
        task,
        observations,
        np.stack(rows),
        np.arange(episodes + 1) * length,
        np.ones(episodes, bool),
        ["ann"] * episodes,
        np.ones(episodes),
        np.zeros(len(rows), np.int8),
    )


def awake(
    config: PolicyConfig, columns: dict[str, TaskArrays], choose_head: ChooseHead | None = None
) -> Policy:
    """Make a policy none of whose weights is zero: fresh blocks would do nothing and hide mistakes."""
    torch.manual_seed(0)
    made = Policy(config, Encoding.fit(columns, (), choose_head)).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * (0.2 if weight.ndim < 2 else weight.shape[1] ** -0.5))
    return made
