"""Tasks of web pages: what is done to many at once is what is done to each alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import gymnasium
import numpy as np
import pytest
from tutelage.agents.evaluation.actors import ChanceActor
from tutelage.agents.evaluation.rollout import rollout
from tutelage.envs.batch import reset_together, step_together
from tutelage.envs.spaces import action_to_row
from tutelage.envs.suite import suite_from
from tutelage.envs.task import Task
from tutelage.envs.task_env import StepResult, TaskEnv
from tutelage.envs.web.action_space import action_space, to_value
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.environment import WebEnv
from tutelage.tests.envs.web.showing import PAGES

FORM = "tutelage/web.our-form-v0"
SEEDS = (4, 5, 6)


@pytest.fixture(scope="module")
def task() -> Iterator[Task]:
    gymnasium.register(FORM, entry_point=WebEnv, kwargs={"task": str(PAGES / "form.html")})  # type: ignore[arg-type]
    suite = suite_from(
        {"suite": "ours", "tasks": [{"id": "form", "env": FORM, "max_steps": 5, "success": "reward > 0"}]}
    )
    yield suite["form"]
    del gymnasium.registry[FORM]


def row(action: WebAction) -> np.ndarray:
    return action_to_row(action_space(), to_value(action))


def told(steps: Sequence[StepResult]) -> list[tuple[object, ...]]:
    return [
        (str(one.observation["elements"]), one.reward, one.terminated, one.truncated, one.success)
        for one in steps
    ]


def test_steps_together_are_the_steps_alone(task: Task) -> None:
    alone = [TaskEnv(task) for _ in SEEDS]
    together = [TaskEnv(task) for _ in SEEDS]
    try:
        begun = [one.reset(seed) for one, seed in zip(alone, SEEDS, strict=True)]
        assert told(reset_together(together, SEEDS)) == told(begun)
        assert [one.instruction for one in together] == [one.instruction for one in alone]
        for place in (2, 5, 3, 6, 4):
            rows = [
                row(one)
                for one in (
                    WebAction("click", place),
                    WebAction("type", place, text="x"),
                    WebAction("hover", place),
                )
            ]
            stepped = [one.step(own) for one, own in zip(alone, rows, strict=True)]
            assert told(step_together(together, rows)) == told(stepped)
        assert all(one.done for one in stepped)
    finally:
        for one in [*alone, *together]:
            one.close()


def test_episodes_played_at_once_are_those_played_one_by_one(task: Task) -> None:
    actor = ChanceActor(seed=3)
    once = rollout(actor, task, SEEDS, suite_name="ours")
    singly = rollout(actor, task, SEEDS, suite_name="ours", batch=1)
    assert [one.digest for one in once] == [one.digest for one in singly]
