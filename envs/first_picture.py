"""A program that draws the first picture of a task: `rendering` tries drivers with it."""

from __future__ import annotations

import json
import sys

from .rendering import is_blank
from .success import SuccessRule
from .task import Task
from .task_env import TaskEnv


def _main() -> None:
    """Draw the first picture of the task on standard input; status 0 says that it shows something."""
    plain = json.load(sys.stdin)
    environment = TaskEnv(Task(**plain | {"success": SuccessRule(plain["success"])}), rgb=True)
    environment.reset(0)
    frame = environment.frame()
    environment.close()
    sys.exit(is_blank(frame))


if __name__ == "__main__":
    _main()
