"""Adapters: the gradients of both factors are those of autograd; a run with them is resumed exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tutelage.agents.evaluation.actors import ExpertActor
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.adapters import Adapters
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.optimizer import BETAS, EPSILON
from tutelage.agents.training.state import STATE
from tutelage.console.signals import Stopped
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError

SUITE = suite_from({"suite": "pole", "tasks": [{"id": "pole", "env": "CartPole-v1", "expert": "cartpole"}]})
CONFIG = TrainConfig(size=1, steps=6, batch_steps=32, window=4, warmup=0, threads=1, workers=1)
ADAPTED = replace(CONFIG, adapters=2, seed=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("pole"), SUITE)
    store.append(rollout(ExpertActor(), SUITE["pole"], range(2), suite_name="pole"))
    return store


@pytest.fixture(scope="module")
def parent(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train([store], tmp_path_factory.mktemp("runs") / "parent", CONFIG)


def test_it_trains_as_two_factors_do() -> None:
    torch.manual_seed(0)
    start, inputs, targets = torch.randn(6, 4), torch.randn(20, 4), torch.randn(20, 6)
    matrix = start.clone().requires_grad_()
    adapters = Adapters({"m": matrix}, 2, BETAS, EPSILON)
    up, down = (adapters.state[f"m.{name}"].clone().requires_grad_() for name in ("up", "down"))
    assert not up.any()
    peer = torch.optim.AdamW([up, down], 0.01, BETAS, EPSILON, weight_decay=0.0)
    for _ in range(10):
        matrix.grad = None
        (inputs @ matrix.T - targets).square().mean().backward()
        adapters.step(0.01)
        peer.zero_grad()
        (inputs @ (start + up @ down).T - targets).square().mean().backward()
        peer.step()
    assert torch.allclose(matrix.detach(), start + (up @ down).detach(), atol=1e-5)
    assert not torch.allclose(matrix.detach(), start, atol=1e-2)


def test_a_run_with_adapters_is_resumed_exactly_and_its_checkpoint_is_a_plain_one(
    store: Store, parent: Path, tmp_path: Path
) -> None:
    def stopping(policy: Any) -> dict[str, float]:
        raise Stopped(2)

    with pytest.raises(Stopped, match="saved at step 3"):
        train(
            [store],
            tmp_path / "run",
            replace(ADAPTED, evaluate_every=3),
            parent=load(parent),
            evaluate=stopping,
        )
    train([store], tmp_path / "run", ADAPTED, parent=load(parent), resume=True)
    kept = load(train([store], tmp_path / "whole", ADAPTED, parent=load(parent))).policy
    states = [(tmp_path / name / STATE).read_bytes() for name in ("run", "whole")]
    assert states[0] == states[1]
    before = load(parent).policy.state_dict()
    assert {*kept.state_dict()} == {*before}
    ranks = {
        name: int(torch.linalg.matrix_rank(weight - before[name], atol=1e-5))
        for name, weight in kept.state_dict().items()
        if name.startswith(("encoder.", "memory."))
    }
    assert ranks
    # an average of changes of rank 2 whose factors both moved
    assert 1 <= np.median([*ranks.values()]) <= 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapters": 2, "freeze": "encoder"}, "at 'adapters': expected 0 with freeze encoder"),
        ({"adapters": 2, "self_imitation": 1}, "at 'self_imitation': expected 0 with adapters"),
    ],
)
def test_what_adapters_cannot_be_used_with_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TutelageError, match=message):
        replace(CONFIG, **settings)


def test_a_rank_as_large_as_the_matrices_is_refused(store: Store, parent: Path, tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="expected --adapters below 64, the width of the policy, got 64"):
        train([store], tmp_path / "run", replace(CONFIG, adapters=64), parent=load(parent))
