"""A suite file becomes tasks, or a sentence that says what to mend."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tutelage.envs.suite import is_registered, load_suite, suite_from, suite_names
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError, nearest

TASK = {"id": "poles", "env": "CartPole-v1"}


def document(**task: Any) -> dict[str, Any]:
    return {"suite": "mine", "tasks": [TASK | task]}


def complaint(given: Any) -> str:
    with pytest.raises(TutelageError) as caught:
        suite_from(given, "mine.yaml")
    return str(caught.value)


def test_a_suite_is_its_tasks_in_order_and_by_name() -> None:
    suite = suite_from({"suite": "mine", "tasks": [TASK, {"id": "cabs", "env": "tutelage/Taxi-v0"}]})
    assert [task.id for task in suite] == ["poles", "cabs"]
    assert len(suite) == 2
    assert suite["cabs"].env == "tutelage/Taxi-v0"
    assert suite.episodes == 512
    with pytest.raises(
        TutelageError, match=r"expected a task of suite 'mine' \(poles, cabs\), got 'cab'; did"
    ):
        suite["cab"]


def test_every_key_of_a_task_arrives() -> None:
    task = suite_from(
        document(
            kwargs={"sutton_barto_reward": True},
            max_steps=30,
            success="return >= 20",
            instruction="hold it",
            controls={"KeyA": 0},
            pace={"fps": 12, "idle": 1},
            actions=["left", "right"],
            expert="cartpole",
        )
    )["poles"]
    assert task.kwargs == {"sutton_barto_reward": True}
    assert (task.max_steps, task.success.text, task.instruction) == (30, "return >= 20", "hold it")
    assert (task.fps, task.idle) == (12, 1)
    assert (task.controls, task.action_names, task.expert) == ({"KeyA": 0}, ("left", "right"), "cartpole")


def test_what_is_left_out_has_its_documented_value() -> None:
    task = suite_from(document())["poles"]
    assert (task.kwargs, task.max_steps, task.success.text) == ({}, None, "reward > 0")
    assert (task.fps, task.idle, task.controls, task.expert) == (None, None, None, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {**document(), "evaluaton": {}},
            "'evaluaton'; allowed: suite, imports, families, tasks, evaluation; did",
        ),
        (document(sucess="x"), "unknown key 'tasks.0.sucess'; allowed: id, env, kwargs, max_steps, success,"),
        (document(sucess="x"), "; did you mean 'success'?"),
        (document(pace={"fpss": 3}), "missing key 'tasks.0.pace.fps'; add it"),
        (document(pace={"fps": 3, "idel": 3}), "unknown key 'tasks.0.pace.idel'; allowed: fps, idle; did"),
        (
            {**document(), "evaluation": {"epsodes": 3}},
            "unknown key 'evaluation.epsodes'; allowed: episodes; did you mean 'episodes'?",
        ),
        ({"suite": "mine"}, "missing key 'tasks'; add it"),
        ({"suite": "mine", "tasks": [{"id": "poles"}]}, "missing key 'tasks.0.env'; add it"),
    ],
)
def test_a_wrong_key_is_named_with_its_place_and_the_nearest(given: Any, said: str) -> None:
    assert complaint(given).startswith("mine.yaml: ")
    assert said in complaint(given)


@pytest.mark.parametrize(
    ("given", "place", "got"),
    [
        (document(max_steps="many"), "tasks.0.max_steps", "'many'"),
        (document(max_steps=0), "tasks.0.max_steps", "0"),
        (document(success=1), "tasks.0.success", "1"),
        (document(controls=["KeyA"]), "tasks.0.controls", "['KeyA']"),
        (document(id="a b"), "tasks.0.id", "'a b'"),
        (document(pace={"fps": 0}), "tasks.0.pace.fps", "0"),
        (document(pace={"fps": 1000}), "tasks.0.pace.fps", "1000"),
        ({"suite": "mine", "tasks": []}, "tasks", "[]"),
        ({"suite": "mine", "tasks": "CartPole-v1"}, "tasks", "'CartPole-v1'"),
        ({"suite": "mine", "tasks": ["CartPole-v1"]}, "tasks.0", "'CartPole-v1'"),
        ({"suite": "../up", "tasks": [TASK]}, "suite", "'../up'"),
        ({**document(), "evaluation": {"episodes": 0}}, "evaluation.episodes", "0"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(given: Any, place: str, got: str) -> None:
    said = complaint(given)
    assert said.startswith(f"mine.yaml: at {place!r}: ")
    assert said.endswith(f", got {got}")
    assert "_Task" not in said


@pytest.mark.parametrize("pace", ["fast", 3, ["turn"]])
def test_a_wrong_pace_says_what_paces_there_are(pace: Any) -> None:
    assert f"expected pace turn or {{fps: ..., idle: ...}}, got {pace!r}" in complaint(document(pace=pace))


def test_real_time_without_an_idle_action_is_refused_when_it_is_read() -> None:
    error = complaint(document(pace={"fps": 15}, controls={"KeyA": 1}))
    assert "expected an idle action beside fps, got none" in error
    assert error.endswith("pace: {fps: 15, idle: 0}")
    page = {"id": "page", "env": "tutelage/web.click-test-v0", "pace": {"fps": 5}}  # hands act on a page
    assert suite_from({"suite": "mine", "tasks": [page]}).tasks[0].idle is None


def test_a_wrong_success_rule_names_its_task() -> None:
    said = complaint(document(success="rewrad > 0"))
    assert said.startswith("mine.yaml: task 'poles': expected a success rule like")
    assert "did you mean 'reward'?" in said


def test_two_tasks_of_one_id_are_refused() -> None:
    said = complaint({"suite": "mine", "tasks": [TASK, TASK]})
    assert said == "mine.yaml: expected unique task ids, got 'poles' twice; rename one"


@pytest.mark.parametrize("given", [None, [], "text", 3])
def test_a_document_that_is_no_mapping_is_refused(given: Any) -> None:
    assert complaint(given) == f"mine.yaml: expected keys suite and tasks, got {type(given).__name__}"


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("suite: mine\ntasks:\n  - {id: poles, env: CartPole-v1}\nevaluation: {episodes: 7}\n")
    suite = load_suite(path)
    assert (suite.name, suite.episodes, [task.id for task in suite]) == ("mine", 7, ["poles"])
    assert suite_from(suite.source) == suite
    assert load_suite(str(path)) == suite


def test_what_is_no_yaml_names_the_file_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    path.write_text("suite: [mine\ntasks: }")
    with pytest.raises(TutelageError, match=r"broken\.yml: expected YAML, got ") as caught:
        load_suite(path)
    assert "\n" not in str(caught.value)


def test_yaml_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(f"suite: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(TutelageError, match="expected YAML"):
        load_suite(path)
    assert not (tmp_path / "made").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        TutelageError, match=r"expected a suite file at .*gone\.yaml, found none; check the path"
    ):
        load_suite(tmp_path / "gone.yaml")


def test_an_unknown_suite_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(
        TutelageError, match=r"expected a suite \(.*first-steps.*\).*got 'first-step'; did you"
    ):
        load_suite("first-step")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("CartPol-v1", "did you mean 'CartPole-v1'?"),
        ("BabyAI-GoToLocl-v0", "did you mean 'BabyAI-GoToLocal-v0'?"),
        ("ALE/Pong-v5", "pip install ale-py, and write ale_py:ALE/Pong-v5"),
        ("FetchReach-v4", "pip install gymnasium-robotics, and write gymnasium_robotics:FetchReach-v4"),
        ("hihgway-fast-v0", "did you mean 'highway-fast-v0'?; highway-fast-v0 is one of highway-env: pip"),
        ("elsewhere/Thing-v0", "name its module: MODULE:elsewhere/Thing-v0"),
    ],
)
def test_an_unknown_id_is_told_the_nearest_or_what_brings_it(name: str, advice: str) -> None:
    with pytest.raises(TutelageError) as refusal:
        load_suite(name)
    assert advice in str(refusal.value)
    task = {"id": "it", "env": name}
    with pytest.raises(TutelageError) as refusal:
        TaskEnv(suite_from({"suite": "them", "tasks": [task]})["it"])
    assert advice in str(refusal.value)


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_that_comes_with_the_package_loads(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert all(is_registered(task.env) for task in suite)


def test_a_registered_id_is_a_suite_of_one_task() -> None:
    suite = load_suite("BabyAI-GoToLocal-v0")
    assert [(task.id, task.env) for task in suite] == [("BabyAI-GoToLocal-v0", "BabyAI-GoToLocal-v0")]
    assert not is_registered("CartPole-v99")


def test_the_nearest_name_is_offered_only_when_it_is_near() -> None:
    assert nearest("sucess", ["success", "pace"]) == "; did you mean 'success'?"
    assert nearest("zebra", ["success", "pace"]) == ""


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("kwargs: {g: .nan}", "tasks.swing.kwargs.g"),
        ("kwargs: {range: [0.7, .inf]}", "tasks.swing.kwargs.range.1"),
        ("kwargs: {deep: {limit: -.inf}}", "tasks.swing.kwargs.deep.limit"),
        ("controls: {KeyA: [.inf]}", "tasks.swing.controls.KeyA.0"),
        ("pace: {fps: 20, idle: [.nan]}", "tasks.swing.pace.idle.0"),
    ],
)
def test_a_number_that_json_has_not_is_refused_by_its_place(key: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "swings.yaml"
    path.write_text(f"suite: swings\ntasks: [{{id: swing, env: Pendulum-v1, {key}}}]\n")
    with pytest.raises(TutelageError, match=f"at '{re.escape(place)}': expected a finite number") as refusal:
        load_suite(path)
    assert "\n" not in str(refusal.value)
