"""Any registered environment is a task: observations, limits, masks, outcomes, frames, clear refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from tutelage.envs.success import SuccessRule
from tutelage.envs.suite import load_suite
from tutelage.envs.task import Task
from tutelage.envs.task_env import DEFAULT_LIMIT, StepResult, TaskEnv
from tutelage.errors import TutelageError

FIRST_STEPS = load_suite("first-steps")
SEEN = {
    "goto-red-ball-grey": {"image": (7, 7, 3), "direction": (), "mission": None},
    "goto-local": {"image": (7, 7, 3), "direction": (), "mission": None},
    "cartpole": {"": (4,)},
    "taxi": {"": ()},
    "pendulum": {"": (3,)},
}


@contextmanager
def opened(task: Task | str, rgb: bool = False, **settings: Any) -> Iterator[TaskEnv]:
    made = TaskEnv(Task("it", task, **settings) if isinstance(task, str) else task, rgb)
    yield made
    made.close()


def same(first: StepResult, other: StepResult) -> bool:
    return (first.reward, first.terminated, first.truncated, first.success) == (
        other.reward,
        other.terminated,
        other.truncated,
        other.success,
    ) and all(np.array_equal(first.observation[path], other.observation[path]) for path in first.observation)


@pytest.mark.parametrize("name", SEEN)
def test_every_first_step_can_be_played_with_its_keys(name: str) -> None:
    with opened(FIRST_STEPS[name]) as environment:
        step = environment.reset(3)
        shapes = {p: None if isinstance(v, str) else v.shape for p, v in step.observation.items()}
        assert dict(sorted(shapes.items())) == dict(sorted(SEEN[name].items()))
        assert environment.instruction
        assert (step.reward, step.done, step.success) == (0.0, False, None)
        for binding in environment.controls().bindings:
            step = environment.step(np.array(binding.action))
            assert list(step.observation) == list(shapes)
            assert environment.last_action is not None
            assert tuple(environment.last_action) == binding.action


@pytest.mark.parametrize("name", SEEN)
def test_the_same_seed_and_keys_give_the_same_episode(name: str) -> None:
    with opened(FIRST_STEPS[name]) as one, opened(FIRST_STEPS[name]) as other:
        other.reset(11)  # what was played before does not matter
        assert same(one.reset(5), other.reset(5))
        rows = [np.array(binding.action) for binding in one.controls().bindings]
        for row in (rows * 3)[:6]:
            assert same(one.step(row), other.step(row))


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("CartPole-v1", 500),
        ("tutelage/Taxi-v0", 200),
        ("BabyAI-GoToLocal-v0", 64),
        ("Blackjack-v1", DEFAULT_LIMIT),
    ],
)
def test_the_limit_is_the_environments_own(name: str, limit: int) -> None:
    with opened(name) as environment:
        environment.reset(0)  # a BabyAI level knows its limit only now
        assert environment.limit == limit


def test_max_steps_tightens_the_limit_and_never_loosens_it() -> None:
    with opened("CartPole-v1", max_steps=7) as environment:
        assert environment.limit == 7
    with opened("CartPole-v1", max_steps=9999) as environment:
        assert environment.limit == 500


def test_an_episode_is_truncated_at_max_steps_and_its_success_is_then_known() -> None:
    with opened(
        "tutelage/Taxi-v0", max_steps=3, success=SuccessRule("truncated and steps == 3")
    ) as environment:
        environment.reset(0)
        steps = [environment.step(np.array([0.0])) for _ in range(3)]
    assert [one.truncated for one in steps] == [False, False, True]
    assert [one.success for one in steps] == [None, None, True]


def test_an_end_at_the_limit_is_an_end_and_no_truncation() -> None:
    with opened("CartPole-v1") as free:
        free.reset(0)
        ends = 1
        while not free.step(np.array([0.0])).terminated:
            ends += 1
    with opened("CartPole-v1", max_steps=ends, success=SuccessRule("return == steps")) as environment:
        environment.reset(0)
        last = [environment.step(np.array([0.0])) for _ in range(ends)][-1]
    assert (last.terminated, last.truncated, last.success) == (True, False, True)


def test_masks_are_passed_on_where_there_are_any() -> None:
    with opened("tutelage/Taxi-v0") as environment:
        legal = environment.reset(0).legal
        assert legal is not None
        assert (legal.shape, legal.dtype) == ((6,), np.dtype(bool))
        assert legal.any()
        allowed = environment.step(np.array([float(np.flatnonzero(legal)[0])])).legal
        assert allowed is not None
    with opened("CartPole-v1") as environment:
        assert environment.reset(0).legal is None


def test_the_instruction_is_the_tasks_or_the_environments_own() -> None:
    with opened("BabyAI-GoToLocal-v0") as environment:
        said = environment.reset(0).observation["mission"]
        assert environment.instruction == said
        assert said.startswith("go to ")
    with opened("BabyAI-GoToLocal-v0", instruction="find it") as environment:
        environment.reset(0)
        assert environment.instruction == "find it"


def test_actions_have_names_where_somebody_names_them() -> None:
    with opened("BabyAI-GoToLocal-v0") as environment:
        assert environment.action_names[:3] == ("left", "right", "forward")
    with opened("CartPole-v1", action_names=("push left", "push right")) as environment:
        assert environment.action_names == ("push left", "push right")


def test_a_frame_is_a_picture_of_what_is_now() -> None:
    with opened("CartPole-v1", rgb=True) as environment:
        environment.reset(0)
        frame = environment.frame()
        assert (frame.dtype, frame.ndim, frame.shape[2]) == (np.uint8, 3, 3)
        for _ in range(8):
            environment.step(np.array([0.0]))
        assert not np.array_equal(frame, environment.frame())


def test_an_episode_does_not_depend_on_its_being_rendered() -> None:
    with opened("CartPole-v1", rgb=True) as seen, opened("CartPole-v1") as unseen:
        assert same(seen.reset(0), unseen.reset(0))
        for _ in range(5):
            seen.frame()
            assert same(seen.step(np.array([1.0])), unseen.step(np.array([1.0])))


@pytest.mark.parametrize("name", ["BipedalWalker-v3", "CartPole-v1"])
def test_what_was_played_before_changes_no_episode(name: str) -> None:
    with opened(name, max_steps=40) as used:
        for seed in range(4):
            generator = np.random.default_rng(seed)
            with opened(name, max_steps=40) as fresh:
                step = used.reset(seed)
                assert same(step, fresh.reset(seed))
                rows = [np.array(one.action) for one in fresh.controls().bindings]
                while not step.done:
                    row = rows[generator.integers(len(rows))]
                    step = used.step(row)
                    assert same(step, fresh.step(row))


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        (
            "CartPol-v1",
            {},
            r"expected a registered Gymnasium id, got 'CartPol-v1'; did you mean 'CartPole-v1'",
        ),
        (
            "nowhere/Nothing-v0",
            {},
            "install it and name its module: MODULE:nowhere",
        ),
        ("CartPole-v1", {"kwargs": {"speed": 3}}, "CartPole-v1 failed when it was made: TypeError: .*speed"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TutelageError, match=rf"task 'it': .*{said}"):
        TaskEnv(Task("it", name, **settings))


def test_a_missing_package_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "Box2D", None)  # as where it is not installed
    for name in [one for one in sys.modules if one.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(TutelageError, match=r"LunarLander-v3 needs a missing package: .*pip install"):
        TaskEnv(Task("it", "LunarLander-v3"))


def test_a_package_found_missing_at_the_first_reset_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "imageio", None)  # as where it is not installed
    with (
        opened("MiniGrid-WFC-MazeSimple-v0") as environment,
        pytest.raises(TutelageError, match=r"MazeSimple-v0 needs a missing package: .*pip install"),
    ):
        environment.reset(0)


def test_the_numbers_of_pygames_arrows_are_arrows() -> None:
    with opened("MountainCar-v0") as environment:
        codes = {code for one in environment.controls().bindings for code in one.codes}
        assert codes == {"ArrowLeft", "ArrowRight"}
