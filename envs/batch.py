"""Reset and step several environments of one task, concurrently if their class `StepsTogether`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .capabilities import StepsTogether, plain
from .spaces import row_to_action
from .task_env import StepResult, TaskEnv


def reset_together(environments: Sequence[TaskEnv], seeds: Sequence[int]) -> list[StepResult]:
    """Reset each environment with its own seed."""
    bare = _concurrent(environments)
    if not bare:
        return [environment.reset(seed) for environment, seed in zip(environments, seeds, strict=True)]
    for environment in environments:
        environment.forget()
    results = type(bare[0]).reset_together(bare, seeds)
    items = zip(environments, seeds, results, strict=True)
    return [environment.finish_reset(seed, *result) for environment, seed, result in items]


def step_together(environments: Sequence[TaskEnv], rows: Sequence[np.ndarray]) -> list[StepResult]:
    """Step each environment with its own action, a row `[k]`."""
    bare = _concurrent(environments)
    if not bare:
        return [environment.step(row) for environment, row in zip(environments, rows, strict=True)]
    actions = [
        row_to_action(environment.action_space, row)
        for environment, row in zip(environments, rows, strict=True)
    ]
    results = type(bare[0]).step_together(bare, actions)
    items = zip(environments, rows, results, strict=True)
    return [environment.finish_step(row, *result) for environment, row, result in items]


def _concurrent(environments: Sequence[TaskEnv]) -> list[StepsTogether]:
    """Return the bare environments if they step concurrently, else an empty list."""
    if not environments or plain(environments[0].env, StepsTogether) is None:
        return []
    return [environment.env.unwrapped for environment in environments]  # type: ignore[misc]
