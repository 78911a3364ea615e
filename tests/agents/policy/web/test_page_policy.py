"""The policy on pages: what it points at, and that it finds names which it was never taught."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tutelage.agents.policy.encoding import Encoding
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.step import begin, make_sampler, training_step
from tutelage.datasets.arrays.sampler import TaskArrays
from tutelage.tests.support.toy_page import page_columns

SYLLABLES = ("ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu")
TAUGHT = [first + second for first in SYLLABLES for second in SYLLABLES[:8]]
UNSEEN = [first + second for first in SYLLABLES for second in SYLLABLES[8:]]


@pytest.fixture(scope="module")
def taught() -> Policy:
    columns = {
        one.task.id: one for one in (page_columns(False, 400, TAUGHT), page_columns(True, 400, TAUGHT))
    }
    config = TrainConfig(size=1, steps=160, batch_steps=64, warmup=10, dropout=0.0, ema=0.9)
    run = begin(columns, config)
    sampler = make_sampler(columns, config)
    torch.set_num_threads(1)
    for step in range(config.steps):
        training_step(run, sampler.batch(step), config)
    return run.average


def right(policy: Policy, columns: TaskArrays) -> float:
    """Return the share of pages on which the policy does what is right."""
    task, observations = columns.task.id, columns.observations
    rows, _ = policy.act(task, observations, policy.start(task, len(columns)))
    return float((rows == columns.actions).all(1).mean())


@pytest.mark.slow
@pytest.mark.parametrize("typed", [False, True], ids=["clicked", "typed"])
def test_a_name_that_was_never_taught_is_found(taught: Policy, typed: bool) -> None:
    assert right(taught, page_columns(typed, 200, UNSEEN)) >= 0.95


def test_an_action_is_always_one_that_the_page_has(taught: Policy) -> None:
    columns = page_columns(True, 20, UNSEEN)
    memory = taught.start("type", 20)
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        rows, memory = taught.act("type", columns.observations, memory, greedy=False, generator=generator)
        assert rows.shape == columns.actions.shape
        assert np.isfinite(rows).all()


def test_a_page_means_the_same_alone_and_among_others(taught: Policy) -> None:
    columns = page_columns(False, 8, UNSEEN)
    together = taught.summarize({"click": columns.observations})
    for at in range(8):
        alone = {path: one[at : at + 1] for path, one in columns.observations.items()}
        torch.testing.assert_close(taught.summarize({"click": alone})[0], together[at], atol=1e-4, rtol=1e-4)


def test_what_it_is_comes_back_from_plain_data(taught: Policy) -> None:
    again = Encoding.from_dict(taught.encoding.to_dict())
    assert again == taught.encoding
    twin = Policy(PolicyConfig(1), again)
    twin.load_state_dict(taught.state_dict())
    columns = page_columns(True, 30, UNSEEN)
    assert right(twin.eval(), columns) == right(taught, columns)


def test_the_same_is_not_done_twice_on_the_same_page(taught: Policy) -> None:
    columns = page_columns(False, 20, UNSEEN)
    memory = taught.start("click", 20)
    first, memory = taught.act("click", columns.observations, memory)
    second, memory = taught.act("click", columns.observations, memory)
    assert not (first == second).all(1).any()
