"""Every actor acts through the same two calls, and what it draws depends on seeds alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tutelage.agents.evaluation.actors import (
    Actor,
    ChanceActor,
    ExpertActor,
    PolicyActor,
    SimulatedActor,
    episode_generator,
    plays,
    stack,
)
from tutelage.agents.evaluation.rollout import rollout
from tutelage.datasets.simulation.simulated_crowd import SimulatedPlayer, crowd, play
from tutelage.envs.suite import load_suite
from tutelage.envs.task import TEST, Task
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

SUITE = load_suite("first-steps")


class ConstantPolicy:
    """A toy with the policy's face: always the same action, and it counts its calls."""

    def __init__(self, *tasks: str, action: float = 0.0) -> None:
        self.tasks = tasks
        self.action = action
        self.calls: list[dict[str, Any]] = []

    def start(self, task_id: str, count: int) -> int:
        return 0

    def act(
        self, task_id: str, observations: dict[str, np.ndarray], memory: int, **options: Any
    ) -> tuple[np.ndarray, int]:
        self.calls.append({"task": task_id, "memory": memory, "observations": observations, **options})
        return np.full((len(options["alive"]), 1), self.action), memory + 1


def begun(actor: Actor, task: Task, count: int) -> tuple[list[TaskEnv], list[Any]]:
    environments = [TaskEnv(task) for _ in range(count)]
    seeds = list(TEST.first(count))
    steps = [one.reset(seed) for one, seed in zip(environments, seeds, strict=True)]
    actor.begin(environments, task, seeds)
    return environments, steps


@pytest.mark.parametrize("task", SUITE.tasks, ids=lambda task: task.id)
def test_chance_draws_actions_that_the_space_holds(task: Task) -> None:
    actor = ChanceActor()
    environments, steps = begun(actor, task, 3)
    for _ in range(5):
        rows = actor.act(steps, np.ones(3, bool))
        assert rows.shape == (3, 1)
        steps = [one.step(row) for one, row in zip(environments, rows, strict=True)]


def test_chance_never_draws_an_illegal_action() -> None:
    actor = ChanceActor()
    environments, steps = begun(actor, SUITE["taxi"], 8)
    for _ in range(20):
        rows = actor.act(steps, np.ones(8, bool))
        assert all(step.legal[int(row[0])] for step, row in zip(steps, rows, strict=True))
        steps = [one.step(row) for one, row in zip(environments, rows, strict=True)]


def test_chance_draws_the_same_for_a_seed_whatever_plays_beside_it() -> None:
    alone, beside = ChanceActor(seed=4), ChanceActor(seed=4)
    _, one = begun(alone, SUITE["cartpole"], 1)
    _, many = begun(beside, SUITE["cartpole"], 5)
    first = [alone.act(one, np.ones(1, bool))[0, 0] for _ in range(30)]
    assert first == [beside.act(many, np.ones(5, bool))[0, 0] for _ in range(30)]
    assert 0 < sum(first) < 30


def test_another_seed_task_episode_or_actor_is_another_generator() -> None:
    cartpole, taxi = SUITE["cartpole"], SUITE["taxi"]
    draws = {
        episode_generator(*key).integers(2**60)
        for key in [
            (0, cartpole, 1, "a"),
            (1, cartpole, 1, "a"),
            (0, taxi, 1, "a"),
            (0, cartpole, 2, "a"),
            (0, cartpole, 1, "b"),
        ]
    }
    assert len(draws) == 5
    again = episode_generator(0, cartpole, 1, "a").integers(2**60)
    assert again in draws


def test_a_policy_gets_all_observations_the_legal_mask_and_who_is_alive_in_one_call() -> None:
    policy = ConstantPolicy("taxi", action=3.0)
    actor = PolicyActor(policy, name="bc")
    _, steps = begun(actor, SUITE["taxi"], 4)
    alive = np.array([True, False, True, True])
    assert actor.act(steps, alive).tolist() == [[3.0]] * 4
    actor.act(steps, alive)
    assert [call["memory"] for call in policy.calls] == [0, 1]
    call = policy.calls[0]
    assert call["greedy"] is True
    assert call["generator"] is None
    assert call["observations"][""].shape == (4,)
    assert call["legal"].shape == (4, 6)
    assert call["alive"] is alive


def test_a_sampled_policy_gets_a_generator_that_depends_on_the_seed_only() -> None:
    states = []
    for seed in (1, 1, 2):
        policy = ConstantPolicy("cartpole")
        actor = PolicyActor(policy, greedy=False, seed=seed)
        _, steps = begun(actor, SUITE["cartpole"], 2)
        actor.act(steps, np.ones(2, bool))
        states.append(policy.calls[0]["generator"].initial_seed())
    assert states[0] == states[1] != states[2]


def test_a_policy_says_which_tasks_it_was_taught() -> None:
    actor = PolicyActor(ConstantPolicy("cartpole"))
    assert plays(actor, SUITE["cartpole"])
    assert not plays(actor, SUITE["taxi"])
    with pytest.raises(TutelageError, match=r"taught \(cartpole\), got 'taxi'"):
        begun(actor, SUITE["taxi"], 1)


def test_an_expert_plays_only_tasks_that_name_one() -> None:
    assert plays(ExpertActor(), SUITE["taxi"])
    assert not plays(ExpertActor(), Task("bare", "CartPole-v1"))
    assert plays(ChanceActor(), Task("bare", "CartPole-v1"))


def test_text_observations_stack_to_an_array_of_text() -> None:
    _, steps = begun(ChanceActor(), SUITE["goto-local"], 3)
    stacked = stack(steps)
    assert stacked["mission"].shape == (3,)
    assert all(isinstance(one, str) for one in stacked["mission"])
    assert stacked["image"].shape == (3, 7, 7, 3)


def test_the_simulated_crowd_takes_turns_and_does_as_it_does_alone() -> None:
    task, people = SUITE["goto-local"], crowd()
    seeds = TEST.first(8)
    played = rollout(SimulatedActor(people), task, seeds, batch=3, suite_name="s")
    assert [one.demonstrator for one in played] == [people[seed % len(people)].name for seed in seeds]
    for episode in played:
        environment = TaskEnv(task)
        alone = play(
            SimulatedPlayer(people[episode.seed % len(people)], environment), environment, episode.seed, "s"
        )
        assert alone is not None
        assert episode.digest == alone[0].digest
        assert abs(int(episode.times_ms[-1]) - int(alone[0].times_ms[-1])) <= 1
