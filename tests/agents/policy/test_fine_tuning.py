"""A trained policy takes on new tasks: what is shared stays as it was, what is new starts fresh."""

from __future__ import annotations

import pytest
import torch
from tutelage.agents.policy.encoding import Encoding
from tutelage.agents.policy.fine_tuning import FREEZE, extended, freeze, grown, inherited_matrices
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.agents.training.optimizer import Optimizer
from tutelage.datasets.arrays.sampler import Sampler, TaskArrays
from tutelage.envs.suite import Suite, suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.toy_policy import WORLDS, awake, columns_of

CONFIG = PolicyConfig(size=2, window=8)
KNOWN, NEW = ("grid", "vector"), ("number", "picture")


@pytest.fixture(scope="module")
def columns() -> dict[str, TaskArrays]:
    return {world: columns_of(world) for world in WORLDS}


@pytest.fixture(scope="module")
def suite() -> Suite:
    tasks = [
        {
            "id": world,
            "env": "toys/PolicyToy-v0",
            "kwargs": {"world": world},
            "instruction": f"do the {world}",
        }
        for world in KNOWN
    ]
    return suite_from({"suite": "known", "tasks": tasks})


@pytest.fixture(scope="module")
def parent(columns: dict[str, TaskArrays]) -> Policy:
    return awake(CONFIG, {world: columns[world] for world in KNOWN})


def test_tasks_that_it_knows_are_played_as_before(
    parent: Policy, suite: Suite, columns: dict[str, TaskArrays]
) -> None:
    encoding = extended(parent.encoding, suite, columns)
    assert encoding.interfaces[: len(KNOWN)] == parent.encoding.interfaces
    assert set(encoding.tasks) == set(WORLDS)
    child = grown(parent, CONFIG, encoding).eval()
    for world in KNOWN:
        seen = {path: leaf[:20] for path, leaf in columns[world].observations.items()}
        before, after = (policy.act(world, seen, policy.start(world, 20))[0] for policy in (parent, child))
        assert (before == after).all()


def test_what_is_new_is_fresh_and_is_learned(
    parent: Policy, suite: Suite, columns: dict[str, TaskArrays]
) -> None:
    torch.manual_seed(0)
    child = grown(parent, CONFIG, extended(parent.encoding, suite, columns))
    options = len(parent.decoder.options.weight)
    assert len(child.decoder.options.weight) == options + 3 + 4 + 2 + 2
    assert (child.decoder.options.weight[:options] == parent.decoder.options.weight).all()
    batch = Sampler(columns, window=5, steps_per_batch=60, weights={}, seed=3).batch(0)
    optimizer, losses = Optimizer(child, 0.02, 0.003, 0.0), []
    for _ in range(8):
        child.zero_grad()
        loss, by_task = child.loss(batch)
        loss.backward()
        optimizer.step(1.0)
        losses.append(by_task)
    for world in NEW:
        assert losses[-1][world] < losses[0][world]


def test_an_unnamed_vector_of_another_environment_is_an_interface_of_its_own(
    parent: Policy, columns: dict[str, TaskArrays]
) -> None:
    elsewhere = suite_from({"suite": "elsewhere", "tasks": [{"id": "vector", "env": "CartPole-v1"}]})
    encoding = extended(parent.encoding, elsewhere, {"vector": columns["vector"], "grid": columns["grid"]})
    assert encoding.tasks["vector"][0] == len(KNOWN)
    assert encoding.tasks["grid"][0] == parent.encoding.tasks["grid"][0]  # its numbers have names


@pytest.mark.parametrize("what", FREEZE)
def test_frozen_parts_stay_and_new_ones_are_trained(
    parent: Policy, suite: Suite, columns: dict[str, TaskArrays], what: str
) -> None:
    child = grown(parent, CONFIG, extended(parent.encoding, suite, columns)).train()
    freeze(child, parent, what)
    before = {name: weight.clone() for name, weight in child.state_dict().items()}
    optimizer = Optimizer(child, 0.02, 0.003, 0.0)
    child.loss(Sampler(columns, window=5, steps_per_batch=60, weights={}, seed=3).batch(0))[0].backward()
    optimizer.step(1.0)
    changed = {name for name, weight in child.state_dict().items() if (weight != before[name]).any()}
    inherited = set(parent.state_dict())
    for prefix, freezes in (
        ("tokens.", ("tokens", "encoder", "all-but-head")),
        ("encoder.", ("encoder", "all-but-head")),
        ("memory.", ("all-but-head",)),
    ):
        moved = any(name.startswith(prefix) for name in changed & inherited)
        assert moved == (what not in freezes), prefix
    assert any(name.startswith("tokens.leaves.2") for name in changed)
    assert any(name.startswith("decoder.") for name in changed)


def test_adapters_change_inherited_matrices_by_a_low_rank_and_leave_the_rest_to_train(
    parent: Policy, suite: Suite, columns: dict[str, TaskArrays]
) -> None:
    child = grown(parent, CONFIG, extended(parent.encoding, suite, columns)).train()
    adapted = inherited_matrices(child, parent)
    assert set(adapted) == {name for name in parent.state_dict() if name.startswith(("encoder.", "memory."))}
    before = {name: weight.clone() for name, weight in child.state_dict().items()}
    optimizer = Optimizer(child, 0.02, 0.003, 0.0, adapted, 3)
    batch = Sampler(columns, window=5, steps_per_batch=60, weights={}, seed=3).batch(0)
    losses = []
    for _ in range(12):
        child.zero_grad()
        loss = child.loss(batch)[0]
        loss.backward()
        optimizer.step(1.0)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    for name, weight in child.state_dict().items():
        if name in adapted:
            change = torch.linalg.svdvals(weight - before[name])
            assert change[2] > 1e-4 > 10 * change[3]
    changed = {name for name, weight in child.state_dict().items() if (weight != before[name]).any()}
    assert any(name.startswith("tokens.leaves.2") for name in changed)
    assert any(name.startswith("decoder.") for name in changed)


def test_another_size_or_window_is_refused(parent: Policy) -> None:
    with pytest.raises(TutelageError, match="expected a parent of size 3, got one of 2; use --size 2"):
        grown(parent, PolicyConfig(size=3, window=8), parent.encoding)
    with pytest.raises(TutelageError, match="expected a parent of window 9, got one of 8"):
        grown(parent, PolicyConfig(size=2, window=9), parent.encoding)


def test_an_encoding_grows_by_what_is_missing_only(
    parent: Policy, suite: Suite, columns: dict[str, TaskArrays]
) -> None:
    assert extended(parent.encoding, suite, {world: columns[world] for world in KNOWN}) == Encoding(
        parent.encoding.interfaces,
        {world: (index, columns[world].task.instruction) for index, world in enumerate(KNOWN)},
    )
