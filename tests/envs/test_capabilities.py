"""Optional methods of anybody's environment: used where they are, never believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.rollout import rollout
from tutelage.datasets.arrays.lazy_observations import LazyObservations
from tutelage.datasets.arrays.task_arrays import load_columns
from tutelage.datasets.batch_replay import replays_many
from tutelage.datasets.replay import Environments, replay, replay_many
from tutelage.datasets.simulation.batch_simulation import simulates
from tutelage.datasets.simulation.simulated_crowd import crowd, simulate
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.capabilities import (
    DrawsTiles,
    FewAtOnce,
    HumanInput,
    ReadsInput,
    ReplayedEpisodes,
    ReplaysMany,
    SimulatedEpisodes,
    Simulates,
    Snapshots,
    StepsTogether,
)
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.task_spec import supports
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import trust
from tutelage.tests.support.counter_env import EXPERT, CounterEnv, State
from tutelage.tests.support.edited import play_actions

ALL = (ReplaysMany, Simulates, Snapshots, FewAtOnce, StepsTogether, ReadsInput)


class Liar(CounterEnv):
    """Its fast replay says that every step is rewarded."""

    def replay_many(self, *arguments: Any) -> ReplayedEpisodes:
        replayed = super().replay_many(*arguments)
        return replayed._replace(rewards=np.ones_like(replayed.rewards))


class Broken(CounterEnv):
    def replay_many(self, *arguments: Any) -> ReplayedEpisodes:
        raise ValueError("not today")


class Unready(CounterEnv):
    is_ready = True

    def reset(self, **arguments: Any) -> Any:
        if not Unready.is_ready:
            raise RuntimeError("the simulator is not running")
        return super().reset(**arguments)


gymnasium.register("Unready-v0", Unready)
gymnasium.register("Liar-v0", Liar)
gymnasium.register("Broken-v0", Broken)


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_TRUST", "")
    trust(["tutelage"])


def counters(env: str = "Counter-v0", **keys: Any) -> Suite:
    task = {"id": "count", "env": env, "success": "reward > 0", "expert": EXPERT, **keys}
    return suite_from({"suite": "counters", "tasks": [task]})


def played(suite: Suite) -> list[Trajectory]:
    """Play a few episodes by chance, kept without observations."""
    (task,) = suite
    return rollout(ChanceActor(), task, range(1, 9), suite_name=suite.name)


def test_what_a_class_has_is_known_without_making_it() -> None:
    (task,) = counters()
    assert all(supports(task, capability) for capability in ALL)
    assert not supports(task, DrawsTiles)
    (poles,) = suite_from({"suite": "p", "tasks": [{"id": "p", "env": "CartPole-v1"}]})
    assert not any(supports(poles, capability) for capability in ALL)
    (wrapped,) = counters(wrappers=[{"gymnasium.wrappers:TimeAwareObservation": {}}])
    assert not any(supports(wrapped, capability) for capability in ALL)
    (grid,) = suite_from({"suite": "g", "tasks": [{"id": "g", "env": "tutelage/GoToObj-v0"}]})
    assert all(supports(grid, capability) for capability in (ReplaysMany, Simulates, Snapshots, DrawsTiles))


@pytest.mark.parametrize("keys", [{}, {"env": "ShortCounter-v0"}, {"max_steps": 3}])
def test_a_fast_replay_is_what_single_steps_give(keys: dict[str, Any]) -> None:
    suite = counters(**keys)
    episodes = played(suite)
    single = [replay(episode, TaskEnv(suite["count"])) for episode in episodes]
    before = CounterEnv.taken
    with Environments(suite) as environments:
        many = list(replay_many(episodes, environments))
    assert CounterEnv.taken == before  # no single step was taken
    for one_by_one, together in zip(single, many, strict=True):
        assert not isinstance(together, TutelageError)
        assert together.digest == one_by_one.digest
        assert together.terminated == one_by_one.terminated
        assert together.truncated == one_by_one.truncated
        assert together.success == one_by_one.success
        for path, array in one_by_one.observations.items():
            assert array.tolist() == together.observations[path].tolist()
    lengths = [len(episode) for episode in episodes]
    assert max(lengths) == {"max_steps": 3, "env": 4}.get(next(iter(keys), ""), max(lengths))


@pytest.mark.parametrize("env", ["Liar-v0", "Broken-v0"])
def test_a_fast_replay_that_differs_or_fails_is_not_believed(env: str) -> None:
    suite = counters(env)
    episodes = played(suite)
    with Environments(suite) as environments:
        for episode, result in zip(episodes, replay_many(episodes, environments), strict=True):
            assert not isinstance(result, TutelageError)
            assert result.rewards.tolist() == episode.rewards.tolist()
            assert result.digest == episode.digest


def test_an_environment_that_does_not_start_is_told_of_for_each_episode() -> None:
    suite = counters("Unready-v0")
    episodes = played(suite)
    Unready.is_ready = False
    try:
        with Environments(suite) as environments:
            for result in replay_many(episodes, environments):
                assert "the simulator is not running" in str(result)
    finally:
        Unready.is_ready = True


def test_observations_are_replayed_when_a_batch_needs_them(tmp_path: Path) -> None:
    suite = counters()
    store = Store.create(tmp_path / "store", suite)
    store.append(played(suite))
    lazy, eager = (load_columns([store], live=live)["count"] for live in (True, False))
    assert isinstance(lazy.observations, LazyObservations)
    rows = np.array([5, 0, len(lazy) - 1, 5])
    for path, array in eager.observations.items():
        assert lazy.observations[path].take(rows).tolist() == array[rows].tolist()


def test_stored_observations_are_not_replayed(tmp_path: Path) -> None:
    suite = counters()
    store = Store.create(tmp_path / "store", suite)
    (task,) = suite
    store.append(rollout(ChanceActor(), task, range(1, 4), suite_name=suite.name, keep=True))
    assert not isinstance(load_columns([store], live=True)["count"].observations, LazyObservations)


def test_the_simulated_crowd_plays_whole_episodes(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store", counters())
    people = crowd({"careful": 1, "hostile": 1})
    before = CounterEnv.taken
    assert simulate(store.suite, store, {"count": 40}, demonstrators=people) == 40
    assert CounterEnv.taken - before <= 30  # one of them, for the proof
    assert store.verify() == []
    rows = store.episodes().to_pylist()
    careful, hostile = (
        np.mean([row["success"] for row in rows if kind in row["demonstrator"]])
        for kind in ("careful", "hostile")
    )
    assert careful > 0.9 > hostile


class Odd(CounterEnv):
    """What is wrong with its fast methods is an argument."""

    def __init__(self, wrong: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.wrong = wrong

    def replay_many(self, *arguments: Any) -> ReplayedEpisodes:
        answer = super().replay_many(*arguments)
        observations = dict(answer.observations)
        match self.wrong:
            case "shape":
                observations["count"] = observations["count"][:, 0]
            case "dtype":
                observations["count"] = observations["count"].view(np.int32)
            case "words":
                observations["word"] = observations["word"].astype("S5")
            case "missing":
                del observations["word"]
            case "few":
                return answer._replace(rewards=answer.rewards[1:])
            case "objects":
                return answer._replace(rewards=answer.rewards.astype(object) * [[]])
            case "tuple":
                return tuple(answer)  # type: ignore[return-value]
            case "lie":
                return answer._replace(rewards=answer.rewards + 5)
        return answer._replace(observations=observations)

    def simulate(self, *arguments: Any) -> SimulatedEpisodes:
        answer = super().simulate(*arguments)
        match self.wrong:
            case "long":
                rows = np.repeat(answer.actions, 2, axis=0)
                return SimulatedEpisodes(rows, np.zeros(len(rows)), 2 * answer.starts)
            case "actions":
                return answer._replace(actions=answer.actions + 7)
            case "times":
                return answer._replace(times_ms=answer.times_ms[::-1])
            case "starts":
                return answer._replace(starts=answer.starts[1:])
            case "exit":
                raise SystemExit(0)
        return answer


gymnasium.register("Odd-v0", Odd)
WRONG_REPLAYS = ("shape", "dtype", "words", "missing", "few", "objects", "tuple", "lie")


@pytest.mark.parametrize("wrong", WRONG_REPLAYS)
def test_a_wrong_fast_replay_costs_time_only(tmp_path: Path, wrong: str) -> None:
    suite = counters("Odd-v0", kwargs={"wrong": wrong})
    episodes = played(suite)
    store = Store.create(tmp_path / "store", suite)
    store.append(episodes)
    assert store.verify() == []
    arrays = load_columns([store])["count"]
    steps = [replay(episode, TaskEnv(suite["count"])) for episode in episodes]
    for path, array in arrays.observations.items():
        assert array.tolist() == [row for step in steps for row in step.observations[path][:-1].tolist()]
    if wrong != "lie":  # training believes numbers, but not shapes
        with pytest.raises(TutelageError, match="replay_many of Odd-v0"):
            load_columns([store], live=True)["count"].observations["count"].take(np.arange(5))


@pytest.mark.parametrize("wrong", [*WRONG_REPLAYS, "long", "actions", "times", "starts", "exit"])
def test_a_wrong_simulation_is_told_in_one_line(tmp_path: Path, wrong: str) -> None:
    store = Store.create(tmp_path / "store", counters("Odd-v0", kwargs={"wrong": wrong}))
    told: list[str] = []
    simulate(
        store.suite,
        store,
        {"count": 4},
        demonstrators=crowd({"expert": 1}),
        tell=lambda task, failures: told.extend(failures.values()),
    )
    assert len(store.episodes()) == 0
    assert told
    assert all("Odd-v0" in line and "\n" not in line for line in told)


def test_what_only_info_has_is_replayed_step_by_step() -> None:
    suite = counters(success="info.good")
    with Environments(suite) as environments:
        assert not replays_many(environments["count"], 1)
    (task,) = suite
    assert not simulates(task)


def test_gymnasium_s_limit_and_an_end_may_fall_together() -> None:
    suite = counters("ShortCounter-v0", kwargs={"far": 4})
    (task,) = suite
    episodes = rollout(ExpertActor(), task, range(1, 30), suite_name=suite.name)
    assert {(episode.terminated, episode.truncated) for episode in episodes} == {(True, False), (True, True)}
    before = CounterEnv.taken
    with Environments(suite) as environments:
        for episode, result in zip(episodes, replay_many(episodes, environments), strict=True):
            assert not isinstance(result, TutelageError)
            assert (result.terminated, result.truncated) == (episode.terminated, episode.truncated)
    assert CounterEnv.taken == before


def test_environments_step_together_and_not_more_than_may() -> None:
    suite = counters()
    CounterEnv.together.clear()
    together = played(suite)
    assert max(CounterEnv.together) == 3
    (task,) = suite
    alone = [rollout(ChanceActor(), task, [seed], suite_name="x")[0] for seed in range(1, 9)]
    assert [episode.digest for episode in together] == [episode.digest for episode in alone]


def test_a_snapshot_brings_all_of_an_episode_back() -> None:
    environment = TaskEnv(counters("ShortCounter-v0", success="return > 0 and steps < 9")["count"])
    environment.reset(3)
    stepped = environment.step(np.ones(1))
    snapshot = environment.snapshot()
    assert snapshot is not None
    ends = []
    for _ in range(2):
        results = [environment.step(np.zeros(1)) for _ in range(3)]
        ends.append([(step.observation["count"].tolist(), step.truncated, step.success) for step in results])
        assert environment.restore(snapshot, stepped.observation)
    assert ends[0] == ends[1]
    assert ends[0][-1][1:] == (True, False)
    bare: Any = environment.env.unwrapped
    assert bare.state == State(1, bare.state.target, 1)
    poles = suite_from({"suite": "p", "tasks": [{"id": "p", "env": "CartPole-v1"}]})
    assert TaskEnv(poles["p"]).snapshot() is None


def test_controls_are_the_picture_itself() -> None:
    environment = TaskEnv(counters()["count"])
    assert environment.controls().hands
    reader = environment.env.unwrapped.input_reader()  # type: ignore[attr-defined]
    assert [reader.hear(HumanInput("click", x=x)).action for x in (3, 30)] == [0, 1]


def test_an_action_of_ours_and_of_theirs_replay_alike() -> None:
    suite = counters()
    episode = play_actions(suite, "count", [0, 1] * 15)
    assert episode.truncated
    with Environments(suite) as environments:
        (result,) = replay_many([episode], environments)
    assert not isinstance(result, TutelageError)
