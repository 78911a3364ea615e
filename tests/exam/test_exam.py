"""The conformance exam: every registered environment goes the whole road, from keys to a measured policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from tutelage.agents.evaluation.actors import PolicyActor
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.policy import checkpoint
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.datasets.replay import prove
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.keys.controls import Controls
from tutelage.envs.registry import registry
from tutelage.envs.spaces import action_size, action_to_row, row_to_action
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

STEPS = 40
FEWER_STEPS = {"CarRacing-v3": 15}  # half a second a reset, and pictures
EPISODES = 3
ALWAYS = (
    "toys/Switchboard-v0",
    "CartPole-v1",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
    "Acrobot-v1",
    "Blackjack-v1",
    "FrozenLake-v1",
    "tutelage/Taxi-v0",
    "LunarLander-v3",
    "BipedalWalker-v3",
    "CarRacing-v3",
    "BabyAI-GoToLocal-v0",
    "MiniGrid-LavaCrossingS9N1-v0",
)
"""One of every kind of space; these sit the exam with the other tests, all the rest under `-m exam`."""

ELSEWHERE = (
    "gymnasium.envs.mujoco",
    "gymnasium.envs.phys2d",  # jax
    "gymnasium.envs.tabular",  # jax
    "minigrid.envs.wfc",  # imageio and networkx
    "tutelage.envs.web",  # they have an exam of their own in tests/web
    "tutelage.envs.recorded",  # it cannot be played
    "tutelage.envs.extensions",  # it needs a factory
    "tutelage.tests",  # toys of other tests, some of them broken
    "_raise_",  # old versions, and those that Shimmy would wrap
)
"""Entry points that need packages which none of our extras installs, and pages."""


class Switchboard(gymnasium.Env[Any, Any]):
    """Nested actions of several numbers and bits; nested observations with a sentence and integers."""

    observation_space = spaces.Dict(
        {
            "asked": spaces.Text(80),
            "panel": spaces.Dict(
                {"lamps": spaces.MultiBinary((2, 3)), "dials": spaces.MultiDiscrete([4, 5])}
            ),
            "meters": spaces.Tuple(
                [spaces.Box(-np.inf, np.inf, (2,), np.float64), spaces.Discrete(4, start=-1)]
            ),
        }
    )
    action_space = spaces.Dict({"turn": spaces.MultiDiscrete([4, 5]), "switch": spaces.MultiBinary(3)})

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.wanted = self.np_random.integers(0, (4, 5))
        self.dials = np.zeros(2, np.int64)
        self.lamps = np.zeros((2, 3), np.int8)
        return self._look(), {}

    def step(self, action: Any) -> Any:
        self.dials = np.asarray(action["turn"])
        self.lamps = np.stack([self.lamps[1], np.asarray(action["switch"])])
        solved = bool(np.array_equal(self.dials, self.wanted))
        return self._look(), float(solved), solved, False, {}

    def _look(self) -> Any:
        return {
            "asked": f"turn the dials to {self.wanted[0]} and {self.wanted[1]}",
            "panel": {"lamps": self.lamps, "dials": self.dials},
            "meters": (self.np_random.normal(size=2), int(self.np_random.integers(-1, 3))),
        }


gymnasium.register("toys/Switchboard-v0", entry_point=Switchboard, max_episode_steps=60)  # type: ignore[arg-type]


def candidates() -> list[Any]:
    """List every id that Gymnasium knows, those of ALWAYS first."""
    others = sorted(name for name in registry() if name not in ALWAYS and not name.startswith("toys/"))
    return [*ALWAYS, *(pytest.param(name, marks=pytest.mark.exam) for name in others)]


@pytest.mark.slow
@pytest.mark.parametrize("name", candidates())
def test_the_whole_road_from_keys_to_a_measured_policy(name: str, tmp_path: Path) -> None:
    suite = suite_of(name)
    task = suite.tasks[0]
    environment = made_or_skipped(suite)
    proven = []
    for seed in range(EPISODES):
        trajectory, observations = recorded(environment, seed)
        witness = TaskEnv(task)
        proven.append(prove(trajectory, witness, observations))
        witness.close()
    environment.close()
    repeated = [one.observations is None for one in proven]
    assert all(repeated), "seed and actions are not enough, or what was played before changes an episode"

    store = Store.create(tmp_path / "store", suite)
    store.append(proven)
    assert len(store) == EPISODES
    assert store.verify() == []

    config = TrainConfig(
        steps=20,
        size=1,
        batch_steps=64,
        dropout=0.0,
        workers=1,
        threads=1,
        weights="none",
        evaluate_every=1000,
    )
    loaded = checkpoint.load(train([store], tmp_path / "run", config))
    assert loaded.policy.tasks == (task.id,)
    assert loaded.suite.source == suite.source

    measured = evaluate(suite, [PolicyActor(loaded.policy)], episodes=4, out=tmp_path / "evaluation")
    assert measured.rows.num_rows == 4
    for one in measured.trajectories:
        assert 1 <= len(one) <= (task.max_steps or STEPS)
        assert one.actions.shape[1] == action_size(environment.action_space)
        assert environment.action_space.contains(played(environment, one.actions[-1]))


def test_what_is_skipped_is_only_what_no_extra_installs() -> None:
    elsewhere = [name for name, spec in registry().items() if belongs_elsewhere(spec)]
    assert len(elsewhere) < len(registry()) / 2
    assert sum(name.startswith(("BabyAI-", "MiniGrid-")) for name in elsewhere) == 6  # MiniGrid-WFC-*


def suite_of(name: str) -> Suite:
    """Make a suite of one capped task."""
    task = {"id": name.replace("/", "."), "env": name, "max_steps": FEWER_STEPS.get(name, STEPS)}
    return suite_from({"suite": "exam", "tasks": [task]})


def made_or_skipped(suite: Suite) -> TaskEnv:
    """Make the environment; skip the test when it needs what none of our extras installs."""
    task = suite.tasks[0]
    try:
        environment = TaskEnv(task)
        environment.reset(0)
    except TutelageError as error:
        if belongs_elsewhere(registry()[task.env]):
            pytest.skip(str(error))
        raise
    return environment


def belongs_elsewhere(spec: Any) -> bool:
    """Say whether an environment needs a package that none of our extras installs."""
    return any(part in str(spec.entry_point) for part in ELSEWHERE)


def played(environment: TaskEnv, row: np.ndarray) -> Any:
    """Read a row back as the environment's own action."""
    return row_to_action(environment.action_space, row)


def key(environment: TaskEnv, controls: Controls, generator: np.random.Generator) -> np.ndarray:
    """Press a random bound key, or draw an action where no key is bound."""
    if not controls.bindings:
        return action_to_row(environment.action_space, environment.action_space.sample())
    binding = controls.bindings[generator.integers(len(controls.bindings))]
    pressed = controls.action(binding.codes)
    assert pressed is not None
    return pressed


def recorded(environment: TaskEnv, seed: int) -> tuple[Trajectory, dict[str, np.ndarray]]:
    """Play random keys; return the trajectory and the observations `[T+1, ...]` that were seen."""
    controls, generator = environment.controls(), np.random.default_rng(seed)
    task = environment.task
    episode = EpisodeProgress.begin(
        environment, EpisodeRecord("seat", "examinee", "exam", task.id, task.env, seed, b"", task.kwargs)
    )
    while not episode.done:
        at = len(episode.steps)
        episode.take(key(environment, controls, generator), 100 * (at + 1), 0, frame=at)
    return episode.trajectory(), episode.observations()
