"""Seed and actions give the observations back, bit for bit; where they can't, the observations are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tutelage.datasets.replay import Environments, prove, prove_again, replay, replay_proven
from tutelage.datasets.trajectory import digest_of
from tutelage.datasets.versions import versions_of
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

SUITE = suite_from(
    {
        "suite": "toys",
        "tasks": [
            {"id": "words", "env": "toys/Words-v0"},
            {"id": "unrepeatable", "env": "toys/Unrepeatable-v0"},
            {"id": "camera", "env": "toys/Camera-v0", "max_steps": 8},
            {"id": "cartpole", "env": "CartPole-v1"},
            {"id": "taxi", "env": "tutelage/Taxi-v0"},
            {"id": "pendulum", "env": "Pendulum-v1"},
            {"id": "red-ball", "env": "BabyAI-GoToRedBallGrey-v0"},
        ],
    }
)
REPEATABLE = ["words", "camera", "cartpole", "taxi", "pendulum", "red-ball"]


def environment(task: str, suite: Suite = SUITE) -> TaskEnv:
    return TaskEnv(suite[task])


@pytest.mark.parametrize("task", REPEATABLE)
def test_a_fresh_environment_replays_every_observation_reward_and_flag(
    task: str, demonstrate: Callable[..., Any]
) -> None:
    one, seen = demonstrate(environment(task), seed=5)
    again = replay(one, environment(task))
    assert again.digest == one.digest
    assert list(again.observations) == list(seen)
    assert all(np.array_equal(again.observations[path], seen[path]) for path in seen)
    assert np.array_equal(again.rewards, one.rewards)
    assert (again.terminated, again.truncated, again.success) == (one.terminated, one.truncated, one.success)


@pytest.mark.parametrize("task", REPEATABLE)
def test_what_is_proven_keeps_no_observations(task: str, demonstrate: Callable[..., Any]) -> None:
    one, seen = demonstrate(environment(task), seed=2)
    assert prove(one, environment(task), seen).observations is None


def test_what_cannot_be_repeated_keeps_its_observations(demonstrate: Callable[..., Any]) -> None:
    one, seen = demonstrate(environment("unrepeatable"), seed=2)
    kept = prove(one, environment("unrepeatable"), seen)
    assert kept.observations is not None
    assert all(np.array_equal(kept.observations[path], seen[path]) for path in seen)
    again = replay(kept, environment("unrepeatable"))
    assert again.digest == one.digest
    assert again.observations["words"].tolist() == seen["words"].tolist()


def test_an_environment_that_breaks_on_the_way_proves_nothing(demonstrate: Callable[..., Any]) -> None:
    one, seen = demonstrate(environment("taxi"), seed=2)
    broken = replace(one, actions=one.actions + 1000)
    assert prove(broken, environment("taxi"), seen).observations is not None


def test_the_digest_of_stacked_observations_is_the_running_one(demonstrate: Callable[..., Any]) -> None:
    one, seen = demonstrate(environment("words"), seed=9)
    assert digest_of(seen, one.rewards, one.terminated, one.truncated) == one.digest
    assert digest_of(seen, one.rewards + 1e-9, one.terminated, one.truncated) != one.digest


def test_masks_come_back_with_every_observation(demonstrate: Callable[..., Any]) -> None:
    one, _ = demonstrate(environment("taxi"), seed=4)
    legal = replay(one, environment("taxi")).legal
    assert legal is not None
    assert legal.shape == (len(one) + 1, 6)
    assert legal.dtype == bool
    assert replay(demonstrate(environment("words"), seed=1)[0], environment("words")).legal is None


def test_a_used_environment_gives_the_same_as_a_fresh_one(demonstrate: Callable[..., Any]) -> None:
    recorded = [demonstrate(environment("red-ball"), seed=seed)[0] for seed in range(4)]
    with Environments(SUITE) as environments:
        for one in recorded:
            assert replay_proven(one, environments).digest == one.digest
        assert prove_again(recorded[0], environments, {}).observations is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda episode: replace(episode, digest=bytes(16)), "other observations"),
        (
            lambda episode: replace(episode, rewards=episode.rewards + 1, digest=bytes(16)),
            "another reward at step 1 ",
        ),
        (
            lambda episode: replace(episode, versions={**episode.versions, "numpy": "1.0"}, digest=bytes(16)),
            "numpy 1.0 →",
        ),
    ],
)
def test_a_difference_is_named_with_episode_seed_and_versions(
    change: Callable[[Any], Any], complaint: str, demonstrate: Callable[..., Any]
) -> None:
    one = change(demonstrate(environment("cartpole"), seed=3)[0])
    with (
        Environments(SUITE) as environments,
        pytest.raises(TutelageError, match=rf"{one.episode}.*seed 3.*{complaint}"),
    ):
        replay_proven(one, environments)


def test_an_episode_that_ends_too_early_is_named(demonstrate: Callable[..., Any]) -> None:
    one, _ = demonstrate(environment("camera"), seed=3, steps=8)
    suite = suite_from(
        {"suite": "toys", "tasks": [{"id": "camera", "env": "toys/Camera-v0", "max_steps": 5}]}
    )
    with Environments(suite) as environments, pytest.raises(TutelageError, match="an end after 5 of 8 steps"):
        replay_proven(one, environments)


def test_stored_observations_that_were_changed_are_found(demonstrate: Callable[..., Any]) -> None:
    one, seen = demonstrate(environment("unrepeatable"), seed=3)
    seen["words"] = seen["words"].copy()
    seen["words"][2] = "go elsewhere"
    with Environments(SUITE) as environments, pytest.raises(TutelageError, match="stored observations"):
        replay_proven(replace(one, observations=seen), environments)


def test_versions_name_gymnasium_numpy_python_and_the_environments_package() -> None:
    assert set(versions_of(environment("red-ball"))) == {
        *("gymnasium", "numpy", "python", "minigrid", "pygame-ce"),
    }
    assert set(versions_of(environment("cartpole"))) == {"gymnasium", "numpy", "python"}
