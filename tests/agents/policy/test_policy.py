from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from tutelage.agents.policy.fused_ops import normalize_rms
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.datasets.arrays.sampler import Sampler, TaskArrays, WindowBatch
from tutelage.errors import TutelageError
from tutelage.tests.support.toy_policy import LENGTH, WORLDS, awake, columns_of


@pytest.fixture(scope="module")
def columns() -> dict[str, TaskArrays]:
    return {world: columns_of(world) for world in WORLDS}


@pytest.fixture(scope="module")
def policy(columns: dict[str, TaskArrays]) -> Policy:
    return awake(PolicyConfig(size=2, window=8), columns).double()


@pytest.fixture(scope="module")
def batch(columns: dict[str, TaskArrays]) -> dict[str, WindowBatch]:
    return Sampler(columns, window=5, steps_per_batch=60, weights={}, seed=3).batch(0)


def every_parameter(policy: Policy) -> Iterator[tuple[str, torch.Tensor]]:
    for name, weight in policy.named_parameters():
        assert weight.grad is not None, name
        yield name, weight


@pytest.mark.slow
def test_gradients_are_the_numerical_ones_for_every_weight(
    policy: Policy, batch: dict[str, WindowBatch]
) -> None:
    policy.zero_grad()
    loss, _ = policy.loss(batch)
    loss.backward()
    step = 1e-6
    for name, weight in every_parameter(policy):
        flat, grad = weight.data.view(-1), weight.grad.view(-1)  # type: ignore[union-attr]
        for at in {int(grad.abs().argmax()), len(flat) // 2}:
            kept = float(flat[at])
            sides = []
            for moved in (kept + step, kept - step):
                flat[at] = moved
                with torch.no_grad():
                    sides.append(float(policy.loss(batch)[0]))
            flat[at] = kept
            numerical = (sides[0] - sides[1]) / (2 * step)
            assert float(grad[at]) == pytest.approx(numerical, rel=1e-4, abs=1e-7), name


@pytest.mark.parametrize("world", WORLDS)
def test_a_step_means_the_same_alone_and_in_a_pack(
    policy: Policy, columns: dict[str, TaskArrays], world: str
) -> None:
    seen = {path: one[:12] for path, one in columns[world].observations.items()}
    packed = policy.summarize({world: seen})
    alone = [policy.summarize({world: {k: v[i : i + 1] for k, v in seen.items()}})[0] for i in range(12)]
    assert torch.allclose(packed, torch.stack(alone), atol=1e-10)


def test_tasks_do_not_reach_into_each_other(policy: Policy, columns: dict[str, TaskArrays]) -> None:
    seen = {world: {k: v[:7] for k, v in one.observations.items()} for world, one in columns.items()}
    together = policy.summarize(seen)
    alone = torch.cat([policy.summarize({world: observations}) for world, observations in seen.items()])
    assert torch.allclose(together, alone, atol=1e-10)


def test_things_on_a_grid_have_no_order(policy: Policy, columns: dict[str, TaskArrays]) -> None:
    seen = {path: one[:9] for path, one in columns["grid"].observations.items()}
    order = np.array([3, 1, 8, 0, 2, 7, 6, 5, 4])
    shuffled = policy.summarize({"grid": {path: leaf[order] for path, leaf in seen.items()}})
    assert torch.allclose(policy.summarize({"grid": seen})[torch.from_numpy(order)], shuffled, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.integers(0, 99))
def test_windows_of_any_lengths_remember_as_each_does_alone(
    policy: Policy, lengths: list[int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(lengths), policy.config.width, generator=generator, dtype=torch.float64)
    packed = policy.remember(x, np.array(lengths))
    alone = [policy.remember(one, np.array([len(one)])) for one in x.split(lengths)]
    assert torch.allclose(packed, torch.cat(alone), atol=1e-10)


def test_memory_never_sees_the_future(policy: Policy) -> None:
    x = torch.randn(8, policy.config.width, dtype=torch.float64)
    changed = x.clone()
    changed[5:] += 1.0
    before, after = (policy.remember(one, np.array([8])) for one in (x, changed))
    assert torch.equal(before[:5], after[:5])
    assert not torch.allclose(before[5:], after[5:])


def stepwise(policy: Policy, x: torch.Tensor) -> torch.Tensor:
    """Feed `[episodes, T, d]` through the running memory, one step at a time."""
    memory = policy.start("grid", len(x))
    outs = []
    with torch.no_grad():
        for time in range(x.shape[1]):
            now = x[:, time]
            for block, ring in zip(policy.memory, memory.rings, strict=True):
                now = block.step(now, ring, torch.arange(len(x)), time)  # type: ignore[operator]
            outs.append(normalize_rms(now))
    return torch.stack(outs, 1)


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("size", [1, 4])
def test_step_by_step_equals_the_whole_window(
    columns: dict[str, TaskArrays], size: int, dtype: torch.dtype, exact: float
) -> None:
    policy = awake(PolicyConfig(size=size, window=8), {"grid": columns["grid"]}).to(dtype)
    x = torch.randn(3, 8, policy.config.width, dtype=dtype)
    with torch.no_grad():
        whole = policy.remember(x.flatten(0, 1), np.array([8, 8, 8])).view_as(x)
    assert (stepwise(policy, x) - whole).abs().max() < exact * max(1.0, float(whole.abs().max()))


def test_a_full_ring_is_the_window_that_ends_now(columns: dict[str, TaskArrays]) -> None:
    policy = awake(PolicyConfig(size=2, window=8), {"grid": columns["grid"]}).double()
    x = torch.randn(2, 21, policy.config.width, dtype=torch.float64)
    running = stepwise(policy, x)
    for end in (9, 16, 17, 21):
        window = x[:, end - 8 : end]
        whole = policy.remember(window.flatten(0, 1), np.array([8, 8])).view_as(window)
        assert torch.allclose(running[:, end - 1], whole[:, -1], atol=1e-10)


@pytest.mark.parametrize("world", WORLDS)
def test_acting_gives_what_the_whole_window_gives(
    policy: Policy, columns: dict[str, TaskArrays], world: str
) -> None:
    one = columns[world]
    episodes = len(one.starts) - 1
    seen = {
        path: values.reshape(episodes, LENGTH, *values.shape[1:]) for path, values in one.observations.items()
    }
    memory, acted = policy.start(world, episodes), []
    for time in range(8):
        rows, memory = policy.act(world, {path: values[:, time] for path, values in seen.items()}, memory)
        acted.append(rows)
    with torch.no_grad():
        flat = {path: values[:, :8].reshape(-1, *values.shape[2:]) for path, values in seen.items()}
        x = policy.remember(policy.summarize({world: flat}), np.full(episodes, 8))
    index = policy.encoding.tasks[world][0]
    whole = policy.decoder.choose(x, policy.encoding.interfaces[index], index, None, None)
    assert np.stack(acted, 1).reshape(whole.shape) == pytest.approx(whole, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_an_illegal_choice_is_never_made(
    policy: Policy, columns: dict[str, TaskArrays], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 12))
    masks = data.draw(
        st.lists(st.lists(st.booleans(), min_size=6, max_size=6).filter(any), min_size=count, max_size=count)
    )
    legal = np.array(masks)
    seen = {path: one[:count] for path, one in columns["grid"].observations.items()}
    greedy = data.draw(st.booleans())
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    rows, _ = policy.act(
        "grid", seen, policy.start("grid", count), greedy=greedy, generator=generator, legal=legal
    )
    assert legal[np.arange(count), rows[:, 0].astype(int) - 2].all()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(WORLDS)), st.booleans(), st.integers(0, 999))
def test_every_action_belongs_to_its_own_task(
    policy: Policy, columns: dict[str, TaskArrays], world: str, greedy: bool, seed: int
) -> None:
    seen = {path: one[:10] for path, one in columns[world].observations.items()}
    generator = torch.Generator().manual_seed(seed)
    rows, _ = policy.act(world, seen, policy.start(world, 10), greedy=greedy, generator=generator)
    space = WORLDS[world][1]
    low, high = _bounds(space)
    assert (rows >= low).all()
    assert (rows <= high).all()
    if not isinstance(space, spaces.Box):
        assert (rows == np.round(rows)).all()


def _bounds(space: spaces.Space[Any]) -> tuple[Any, Any]:
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.start) + int(space.n) - 1
    if isinstance(space, spaces.MultiDiscrete):
        start: np.ndarray = np.array(space.start, np.int64)
        return start, start + np.array(space.nvec, np.int64) - 1
    return (space.low, space.high) if isinstance(space, spaces.Box) else (0, 1)


def test_finished_episodes_are_skipped_and_do_not_disturb_the_others(
    policy: Policy, columns: dict[str, TaskArrays]
) -> None:
    seen = {path: one[:4] for path, one in columns["vector"].observations.items()}
    alive = np.array([True, False, True, False])
    both, some = policy.start("vector", 4), policy.start("vector", 4)
    for _ in range(3):
        every, both = policy.act("vector", seen, both)
        rows, some = policy.act("vector", seen, some, alive=alive)
    assert rows[alive] == pytest.approx(every[alive], abs=1e-9)
    assert (rows[~alive] == 0).all()


def test_a_later_part_is_decided_from_the_earlier_one(policy: Policy, columns: dict[str, TaskArrays]) -> None:
    index = policy.encoding.tasks["number"][0]
    interface = policy.encoding.interfaces[index]
    x = torch.randn(1, policy.config.width, dtype=torch.float64).expand(3, -1)
    actions = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    with torch.no_grad():
        whole = policy.decoder.loss(x, interface, index, actions)
    first = policy.decoder._logits(x, interface.parts[0], policy.decoder.offsets[index][0])
    second = whole - torch.nn.functional.cross_entropy(first, torch.arange(3), reduction="none").detach()
    assert len({round(float(one), 6) for one in second}) == 3


def test_steps_of_weight_zero_teach_nothing(policy: Policy, columns: dict[str, TaskArrays]) -> None:
    weights = {world: np.array([1.0, 1, 1, 1e-30, 1, 1]) for world in columns}
    batch = Sampler(columns, window=9, steps_per_batch=400, weights=weights, seed=1).batch(0)
    wrong = {}
    for world, one in batch.items():
        silenced = np.where(one.weight < 1e-20, 0.0, one.weight).astype(np.float32)
        actions = one.actions.copy()
        actions[silenced == 0] = columns[world].actions.min(0)
        wrong[world] = WindowBatch(one.rows, one.lengths, one.observations, actions, silenced)
    with torch.no_grad():
        assert float(policy.loss(wrong)[0]) == pytest.approx(float(policy.loss(batch)[0]), abs=1e-9)


def test_the_same_seed_makes_the_same_policy(columns: dict[str, TaskArrays]) -> None:
    one, other = (awake(PolicyConfig(size=1), columns).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_twice_the_windows_are_twice_the_flops(policy: Policy, batch: dict[str, WindowBatch]) -> None:
    twice = {
        world: WindowBatch(
            np.tile(one.rows, 2),
            np.tile(one.lengths, 2),
            {path: np.concatenate([seen, seen]) for path, seen in one.observations.items()},
            np.tile(one.actions, (2, 1)),
            np.tile(one.weight, 2),
        )
        for world, one in batch.items()
    }
    assert policy.count_flops(twice) == 2 * policy.count_flops(batch)


def test_an_untaught_task_is_refused(policy: Policy) -> None:
    with pytest.raises(TutelageError, match="got 'chess'"):
        policy.start("chess", 1)
