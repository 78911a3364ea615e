"""Experts reach their task's goal, act from any state, and give up rather than play on without end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from tutelage.envs.experts import BabyAIExpert, expert_names, make_expert
from tutelage.envs.suite import load_suite
from tutelage.envs.task import TEST, Task
from tutelage.envs.task_env import StepResult, TaskEnv
from tutelage.errors import TutelageError

SUITE = load_suite("first-steps")
SEEDS = TEST.first(20)
TASKS = [task.id for task in SUITE]


@pytest.fixture
def environment(request: pytest.FixtureRequest) -> Iterator[TaskEnv]:
    made = TaskEnv(request.param if isinstance(request.param, Task) else SUITE[request.param])
    yield made
    made.close()


def episode(environment: TaskEnv, expert: Any, seed: int) -> tuple[StepResult, list[float]]:
    """Let the expert play until the end, or until it gives up."""
    step = environment.reset(seed)
    expert.reset()
    actions: list[float] = []
    while not step.done and (row := expert.act()) is not None:
        assert row.shape == (1,)
        step = environment.step(row)
        actions.append(float(row[0]))
    return step, actions


@pytest.mark.parametrize("environment", TASKS, indirect=True)
def test_every_expert_reaches_its_goal(environment: TaskEnv) -> None:
    expert = make_expert(environment.task, environment)
    ends = [episode(environment, expert, seed)[0] for seed in SEEDS]
    assert [end.success for end in ends] == [True] * len(SEEDS)


@pytest.mark.parametrize("environment", TASKS, indirect=True)
def test_the_same_seed_gives_the_same_actions_whatever_was_played_before(
    environment: TaskEnv,
) -> None:
    expert = make_expert(environment.task, environment)
    first = [episode(environment, expert, seed)[1] for seed in SEEDS[:3]]
    again = [episode(environment, expert, seed)[1] for seed in reversed(SEEDS[:3])]
    assert first == again[::-1]


@pytest.mark.parametrize("environment", ["taxi", "pendulum"], indirect=True)
def test_an_expert_recovers_from_what_another_did(environment: TaskEnv) -> None:
    expert = make_expert(environment.task, environment)
    for seed in SEEDS[:5]:
        generator = np.random.default_rng(seed)
        step = environment.reset(seed)
        expert.reset()
        bindings = environment.controls().bindings
        for _ in range(10):
            step = environment.step(np.array(bindings[generator.integers(len(bindings))].action))
        while not step.done:
            action = expert.act()
            assert action is not None
            step = environment.step(action)
        if environment.task.id == "taxi":
            assert step.terminated
        else:
            assert float(step.observation[""][0]) > 0.95  # the cosine of its angle: upright


@pytest.mark.parametrize("environment", ["goto-local"], indirect=True)
def test_the_babyai_bot_replans_from_what_was_really_done(environment: TaskEnv) -> None:
    expert = make_expert(environment.task, environment)
    reached, slips = 0, 0
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        step = environment.reset(seed)
        expert.reset()
        while not step.done and (wanted := expert.act()) is not None:
            row = wanted
            if generator.random() < 0.25:
                row = np.array([float(generator.integers(3))])
                slips += int(row[0] != wanted[0])
            step = environment.step(row)
        reached += bool(step.success)
    assert slips > 20
    assert reached >= 19


@pytest.mark.parametrize(
    "environment", [Task("short", "BabyAI-GoToLocal-v0", max_steps=3, expert="babyai")], indirect=True
)
def test_the_babyai_bot_gives_up_at_the_limit(environment: TaskEnv) -> None:
    environment.reset(SEEDS[0])
    expert = make_expert(environment.task, environment)
    expert.reset()
    still = np.array([6.0])  # "done" does nothing here
    answers = []
    for _ in range(4):
        answers.append(expert.act())
        environment.step(still)
    assert [one is None for one in answers] == [False, False, False, True]


@pytest.mark.parametrize("environment", [Task("lost", "BabyAI-GoToLocal-v0", expert="babyai")], indirect=True)
def test_the_babyai_bot_gives_up_when_its_search_does_not_end(
    environment: TaskEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BabyAIExpert, "SEARCHES", -1)
    expert = make_expert(environment.task, environment)
    environment.reset(SEEDS[0])
    expert.reset()
    assert expert.act() is None


class GridEnv(gymnasium.Env[Any, Any]):
    """Called as a grid world of ours is, and none."""

    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)


def test_another_environment_of_the_same_name_is_no_grid_world() -> None:
    gymnasium.register("toys/SameName-v0", GridEnv)
    task = Task("it", "toys/SameName-v0", expert="grid")
    with pytest.raises(TutelageError, match="can play toys/SameName-v0, got 'grid'"):
        make_expert(task, TaskEnv(task))


@pytest.mark.parametrize(
    ("env", "name", "line"),
    [
        (
            "tutelage/Taxi-v0",
            None,
            "expected an expert for tutelage/Taxi-v0, got none; name it in a suite: expert: taxi",
        ),
        ("tutelage/Taxi-v0", "taxy", "expected `expert` to be one of .*got 'taxy'; did you mean 'taxi'"),
        (
            "tutelage/Taxi-v0",
            "cartpole",
            "expected an expert that can play tutelage/Taxi-v0, got 'cartpole'; .*expert: taxi",
        ),
        ("CartPole-v1", "pendulum", "can play CartPole-v1, got 'pendulum'; .*expert: cartpole"),
        ("CartPole-v1", "babyai", "can play CartPole-v1, got 'babyai'; .*expert: cartpole"),
        ("Pendulum-v1", "grid", "can play Pendulum-v1, got 'grid'; .*expert: pendulum"),
        ("BabyAI-GoToLocal-v0", "grid", "can play BabyAI-GoToLocal-v0, got 'grid'; .*expert: babyai"),
        ("tutelage/GoTo-v0", "babyai", "can play tutelage/GoTo-v0, got 'babyai'; .*expert: grid"),
        ("MountainCar-v0", None, "got none; no scripted expert fits this environment: .*record people"),
        ("MountainCar-v0", "cartpole", "got 'cartpole'; no scripted expert fits this environment"),
    ],
)
def test_an_expert_that_is_not_there_or_cannot_play_is_refused(env: str, name: str | None, line: str) -> None:
    task = Task("it", env, expert=name)
    environment = TaskEnv(task)
    with pytest.raises(TutelageError, match=rf"task 'it': .*{line}"):
        make_expert(task, environment)
    environment.close()


def test_every_expert_is_named_by_a_suite_that_comes_along() -> None:
    named = {task.expert for name in ("first-steps", "babyai", "metaworld-10") for task in load_suite(name)}
    assert set(expert_names()) <= named | {"babyai"}
