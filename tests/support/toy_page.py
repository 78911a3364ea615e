"""A page that needs no browser: buttons with names, one of which is asked for, and a field to type in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from tutelage.datasets.arrays.sampler import TaskArrays
from tutelage.envs.spaces import action_to_row
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.web.action_space import action_space, observation_space, to_action, to_value
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.observation import COLUMNS, write_columns

NAMES = ("ann", "bob", "cho", "dee", "eve", "fay", "gus", "hal", "ida", "joe", "kim", "lou", "mia", "ned")


def page(*elements: tuple[str, str, str | None]) -> str:
    """Write a page of elements (tag, text, value), one below the other, in a body."""
    rows: list[dict[str, Any]] = [{"tag": "BODY"}]
    rows += [{"tag": tag, "text": text, "value": value} for tag, text, value in elements]
    usual = {"text": "", "value": None, "id": "", "classes": "", "bg": 0, "fg": 255, "flags": 0}
    filled = [
        usual
        | {
            "ref": at + 1,
            "parent": 0 if at else -1,
            "left": 2,
            "top": 50 + 12 * at,
            "width": 80,
            "height": 11,
        }
        | row
        for at, row in enumerate(rows)
    ]
    return write_columns({name: [row[name] for row in filled] for name in COLUMNS})


class PageToy(gymnasium.Env[Any, Any]):
    """Click the name that is asked for, or type it into the field: right at the first action, or lost."""

    def __init__(
        self, names: Sequence[str] = NAMES, typed: bool = False, render_mode: str | None = None
    ) -> None:
        self.observation_space, self.action_space = observation_space(160, 210), action_space()
        self.render_mode = render_mode
        self.names, self.typed = tuple(names), typed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.shown = [str(name) for name in self.np_random.permutation(self.names)[:4]]
        self.wanted = int(self.np_random.integers(4))
        return self._look(), {}

    def step(self, action: Any) -> Any:
        right = to_action(action) == self.solution()
        return self._look(), float(right), True, False, {}

    def solution(self) -> WebAction:
        if self.typed:
            return WebAction("type", element=5, text=self.shown[self.wanted])
        return WebAction("click", element=1 + self.wanted)

    def _look(self) -> dict[str, str]:
        fields = [("BUTTON", name, None) for name in self.shown]
        verb = "Enter" if self.typed else "Press"
        return {
            "instruction": f'{verb} "{self.shown[self.wanted]}" and be done.',
            "elements": page(*fields, ("INPUT_text", "", "")),
        }


gymnasium.register("toys/PageToy-v0", entry_point=PageToy)  # type: ignore[arg-type]


def page_columns(typed: bool, episodes: int, names: Sequence[str] = NAMES) -> TaskArrays:
    """Record right answers to a toy's pages."""
    task = Task(
        "type" if typed else "click", "toys/PageToy-v0", kwargs={"names": tuple(names), "typed": typed}
    )
    environment = TaskEnv(task)
    seen, rows = [], []
    for seed in range(episodes):
        seen.append(environment.reset(seed).observation)
        toy = environment.env.unwrapped
        rows.append(action_to_row(environment.action_space, to_value(toy.solution())))
    environment.close()
    observations = {path: np.array([one[path] for one in seen], object) for path in seen[0]}
    ones = np.ones(episodes)
    return TaskArrays(
        task,
        observations,
        np.stack(rows),
        np.arange(episodes + 1),
        ones > 0,
        ["ann"] * episodes,
        ones,
        np.zeros(episodes, np.int8),
    )
