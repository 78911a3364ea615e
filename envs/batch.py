"""Reset and step several environments of one task; web pages of one browser run concurrently."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .spaces import row_to_action
from .task import Task
from .task_env import StepResult, TaskEnv
from .web.registration import is_web


def reset_together(environments: Sequence[TaskEnv], seeds: Sequence[int]) -> list[StepResult]:
    """Reset each environment with its own seed."""
    if not _have_pages(environments):
        return [environment.reset(seed) for environment, seed in zip(environments, seeds, strict=True)]
    from .web.vector import reset_many

    for environment in environments:
        environment.forget()
    results = reset_many([environment.env.unwrapped for environment in environments], list(seeds))  # type: ignore[misc]
    items = zip(environments, seeds, results, strict=True)
    return [environment.finish_reset(seed, *result) for environment, seed, result in items]


def step_together(environments: Sequence[TaskEnv], rows: Sequence[np.ndarray]) -> list[StepResult]:
    """Step each environment with its own action, a row `[k]`."""
    if not _have_pages(environments):
        return [environment.step(row) for environment, row in zip(environments, rows, strict=True)]
    from .web.vector import step_many

    actions = [
        row_to_action(environment.action_space, row)
        for environment, row in zip(environments, rows, strict=True)
    ]
    results = step_many([environment.env.unwrapped for environment in environments], actions)  # type: ignore[misc]
    items = zip(environments, rows, results, strict=True)
    return [environment.finish_step(row, *result) for environment, row, result in items]


def steps_together(task: Task) -> bool:
    """Return whether environments of a task are stepped at once: pages without wrappers."""
    return is_web(task.env) and not task.wrappers


def _have_pages(environments: Sequence[TaskEnv]) -> bool:
    return bool(environments) and steps_together(environments[0].task)
