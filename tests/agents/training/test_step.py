"""A step in parts is the step as a whole; activations that are computed again change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.step import TrainState, begin, divided_step, make_sampler, training_step
from tutelage.datasets.arrays.sampler import TaskArrays
from tutelage.tests.support.toy_policy import WORLDS, columns_of

CONFIG = TrainConfig(
    size=2,
    steps=4,
    batch_steps=90,
    window=5,
    warmup=1,
    dropout=0.0,
    history_dropout=0.0,
    augmentation="none",
    device="cpu",
)


def share_apart(first: TrainState, second: TrainState) -> float:
    """Return the share of all weights that differ by more than 1e-4."""
    weights = zip(first.policy.parameters(), second.policy.parameters(), strict=True)
    apart = torch.cat([((left - right).detach().abs() > 1e-4).flatten() for left, right in weights])
    return float(apart.float().mean())


@pytest.fixture(scope="module")
def columns() -> dict[str, TaskArrays]:
    return {world: columns_of(world) for world in WORLDS}


def trained(columns: Mapping[str, TaskArrays], config: TrainConfig) -> tuple[TrainState, list[float]]:
    run, sampler = begin(columns, config), make_sampler(columns, config)
    return run, [divided_step(run, sampler, config)[0] for _ in range(config.steps)]


def difference(first: TrainState, second: TrainState) -> float:
    pairs = zip(first.policy.parameters(), second.policy.parameters(), strict=True)
    return max(float((left - right).detach().abs().max()) for left, right in pairs)


def test_a_batch_in_one_part_is_the_whole_batch_bit_for_bit(columns: dict[str, TaskArrays]) -> None:
    config = replace(CONFIG, dropout=0.1, history_dropout=0.5)
    run, sampler = begin(columns, config), make_sampler(columns, config)
    losses = [training_step(run, sampler.batch(step), config)[0] for step in range(config.steps)]
    other, divided = trained(columns, config)
    assert losses == divided
    assert difference(run, other) == 0


@pytest.mark.parametrize("parts", [2, 3, 50])
def test_the_gradients_of_parts_add_up_to_the_same_step(columns: dict[str, TaskArrays], parts: int) -> None:
    runs = [begin(columns, config) for config in (CONFIG, replace(CONFIG, accumulate=parts))]
    sampler = make_sampler(columns, CONFIG)
    for run, count in zip(runs, (1, parts), strict=True):
        divided_step(run, sampler, replace(CONFIG, accumulate=count))
    for whole, divided in zip(*(run.policy.parameters() for run in runs), strict=True):
        assert (whole.grad is None) == (divided.grad is None)
        if whole.grad is not None and divided.grad is not None:
            assert float((whole.grad - divided.grad).abs().max()) <= 1e-5 * float(whole.grad.abs().max())
    assert difference(*runs) < 1e-4


@pytest.mark.parametrize("parts", [2, 50])
def test_a_run_in_parts_is_the_same_run(columns: dict[str, TaskArrays], parts: int) -> None:
    whole, losses = trained(columns, CONFIG)
    divided, losses_in_parts = trained(columns, replace(CONFIG, accumulate=parts))
    assert losses_in_parts == pytest.approx(losses, rel=1e-4)
    other, _ = trained(columns, replace(CONFIG, seed=1))
    # AdamW moves a number whose gradient is rounding alone by a whole step, whatever its sign: a few numbers
    # differ by up to two steps of its rate, all others in their last digits
    assert difference(whole, divided) < 2 * CONFIG.steps * CONFIG.table_learning_rate
    assert share_apart(whole, divided) < 0.001
    assert share_apart(whole, other) > 0.5


def test_the_losses_by_task_of_parts_are_those_of_the_batch(columns: dict[str, TaskArrays]) -> None:
    by_task = []
    for parts in (1, 3):
        config = replace(CONFIG, accumulate=parts)
        by_task.append(divided_step(begin(columns, config), make_sampler(columns, config), config)[1])
    assert by_task[1] == pytest.approx(by_task[0], rel=1e-4)
    assert set(by_task[0]) == set(WORLDS)


def test_activations_that_are_computed_again_change_no_gradient(columns: dict[str, TaskArrays]) -> None:
    config = replace(CONFIG, dropout=0.3, history_dropout=0.5)
    kept, losses = trained(columns, config)
    again, losses_again = trained(columns, replace(config, checkpoint_activations=True))
    assert again.policy.recomputes
    assert losses_again == losses
    assert difference(kept, again) == 0


def test_activations_are_kept_until_they_are_needed_unless_computed_again(
    columns: dict[str, TaskArrays],
) -> None:
    """The bytes that autograd keeps for the backward pass."""
    config = replace(CONFIG, size=4)
    sampler = make_sampler(columns, config)
    kept = []
    for recomputes in (False, True):
        run = begin(columns, replace(config, checkpoint_activations=recomputes))
        sizes: dict[int, int] = {}

        def note(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            run.policy.train().loss(sampler.batch(0))
        kept.append(sum(sizes.values()))
    assert kept[1] < 0.7 * kept[0]
