"""What a bare id brings: keys, pace and a success rule, from tables that can be extended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from tutelage.agents.evaluation.comparison import Comparison
from tutelage.agents.evaluation.rows import read_rows, rows_from, write_rows
from tutelage.agents.evaluation.table_files import table_markdown
from tutelage.agents.evaluation.tables import summary
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.self_imitation import self_imitate
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.crowd.studies.study_file import examine
from tutelage.datasets.arrays.task_arrays import load_columns
from tutelage.datasets.formats.exchange import export_store, import_store
from tutelage.datasets.inspection import inspect
from tutelage.datasets.quality.weights import episode_weights, weigh
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.families import VARIABLE, completed, shipped
from tutelage.envs.preflight import success_notes, try_out
from tutelage.envs.suite import Suite, load_suite, suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.tests.support.toy_info import Visits
from tutelage.tests.support.toy_study import write


def played(suite: Suite, seed: int, steps: int = 1000) -> Trajectory:
    """Play one key until the episode is over, or given up."""
    (task,) = suite
    environment = TaskEnv(task)
    key = environment.controls().bindings[0].action
    record = EpisodeRecord("seat", "ann", suite.name, task.id, task.env, seed, b"", task.kwargs)
    episode = EpisodeProgress.begin(environment, record)
    while not episode.done and len(episode.steps) < steps:
        episode.take(np.array(key), 100 * (1 + len(episode.steps)), 0, 0)
    return episode.trajectory()


def test_one_key_on_a_cart_pole_is_no_success() -> None:
    suite = load_suite("CartPole-v1")
    assert suite["CartPole-v1"].success.text == "return >= 475"
    episode = played(suite, 0)
    assert episode.total < 15
    assert episode.success is False


@pytest.mark.parametrize(
    ("name", "rule", "fps"),
    [
        ("Pendulum-v1", "unknown", 20),
        ("tutelage/Taxi-v0", "terminated", None),
        ("FrozenLake-v1", "reward > 0", None),
        ("LunarLander-v3", "return >= 200", 30),
        ("LunarLanderContinuous-v3", "return >= 200", 30),
        ("BipedalWalker-v3", "return >= 300", 20),
        ("CarRacing-v3", "return >= 900", 30),
        ("MountainCar-v0", "terminated", 30),
        ("Acrobot-v1", "terminated", 15),
        ("MiniGrid-Empty-5x5-v0", "reward > 0", None),
    ],
)
def test_known_families_bring_rules_keys_and_paces(name: str, rule: str, fps: float | None) -> None:
    (task,) = load_suite(name)
    assert (task.success.text, task.fps) == (rule, fps)
    controls = try_out(task, people=True)
    assert controls.bindings
    assert fps is None or controls.idle is not None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("FetchReach-v4", "info.is_success"),
        ("FetchPickAndPlaceDense-v4", "info.is_success"),
        ("HandReachDense-v3", "info.is_success"),
        ("HandManipulateBlock_BooleanTouchSensorsDense-v1", "info.is_success"),
        ("PointMaze_UMaze-v3", "ever(info.success)"),
        ("PointMaze_Large_Diverse_GRDense-v3", "ever(info.success)"),
        ("AntMaze_UMazeDense-v5", "ever(info.success)"),
        ("AntMaze_UMaze-v3", "return > 0"),  # before its info told
        ("AntMaze_UMazeDense-v3", "unknown"),
        ("AdroitHandDoor-v1", "ever(info.success)"),
        ("AdroitHandPenSparse-v2", "ever(info.success)"),
        ("FrankaKitchen-v1", "terminated"),
        ("PandaPickAndPlaceJointsDense-v3", "info.is_success"),
        ("parking-ActionRepeat-v0", "info.is_success"),
        ("exit-v0", "info.is_success and not info.crashed"),
        ("intersection-v1", "info.rewards.arrived_reward and not info.crashed"),
        ("merge-v0", "terminated and not info.crashed"),
        ("highway-fast-v0", "truncated and not info.crashed"),
        ("racetrack-oval-v1", "truncated and not info.crashed"),
    ],
)
def test_families_whose_info_tells_of_success_are_judged_by_it(name: str, rule: str) -> None:
    assert completed({"env": f"module:{name}"}, shipped())["success"] == rule
    assert completed({"env": name, "success": "reward > 1"}, shipped())["success"] == "reward > 1"


def test_driving_until_a_limit_of_the_task_itself_is_no_success() -> None:
    assert "success" not in completed({"env": "highway-v0", "max_steps": 9}, shipped())
    assert completed({"env": "merge-v0", "max_steps": 9}, shipped())["success"].startswith("terminated")


def test_a_bare_id_of_such_a_family_counts_what_was_true_during_the_episode() -> None:
    suite = load_suite("PointMaze_Toy-v3")
    (task,) = suite
    environment = TaskEnv(task)
    for goes, reaches in (([1, 1, 1, 1, 1, 1], True), ([0] * 6, False)):
        record = EpisodeRecord("seat", "ann", suite.name, task.id, task.env, 0, b"", task.kwargs)
        episode = EpisodeProgress.begin(environment, record)
        for number, action in enumerate(goes):
            episode.take(np.array([float(action)]), 100 * number, 0, 0)
        assert episode.trajectory().success is reaches


def test_a_threshold_of_whole_episodes_is_no_rule_of_shorter_ones(tmp_path: Path) -> None:
    rules = {}
    for steps in (12, 500):
        file = tmp_path / "poles.yaml"
        file.write_text(f"suite: poles\ntasks: [{{id: pole, env: CartPole-v1, max_steps: {steps}}}]\n")
        rules[steps] = load_suite(file)["pole"].success.text
    assert rules == {12: "unknown", 500: "return >= 475"}


def test_the_table_is_sound_and_a_document_holds_all_that_it_gave() -> None:
    for entry in shipped():
        task = {key: value for key, value in entry.items() if key != "env"}
        suite_from({"suite": "table", "tasks": [{"id": "it", "env": "CartPole-v1", **task}]})
    suite = load_suite("CartPole-v1")
    assert suite_from(suite.source).tasks == suite.tasks
    assert suite.source["tasks"][0]["pace"] == {"fps": 15, "idle": 0}


def test_a_file_is_completed_too_and_what_it_says_stands(tmp_path: Path) -> None:
    tasks = [
        {"id": "bare", "env": "CartPole-v1"},
        {"id": "turn", "env": "CartPole-v1", "pace": "turn"},
        {"id": "rule", "env": "CartPole-v1", "success": "return >= 9"},
        {"id": "none", "env": "Pendulum-v1"},
    ]
    suite = loaded(tmp_path, {"suite": "four", "tasks": tasks})
    assert [task.success.text for task in suite] == [*["return >= 475"] * 2, "return >= 9", "unknown"]
    assert [task.fps for task in suite] == [15, None, 15, 20]
    assert suite["turn"].controls is None
    assert [bool(success_notes(task)) for task in suite] == [False, False, False, True]


def test_a_suite_and_a_file_of_ones_own_extend_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"env": ["CartPole-*"], "success": "return >= 7"}
    task = {"id": "pole", "env": "CartPole-v1"}
    suite = loaded(tmp_path, {"suite": "mine", "families": [entry], "tasks": [task]})
    assert (suite["pole"].success.text, suite["pole"].fps) == ("return >= 7", 15)
    assert "families" not in suite.source
    (tmp_path / "table.yaml").write_text("families: [{env: [CartPole*], success: 'return >= 8', pace: turn}]")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "table.yaml"))
    (bare,) = load_suite("CartPole-v1")
    assert (bare.success.text, bare.fps) == ("return >= 8", None)


@pytest.mark.parametrize(
    ("families", "line"),
    [
        ("{}", "expected a list of at most 1,000 entries"),
        ("[3]", "expected `env` of every family to be a list of patterns"),
        ("[{env: CartPole-v1}]", "expected `env` of every family to be a list of patterns"),
        ("[{env: [3]}]", "expected `env` of every family to be a list of patterns"),
        ("[{env: [a*], sucess: x}]", "unknown key 'sucess' of a family; allowed: env, controls"),
        ("[{env: [" + "x" * 201 + "]}]", "expected `env` of every family"),
        ("[{env: ['*'], success: 'sudo'}]", "expected a success rule"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(
    families: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table.yaml").write_text(f"families: {families}\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "table.yaml"))
    with pytest.raises(TutelageError, match=line.replace("*", r"\*")) as refusal:
        load_suite("MountainCar-v0")
    assert "\n" not in str(refusal.value)
    document = f"suite: mine\nfamilies: {families}\ntasks: [{{id: it, env: MountainCar-v0}}]\n"
    (tmp_path / "mine.yaml").write_text(document)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(TutelageError):
        load_suite(tmp_path / "mine.yaml")


class Game(gymnasium.Env[Any, Any]):
    """Three actions with the names that Atari's games give theirs."""

    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(3)

    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "FIRE", "UPFIRE"]


gymnasium.register("families/Game-v0", Game)  # type: ignore[arg-type]
gymnasium.register("PointMaze_Toy-v3", Visits)  # type: ignore[arg-type]


def test_keys_are_bound_by_the_names_of_those_actions_that_a_game_has() -> None:
    keys = {"FIRE": "Space", "UP": "ArrowUp", "UPFIRE": "ArrowUp+Space"}
    task = {"id": "game", "env": "families/Game-v0", "keys": keys, "pace": {"fps": 15}}
    controls = TaskEnv(suite_from({"suite": "games", "tasks": [task]})["game"]).controls()
    bound = [(binding.codes, binding.action, binding.label) for binding in controls.bindings]
    assert bound == [(("Space",), (1.0,), "FIRE"), (("ArrowUp", "Space"), (2.0,), "UPFIRE")]
    assert controls.idle == (0.0,)


@pytest.fixture
def unrated(tmp_path: Path) -> tuple[Suite, Store]:
    """Give a store with three episodes of a task without a success rule, the last one given up."""
    (task,) = load_suite("Pendulum-v1").source["tasks"]
    suite = suite_from({"suite": "swing", "tasks": [{**task, "max_steps": 5}]})
    store = Store.create(tmp_path / "store", suite)
    store.append([played(suite, 0), played(suite, 1), played(suite, 2, steps=2)])
    return suite, store


def test_without_a_rule_success_is_null_in_the_store_and_all_weigh_alike(
    unrated: tuple[Suite, Store],
) -> None:
    suite, store = unrated
    assert [episode.success for episode in store.trajectories()] == [None] * 3
    inspection = inspect(store)
    assert inspection.problems == []
    assert (inspection.tasks[0].success, inspection.people[0].success) == (None, None)
    assert inspection.outcomes == {
        "success": 0,
        "failure": 0,
        "out of time": 0,
        "finished": 2,
        "left early": 1,
    }
    columns = load_columns([store])
    for weights in ("outcome", "both", "none", "expertise"):
        assert episode_weights(columns, weights)["Pendulum-v1"].tolist() == [1.0] * 3
    assert weigh(columns, "outcome")[0].success is None
    with pytest.raises(TutelageError, match="expected tasks with a success rule to learn from successes"):
        self_imitate([store], Path("nowhere"), TrainConfig(self_imitation=1), evaluate=lambda _: {})
    assert suite.tasks[0].success.is_known is False


@pytest.mark.parametrize("form", ["minari", "lerobot", "csv", "npz", "robomimic", "rlds"])
def test_without_a_rule_success_is_no_fact_of_an_export(
    form: str, unrated: tuple[Suite, Store], tmp_path: Path
) -> None:
    _, store = unrated
    export_store(store, form, tmp_path / form)
    if form in ("minari", "lerobot"):
        import_store(tmp_path / form, form, tmp_path / "back")
        assert set(Store.open(tmp_path / "back").episodes()["success"].to_pylist()) == {None}


def test_without_a_rule_an_evaluation_tells_returns_and_claims_no_success(
    unrated: tuple[Suite, Store], tmp_path: Path
) -> None:
    suite, store = unrated
    rows = read_rows(write_rows(tmp_path / "rows.parquet", rows_from(store.trajectories())))
    assert rows["success"].null_count == 3
    comparison = Comparison(rows, suite)
    assert comparison.by_return("Pendulum-v1")
    assert comparison.overall == {}
    assert "| return |" in table_markdown(rows, suite)
    assert summary(rows, suite)["tasks"]["Pendulum-v1"]["people"]["success"] is None


def test_rows_of_strangers_name_no_file_and_no_module(unrated: tuple[Suite, Store]) -> None:
    _, store = unrated
    for name in ("os:Any-v0", "/etc/suite.yaml"):
        rows = rows_from([replace(episode, suite=name) for episode in store.trajectories()])
        assert Comparison(rows).suite is None


def test_a_study_needs_a_success_rule(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "small.yaml").write_text(
        "suite: small\ntasks: [{id: lake, env: FrozenLake-v1, success: unknown}]\n"
    )
    (wrong,) = examine(path)[2]
    assert "at 'tasks.lake': expected a success rule, since people are told and paid by it" in wrong


def loaded(folder: Path, document: dict[str, Any]) -> Suite:
    (folder / "suite.yaml").write_text(str(document).replace("None", "null"))
    return load_suite(folder / "suite.yaml")
