"""A run and its policy in a program's own loop: observations in, values of the action space out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..envs.spaces import flatten, row_to_action
from ..envs.suite import Suite
from ..envs.task_env import TaskEnv
from ..errors import TutelageError

if TYPE_CHECKING:
    from ..agents.policy.checkpoint import LoadedPolicy
    from ..agents.training.config import TrainConfig


@dataclass(frozen=True)
class Run:
    """A training run on disk: its configuration, metrics, and the policy that it kept."""

    path: Path

    @property
    def config(self) -> TrainConfig:
        """The settings that it was trained with."""
        from ..agents.training.config import TrainConfig
        from ..agents.training.resuming import CONFIG

        return TrainConfig.load(self.path / CONFIG)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What was logged while it trained, a dict a line: `step`, `loss`, `task_loss`, `select`, ..."""
        from ..agents.training.metrics_log import read_log

        return [dict(record) for record in read_log(self.path).records]

    @property
    def policy(self) -> TrainedPolicy:
        """The policy that did best on select seeds."""
        return load_policy(self.path)


def load_policy(source: Run | str | Path, *, device: str = "auto") -> TrainedPolicy:
    """Load the policy of a run (the one that it kept), or of a checkpoint's folder.

    It computes on `device`: auto (the accelerator if there is one), cpu, cuda, mps or xpu. Every byte is
    checked. Raises TutelageError where it is missing, damaged or of another version, and for a device that
    is not there.
    """
    from ..agents.evaluation.compare import checkpoint_of
    from ..agents.policy.checkpoint import load

    path = source.path if isinstance(source, Run) else Path(source)
    return TrainedPolicy(load(checkpoint_of(path), device), path)


class TrainedPolicy:
    """A policy, the suite that it was trained on, and what it was made of (`lineage`)."""

    def __init__(self, loaded: LoadedPolicy, path: Path) -> None:
        self.path = path
        self.suite: Suite = loaded.suite
        self.lineage: Mapping[str, Any] = loaded.lineage
        self.seal = loaded.seal
        """The SHA-256 of its description, which holds that of its weights."""
        self.network = loaded.policy
        """The network itself: a `torch.nn.Module`."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The ids of the tasks that it was taught."""
        return self.network.tasks

    def actor(self, task: str, *, greedy: bool = True, temperature: float = 1.0, seed: int = 0) -> TaskActor:
        """Return the policy at one task, with a memory of its own.

        A `greedy` one takes the likeliest action; else actions are drawn with `seed`, more evenly at a
        `temperature` above 1. Raises TutelageError for a task that it was not taught.
        """
        return TaskActor(self, task, greedy, temperature, seed)


class TaskActor:
    """A policy at one task: call `reset` before an episode, then `act` once a step."""

    def __init__(self, policy: TrainedPolicy, task: str, greedy: bool, temperature: float, seed: int) -> None:
        import torch

        if task not in policy.tasks:
            raise TutelageError(f"expected one of the tasks {', '.join(policy.tasks)}, got {task!r}")
        environment = TaskEnv(policy.suite[task])
        try:
            policy.network.expect_environment(environment)
            self.observation_space = environment.observation_space
            self.action_space = environment.action_space
        finally:
            environment.env.close()
        self.task = task
        self.probabilities: np.ndarray | list[np.ndarray | None] | None = None
        """How likely each option was at the last step: of a Discrete space float64 `[n]`, from `start` on.

        Of other spaces a list, one array a number of the action (of a Box, over its bins); None for what
        points at a part of a page. None where a flow head generates the action: it has no options.
        """
        self._network = policy.network
        self._greedy, self._temperature = greedy, temperature
        self._generator = torch.Generator().manual_seed(seed)
        self._cache = self._network.start(task, 1)

    def reset(self) -> None:
        """Begin an episode: forget the last one."""
        self._cache = self._network.start(self.task, 1)
        self.probabilities = None

    def act(self, observation: Any, action_mask: np.ndarray | None = None) -> Any:
        """Choose an action, a value of the action space, for a value of the observation space.

        `action_mask`, a boolean `[n]`, says which actions of a Discrete space are allowed. Raises
        TutelageError for an observation that lacks a part or is of another shape.
        """
        flat = flatten(self.observation_space, observation)
        batch = {
            path: np.array([leaf], object if isinstance(leaf, str) else None) for path, leaf in flat.items()
        }
        recorded: list[np.ndarray | None] = []
        rows, self._cache = self._network.act(
            self.task,
            batch,
            self._cache,
            greedy=self._greedy,
            generator=self._generator,
            temperature=self._temperature,
            legal=None if action_mask is None else np.asarray(action_mask, bool)[None],
            probabilities=recorded,
        )
        self.probabilities = recorded[0] if len(recorded) == 1 else recorded or None
        return row_to_action(self.action_space, rows[0])
