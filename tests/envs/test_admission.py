"""What a task names acts only where it was trusted: pages, modules, files; and no verb runs it before."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tutelage.envs.admission import SHOWN, acts_of, admit
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.web.page_sources import find_page, miniwob_folder
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import VARIABLE, Untrusted, trust

CLICK_TEST = "tutelage/web.click-test-v0"


@pytest.fixture(autouse=True)
def nothing_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv(SHOWN, "")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("env", "kwargs", "name"),
    [
        (CLICK_TEST, {"task": "/nowhere/pages/form.html"}, "/nowhere/pages"),
        (CLICK_TEST, {"task": "form.html"}, "TMP"),
        (CLICK_TEST, {"task": "../form.html"}, "TMP/.."),
        (CLICK_TEST, {"task": "click-test/../../form.html"}, "TMP/.."),
        (CLICK_TEST, {"task": "there"}, "there"),
        ("Ant-v5", {"xml_file": "/nowhere/ant.xml"}, "/nowhere/ant.xml"),
        ("Ant-v5", {"xml_file": "~/ant.xml"}, "HOME/ant.xml"),
        ("Ant-v5", {"xml_file": b"./ant.xml"}, "./ant.xml"),
        ("Ant-v5", {"xml_file": "C:ant.xml"}, "C:ant.xml"),
        ("Ant-v5", {"xml_file": "\\\\host\\ant.xml"}, "\\\\host\\ant.xml"),
        ("CartPole-v1", {"deep": [{"er": ["https://example.org/a"]}]}, "https://example.org/a"),
        ("CartPole-v1", {"here": "there"}, "there"),
        ("CartPole-v1", {"deep": {"sub/there": 1}}, "sub/there"),
        ("GymV21Environment-v0", {"env_id": "Some-v0"}, "gym"),
        ("GymV26Environment-v0", {"env_id": "json:Some-v0"}, "gym"),
        ("json:CartPole-v1", {}, "json"),
        ("os.path:CartPole-v1", {}, "os.path"),
        ("CartPole-v1", {"make": "json:Decoder"}, "json"),
        ("CartPole-v1", {"make": "json.decoder"}, "json.decoder"),
        ("CartPole-v1", {"make_kwargs": {"env_id": "antigravity"}}, "antigravity"),
    ],
)
def test_what_would_act_is_asked_for_by_name_and_admitted_once_it_is_trusted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], env: str, kwargs: dict[str, Any], name: str
) -> None:
    (tmp_path / "there").touch()
    name = name.replace("TMP/..", str(tmp_path.parent)).replace("TMP", str(tmp_path))
    name = name.replace("HOME", str(Path.home()))
    task = Task("lift", env, kwargs)
    with pytest.raises(Untrusted) as raised:
        admit(task)
    line = str(raised.value)
    assert line.startswith("task 'lift': expected")
    assert line.endswith(f"--trust {shlex.quote(name)}")
    assert "\n" not in line
    if ":" in name:  # the path separator of TUTELAGE_TRUST
        return
    trust([name, "gym", "json"])
    admit(task)
    admit(task)
    told = capfd.readouterr().err.splitlines()
    assert len(told) == len(set(told)) >= 1
    assert any(
        line.startswith(f"trusting {name}: ") and line.endswith((" will run", " will be used"))
        for line in told
    )


@pytest.mark.parametrize(
    ("env", "kwargs"),
    [
        (CLICK_TEST, {"task": "click-button"}),
        (CLICK_TEST, {"screenshot": True, "max_steps": 3}),
        ("FrozenLake-v1", {"map_name": "4x4", "is_slippery": False}),
        ("FrozenLake-v1", {"desc": ["SFF", "FFF", "FFG"]}),
        ("Ant-v5", {"xml_file": "ant.xml"}),
        ("PointMaze_UMaze-v3", {"maze_map": [[1, 0, "r", "g"]], "reward_type": "sparse"}),
        (
            "CartPole-v1",
            {"goal": "pick the red ball: then stop, i.e. wait.", "colour": "red:blue", "at": "a.b"},
        ),
        ("CartPole-v1", {"env": "easy", "none": None, "size": 3.5}),
    ],
)
def test_words_and_numbers_act_in_nothing(env: str, kwargs: dict[str, Any]) -> None:
    assert acts_of(Task("words", env, kwargs)) == []
    admit(Task("words", env, kwargs))


@pytest.mark.parametrize(
    "key",
    [
        *("max_episode_steps", "disable_env_checker", "additional_wrappers", "entry_point"),
        *("vector_entry_point", "apply_api_compatibility", "vectorization_mode", "vector_kwargs", "num_envs"),
        "id",
    ],
)
def test_what_gymnasium_takes_for_itself_is_refused_even_where_all_is_trusted(key: str) -> None:
    trust(["/", "json"])
    with pytest.raises(TutelageError, match=f"expected arguments of CartPole-v1 alone, got {key}; "):
        TaskEnv(Task("pole", "CartPole-v1", {key: "json:x"}))


def test_a_page_of_miniwob_is_no_stranger_s_by_whatever_path(tmp_path: Path) -> None:
    folder = miniwob_folder()
    assert folder is not None
    page = folder / "miniwob" / "click-test.html"
    admit(Task("click", CLICK_TEST, {"task": str(page)}))
    assert find_page(str(page)).root == folder.resolve()
    (tmp_path / "mine.html").symlink_to(page)
    assert find_page("mine.html").path == page.resolve()


def test_a_link_from_a_trusted_folder_runs_no_page_outside(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "form.html").touch()
    (tmp_path / "pages" / "form.html").symlink_to(tmp_path / "form.html")
    trust([tmp_path / "pages"])
    for ask in (find_page, lambda page: admit(Task("form", CLICK_TEST, {"task": page}))):
        with pytest.raises(Untrusted, match=f"--trust {tmp_path}$"):
            ask("pages/form.html")


def test_a_page_is_asked_for_where_it_is_opened_too(tmp_path: Path) -> None:
    (tmp_path / "form.html").touch()
    with pytest.raises(Untrusted, match=f"run the page {tmp_path}/form.html"):
        find_page("form.html")
    trust([tmp_path])
    assert find_page("form.html").root == tmp_path


def test_a_module_that_is_trusted_registers_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "our_robots.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('our/Lift-v0', CartPoleEnv)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    task = Task("lift", "our_robots:our/Lift-v0")
    with pytest.raises(Untrusted, match=r"import the module our_robots.*--trust our_robots$"):
        TaskEnv(task)
    assert "our_robots" not in sys.modules
    trust(["our_robots"])
    TaskEnv(task).close()
    with pytest.raises(TutelageError, match="expected a registered Gymnasium id, got 'our/Lift-v1'"):
        TaskEnv(replace(task, env="our_robots:our/Lift-v1"))
    (tmp_path / "our_broken.py").write_text("raise OSError('broken')")
    trust(["our_broken"])
    with pytest.raises(TutelageError, match="expected to import our_broken, got OSError: broken"):
        TaskEnv(replace(task, env="our_broken:our/Lift-v0"))


@pytest.mark.parametrize("name", ["", "a:b", "a\0b"])
def test_what_can_be_neither_a_folder_nor_a_module_is_not_trusted(name: str) -> None:
    with pytest.raises(TutelageError, match="expected a folder or module to trust"):
        trust([name])
    assert os.environ[VARIABLE] == ""
