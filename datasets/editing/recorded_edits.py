"""Episodes with stored observations in a corrected task: what can be verified without a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...envs.recorded import is_recorded_only
from ...envs.spaces import action_size, leaves, row_to_action
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ..recorded_only import is_absent
from ..replay import Environments
from ..trajectory import Trajectory


def recorded_in(after: Trajectory, before: Task, environments: Environments) -> tuple[Trajectory, str]:
    """Return an episode converted to a corrected task, `after.task`, and the reason of a refusal or "".

    The environment must be the same. An unregistered one, and one of recordings only, may become another,
    if every recorded observation and action fits its spaces. The rule decides the outcome from rewards and
    infos.
    """
    task = environments.suite[after.task]
    is_same = _environment_key(before) == _environment_key(task)
    if not is_same and not (is_absent(before) or is_recorded_only(before)):
        return after, "its observations are stored: no replay shows that this is right"
    if not is_same and (mismatch := _mismatch(after, environments[task.id])):
        return after, f"its recorded {mismatch} are not those of {task.env}"
    missing = [path.text for path in task.success.paths if path.text not in after.infos]
    if missing and task.success.text != before.success.text:
        return after, f"its observations are stored, without {missing[0]}, which the rule reads"
    ends = after.terminated, after.truncated
    rule = task.success
    success = rule.judge(after.rewards, *ends, after.infos) if any(ends) else rule.outcome(False)
    return replace(after, success=success), ""


def _environment_key(task: Task) -> tuple[Any, ...]:
    """Return the fields of a task that determine its environment."""
    return task.env, task.imports, task.kwargs, task.max_steps


def _mismatch(episode: Trajectory, environment: TaskEnv) -> str:
    """Return what part of an episode does not fit an environment's spaces; "" if all does."""
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
