"""Everything of an episode that a replay decides is proven, wherever episodes are replayed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.cli.main import app
from tutelage.crowd.hosting.worker import WorkerEnvironments
from tutelage.datasets.proof import ReplayResult, differences
from tutelage.datasets.replay import Environments, prove_again, replay, replay_many
from tutelage.datasets.schema import to_table
from tutelage.datasets.simulation.batch_simulation import play_batch
from tutelage.datasets.simulation.simulated_crowd import crowd
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from typer.testing import CliRunner

Recorder = Callable[..., Trajectory]
POLES = {"suite": "poles", "tasks": [{"id": "pole", "env": "CartPole-v1", "success": "return >= 3"}]}
GRID = {"suite": "grid", "tasks": [{"id": "go", "env": "tutelage/GoToObj-v0", "expert": "grid"}]}


def later_rewards(trajectory: Trajectory) -> Trajectory:
    """Change the last two rewards, in ways that the success rule does not notice."""
    rewards = trajectory.rewards.copy()
    rewards[-2:] -= 0.25
    return replace(trajectory, rewards=rewards)


FORGERIES: dict[str, tuple[Callable[[Trajectory], Trajectory], str]] = {
    "rewards": (later_rewards, r"another reward at step 5 \(.*, stored: .*\), and at 1 later step"),
    "end": (
        lambda episode: replace(episode, truncated=not episode.truncated),
        r"another end at step 6 \(no end, stored: truncated\)",
    ),
    "outcome": (
        lambda episode: replace(episode, success=True),
        r"another outcome \(failure, stored: success\)",
    ),
    "kwargs": (lambda episode: replace(episode, kwargs={"sutton_barto_reward": True}), "expected the kwargs"),
    "casts": (
        lambda episode: replace(episode, casts={"": "declared uint8"}),
        "another cast of the observation",
    ),
}


@pytest.fixture(scope="module")
def poles() -> Suite:
    return suite_from(POLES)


@pytest.fixture
def pole(poles: Suite, demonstrate: Any) -> Trajectory:
    """Play six steps of CartPole, and leave."""
    trajectory: Trajectory = demonstrate(TaskEnv(poles["pole"]), seed=3, steps=6, suite="poles")[0]
    assert trajectory.terminated is trajectory.truncated is False
    return trajectory


@pytest.mark.parametrize("forgery", FORGERIES)
def test_inspect_finds_whatever_a_replay_gives_otherwise_and_says_at_which_step(
    forgery: str, poles: Suite, pole: Trajectory, tmp_path: Path
) -> None:
    change, complaint = FORGERIES[forgery]
    sound, forged = replace(pole, episode="sound"), replace(change(pole), episode="forged")
    store = Store.create(tmp_path / "store", poles)
    store.append_rows(to_table([sound, forged]))
    result = CliRunner().invoke(app, ["inspect", str(store.path), "--workers", "1"], env={"COLUMNS": "400"})
    told = " ".join(result.output.split())
    assert result.exit_code == 1
    assert "forged" in told
    assert "episode sound" not in told
    assert "replayed bit for bit" not in told
    assert re.search(complaint, told)


def test_stored_observations_prove_no_other_outcome(store: Store, record: Recorder) -> None:
    episode = record("unrepeatable", 3)
    assert episode.observations is not None
    store.append([replace(episode, success=not episode.success)])
    assert any("success" in problem for problem in store.verify())


def test_the_kernels_prove_what_an_environment_proves() -> None:
    suite = suite_from(GRID)
    played = play_batch(TaskEnv(suite["go"]), crowd({"careful": 1}), range(3), "grid", "")
    forged = [
        replace(later_rewards(played[0]), episode="forged"),
        replace(played[1], success=False, episode="f2"),
    ]
    with Environments(suite) as environments:
        answers = list(replay_many([*played, *forged], environments))
    assert all(isinstance(answer, ReplayResult) for answer in answers[:3])
    assert f"another reward at step {len(played[0]) - 1}" in str(answers[3])
    assert "another outcome (success, stored: failure)" in str(answers[4])


def test_a_prover_of_a_recorder_and_an_import_keep_what_differs(poles: Suite, pole: Trajectory) -> None:
    forged = later_rewards(pole)
    assert WorkerEnvironments().prove(pole, poles["pole"])
    assert not WorkerEnvironments().prove(forged, poles["pole"])
    seen = replay(pole, TaskEnv(poles["pole"])).observations
    with Environments(poles) as environments:
        assert prove_again(pole, environments, seen).observations is None
        assert prove_again(forged, environments, seen).observations is not None


def test_an_edit_takes_in_no_episode_that_differs(poles: Suite, pole: Trajectory, tmp_path: Path) -> None:
    mine, theirs = (Store.create(tmp_path / name, poles) for name in ("mine", "theirs"))
    mine.append([pole])
    theirs.append([replace(later_rewards(pole), episode="forged")])
    result = CliRunner().invoke(app, ["edit", str(mine.path), "merge", str(theirs.path), "--apply"])
    assert isinstance(result.exception, TutelageError)
    assert "another reward at step 5" in str(result.exception)


def test_a_rule_may_be_corrected_to_one_that_reads_info(tmp_path: Path, demonstrate: Any) -> None:
    """The outcome is what the new rule says; what it reads was read by no rule before."""
    task = {"id": "hill", "env": "MountainCarContinuous-v0", "success": "return > 0"}
    suite = suite_from({"suite": "poles", "tasks": [task]})
    store = Store.create(tmp_path / "store", suite)
    store.append([demonstrate(TaskEnv(suite["hill"]), seed=1, steps=4, suite="poles")[0]])
    corrected = tmp_path / "corrected.yaml"
    corrected.write_text(
        "suite: poles\ntasks: [{id: hill, env: MountainCarContinuous-v0, success: info.success}]\n"
    )
    words = ["edit", str(store.path), "suite", str(corrected), "--apply"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.exception
    after = Store.open(store.path)
    [episode] = after.trajectories()
    assert np.isnan(episode.infos["info.success"]).tolist() == [True] * 4
    assert after.verify() == []


def test_each_difference_is_named_alone(pole: Trajectory, poles: Suite) -> None:
    again = replay(pole, TaskEnv(poles["pole"]))
    assert differences(pole, again) == []
    other = {path: array + 1 for path, array in again.observations.items()}
    assert differences(pole, replace(again, observations=other, digest=bytes(16))) == ["other observations"]
    short = replace(again, rewards=again.rewards[:4])
    assert differences(pole, short) == ["an end after 4 of 6 steps"]
    rewards = again.rewards.copy()
    rewards[2] = np.nan
    [reward] = differences(pole, replace(again, rewards=rewards, digest=bytes(16)))
    assert reward == "another reward at step 3 (nan, stored: 1)"
