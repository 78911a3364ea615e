"""The library: what `import tutelage` offers, and the programs that people write with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import tutelage as tt
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from tutelage.tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")


class Lights(gymnasium.Env):
    """Switch on the light that is shown; observations are nested, actions have two numbers."""

    observation_space = spaces.Dict(
        {"shown": spaces.Discrete(3), "state": spaces.Tuple([spaces.Box(0, 1, (2, 2), np.float32)])}
    )
    action_space = spaces.MultiDiscrete([3, 2])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.shown = int(self.np_random.integers(3))
        return self.look(), {}

    def step(self, action):
        return self.look(), float(action[0] == self.shown), True, False, {}

    def look(self):
        return {"shown": self.shown, "state": (np.full((2, 2), self.shown / 3, np.float32),)}


@pytest.fixture(scope="module")
def suite() -> tt.Suite:
    return tt.load_suite("CartPole-v1", success="return >= 100", expert="cartpole")


@pytest.fixture(scope="module")
def store(suite: tt.Suite, tmp_path_factory: pytest.TempPathFactory) -> tt.Store:
    return tt.simulate(suite, str(tmp_path_factory.mktemp("library") / "crowd"), 24)


@pytest.fixture(scope="module")
def run(store: tt.Store, tmp_path_factory: pytest.TempPathFactory) -> tt.Run:
    out = tmp_path_factory.mktemp("library") / "run"
    return tt.train(store, str(out), steps=4, size=1, window=8, batch_steps=64, select_episodes=2)


def test_every_public_name_is_there_and_in_the_document() -> None:
    assert dir(tt) == sorted(tt.__all__)
    for name in dir(tt):
        assert getattr(tt, name) is not None
        assert name == "__version__" or f"tt.{name}" in PAGE


@pytest.mark.slow
def test_the_document_runs_from_top_to_bottom(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "page.py").write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "-W", "error", "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "table.csv").is_file()


@pytest.mark.slow
def test_a_store_is_a_sequence_of_episodes(store: tt.Store) -> None:
    episodes = list(store)
    assert len(episodes) == len(store) == 24
    assert store[0].episode == episodes[0].episode
    assert store[-1].episode == episodes[-1].episode
    assert [episode.episode for episode in store[3:6]] == [episode.episode for episode in episodes[3:6]]
    with pytest.raises(IndexError):
        store[24]


def test_filters_add_up(store: tt.Store) -> None:
    name = store[0].demonstrator
    chosen = store.filter(success=True).filter(demonstrator=name)
    expected = [episode.episode for episode in store if episode.success and episode.demonstrator == name]
    assert [episode.episode for episode in chosen] == expected
    assert len(chosen) == len(expected) > 0
    with pytest.raises(tt.TutelageError, match="expected a task"):
        store.filter("CartPole")


@pytest.mark.slow
def test_arrays_are_the_episodes_end_to_end(store: tt.Store) -> None:
    for episodes in (store.filter(), store.filter(success=True)):
        data = episodes.arrays()
        assert data.actions.dtype == np.int64
        assert data.observations.dtype == np.float32
        assert len(data) == len(data.observations) == sum(map(len, episodes))
        environment = gymnasium.make("CartPole-v1")
        for number, episode in enumerate(episodes[:3]):
            steps = slice(data.episode_starts[number], data.episode_starts[number + 1])
            observation, _ = environment.reset(seed=episode.seed)
            for seen, action, reward in zip(
                data.observations[steps], data.actions[steps], data.rewards[steps], strict=True
            ):
                np.testing.assert_array_equal(seen, observation)
                observation, given, *_ = environment.step(action)
                assert given == reward


def test_arrays_have_the_structure_of_the_spaces(tmp_path: Path) -> None:
    lights = tt.load_suite(Lights)
    (task,) = lights
    assert task.env == "tutelage/Make-v0"
    result = tt.evaluate(lights, ["random"], episodes=5)
    store = tt.Store.create(tmp_path / "store", lights)
    store.append(result.episodes)
    data = store.arrays()
    assert data.actions.shape == (5, 2)
    assert data.observations["shown"].shape == (5,)
    assert data.observations["state"][0].shape == (5, 2, 2)
    (shown, (state,)) = tuple(store.torch()[0][0].values())
    assert state[0, 0] == np.float32(shown / 3)


def test_a_torch_dataset_is_what_a_loader_takes(store: tt.Store) -> None:
    loader = torch.utils.data.DataLoader(store.torch("CartPole-v1"), batch_size=16, shuffle=True)
    observations, actions = next(iter(loader))
    assert observations.shape == (16, 4)
    assert actions.dtype == torch.int64


@pytest.mark.slow
def test_a_policy_acts_in_a_loop_of_its_user_as_it_does_when_it_is_measured(
    suite: tt.Suite, run: tt.Run
) -> None:
    assert run.config.steps == 4
    result = tt.evaluate(suite, [run], episodes=2)
    actor = run.policy.actor("CartPole-v1")
    environment = gymnasium.make("CartPole-v1")
    for episode in result.episodes:
        observation, _ = environment.reset(seed=episode.seed)
        actor.reset()
        for row in episode.actions:
            action = actor.act(observation)
            assert environment.action_space.contains(action)
            assert actor.probabilities.sum() == pytest.approx(1)
            assert action == actor.probabilities.argmax() == int(row[0])
            observation, *_ = environment.step(action)


def test_only_allowed_actions_are_taken(run: tt.Run) -> None:
    actor = run.policy.actor("CartPole-v1")
    for allowed in (0, 1):
        actor.reset()
        assert actor.act(np.zeros(4, np.float32), action_mask=np.arange(2) == allowed) == allowed


class Moody(CartPoleEnv):
    """A pole that fails on odd seeds, as long as it is in a bad mood."""

    is_moody = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if self.is_moody and seed is not None and seed % 2:
            raise RuntimeError("not now")
        return super().reset(seed=seed, options=options)


def test_an_evaluation_goes_on_with_the_same_policy_alone(
    store: tt.Store, run: tt.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task,) = tt.load_suite(Moody, success="return >= 100").source["tasks"]
    suite = tt.load_suite({"suite": "moods", "tasks": [{**task, "id": "CartPole-v1", "max_steps": 20}]})
    small = {"size": 1, "window": 8, "batch_steps": 64, "select_episodes": 1}
    other = tt.train(store, tmp_path / "run", steps=1, seed=5, **small)
    first = tt.evaluate(suite, [run], episodes=4, out=tmp_path / "measured")
    assert len(first.episodes) == 2
    assert not tt.evaluate(suite, [other], episodes=4, out=tmp_path / "measured").notes
    monkeypatch.setattr(Moody, "is_moody", False)
    again = tt.evaluate(suite, [other], episodes=4, out=tmp_path / "measured")
    assert len(again.episodes) == 4
    assert list(again.notes) == ["2 episodes were there already"]


def test_objects_of_the_program_are_always_measured_anew(suite: tt.Suite, tmp_path: Path) -> None:
    (task,) = tt.load_suite(Moody, success="return >= 100").source["tasks"]
    moods = tt.load_suite({"suite": "moods", "tasks": [{**task, "max_steps": 20}]})
    counting = Counting()
    for _ in range(2):
        result = tt.evaluate(moods, [counting], episodes=4, out=tmp_path / "measured")
        assert not result.notes
    assert counting.resets == 2 * len(result.episodes) == 4


def test_a_table_for_pandas_has_names_as_they_are(suite: tt.Suite) -> None:
    counting = Counting()
    counting.name = "-mine"
    frame = tt.evaluate(suite, [counting], episodes=1).table().to_pandas()
    assert frame["actor"].tolist()[0] == "-mine"
    assert frame["best"].dtype == bool


def test_a_factory_that_is_merely_named_does_not_run() -> None:
    with pytest.raises(tt.TutelageError, match="--trust tabnanny"):
        gymnasium.make("tutelage/Make-v0", factory="tabnanny:check")


class Pusher:
    """An expert: it is made with the environment, and sees observations."""

    def __init__(self, environment: gymnasium.Env) -> None:
        assert isinstance(environment, gymnasium.Env)

    def act(self, observation: np.ndarray) -> int:
        return int(observation[2] + observation[3] > 0)


def test_an_expert_of_ones_own_is_given_as_a_class(tmp_path: Path) -> None:
    suite = tt.load_suite("CartPole-v1", success="return >= 100", expert=Pusher)
    assert str(suite.tasks[0].expert).endswith(":Pusher")
    store = tt.simulate(suite, tmp_path / "pushed", 6, who=["expert"])
    assert all(episode.success for episode in store)


class Counting:
    """An actor that counts: its episodes never mix."""

    name = "counting"

    def __init__(self) -> None:
        self.steps, self.resets = 0, 0

    def reset(self) -> None:
        self.steps, self.resets = 0, self.resets + 1

    def act(self, observation: np.ndarray) -> int | None:
        assert observation.dtype == np.float32
        self.steps += 1
        return None if self.steps > 5 else self.steps % 2


def test_an_actor_of_ones_own_plays_one_episode_at_a_time(suite: tt.Suite) -> None:
    counting = Counting()
    result = tt.evaluate(suite, ["expert", counting], episodes=3)
    mine = [episode for episode in result.episodes if episode.demonstrator == "counting"]
    assert [episode.actions[:, 0].tolist() for episode in mine] == [[1, 0, 1, 0, 1]] * 3
    assert counting.resets == 3
    frame = result.table().to_pandas()
    assert set(frame["actor"]) == {"expert", "counting"}
    assert "counting" in str(result.table())
    assert r"\toprule" in result.table().to_latex()


@pytest.mark.parametrize(
    ("actor", "message"),
    [("expret", "expert"), (Counting, "pass an instance"), (7, r"act\(observation\)")],
)
def test_what_cannot_act_is_one_line(suite: tt.Suite, actor: object, message: str) -> None:
    with pytest.raises(tt.TutelageError, match=message):
        tt.evaluate(suite, [actor], episodes=1)


def test_an_action_that_is_none_names_its_actor(suite: tt.Suite) -> None:
    class Wild:
        def act(self, observation: np.ndarray) -> str:
            return "left"

    (failure,) = tt.evaluate(suite, [Wild()], episodes=1).failures.values()
    assert "actor Wild" in failure
    assert "got 'left'" in failure


@pytest.mark.parametrize(
    ("source", "keywords", "message"),
    [
        (7, {}, "environment factory"),
        ("first-steps", {"max_steps": 3}, "max_steps"),
        ({"suite": "x"}, {}, "tasks"),
        (lambda: 3, {}, "gymnasium"),
    ],
)
def test_what_is_no_suite_is_one_line(source: object, keywords: dict[str, int], message: str) -> None:
    with pytest.raises(tt.TutelageError, match=message):
        tt.TaskEnv(tt.load_suite(source, **keywords).tasks[0])


def test_settings_of_training_are_checked(store: tt.Store, run: tt.Run) -> None:
    with pytest.raises(tt.TutelageError, match=r"unknown key 'stepz'.*steps"):
        tt.train(store, "nowhere", stepz=3)
    with pytest.raises(tt.TutelageError, match="resume=True"):
        tt.train(store, run.path)
