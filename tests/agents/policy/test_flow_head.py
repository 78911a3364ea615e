"""The flow head generates what was shown: one action or several, alone or in chunks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tutelage.agents.policy.action_chunks import fit_chunks
from tutelage.agents.policy.action_sampling import SamplingSettings
from tutelage.agents.policy.encoding import Encoding
from tutelage.agents.policy.fine_tuning import freeze, grown
from tutelage.agents.policy.flow_head import FlowHead
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.optimizer import Optimizer
from tutelage.agents.training.step import begin, make_sampler, training_step
from tutelage.datasets.arrays.sampler import Sampler, TaskArrays
from tutelage.tests.support.toy_policy import LENGTH, awake, columns_of

COLUMNS = {world: columns_of(world) for world in ("vector", "grid")}
CHUNK = 3


def flowing(replan: int, columns: dict[str, TaskArrays] = COLUMNS) -> Policy:
    """Return a policy without a zero weight, whose world of vectors has a flow head."""

    def choose(space, group):  # type: ignore[no-untyped-def]
        return fit_chunks(space, group[0].actions, CHUNK, replan) if group[0].task.id == "vector" else None

    return awake(PolicyConfig(size=1, window=4), columns, choose).double()


def trained(head: FlowHead, x: torch.Tensor, chunks: torch.Tensor, steps: int) -> FlowHead:
    torch.manual_seed(0)
    optimizer = Optimizer(head, 0.02, 0.003, 0.0)
    for step in range(steps):
        head.zero_grad()
        head.loss(x, chunks, torch.ones_like(chunks, dtype=torch.bool)).mean().backward()
        optimizer.step(min(1.0, 2 * (1 - step / steps)))
    return head


@pytest.mark.slow
def test_two_equally_right_actions_are_both_generated_and_hardly_anything_between() -> None:
    torch.manual_seed(0)
    x, actions = torch.ones(256, 32), torch.tensor([-1.0, 1.0]).repeat(128)[:, None]
    head = trained(FlowHead(32, 1), x, actions, 400)
    draw = SamplingSettings(torch.Generator().manual_seed(0))
    generated = head.generate(torch.ones(500, 32), draw)[:, 0].numpy()
    is_near = np.abs(np.abs(generated) - 1) < 0.25
    assert is_near.mean() > 0.9
    assert 0.35 < (generated[is_near] > 0).mean() < 0.65


@pytest.mark.slow
def test_a_chunk_that_follows_from_the_summary_is_generated_whole() -> None:
    torch.manual_seed(0)
    x = torch.nn.functional.one_hot(torch.arange(256) % 4, 32).float()
    chunks = torch.randn(4, 6).clamp(-1, 1)[torch.arange(256) % 4]
    head = trained(FlowHead(32, 6), x, chunks, 400)
    assert torch.allclose(head.generate(x[:4], None), chunks[:4], atol=0.05)


def test_greedy_is_deterministic_and_a_seed_draws_the_same() -> None:
    head, x = FlowHead(16, 4), torch.randn(5, 16)
    assert (head.generate(x, None) == head.generate(x, None)).all()
    draws = [head.generate(x, SamplingSettings(torch.Generator().manual_seed(s))) for s in (1, 1, 2)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


def test_what_lies_past_a_window_changes_no_loss() -> None:
    policy = flowing(0)
    batch = Sampler(COLUMNS, window=4, steps_per_batch=60, weights={}, seed=3).batch(0)
    losses = policy.step_losses({"vector": batch["vector"]})[0]
    first = int(batch["vector"].lengths[0])
    actions = batch["vector"].actions.copy()
    actions[first:] *= -0.5
    other = policy.step_losses({"vector": replace(batch["vector"], actions=actions)})[0]
    assert torch.equal(losses[:first], other[:first])
    assert (losses[first:] != other[first:]).any()


def test_a_step_that_teaches_nothing_has_no_loss_and_weights_count() -> None:
    policy = flowing(0)
    batch = Sampler(COLUMNS, window=4, steps_per_batch=60, weights={}, seed=3).batch(0)["vector"]
    blind = replace(batch, actions=np.full_like(batch.actions, np.nan))
    assert not policy.step_losses({"vector": blind})[0].any()
    half = replace(batch, weight=np.where(np.arange(len(batch.weight)) % 2, 3, 0).astype(np.float32))
    losses = policy.step_losses({"vector": half})[0]
    loss, by_task = policy.loss({"vector": half})
    assert loss.item() == pytest.approx(losses[1::2].mean().item())
    assert by_task["vector"] == pytest.approx(loss.item())


@pytest.mark.parametrize("replan", [0, 1, 2])
@pytest.mark.parametrize("memoryless", [False, True])
def test_an_episode_acts_alone_as_in_a_batch(replan: int, memoryless: bool) -> None:
    policy = flowing(replan)
    policy.memoryless_tasks = frozenset({"vector"} if memoryless else ())
    seen = COLUMNS["vector"].observations[""].reshape(-1, LENGTH, 3)[:4]
    together, alone = policy.start("vector", 4), policy.start("vector", 1)
    for time in range(LENGTH):
        # others end in between
        alive = np.array([True, time < 2, True, time < 5])
        rows, together = policy.act("vector", {"": seen[:, time]}, together, alive=alive)
        (row,), alone = policy.act("vector", {"": seen[2:3, time]}, alone)
        assert rows[2] == pytest.approx(row, abs=1e-9)
        assert not rows[~alive].any()


def test_a_new_episode_forgets_the_chunks_of_the_last() -> None:
    policy = flowing(2)
    seen = {"": COLUMNS["vector"].observations[""][:1]}
    first, memory = policy.act("vector", seen, policy.start("vector", 1))
    policy.act("vector", {"": COLUMNS["vector"].observations[""][5:6]}, memory)
    again, _ = policy.act("vector", seen, policy.start("vector", 1))
    assert (first == again).all()


def test_actions_lie_in_the_space_and_have_no_probabilities() -> None:
    policy = flowing(0)
    seen = {"": COLUMNS["vector"].observations[""][:9]}
    generator, told = torch.Generator().manual_seed(0), []
    rows, _ = policy.act(
        "vector",
        seen,
        policy.start("vector", 9),
        greedy=False,
        generator=generator,
        temperature=8.0,
        probabilities=told,
    )
    assert (np.abs(rows) <= 2).all()
    assert not told


def test_other_tasks_keep_their_actions() -> None:
    seen = {path: leaf[:6] for path, leaf in COLUMNS["grid"].observations.items()}
    policy = flowing(0)
    rows, _ = policy.act("grid", seen, policy.start("grid", 6))
    assert set(rows[:, 0].tolist()) <= set(range(2, 8))
    assert Encoding.from_dict(policy.encoding.to_dict()) == policy.encoding


def test_all_but_head_trains_the_flow_head_alone() -> None:
    parent = flowing(0).float()
    child = grown(parent, parent.config, parent.encoding).train()
    freeze(child, parent, "all-but-head")
    before = {name: weight.clone() for name, weight in child.state_dict().items()}
    optimizer = Optimizer(child, 0.02, 0.003, 0.0)
    batch = Sampler(COLUMNS, window=4, steps_per_batch=60, weights={}, seed=3).batch(0)
    child.loss({"vector": batch["vector"]})[0].backward()
    optimizer.step(1.0)
    changed = {name for name, weight in child.state_dict().items() if (weight != before[name]).any()}
    assert changed == {name for name in before if name.startswith("flow.")}


@pytest.mark.slow
def test_a_whole_chunk_is_played_where_only_its_first_observation_says_what_to_do() -> None:
    vector = COLUMNS["vector"]
    random = np.random.default_rng(0)
    told = random.choice([-1.0, 1.0], (256, 1))
    # steps 0, 3, 6, ... say what the next three do; the others are blank
    seen = np.zeros((256, 3, 3), np.float32)
    seen[:, 0, :1], seen[:, 0, 2] = told, 1
    actions = told[:, :, None] * np.array([[1.5, -0.5], [0.5, 1.0], [-1.0, 0.0]])
    columns = {
        "vector": replace(
            vector,
            observations={"": seen.reshape(-1, 3)},
            actions=actions.reshape(-1, 2),
            starts=np.arange(0, 769, 3),
            success=np.ones(256, bool),
            demonstrator=["ann"] * 256,
            returns=np.ones(256),
            controllers=np.zeros(768, np.int8),
        )
    }
    config = TrainConfig(
        size=1,
        steps=150,
        batch_steps=96,
        window=3,
        action_head="flow",
        chunk=3,
        replan=3,
        dropout=0.0,
        history_dropout=1.0,
        warmup=5,
        ema=0.9,
    )
    run, sampler = begin(columns, config), make_sampler(columns, config)
    while run.step < config.steps:
        training_step(run, sampler.batch(run.step), config)
    run.average.memoryless_tasks = frozenset({"vector"})
    memory = run.average.start("vector", 8)
    for time in range(3):
        rows, memory = run.average.act("vector", {"": seen[:8, time]}, memory)
        assert rows == pytest.approx(actions[:8, time], abs=0.1)
