"""A task that needs a module to be trusted, and work on it that other processes can import."""

from __future__ import annotations

from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv

POLE = Task("pole", "json:CartPole-v1")


def limit(task: Task) -> int:
    environment = TaskEnv(task)
    environment.close()
    return environment.limit
