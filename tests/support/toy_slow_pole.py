"""A pole that takes its time: as many seconds a step and a reset as the environment variable says."""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

MODULE = "tutelage.tests.support.toy_slow_pole"
STEP, RESET = "TOY_STEP_SECONDS", "TOY_RESET_SECONDS"
SUITE: dict[str, Any] = {
    "suite": "slow",
    "tasks": [
        {
            "id": name,
            "env": f"{MODULE}:toys/SlowPole-v0",
            "max_steps": 12,
            "success": "return >= 12",
            "expert": "cartpole",
            "controls": {"ArrowLeft": 0, "ArrowRight": 1},
            "pace": {"fps": 15, "idle": 0},
        }
        for name in ("pole", "post")
    ],
    "evaluation": {"episodes": 4},
}


class SlowPole(CartPoleEnv):
    """CartPole that sleeps."""

    def reset(self, **options: Any) -> Any:
        time.sleep(float(os.environ.get(RESET, 0)))
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        time.sleep(float(os.environ.get(STEP, 0)))
        return super().step(action)


gymnasium.register("toys/SlowPole-v0", entry_point=SlowPole)  # type: ignore[arg-type]


def stay_with_a_page(folder: str) -> None:
    """Open a page in this process's browser, say so, and go on talking to it for good."""
    from pathlib import Path

    from tutelage.envs.suite import suite_from
    from tutelage.envs.task_env import TaskEnv

    suite = suite_from({"suite": "web", "tasks": [{"id": "button", "env": "tutelage/web.click-button-v0"}]})
    environment = TaskEnv(suite["button"])
    environment.reset(0)
    (Path(folder) / f"{os.getpid()}.page").touch()
    while True:
        environment.reset(1)
