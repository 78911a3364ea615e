"""The simulated crowd: a function of (name, task, seed), each profile as documented, every episode proven."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.datasets.replay import prove
from tutelage.datasets.simulation.profiles import CROWD, PROFILES, DemonstratorProfile
from tutelage.datasets.simulation.simulated_crowd import (
    SimulatedDemonstrator,
    SimulatedPlayer,
    crowd,
    play,
    profile_counts,
    simulate,
)
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import load_suite
from tutelage.envs.task import RECORD
from tutelage.envs.task_env import TaskEnv

SUITE = load_suite("first-steps")
EVERY = {"goto-red-ball-grey": 21, "goto-local": 21, "cartpole": 6, "taxi": 21, "pendulum": 6}


def episodes(
    profile: DemonstratorProfile | str, task: str, seeds: range, name: str = "someone-01"
) -> list[Trajectory | None]:
    """Let one demonstrator play the seeds; None where it walked away before doing anything."""
    chosen = PROFILES[profile] if isinstance(profile, str) else profile
    environment = TaskEnv(SUITE[task])
    player = SimulatedPlayer(SimulatedDemonstrator(name, chosen), environment)
    played = [play(player, environment, seed, SUITE.name) for seed in seeds]
    environment.close()
    return [one and one[0] for one in played]


def rate(some: list[Trajectory | None]) -> float:
    return sum(one is not None and one.success for one in some) / len(some)


def what_was_done(store: Store) -> dict[Any, Any]:
    """Collect what must not depend on how the work was spread: all but ids and times of day."""
    return {
        (one.task, one.seed): (
            one.demonstrator,
            one.actions.tobytes(),
            one.rewards.tobytes(),
            one.times_ms.tobytes(),
            one.digest,
            one.success,
            one.notes,
        )
        for one in store.trajectories()
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store.create(tmp_path_factory.mktemp("crowd") / "store", SUITE)
    simulate(SUITE, made, EVERY)
    return made


def test_simulate_stores_as_many_episodes_as_it_says(tmp_path: Path) -> None:
    made = Store.create(tmp_path / "store", SUITE)
    told: list[tuple[str, int]] = []
    count = simulate(SUITE, made, {"taxi": 120}, progress=lambda task, n: told.append((task, n)))
    assert len(made) == count <= 120
    assert told == [("taxi", 100), ("taxi", 20)]


def test_every_episode_is_proven_and_kept_without_observations(store: Store) -> None:
    assert store.verify() == []
    assert all(one.observations is None for one in store.trajectories())
    assert {one.kind for one in store.trajectories()} == {"simulated"}
    assert all(one.seed in RECORD for one in store.trajectories())


@pytest.mark.slow
def test_the_same_crowd_does_the_same_twice_and_with_two_workers(store: Store, tmp_path: Path) -> None:
    spread = Store.create(tmp_path / "store", SUITE)
    simulate(SUITE, spread, EVERY, workers=2)
    assert what_was_done(spread) == what_was_done(store)


def test_what_one_does_depends_on_name_task_and_seed_alone(store: Store) -> None:
    one = next(store.trajectories(task="goto-local", seeds=None))
    again = episodes(
        PROFILES[one.demonstrator.rpartition("-")[0]],
        one.task,
        range(one.seed, one.seed + 1),
        one.demonstrator,
    )
    assert again[0] is not None
    assert np.array_equal(again[0].actions, one.actions)
    assert again[0].digest == one.digest


@pytest.mark.parametrize("change", ["name", "seed"])
def test_another_name_or_seed_plays_differently(change: str) -> None:
    mine = episodes("noisy", "cartpole", range(3))
    other = (
        episodes("noisy", "cartpole", range(3), name="someone-02")
        if change == "name"
        else episodes("noisy", "cartpole", range(7, 10))
    )
    assert all(
        a is not None and b is not None and not np.array_equal(a.actions, b.actions)
        for a, b in zip(mine, other, strict=True)
    )


def test_demonstrators_take_turns_by_seed(store: Store) -> None:
    people = crowd()
    for one in store.trajectories():
        assert one.demonstrator == people[one.seed % len(people)].name


def test_the_crowd_has_its_documented_people() -> None:
    people = crowd()
    assert len(people) == 21
    assert len({one.name for one in people}) == 21
    assert people[0].name == "careful-01"
    for name, count in CROWD.items():
        assert sum(one.profile.name == name for one in people) == count


def test_profile_counts_are_by_the_beginning_of_the_pseudonym(store: Store) -> None:
    counts: Mapping[str, int] = profile_counts(store.trajectories(task="taxi"))
    assert set(counts) <= set(PROFILES)
    assert counts["careful"] == CROWD["careful"]


def test_the_careful_succeed_and_the_hostile_do_not() -> None:
    assert rate(episodes("careful", "goto-local", range(40))) >= 0.95
    assert rate(episodes("careful", "taxi", range(40))) >= 0.95
    assert rate(episodes("hostile", "taxi", range(40))) <= 0.15  # random keys find the way now and then
    assert rate(episodes("hostile", "cartpole", range(20))) == 0


def test_the_noisy_take_more_steps_than_the_careful() -> None:
    careful, noisy = (episodes(name, "goto-local", range(60)) for name in ("careful", "noisy"))
    both = [(a, b) for a, b in zip(careful, noisy, strict=True) if a and b and a.success and b.success]
    assert np.mean([len(b) for _, b in both]) > np.mean([len(a) for a, _ in both])


def test_the_lazy_walk_away_and_it_counts_as_no_success() -> None:
    lazy = [one for one in episodes("lazy", "taxi", range(60)) if one is not None]
    left = [one for one in lazy if one.notes == "walked away"]
    assert len(left) >= 5
    for one in left:
        assert (one.success, one.terminated, one.truncated) == (False, False, False)
    careful = [one for one in episodes("careful", "taxi", range(20)) if one is not None]
    assert not any(one.notes for one in careful)


def test_the_mistaken_fail_about_as_often_as_they_misread() -> None:
    assert 0.4 <= rate(episodes("mistaken", "taxi", range(100))) <= 0.85


def test_who_walks_away_at_once_leaves_nothing() -> None:
    gone = DemonstratorProfile("gone", give_up=1.0)
    assert episodes(gone, "taxi", range(3)) == [None, None, None]


def test_slip_is_the_share_of_steps_with_a_random_key() -> None:
    slips, steps = 0, 0
    environment = TaskEnv(SUITE["cartpole"])
    exact = SimulatedPlayer(SimulatedDemonstrator("someone-01", DemonstratorProfile("exact")), environment)
    noisy = SimulatedPlayer(
        SimulatedDemonstrator("someone-01", DemonstratorProfile("half", slip=0.5)), environment
    )
    for seed in range(10):
        step = environment.reset(seed)
        exact.begin(seed)
        noisy.begin(seed)
        while not step.done and steps < 2000:
            wanted, done = exact.act(), noisy.act()
            assert wanted is not None
            assert done is not None
            slips += int(wanted[0] != done[0])
            steps += 1
            step = environment.step(wanted)
    environment.close()
    assert slips / steps == pytest.approx(0.25, abs=0.04)  # every other random key is the right one


def test_wobble_stays_in_the_range_and_has_the_documented_width() -> None:
    environment = TaskEnv(SUITE["pendulum"])
    player = SimulatedPlayer(
        SimulatedDemonstrator("someone-01", DemonstratorProfile("shaky", wobble=0.1)), environment
    )
    player.begin(0)
    moved = np.array([player._add_noise(np.array([0.0]))[0] for _ in range(2000)])
    environment.close()
    assert np.std(moved) == pytest.approx(0.1 * 4, rel=0.06)  # torque runs from -2 to 2
    shaky = episodes(DemonstratorProfile("shaky", wobble=1.0), "pendulum", range(1))[0]
    assert shaky is not None
    assert shaky.actions.min() >= -2
    assert shaky.actions.max() <= 2


def test_reaction_times_have_the_profiles_median() -> None:
    environment = TaskEnv(SUITE["taxi"])
    for name in ("slow", "hostile"):
        player = SimulatedPlayer(SimulatedDemonstrator("someone-01", PROFILES[name]), environment)
        player.begin(0)
        drawn = np.array([player.reaction_ms() for _ in range(3000)])
        assert np.median(drawn) == pytest.approx(PROFILES[name].reaction_ms, rel=0.05)
        assert np.std(np.log(drawn)) == pytest.approx(0.35, rel=0.06)
    environment.close()


def test_real_time_tasks_tick_at_their_pace_and_turns_at_the_players() -> None:
    paced = episodes("careful", "cartpole", range(1))[0]
    turns = episodes("careful", "taxi", range(1))[0]
    assert paced is not None
    assert turns is not None
    assert paced.times_ms.tolist() == [int((i + 1) * 1000 / 15) for i in range(len(paced))]
    assert paced.steps_per_second == 15
    assert turns.steps_per_second is None
    assert np.all(np.diff(turns.times_ms) > 0)
    assert len(set(np.diff(turns.times_ms).tolist())) > 1


def test_an_episode_comes_with_the_observations_that_were_seen() -> None:
    environment, witness = TaskEnv(SUITE["goto-local"]), TaskEnv(SUITE["goto-local"])
    player = SimulatedPlayer(SimulatedDemonstrator("someone-01", PROFILES["careful"]), environment)
    played = play(player, environment, 5, SUITE.name, started="2026-11-23T10:00:00+00:00")
    assert played is not None
    trajectory, observations = played
    assert all(len(array) == len(trajectory) + 1 for array in observations.values())
    assert prove(trajectory, witness, observations).observations is None
    assert trajectory.started == "2026-11-23T10:00:00+00:00"
    environment.close()
    witness.close()
