"""Verbs that report: a line a suite, errors on stderr with status 2, one style of JSON, completion."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from tutelage.cli.json_output import SCHEMA, print_json
from tutelage.cli.main import app
from tutelage.crowd.server.tunnel import tunnel_hint
from tutelage.datasets import column_docs, schema
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.keys.controls import from_mapping
from tutelage.envs.suite import Suite, load_suite, suite_from, suite_names
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.tests.support.sources import ROOT
from typer.testing import CliRunner, Result

TASK = {"id": "pole", "env": "CartPole-v1", "max_steps": 9, "expert": "cartpole"}


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def suite() -> Suite:
    return suite_from({"suite": "small", "tasks": [TASK, {"id": "unplayed", "env": "MountainCar-v0"}]})


@pytest.fixture(scope="module")
def store(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store.create(tmp_path_factory.mktemp("listed") / "store", suite)
    simulate(suite, made, {"pole": 1}, workers=1)
    return made


def test_without_an_argument_there_is_a_line_a_suite_in_under_two_seconds() -> None:
    began = time.process_time()
    done = run("tasks")
    assert time.process_time() - began < 2
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) < 12
    for name in suite_names():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert line.split()[1] == str(len(load_suite(name)))


def test_a_task_that_cannot_be_made_is_one_line_on_stderr_and_status_2(tmp_path: Path) -> None:
    tasks = [{"id": "gone", "env": "nowhere:No-v0"}, TASK, {"id": "lost", "env": "Nothing-v0"}]
    (tmp_path / "some.yaml").write_text(json.dumps({"suite": "some", "tasks": tasks}))
    done = run("tasks", tmp_path / "some.yaml")
    assert done.exit_code == 2
    wrong = [line for line in done.stderr.splitlines() if line.startswith("tutelage: ")]
    assert len(wrong) == 2
    assert "'gone'" in wrong[0]
    assert "'lost'" in wrong[1]
    assert "CartPole-v1" in done.stdout
    listed = run("tasks", tmp_path / "some.yaml", "--json")
    assert listed.exit_code == 2
    document = json.loads(listed.stdout)
    assert [task["task"] for task in document["tasks"]] == ["gone", "pole", "lost"]
    assert len(document["problems"]) == 2


def test_tasks_that_nobody_played_have_no_share(store: Store) -> None:
    text = run("inspect", store.path, "--no-verify").stdout
    (line,) = [line for line in text.splitlines() if line.startswith("unplayed")]
    assert "%" not in line
    assert line.split()[3] == "–"
    assert "1 episode " in text
    assert "1 episodes" not in text
    document = json.loads(run("inspect", store.path, "--no-verify", "--json").stdout)
    by_task = {task["task"]: task for task in document["tasks"]}
    assert by_task["unplayed"]["success"] is None
    assert by_task["pole"]["success"] is not None


def test_every_verb_prints_one_object_that_says_its_verb(store: Store, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("study: wrong\n")
    commands = {
        "tasks": ["tasks"],
        "inspect": ["inspect", store.path, "--no-verify"],
        "quality": ["quality", store.path, "--no-experts"],
        "repair": ["repair", store.path, "--dry-run"],
        "export": ["export", store.path, "--to", "npz", "-o", tmp_path / "out"],
        "forget": ["forget", "nobody-here", "--store", store.path],
        "serve": ["serve", tmp_path / "wrong.yaml", "--check"],
    }
    for verb, words in commands.items():
        document = json.loads(run(*words, "--json").stdout)
        assert list(document)[:2] == ["verb", "schema"], verb
        assert (document["verb"], document["schema"]) == (verb, SCHEMA)
        if verb == "serve":
            assert document["problems"]


def test_an_edit_that_is_taken_back_and_the_list_of_edits_are_objects_too(
    suite: Suite, tmp_path: Path
) -> None:
    made = Store.create(tmp_path / "store", suite)
    simulate(suite, made, {"pole": 2}, workers=1)
    assert run("edit", made.path, "delete", "--all", "--apply", "--json").exit_code == 0
    (edit,) = json.loads(run("edit", "--json", made.path).stdout)["edits"]
    assert edit["number"] == 1
    planned = json.loads(run("edit", made.path, "undo", "--json").stdout)
    assert (planned["verb"], planned["edit"], planned["applied"], planned["text"]) == (
        *("edit", "undo", False),
        edit["text"],
    )
    assert json.loads(run("edit", made.path, "undo", "--apply", "--json").stdout)["applied"]
    document = json.loads(run("edit", "--json", made.path).stdout)
    assert (document["episodes"], document["edits"]) == (2, [])
    compacted = json.loads(run("edit", made.path, "compact", "--apply", "--json").stdout)
    assert (compacted["edit"], compacted["edits"]) == ("compact", 1)  # the one that could be made again


def test_training_ends_with_one_object_that_says_what_was_kept(store: Store, tmp_path: Path) -> None:
    flags = [
        "--steps",
        "2",
        "--size",
        "1",
        "--batch-steps",
        "16",
        "--threads",
        "1",
        "--workers",
        "1",
        "--select-episodes",
        "1",
    ]
    done = run("train", store.path, "-o", tmp_path / "run", *flags, "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["verb"], document["kept"]) == ("train", str(tmp_path / "run" / "kept"))
    assert (document["step"], document["rounds"], document["failures"]) == (2, [], [])
    assert document["parameters"] > 1000
    assert document["demonstrators"][0]["episodes"] == 1
    assert "who teaches how much" in done.stderr


def test_json_holds_no_number_that_json_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    print_json("x", {"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": -float("inf")}, "p": Path("/x")})
    text = capsys.readouterr().out
    assert json.loads(text, parse_constant=pytest.fail) == {
        "verb": "x",
        "schema": SCHEMA,
        "a": None,
        "b": [None, 1.5],
        "c": {"d": None},
        "p": "/x",
    }


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("Left", ("ArrowLeft",)),
        ("left", ("ArrowLeft",)),
        ("LeftArrow", ("ArrowLeft",)),
        ("arrow left", ("ArrowLeft",)),
        ("Up+Right", ("ArrowUp", "ArrowRight")),
        ("a", ("KeyA",)),
        ("keya", ("KeyA",)),
        ("1", ("Digit1",)),
        ("Return", ("Enter",)),
        ("Esc", ("Escape",)),
        ("Ctrl", ("ControlLeft",)),
        ("spacebar", ("Space",)),
        ("ArrowLeft", ("ArrowLeft",)),
    ],
)
def test_a_suite_takes_usual_names_of_keys(name: str, codes: tuple[str, ...]) -> None:
    space = TaskEnv(load_suite("CartPole-v1").tasks[0]).action_space
    (binding,) = from_mapping({name: 0}, None, space).bindings
    assert binding.codes == codes


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Lft", "ArrowLeft"),
        ("Rihgt", "ArrowRight"),
        ("Uparow", "ArrowUp"),
        ("Spce", "Space"),
        ("Retrun", "Enter"),
    ],
)
def test_a_misspelt_key_is_told_the_one_that_is_meant(name: str, meant: str) -> None:
    space = TaskEnv(load_suite("CartPole-v1").tasks[0]).action_space
    with pytest.raises(TutelageError, match=f"got '{name}'; did you mean '{meant}'"):
        from_mapping({name: 0}, None, space)


def test_a_key_under_two_names_is_refused() -> None:
    space = TaskEnv(load_suite("CartPole-v1").tasks[0]).action_space
    with pytest.raises(TutelageError, match="expected each key once, got ArrowLeft under 'ArrowLeft' too"):
        from_mapping({"ArrowLeft": 0, "Left": 1}, None, space)


@pytest.mark.slow
def test_bash_completes_verbs_flags_and_suites() -> None:
    program = Path(sys.executable).parent / "tutelage"
    script = f"""
        PATH="{program.parent}:$PATH"
        eval "$(tutelage completion bash)"
        ask() {{
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _tutelage_completion tutelage
            echo "${{COMPREPLY[*]}}"
        }}
        ask tutelage ins
        ask tutelage inspect --ver
        ask tutelage tasks first
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.splitlines() == ["inspect", "--verify", "first-steps"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str) -> None:
    done = run("completion", shell)
    assert done.exit_code == 0
    assert "_TUTELAGE_COMPLETE" in done.stdout
    assert f"complete_{shell}" in done.stdout


def test_every_verb_that_reports_takes_json() -> None:
    commands = typer.main.get_group(app).commands
    silent = {"completion"}  # prints a script
    commands |= commands["edit"].commands
    without = [
        name
        for name, command in commands.items()
        if name not in silent and not any("--json" in option.opts for option in command.params)
    ]
    assert without == []


SSH = {"SSH_CONNECTION": "203.0.113.7 51234 198.51.100.20 22"}


def test_over_ssh_the_tunnel_to_the_page_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    hint = tunnel_hint("http://127.0.0.1:8765/", SSH)
    assert "ssh -L 8765:127.0.0.1:8765 ada@198.51.100.20 " in hint
    assert "ssh -L 80:[::1]:80 " in tunnel_hint("http://[::1]:80/", SSH)
    assert tunnel_hint("http://127.0.0.1:8765/", {}) == ""
    assert tunnel_hint("http://192.0.2.5:8765/", SSH) == ""
    assert tunnel_hint("https://study.example/", SSH) == ""
    assert f"@{socket.gethostname()} " in tunnel_hint("http://127.0.0.1:1/", {"SSH_CONNECTION": "damaged"})


def test_a_recorder_over_ssh_prints_its_real_port(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "tutelage"
    command = [str(program), "record", "FrozenLake-v1", "-o", str(tmp_path / "store"), "--port", "0"]
    started = subprocess.Popen(
        command, env={**os.environ, **SSH}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert started.stdout is not None
    try:
        lines = [started.stdout.readline() for _ in range(3)]
    finally:
        started.terminate()
        started.communicate(timeout=60)
    port = lines[1].partition("127.0.0.1:")[2].partition("/")[0]
    assert int(port) > 0
    assert f"ssh -L {port}:127.0.0.1:{port} " in lines[2]


def test_every_column_of_a_store_is_documented_as_it_is() -> None:
    assert list(column_docs.COLUMNS) == schema.SCHEMA.names
    page = (ROOT / "docs" / "store-columns.md").read_text("utf-8")
    assert page == column_docs.page(schema.SCHEMA, schema.VERSION), "out of date; run: make docs"
