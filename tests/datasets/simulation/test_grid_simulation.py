"""The crowd in grid worlds: whole chunks played by the kernels, the same episodes however they are spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tutelage.datasets.arrays.sampler import Sampler, load_columns
from tutelage.datasets.replay import replay
from tutelage.datasets.simulation.profiles import PROFILES, SimulatedDemonstrator
from tutelage.datasets.simulation.simulated_crowd import crowd, simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import load_suite
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

SUITE = load_suite("babyai")
PLAYED = {"go-to-local": 300, "pickup-loc": 60, "boss-level": 42}


def made(folder: Path, workers: int = 1) -> Store:
    store = Store.create(folder, SUITE)
    simulate(SUITE, store, PLAYED, workers=workers)
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made(tmp_path_factory.mktemp("grid") / "store")


def test_what_the_kernels_played_replays_step_by_step_in_the_environment(store: Store) -> None:
    environments = {task: TaskEnv(SUITE[task]) for task in PLAYED}
    for one in list(store.trajectories())[::7]:
        again = replay(one, environments[one.task])
        assert again.digest == one.digest
        assert np.array_equal(again.rewards, one.rewards)
        assert (again.terminated, again.truncated) == (one.terminated, one.truncated)
    assert store.verify() == []


@pytest.mark.slow
def test_the_same_episodes_come_from_any_number_of_processes(store: Store, tmp_path: Path) -> None:
    def what(one: Store) -> list[tuple[object, ...]]:
        return [
            (each.task, each.seed, each.demonstrator, each.actions.tobytes(), each.times_ms.tobytes())
            for each in one.trajectories()
        ]

    assert what(made(tmp_path / "again", workers=2)) == what(store)


def test_each_profile_errs_in_its_own_way(tmp_path: Path) -> None:
    success, steps, wait = {}, {}, {}
    for name in PROFILES:
        store = Store.create(tmp_path / name, SUITE)
        simulate(
            SUITE, store, {"pickup-loc": 150}, demonstrators=[SimulatedDemonstrator(name, PROFILES[name])]
        )
        played = list(store.trajectories())
        success[name] = sum(one.success for one in played) / 150
        steps[name] = np.mean([len(one) for one in played])
        wait[name] = np.median(np.concatenate([np.diff(one.times_ms) for one in played]))
    assert success["expert"] == 1.0
    assert success["careful"] > 0.97
    assert 0.7 < success["lazy"] < success["careful"]
    assert 0.55 < success["mistaken"] < 0.97
    assert success["hostile"] < 0.6
    assert steps["expert"] <= steps["careful"] < steps["noisy"] < steps["hostile"]
    assert wait["hostile"] < wait["expert"] < wait["careful"] < wait["slow"]


def test_an_expert_is_never_called_a_demonstrator(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store", SUITE)
    simulate(SUITE, store, {"go-to-obj": 3}, demonstrators=crowd({"expert": 1}))
    for one in store.trajectories():
        assert one.kind == "expert"
        assert set(one.controllers) == {2}


def test_live_observations_are_those_of_a_replay_in_memory(store: Store) -> None:
    kept, live = load_columns([store]), load_columns([store], live=True)
    assert not isinstance(live["boss-level"].observations, dict)
    both = [Sampler(one, window=16, steps_per_batch=200, seed=3) for one in (kept, live)]
    for step in range(12):
        one, other = (sampler.batch(step) for sampler in both)
        assert one.keys() == other.keys()
        for task in one:
            for path, array in one[task].observations.items():
                assert np.array_equal(array, other[task].observations[path])
            assert np.array_equal(one[task].actions, other[task].actions)


def test_live_columns_leave_no_observation_file(store: Store) -> None:
    load_columns([store], cache=True, live=True)
    files = list((store.path / "columns").rglob("*.npy"))
    steps = sum(len(one) for one in store.trajectories())
    assert 0 < sum(one.stat().st_size for one in files) < steps * 10


def test_an_unknown_profile_is_refused_by_name() -> None:
    with pytest.raises(TutelageError, match="did you mean 'careful'"):
        crowd({"carefull": 1})
