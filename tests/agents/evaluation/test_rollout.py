"""A rollout gives the same episodes whatever the batch, writes down what happened, and stops in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.rollout import GAVE_UP, rollout
from tutelage.datasets.replay import Environments, replay_proven
from tutelage.datasets.trajectory import Digest, Trajectory
from tutelage.envs.suite import load_suite
from tutelage.envs.task import TEST, Task
from tutelage.envs.task_env import StepResult, TaskEnv
from tutelage.errors import TutelageError

SUITE = load_suite("first-steps")


class Leaning:
    """Push the cart to where the pole leans; give up after `patience` steps of an episode."""

    name, kind = "leaning", "expert"

    def __init__(self, patience: int = 10_000) -> None:
        self.patience = patience
        self.steps = 0

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        self.steps = 0

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        self.steps += 1
        if self.steps > self.patience:
            return np.full((len(steps), 1), np.nan)
        return np.array([[float(one.observation[""][2] > 0)] for one in steps])


def fingerprint(trajectories: list[Trajectory]) -> list[Any]:
    return [(one.seed, one.success, one.total, len(one), one.digest) for one in trajectories]


@pytest.mark.parametrize("actor", [Leaning(), ChanceActor(seed=3)], ids=["deterministic", "stochastic"])
def test_outcomes_do_not_depend_on_the_batch_size(actor: Any) -> None:
    seeds = TEST.first(9)
    task = SUITE["cartpole"]
    wanted = fingerprint(rollout(actor, task, seeds, batch=9, suite_name="s"))
    for batch in (1, 4):
        assert fingerprint(rollout(actor, task, seeds, batch=batch, suite_name="s")) == wanted
    assert [one[0] for one in wanted] == list(seeds)
    assert len({one[3] for one in wanted}) > 1


@pytest.mark.parametrize("task_id", ["goto-local", "cartpole", "taxi", "pendulum"])
def test_experts_do_the_same_in_any_batch_and_in_used_environments(task_id: str) -> None:
    task, seeds = SUITE[task_id], TEST.first(5)
    actor = ExpertActor()
    wanted = fingerprint(rollout(actor, task, seeds, batch=5, suite_name="s"))
    pool: list[TaskEnv] = []
    for _ in range(2):
        assert fingerprint(rollout(actor, task, seeds, batch=2, suite_name="s", environments=pool)) == wanted
    assert len(pool) == 2


def test_the_actions_lead_to_the_digest_and_the_rewards_again() -> None:
    task = SUITE["goto-local"]
    for one in rollout(ChanceActor(), task, TEST.first(3), suite_name="s"):
        environment, digest = TaskEnv(task), Digest()
        step = environment.reset(one.seed)
        last = digest.update(step.observation, 0.0, False, False)
        for action, reward in zip(one.actions, one.rewards, strict=True):
            step = environment.step(action)
            assert step.reward == reward
            last = digest.update(step.observation, step.reward, step.terminated, step.truncated)
        assert last == one.digest
        assert (step.terminated, step.truncated, step.success) == (one.terminated, one.truncated, one.success)


def test_a_trajectory_says_who_acted_and_when() -> None:
    one = rollout(ChanceActor("dice"), SUITE["cartpole"], TEST.first(1), suite_name="first-steps")[0]
    assert (one.suite, one.task, one.env) == ("first-steps", "cartpole", "CartPole-v1")
    assert (one.demonstrator, one.kind, one.observations) == ("dice", "chance", None)
    assert (np.diff(one.times_ms) >= 0).all()
    assert one.frames.tolist() == list(range(len(one)))
    assert "gymnasium" in one.versions


def test_no_step_is_taken_after_the_end_and_the_limit_ends_an_episode() -> None:
    task = Task("short", "CartPole-v1", max_steps=5)
    for one in rollout(Leaning(), task, TEST.first(3), suite_name="s"):
        assert len(one) == 5
        assert one.truncated
        assert not one.terminated


@pytest.mark.parametrize(("patience", "steps"), [(0, 1), (3, 3)])
def test_giving_up_fails_neither_terminated_nor_truncated(patience: int, steps: int) -> None:
    task = Task("easy", "CartPole-v1")  # every step's reward is 1, so any end would count as success
    for one in rollout(Leaning(patience), task, TEST.first(2), suite_name="s"):
        assert len(one) == steps
        assert (one.terminated, one.truncated, one.success, one.notes) == (False, False, False, GAVE_UP)


def test_progress_counts_every_episode_once() -> None:
    told: list[int] = []
    rollout(ChanceActor(), SUITE["cartpole"], TEST.first(7), batch=3, suite_name="s", progress=told.append)
    assert sum(told) == 7


def test_environments_of_another_task_are_refused() -> None:
    other = [TaskEnv(SUITE["taxi"])]
    with pytest.raises(TutelageError, match="expected environments of 'cartpole', got one of 'taxi'"):
        rollout(ChanceActor(), SUITE["cartpole"], [1], suite_name="s", environments=other)


def test_what_was_seen_is_kept_if_wanted_and_is_what_a_replay_gives_back() -> None:
    task = SUITE["cartpole"]
    kept = rollout(Leaning(), task, TEST.first(2), suite_name="s", keep=True)
    bare = rollout(Leaning(), task, TEST.first(2), suite_name="s")
    assert [one.observations for one in bare] == [None, None]
    with Environments(SUITE) as environments:
        for mine, other in zip(kept, bare, strict=True):
            shown = replay_proven(other, environments).observations
            assert mine.observations is not None
            assert {path: array.tolist() for path, array in mine.observations.items()} == {
                path: array.tolist() for path, array in shown.items()
            }
            assert mine.digest == replay_proven(mine, environments).digest


class Heavy(CartPoleEnv):
    """A pole of which a process may hold three."""

    alive, most = 0, 0

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        Heavy.alive += 1
        Heavy.most = max(Heavy.most, Heavy.alive)

    def close(self) -> None:
        Heavy.alive -= 1
        super().close()

    @classmethod
    def most_together(cls) -> int:
        return 3


gymnasium.register("toys/HeavyPole-v0", entry_point=Heavy, max_episode_steps=20)  # type: ignore[arg-type]


def test_no_more_environments_exist_at_once_than_their_class_allows() -> None:
    task = Task("heavy", "toys/HeavyPole-v0")
    light = rollout(
        ChanceActor(seed=3), replace(task, env="CartPole-v1", max_steps=20), range(8), suite_name="s"
    )
    played = rollout(ChanceActor(seed=3), task, range(8), suite_name="s")
    assert Heavy.most == 3
    assert Heavy.alive == 0
    assert [len(episode) for episode in played] == [len(episode) for episode in light]
