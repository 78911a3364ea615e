"""A module of one's own: where it lies is said, and how Python finds it there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tutelage.tests.support.command_line import run

MODULE = """
import gymnasium
gymnasium.register("mine/Harbor-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=5)
"""
SUITE = {"suite": "harbor", "imports": ["harbor"], "tasks": [{"id": "berth", "env": "mine/Harbor-v0"}]}


def written(folder: Path, is_package: bool, module: str = MODULE) -> None:
    """Write the suite, and its module as a file or as a package, to a folder."""
    (folder / "harbor.yaml").write_text(json.dumps(SUITE))
    place = folder / "harbor" / "__init__.py" if is_package else folder / "harbor.py"
    place.parent.mkdir(exist_ok=True)
    place.write_text(module)


@pytest.mark.parametrize("is_package", [False, True], ids=["file", "package"])
@pytest.mark.parametrize("is_beside", [False, True], ids=["current folder", "beside the suite"])
def test_a_module_of_ones_own_is_said_where_it_lies(
    tmp_path: Path, is_package: bool, is_beside: bool
) -> None:
    written(tmp_path, is_package)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = elsewhere if is_beside else tmp_path
    done = run("tasks", tmp_path / "harbor.yaml", "--trust", "harbor", cwd=where)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert "expected to import harbor" in line
    assert f"PYTHONPATH={tmp_path}" in line
    assert f"pip install -e {tmp_path}" in line


def test_what_the_line_says_works(tmp_path: Path) -> None:
    written(tmp_path, is_package=True)
    done = subprocess.run(
        [Path(sys.executable).parent / "tutelage", "tasks", "harbor.yaml", "--trust", "harbor", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"][0]["limit"] == 5


def test_an_argument_and_an_entry_point_are_told_the_same(tmp_path: Path) -> None:
    written(tmp_path, is_package=False)
    done = run("tasks", "harbor:mine/Harbor-v0", cwd=tmp_path)
    assert (done.returncode, f"PYTHONPATH={tmp_path}" in done.stderr) == (2, True), done.stderr
    (tmp_path / "docks.py").write_text("")
    registering = 'import sys, gymnasium; gymnasium.register("mine/Docks-v0", "docks:Docks")'
    done = run("tasks", "mine/Docks-v0", cwd=tmp_path, prelude=registering)
    assert (done.returncode, f"PYTHONPATH={tmp_path}" in done.stderr) == (2, True), done.stderr


def test_a_module_that_lies_nowhere_is_told_both_ways(tmp_path: Path) -> None:
    (tmp_path / "harbor.yaml").write_text(json.dumps(SUITE))
    done = run("tasks", "harbor.yaml", "--trust", "harbor", cwd=tmp_path)
    line = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert "install the package that brings harbor" in line
    assert "PYTHONPATH=FOLDER" in line
