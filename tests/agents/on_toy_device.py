"""Checks on a toy device: a policy computes, plays and is trained there as on the processor.

`test_devices.py` runs them in a process of their own: a device must be registered before the first gradient.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tutelage.agents.evaluation.compare import select_success
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.policy.fused_ops import add_dropped
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.optimizer import Optimizer
from tutelage.datasets.arrays.sampler import Sampler, TaskArrays, WindowBatch
from tutelage.datasets.simulation.simulated_crowd import crowd, simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.tests.support.toy_device import ToyTensor, toy_device
from tutelage.tests.support.toy_policy import WORLDS, awake, columns_of

toy_device()

SUITE = suite_from(
    {
        "suite": "both",
        "tasks": [
            {"id": "pole", "env": "CartPole-v1", "expert": "cartpole", "max_steps": 20},
            {"id": "go", "env": "tutelage/GoToRedBallGrey-v0", "expert": "grid", "success": "reward > 0"},
        ],
    }
)
CONFIG = TrainConfig(
    size=1,
    steps=4,
    batch_steps=64,
    window=8,
    warmup=2,
    dropout=0.0,
    weights="both",
    holdout=0.2,
    evaluate_every=2,
    threads=1,
    workers=1,
    device="cpu",
)


@pytest.fixture(scope="module")
def columns() -> dict[str, TaskArrays]:
    return {world: columns_of(world) for world in WORLDS}


@pytest.fixture(scope="module")
def batch(columns: dict[str, TaskArrays]) -> dict[str, WindowBatch]:
    return Sampler(columns, window=5, steps_per_batch=60, weights={}, seed=3).batch(0)


@pytest.fixture
def pair(columns: dict[str, TaskArrays]) -> tuple[Policy, Policy]:
    """The same policy on the processor and on the toy device."""
    policy = awake(PolicyConfig(size=2, window=8, history_dropout=0.5), columns)
    return policy, copy.deepcopy(policy).to(toy_device())


def test_loss_and_gradients_are_those_of_the_processor(
    pair: tuple[Policy, Policy], batch: dict[str, WindowBatch]
) -> None:
    losses = []
    for policy in pair:
        torch.manual_seed(0)
        loss, by_task = policy.train().loss(batch)
        loss.backward()
        losses.append((float(loss.detach()), by_task))
    assert losses[1][0] == pytest.approx(losses[0][0], rel=1e-5)
    assert losses[1][1] == pytest.approx(losses[0][1], rel=1e-5)
    for (name, here), there in zip(pair[0].named_parameters(), pair[1].parameters(), strict=True):
        assert here.grad is not None, name
        assert isinstance(there.grad, ToyTensor), name
        torch.testing.assert_close(there.grad.cpu(), here.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_training_steps_are_those_of_the_processor(
    pair: tuple[Policy, Policy], batch: dict[str, WindowBatch]
) -> None:
    for policy in pair:
        optimizer = Optimizer(policy, 0.02, 0.003, 0.01)
        for step in range(3):
            torch.manual_seed(step)
            policy.train().zero_grad(set_to_none=True)
            policy.loss(batch)[0].backward()
            optimizer.step(1.0)
    for (name, here), there in zip(pair[0].named_parameters(), pair[1].parameters(), strict=True):
        torch.testing.assert_close(there.detach().cpu(), here.detach(), rtol=1e-2, atol=1e-4, msg=name)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("greedy", [True, False])
def test_the_same_actions_are_chosen(
    pair: tuple[Policy, Policy], columns: dict[str, TaskArrays], world: str, greedy: bool
) -> None:
    arrays = columns[world]
    played = []
    for policy in pair:
        memory = policy.eval().start(world, 4)
        generator = torch.Generator().manual_seed(1)
        rows = []
        for step in range(6):
            seen = {path: leaf[step * 4 : step * 4 + 4] for path, leaf in arrays.observations.items()}
            alive = np.array([True, True, step < 3, True])
            row, memory = policy.act(
                world, seen, memory, greedy=greedy, generator=None if greedy else generator, alive=alive
            )
            rows.append(row)
        played.append(np.stack(rows))
    np.testing.assert_allclose(played[1], played[0], rtol=1e-4, atol=1e-5)
    assert np.ptp(played[0]) > 0


def test_dropout_leaves_out_and_keeps_the_mean() -> None:
    ones = torch.ones(200, 64).to(toy_device())
    added = add_dropped(torch.zeros(200, 64).to(toy_device()), ones, 0.25).cpu()
    assert float((added == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float(added.mean()) == pytest.approx(1, abs=0.03)


def test_what_mixes_devices_fails_on_the_toy_device() -> None:
    with pytest.raises(RuntimeError, match="expected all tensors on toy"):
        torch.ones(2).to(toy_device()) + torch.ones(2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("both"), SUITE)
    simulate(SUITE, store, {"pole": 8, "go": 8}, demonstrators=crowd({"careful": 4}))
    return store


def test_a_run_is_the_same_and_goes_on_on_the_processor(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = select_success(SUITE, episodes=2, workers=1)
    here = train([store], tmp_path / "here", CONFIG, evaluate=evaluate)
    with monkeypatch.context() as patch:
        patch.setattr("tutelage.agents.training.step.choose_device", lambda name: toy_device())
        train([store], tmp_path / "there", CONFIG, evaluate=evaluate)
    ours, theirs = (load(tmp_path / run / "last").policy for run in ("here", "there"))
    for (name, weight), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert other.device.type == "cpu"
        torch.testing.assert_close(other, weight, rtol=1e-2, atol=1e-3, msg=name)
    # a state of the device is resumed by the processor
    train([store], tmp_path / "there", replace(CONFIG, steps=6), evaluate=evaluate, resume=True)
    assert load(tmp_path / "there" / "last").lineage["step"] == 6
    assert here.name == "kept"
