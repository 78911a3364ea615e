"""An evaluation plays every actor on the same seeds, writes rows and episodes, and never mixes ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor, SimulatedActor
from tutelage.agents.evaluation.evaluate import best_of_select, evaluate, progress_bars
from tutelage.agents.evaluation.rows import read_rows
from tutelage.datasets.simulation.simulated_crowd import crowd
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.envs.task import SELECT, TEST
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

SUITE = suite_from(
    {
        "suite": "toy",
        "tasks": [
            {"id": "cartpole", "env": "CartPole-v1", "expert": "cartpole", "max_steps": 40},
            {"id": "bare", "env": "CartPole-v1", "max_steps": 10},
        ],
    }
)


class Leaner:
    """A toy policy: push the cart to where the pole leans; remembers which seeds' episodes it began."""

    tasks = ("cartpole",)

    def start(self, task_id: str, count: int) -> None:
        return None

    def act(
        self, task_id: str, observations: dict[str, np.ndarray], memory: None, **options: Any
    ) -> tuple[np.ndarray, None]:
        return (observations[""][:, 2:3] > 0).astype(float), memory


def test_every_actor_plays_the_same_test_seeds_and_all_is_written(tmp_path: Path) -> None:
    actors = [ExpertActor(), SimulatedActor(crowd()), ChanceActor()]
    found = evaluate(SUITE, actors, episodes=4, out=tmp_path)
    rows = found.rows.to_pylist()
    played = {(row["task"], row["actor"]) for row in rows}
    assert played == {(t, a) for t in ("cartpole",) for a in ("expert", "simulated crowd", "random")} | {
        ("bare", "random")  # it names no expert, so neither the expert nor a crowd built on one can play
    }
    assert {row["seed"] for row in rows} == set(TEST.first(4))
    assert read_rows(tmp_path / "rows.parquet").equals(found.rows)
    store = Store.open(tmp_path / "episodes")
    assert len(store) == len(rows) == len(found.trajectories)
    assert store.verify() == []


def test_the_crowd_goes_by_one_name_and_keeps_its_pseudonyms() -> None:
    rows = evaluate(SUITE, [SimulatedActor(crowd())], episodes=5).rows
    assert set(rows["actor"].to_pylist()) == {"simulated crowd"}
    assert len(set(rows["demonstrator"].to_pylist())) == 5
    assert min(rows["seconds"].to_pylist()) > 0


def test_a_second_evaluation_replaces_the_first(tmp_path: Path) -> None:
    for episodes in (3, 2):
        evaluate(SUITE, [ChanceActor()], episodes=episodes, out=tmp_path)
    assert len(Store.open(tmp_path / "episodes")) == len(read_rows(tmp_path / "rows.parquet")) == 4


def test_progress_is_told_for_every_task_and_actor() -> None:
    told: dict[tuple[str, str], tuple[int, int, int]] = {}

    def report(task: str, actor: str, done: int, total: int, all_episodes: int) -> None:
        told[task, actor] = (done, total, all_episodes)

    evaluate(SUITE, [ChanceActor(), ExpertActor()], episodes=3, progress=report)
    assert told == dict.fromkeys(
        [("cartpole", "random"), ("cartpole", "expert"), ("bare", "random")], (3, 3, 9)
    )


def test_the_bars_take_the_same_reports(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress_bars() as bars:
        evaluate(SUITE, [ChanceActor()], episodes=2, progress=bars)
    assert "cartpole · random" in capsys.readouterr().err


def test_choosing_a_checkpoint_uses_select_seeds_and_the_same_environments_again() -> None:
    environments: dict[str, list[TaskEnv]] = {}
    first = best_of_select(Leaner(), SUITE, 3, environments=environments)
    made = list(environments["cartpole"])
    assert best_of_select(Leaner(), SUITE, 3, environments=environments) == first
    assert environments["cartpole"] == made
    assert set(first) == {"cartpole"}
    assert all(one.env.unwrapped.np_random_seed in SELECT for one in made)


@pytest.mark.parametrize(
    ("actors", "episodes", "message"),
    [
        ([ChanceActor(), ChanceActor()], 1, "different names"),
        ([], 1, "an actor that can play"),
        ([ChanceActor()], 0, "at least one episode"),
    ],
)
def test_mistakes_are_named(actors: list[Any], episodes: int, message: str) -> None:
    with pytest.raises(TutelageError, match=message):
        evaluate(SUITE, actors, episodes=episodes)
