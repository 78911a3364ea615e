"""Program that renders the first frame of a task; `rendering` runs it to try out drivers."""

from __future__ import annotations

import json
import sys

from ..success import SuccessRule
from ..task import Task
from ..task_env import TaskEnv
from .rendering import is_blank


def _main() -> None:
    """Render the first frame of the task on standard input; exit status 0 if it is not blank."""
    document = json.load(sys.stdin)
    environment = TaskEnv(Task(**document | {"success": SuccessRule(document["success"])}), rgb=True)
    environment.reset(0)
    frame = environment.frame()
    environment.close()
    sys.exit(is_blank(frame))


if __name__ == "__main__":
    _main()
