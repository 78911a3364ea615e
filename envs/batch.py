"""Environments of one task, reset and stepped at once where they can be: the pages of a browser."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .spaces import row_to_action
from .task import Task
from .task_env import StepResult, TaskEnv
from .web.registration import is_web


def reset_together(environments: Sequence[TaskEnv], seeds: Sequence[int]) -> list[StepResult]:
    """Begin the episode of a seed in each environment."""
    if not _have_pages(environments):
        return [one.reset(seed) for one, seed in zip(environments, seeds, strict=True)]
    from .web.vector import reset_many

    for one in environments:
        one.forget()
    begun = reset_many([one.env.unwrapped for one in environments], list(seeds))  # type: ignore[misc]
    each = zip(environments, seeds, begun, strict=True)
    return [one.begun(seed, *seen) for one, seed, seen in each]


def step_together(environments: Sequence[TaskEnv], rows: Sequence[np.ndarray]) -> list[StepResult]:
    """Take one action, a row `[k]`, in each environment."""
    if not _have_pages(environments):
        return [one.step(row) for one, row in zip(environments, rows, strict=True)]
    from .web.vector import step_many

    actions = [row_to_action(one.action_space, row) for one, row in zip(environments, rows, strict=True)]
    stepped = step_many([one.env.unwrapped for one in environments], actions)  # type: ignore[misc]
    each = zip(environments, rows, stepped, strict=True)
    return [one.stepped(row, *result) for one, row, result in each]


def steps_together(task: Task) -> bool:
    """Say whether environments of a task are stepped at once: pages, unless wrappers stand around them."""
    return is_web(task.env) and not task.wrappers


def _have_pages(environments: Sequence[TaskEnv]) -> bool:
    return bool(environments) and steps_together(environments[0].task)
