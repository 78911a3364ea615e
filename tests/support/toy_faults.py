"""An environment that fails when and where it is told to: made, reset, stepped, or with its whole process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv


class Fragile(gymnasium.Env[Any, Any]):
    """Counts four steps. `fails` is "make", "reset", "step" or "process"; it does so while `switch` is there.

    With `seeds`, only episodes of these seeds fail. Every reset adds its seed to the file `log`.
    """

    observation_space = spaces.Discrete(100)
    action_space = spaces.Discrete(2)

    def __init__(
        self,
        render_mode: str | None = None,
        fails: str = "",
        switch: str = "",
        seeds: tuple[int, ...] = (),
        log: str = "",
    ) -> None:
        self.fails, self.seeds = fails, seeds
        self.switch = Path(os.environ["TOY_FAULTS"]) / switch if switch else None
        self.log = Path(os.environ["TOY_FAULTS"]) / log if log else None
        self.seed, self.steps = -1, 0
        self._maybe("make")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.seed, self.steps = seed or 0, 0
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{self.seed}\n")
        self._maybe("reset")
        return 0, {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        self._maybe("step")
        if self.steps == 2 and self._fails("process"):
            os._exit(9)
        return self.steps, 1.0, self.steps == 4, False, {}

    def _maybe(self, where: str) -> None:
        if self._fails(where):
            raise RuntimeError(f"the simulator is not running ({where})")

    def _fails(self, where: str) -> bool:
        is_on = self.switch is None or self.switch.exists()
        return self.fails == where and is_on and (not self.seeds or self.seed in self.seeds)


def square(job: int) -> int:
    """Return a square; 3 takes its process with it."""
    if job == 3:
        os._exit(9)
    return job * job


class FragilePole(CartPoleEnv):
    """CartPole, in which episodes of some seeds end by an error while the file `switch` is there."""

    def __init__(self, render_mode: str | None = None, seeds: tuple[int, ...] = ()) -> None:
        super().__init__(render_mode=render_mode)
        self.seeds, self.seed = seeds, -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.seed = seed or 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        if self.seed in self.seeds and (Path(os.environ["TOY_FAULTS"]) / "switch").exists():
            raise RuntimeError("the pole fell off its cart")
        return super().step(action)


gymnasium.register("toys/FragilePole-v0", entry_point=FragilePole, max_episode_steps=12)
gymnasium.register("toys/Fragile-v0", entry_point=Fragile)
