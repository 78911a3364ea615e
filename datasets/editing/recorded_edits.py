"""Episodes with stored observations in a corrected task: what can be shown to be right without a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...envs.spaces import action_size, leaves, row_to_action
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ..recorded_only import is_absent
from ..replay import Environments
from ..trajectory import Trajectory


def recorded_in(after: Trajectory, before: Task, environments: Environments) -> tuple[Trajectory, str]:
    """Return an episode as one of a corrected task, `after.task`, and why it is refused.

    It must be the same environment. One that was registered nowhere may get another id and module, if every
    recorded observation and action fits that. The outcome is what the rule says of rewards and infos.
    """
    task = environments.suite[after.task]
    is_same = _plays(before) == _plays(task)
    if not is_same and not is_absent(before):
        return after, "its observations are stored: no replay shows that this is right"
    if not is_same and (misfit := _misfit(after, environments[task.id])):
        return after, f"its recorded {misfit} are not those of {task.env}"
    lacking = [path.text for path in task.success.paths if path.text not in after.infos]
    if lacking and task.success.text != before.success.text:
        return after, f"its observations are stored, without {lacking[0]}, which the rule reads"
    ends = after.terminated, after.truncated
    rule = task.success
    success = rule.judge(after.rewards, *ends, after.infos) if any(ends) else rule.outcome(False)
    return replace(after, success=success), ""


def _plays(task: Task) -> tuple[Any, ...]:
    """Return what says which environment plays a task, and how."""
    return task.env, task.imports, task.kwargs, task.max_steps


def _misfit(episode: Trajectory, environment: TaskEnv) -> str:
    """Name what of an episode does not fit an environment's spaces; "" where all does."""
    observations: Mapping[str, np.ndarray] = episode.observations or {}
    declared = {leaf.path: leaf for leaf in leaves(environment.observation_space)}
    if declared.keys() != observations.keys():
        return "observations"
    for path, array in observations.items():
        space = declared[path].space
        is_text = array.dtype.kind in "UO"
        if declared[path].is_text != is_text:
            return "observations"
        if not is_text and (array.shape[1:] != (space.shape or ()) or array.dtype != space.dtype):
            return "observations"
    actions = environment.action_space
    if episode.actions.shape[1] != action_size(actions):
        return "actions"
    return "" if all(actions.contains(row_to_action(actions, row)) for row in episode.actions) else "actions"
