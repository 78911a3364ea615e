"""Practice on a task in which people know only half of what is to be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from tutelage.agents.evaluation.evaluate import best_of_select
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.run_log import read_rounds
from tutelage.agents.training.self_imitation import TRIED, attempt, self_imitate
from tutelage.datasets.replay import replay
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.envs.task import Task
from tutelage.envs.task_env import StepResult, TaskEnv

SIGNS = 8
CONFIG = TrainConfig(
    size=1,
    steps=60,
    batch_steps=64,
    window=4,
    warmup=4,
    dropout=0.0,
    threads=1,
    workers=1,
    evaluate_every=60,
    save_every=60,
    self_imitation=3,
    self_imitation_episodes=96,
    self_imitation_steps=60,
)

SUITE = suite_from(
    {"suite": "signs", "tasks": [{"id": "sign", "env": "toys/Signs-v0", "success": "reward > 0"}]}
)


class Signs(gymnasium.Env[Any, Any]):
    """Answer the sign that is shown, one of eight, by its own one of four buttons.

    Where `fickle`, even seeds show another sign each time.
    """

    fickle = False
    resets: ClassVar[Counter[int]] = Counter()

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = spaces.Discrete(SIGNS), spaces.Discrete(4)
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.sign = int(self.np_random.integers(SIGNS))
        if self.fickle and seed is not None and seed % 2 == 0:
            self.resets[seed] += 1
            self.sign = (self.sign + self.resets[seed]) % SIGNS
        return self.sign, {}

    def step(self, action: Any) -> Any:
        return self.sign, float(int(action) == self.sign % 4), True, False, {}


gymnasium.register("toys/Signs-v0", entry_point=Signs)  # type: ignore[arg-type]


class Teacher:
    """Knows the first half of the signs, and presses the first button for all others."""

    name, kind = "ann", "simulated"

    def plays(self, task: Task) -> bool:
        return True

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        self.demonstrators = ["ann"] * len(seeds)

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        signs = [int(one.observation[""]) for one in steps]
        return np.array([[sign if sign < 4 else 0] for sign in signs], np.float64)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """A store of what the teacher does, and a run that was trained on its successes."""
    folder = tmp_path_factory.mktemp("signs")
    store = Store.create(folder / "store", SUITE)
    store.append(rollout(Teacher(), SUITE["sign"], range(200), suite_name="signs"))
    train([store], folder / "run", CONFIG, evaluate=success)
    return store, folder / "run"


def success(policy: Any) -> dict[str, float]:
    return best_of_select(policy, SUITE, 128)


@pytest.mark.slow
def test_practice_finds_what_nobody_showed(run: tuple[Store, Path]) -> None:
    store, folder = run
    before = success(load(folder / "kept").policy)["sign"]
    assert before <= 0.8  # three of four signs of the other half were never shown
    kept = self_imitate([store], folder, CONFIG, evaluate=success)
    assert success(load(kept).policy)["sign"] >= 0.97
    rounds = read_rounds(folder)
    assert [one.number for one in rounds] == [1, 2, 3]
    assert rounds[0].tried["sign"] < rounds[-1].tried["sign"]
    assert load(kept).lineage["parent"] is not None

    practice = Store.open(folder / "self-imitation")
    assert len(practice) == sum(one.kept for one in rounds)
    environment = TaskEnv(SUITE["sign"])
    for one in practice.trajectories():
        assert one.success
        assert one.kind == "policy"
        assert TRIED.start <= one.seed < TRIED.stop
        assert replay(one, environment).digest == one.digest

    # what is done is not done again
    self_imitate([store], folder, CONFIG, evaluate=success)
    assert read_rounds(folder) == rounds
    assert len(Store.open(folder / "self-imitation")) == len(practice)


@pytest.mark.slow
def test_a_round_that_makes_nothing_better_is_forgotten(run: tuple[Store, Path], tmp_path: Path) -> None:
    store, _ = run
    steady = {"sign": 0.5}
    train([store], tmp_path, CONFIG, evaluate=lambda _: steady)
    seal = load(tmp_path / "kept").seal
    self_imitate([store], tmp_path, replace(CONFIG, self_imitation=1), evaluate=lambda _: steady)
    assert load(tmp_path / "kept").seal == seal
    assert len(read_rounds(tmp_path)) == 1


def test_a_success_that_does_not_replay_teaches_nothing(
    run: tuple[Store, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = run
    monkeypatch.setattr(Signs, "fickle", True)
    store = Store.create(tmp_path / "self-imitation", SUITE)
    tried, kept, _ = attempt(load(folder / "kept"), store, CONFIG, 1)
    assert tried["sign"] > 0
    assert kept == len(store) > 0
    assert all(seed % 2 for seed in store.episodes()["seed"].to_pylist())
