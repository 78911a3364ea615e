"""Many web pages, each in a tab of one browser, reset and stepped concurrently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, iterate

from ...console.wording import counted
from ...errors import TutelageError
from .actions import WebAction
from .browser import Browser, shared
from .environment import STEPS, Observed, WebEnv, browser_of


class WebVectorEnv(VectorEnv[Observed, Any, np.ndarray]):
    """N tabs of one task, or of several: tab i has task `task[i % len(task)]`.

    Accepts a list of `WebAction`s or a batch of the action space. Instructions and elements are tuples of
    length N. A crash of a tab or the browser only delays the step.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        task: str | Sequence[str],
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        screenshot: bool = False,
        max_steps: int = STEPS,
        browser: Browser | None = None,
    ) -> None:
        if num_envs < 1:
            raise TutelageError(f"expected num_envs from 1, got {num_envs}")
        tasks = [task] if isinstance(task, str) else list(task)
        browser = browser or shared()
        task_names = [tasks[i % len(tasks)] for i in range(num_envs)]
        self.envs = [WebEnv(name, render_mode, screenshot, max_steps, browser) for name in task_names]
        self.num_envs, self.render_mode = num_envs, render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            raise TutelageError("expected autoreset_mode NextStep or Disabled, got SameStep")
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self.envs[0].observation_space
        self.single_action_space = self.envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._over = np.zeros(num_envs, np.bool_)
        self._observations: list[Observed] = [{}] * num_envs

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observed, dict[str, Any]]:
        """Begin episodes: `seed + i` in tab i, or a list of seeds; `options["reset_mask"]` bool `[N]`."""
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs)), np.bool_)
        is_number = isinstance(seed, int | np.integer)
        seeds = [int(seed) + i for i in range(self.num_envs)] if is_number else seed  # type: ignore[arg-type]
        chosen = [None] * self.num_envs if seeds is None else list(seeds)  # type: ignore[arg-type]
        self._begin(np.flatnonzero(mask).tolist(), chosen)
        return self._observation(), {}

    def step(self, actions: Any) -> tuple[Observed, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        action_list = list(actions if self._is_list(actions) else iterate(self.action_space, actions))
        if len(action_list) != self.num_envs:
            raise TutelageError(f"expected {counted(self.num_envs, 'action')}, got {len(action_list)}")
        over = self._over.copy()
        if over.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            raise TutelageError("expected reset() of the episodes that are over; give it a `reset_mask`")
        acting = np.flatnonzero(~over).tolist()
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        stepped = WebEnv.step_together([self.envs[i] for i in acting], [action_list[i] for i in acting])
        for i, (observation, reward, ended, cut, _) in zip(acting, stepped, strict=True):
            self._observations[i], rewards[i], terminated[i], truncated[i] = observation, reward, ended, cut
        self._begin(np.flatnonzero(over).tolist(), [None] * self.num_envs)
        self._over = terminated | truncated
        return self._observation(), rewards, terminated, truncated, {}

    def render(self) -> tuple[Any, ...] | None:
        """Take a screenshot of every tab, if the render mode is `rgb_array`."""
        if self.render_mode != "rgb_array":
            return None
        return tuple(browser_of(self.envs).talk([env.episode.picture() for env in self.envs]))

    def close_extras(self, **kwargs: Any) -> None:
        """Close the tabs."""
        browser_of(self.envs).talk([env.episode.tab.close() for env in self.envs])

    def _begin(self, rows: Sequence[int], seeds: Sequence[int | None]) -> None:
        results = WebEnv.reset_together([self.envs[i] for i in rows], [seeds[i] for i in rows])
        for i, (observation, _) in zip(rows, results, strict=True):
            self._observations[i], self._over[i] = observation, False

    def _observation(self) -> Observed:
        columns = {
            name: [observation[name] for observation in self._observations] for name in self._observations[0]
        }
        return {
            name: np.stack(column) if name == "screenshot" else tuple(column)
            for name, column in columns.items()
        }

    @staticmethod
    def _is_list(actions: Any) -> bool:
        return isinstance(actions, Sequence) and all(isinstance(action, WebAction) for action in actions)
