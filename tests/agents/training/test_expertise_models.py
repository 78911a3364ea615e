"""Judges tell who cares from who does not, look at no outcome, and say the same in whatever order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.expertise_models import skills
from tutelage.datasets.arrays.array_subset import episodes_of
from tutelage.datasets.arrays.sampler import TaskArrays, load_columns
from tutelage.datasets.quality.expertise import ExpertiseEstimate
from tutelage.datasets.simulation.profiles import DemonstratorProfile, SimulatedDemonstrator
from tutelage.datasets.simulation.simulated_crowd import crowd, simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import load_suite
from tutelage.tests.support.toy_page import page_columns

SUITE = load_suite("first-steps")
CONFIG = TrainConfig(batch_steps=320, threads=1)
NOISY = SimulatedDemonstrator("noisy-01", DemonstratorProfile("noisy", slip=0.6))
PEOPLE = [*crowd({"careful": 5, "hostile": 2}), NOISY]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store.create(tmp_path_factory.mktemp("crowd") / "store", SUITE)
    simulate(SUITE, made, {"goto-red-ball-grey": 240, "pendulum": 24}, demonstrators=PEOPLE)
    return made


@pytest.fixture(scope="module")
def columns(store: Store) -> dict[str, TaskArrays]:
    return load_columns([store], live=True)


@pytest.fixture(scope="module")
def judged(columns: dict[str, TaskArrays]) -> dict[str, ExpertiseEstimate]:
    return skills(columns, CONFIG)


@pytest.mark.slow
def test_who_does_not_care_is_found_out_and_careful_people_are_trusted(
    judged: dict[str, ExpertiseEstimate],
) -> None:
    assert all(judged[f"careful-0{n}"].weight > 0.9 for n in range(1, 6))
    assert judged["hostile-01"].weight < 0.1
    assert judged["hostile-02"].weight < 0.1
    assert judged["hostile-01"].share < judged["noisy-01"].share < judged["careful-01"].share
    assert judged["noisy-01"].weight < 0.8


@pytest.mark.slow
def test_outcomes_are_not_looked_at(columns: dict[str, TaskArrays]) -> None:
    rooms = columns["goto-red-ball-grey"]
    third = episodes_of(rooms, range(0, len(rooms.demonstrator), 3))
    unknown = replace(third, success=~third.success, returns=third.returns * np.nan)
    task = "goto-red-ball-grey"
    judged = skills({task: third}, CONFIG)
    assert judged
    assert skills({task: unknown}, CONFIG) == judged


@pytest.mark.soak
def test_the_order_of_parts_and_of_stores_changes_nothing(
    store: Store, judged: dict[str, ExpertiseEstimate], tmp_path: Path
) -> None:
    episodes = list(store.trajectories())
    shuffled = [episodes[at] for at in np.random.default_rng(0).permutation(len(episodes))]
    first, second = (Store.create(tmp_path / name, SUITE) for name in ("first", "second"))
    first.append(shuffled[:50])
    first.append(shuffled[50:70])
    second.append(shuffled[70:])
    assert skills(load_columns([second, first], live=True), CONFIG) == judged


@pytest.mark.slow
def test_a_task_that_only_one_half_has_played_judges_nobody(columns: dict[str, TaskArrays]) -> None:
    pendulum = columns["pendulum"]
    alone = episodes_of(pendulum, [at for at, who in enumerate(pendulum.demonstrator) if who == "careful-01"])
    found = skills({"goto-red-ball-grey": columns["goto-red-ball-grey"], "pendulum": alone}, CONFIG)
    assert found["careful-01"].weight > 0.9


def test_three_people_are_too_few(columns: dict[str, TaskArrays]) -> None:
    one = columns["goto-red-ball-grey"]
    few = episodes_of(one, [at for at, who in enumerate(one.demonstrator) if who < "careful-04"])
    assert skills({"goto-red-ball-grey": few}, CONFIG) == {}


def test_chosen_episodes_hold_what_the_whole_columns_do(columns: dict[str, TaskArrays]) -> None:
    for one in columns.values():
        chosen = [7, 2, 11]
        some = episodes_of(one, chosen)
        rows = np.concatenate([np.arange(one.starts[at], one.starts[at + 1]) for at in chosen])
        assert len(some) == len(rows)
        assert np.array_equal(some.actions, one.actions[rows])
        assert some.demonstrator == [one.demonstrator[at] for at in chosen]
        for path, leaf in one.observations.items():
            whole = leaf.take(rows, axis=0)
            assert len(some.observations[path]) == len(rows)
            assert np.array_equal(some.observations[path][:9], whole[:9])
            assert np.array_equal(some.observations[path].take(np.array([5, 3]), axis=0), whole[[5, 3]])


@pytest.mark.slow
def test_whoever_clicks_anywhere_on_a_page_is_found_out() -> None:
    right = page_columns(False, 640)
    names = sorted(f"{'careless' if n < 2 else 'careful'}-{n}" for n in range(8) for _ in range(80))
    anything = right.actions[np.random.default_rng(1).permutation(len(right))]
    actions = np.where(np.array(names)[:, None] < "careless", right.actions, anything)
    found = skills({"click": replace(right, actions=actions, demonstrator=names)}, CONFIG)
    careless = [one.weight for who, one in found.items() if who.startswith("careless")]
    careful = [one.weight for who, one in found.items() if who.startswith("careful")]
    assert max(careless) < min(careful)
