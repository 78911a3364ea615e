"""Environments of other packages, however they are made, rendered and named, work or say what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image
from tutelage.envs.preflight import rehearse
from tutelage.envs.suite import load_suite, suite_from
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import VARIABLE

SIZE = (20, 30)


class Odd(gymnasium.Env[Any, Any]):
    """A toy whose constructor, reset and pictures are as odd as its class says."""

    metadata = {"render_modes": ["human", "rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Box(0, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.ones(2, np.float32), 1.0, False, False, {}

    def render(self) -> Any:
        return np.full((*SIZE, 3), 7, np.uint8)


class Insists(Odd):
    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in self.metadata["render_modes"]:
            raise AssertionError("render_mode must be one of them")
        super().__init__(render_mode)


class TakesNoMode(Odd):
    def __init__(self) -> None:
        super().__init__()


class OnlyHuman(Odd):
    metadata = {"render_modes": ["human"]}  # noqa: RUF012


class Gray(Odd):
    def render(self) -> Any:
        return np.full(SIZE, 0.5, np.float32)


class Listed(Odd):
    metadata = {"render_modes": ["rgb_array_list"]}  # noqa: RUF012

    def render(self) -> Any:
        return [np.zeros((*SIZE, 3), np.uint8), super().render()]


class Pillow(Odd):
    def render(self) -> Any:
        return Image.new("L", SIZE[::-1], 9)


class Spoken(Odd):
    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012

    def render(self) -> Any:
        return "a\x1b[31mb\x1b[0m\nc"


class Blank(Odd):
    def render(self) -> Any:
        return None


class FailsWhenMade(Odd):
    def __init__(self, render_mode: str | None = None) -> None:
        raise RuntimeError("no license\nwas found")


class FailsInReset(Odd):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        raise ConnectionRefusedError("the simulator is not running")


class TakesNoSeed(Odd):
    def reset(self) -> Any:  # type: ignore[override]
        return np.zeros(2, np.float32), {}


for kind in (Insists, TakesNoMode, OnlyHuman, Gray, Listed, Pillow, Spoken, Blank):
    gymnasium.register(f"odd/{kind.__name__}-v0", kind, max_episode_steps=5)
for kind in (Odd, FailsWhenMade, FailsInReset, TakesNoSeed):
    gymnasium.register(f"odd/{kind.__name__}-v0", kind, max_episode_steps=5)


def played(name: str, **kwargs: Any) -> TaskEnv:
    environment = TaskEnv(Task("odd", f"odd/{name}-v0", kwargs=kwargs), rgb=False)
    environment.reset(0)
    environment.step(np.zeros(1))
    return environment


@pytest.mark.parametrize(
    ("name", "kwargs", "mode"),
    [
        ("Insists", {}, "rgb_array"),
        ("Insists", {"render_mode": "human"}, "human"),
        ("Odd", {}, None),
        ("Odd", {"render_mode": "rgb_array"}, "rgb_array"),
        ("TakesNoMode", {}, None),
    ],
)
def test_an_environment_is_made_in_the_mode_that_it_takes(
    name: str, kwargs: dict[str, Any], mode: str | None
) -> None:
    assert played(name, **kwargs).env.unwrapped.render_mode == mode


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Odd", 7), ("Insists", 7), ("TakesNoMode", 7), ("Gray", 128), ("Listed", 7), ("Pillow", 9)],
)
def test_every_kind_of_picture_is_shown(name: str, shown: int) -> None:
    environment = TaskEnv(Task("odd", f"odd/{name}-v0"), rgb=True)
    environment.reset(0)
    frame = environment.frame()
    assert isinstance(frame, np.ndarray)
    assert (frame == shown).all()
    assert frame.shape == (*SIZE, 3)


def test_text_is_shown_as_text() -> None:
    environment = TaskEnv(Task("odd", "odd/Spoken-v0"), rgb=True)
    environment.reset(0)
    assert environment.frame() == "a\x1b[31mb\x1b[0m\nc"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("OnlyHuman", "expected odd/OnlyHuman-v0 to render for a page"),
        ("Blank", r"odd/Blank-v0: expected a picture .*got NoneType"),
        (
            "FailsWhenMade",
            "task 'it': odd/FailsWhenMade-v0 failed when it was made: RuntimeError: no license was found",
        ),
        (
            "FailsInReset",
            "task 'it': odd/FailsInReset-v0 failed in reset: ConnectionRefusedError: the simulator",
        ),
        (
            "TakesNoSeed",
            "task 'it': odd/TakesNoSeed-v0 failed in reset: .*its reset must take seed and options",
        ),
    ],
)
def test_what_no_person_could_play_is_refused_before_anybody_does(name: str, line: str) -> None:
    suite = suite_from({"suite": "odd", "tasks": [{"id": "it", "env": f"odd/{name}-v0"}]})
    with pytest.raises(TutelageError, match=line) as refusal:
        rehearse(suite, people=True)
    assert "\n" not in str(refusal.value)


ROBOTS = """
import gymnasium, numpy as np
class Lift(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    def __init__(self, render_mode=None):
        self.render_mode = render_mode
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.random(2, np.float32), {}
    def step(self, action):
        return self.np_random.random(2, np.float32), float(action), False, False, {}
    def render(self):
        return np.zeros((8, 8, 3), np.uint8)
gymnasium.register("robots/Lift-v0", Lift, max_episode_steps=5)
"""


RECORD = """
import numpy as np
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.datasets.store import Store
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.suite import load_suite
suite = load_suite("lift.yaml")
task = suite["lift"]
record = EpisodeRecord("seat", "ann", suite.name, task.id, task.env, 1, b"")
episode = EpisodeProgress.begin(TaskEnv(task), record)
while not episode.done:
    episode.take(np.ones(1), 100, 0, 0)
Store.create("store", suite).append([episode.trajectory()])
"""


@pytest.fixture
def robots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with a package that was installed for Gymnasium, on the path of the processes to come."""
    site = tmp_path / "site"
    (site / "robots-1.0.dist-info").mkdir(parents=True)
    (site / "robots.py").write_text(ROBOTS)
    (site / "robots-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: robots\nVersion: 1.0\nRequires-Dist: gymnasium>=1.0\n"
    )
    (site / "robots-1.0.dist-info" / "top_level.txt").write_text("robots\n")
    (site / "loose.py").write_text("raise SystemExit('a module that no task names ran')\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv(VARIABLE, "")
    return tmp_path


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in (Path(sys.executable).parent / "tutelage", *arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


@pytest.mark.slow
def test_an_argument_names_a_module_and_what_it_registers(robots: Path) -> None:
    done = run("tasks", "robots:robots/Lift-v0", "--json", cwd=robots)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["tasks"]
    assert row["limit"] == 5
    assert "trusting robots" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("naming", ["env: robots:robots/Lift-v0", "env: robots/Lift-v0"])
def test_a_suite_names_modules_and_its_store_asks_to_trust_them(naming: str, robots: Path) -> None:
    imports = "" if "robots:" in naming else "imports: [robots]\n"
    suite = f"suite: lifting\n{imports}tasks:\n  - id: lift\n    {naming}\n"
    (robots / "lift.yaml").write_text(suite)
    listed = run("tasks", "lift.yaml", "--json", cwd=robots)
    assert "problem" not in json.loads(listed.stdout)["tasks"][0]
    made = subprocess.run(
        [sys.executable, "-c", RECORD], cwd=robots, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    refused = run("inspect", "store", cwd=robots)
    assert refused.returncode == 2
    assert "--trust robots" in refused.stderr
    proven = run("inspect", "store", "--trust", "robots", "--json", cwd=robots)
    assert proven.returncode == 0, proven.stderr
    assert json.loads(proven.stdout)["problems"] == []


@pytest.mark.slow
def test_a_suite_cannot_import_what_was_not_installed_for_gymnasium(robots: Path) -> None:
    for naming in (
        "imports: [loose]\ntasks: [{id: it, env: CartPole-v1}]",
        "tasks: [{id: it, env: 'loose:A-v0'}]",
    ):
        (robots / "loose.yaml").write_text(f"suite: loose\n{naming}\n")
        done = run("tasks", "loose.yaml", "--json", cwd=robots)
        assert "--trust loose" in json.loads(done.stdout)["tasks"][0]["problem"]


def test_a_broken_task_does_not_hide_the_others(tmp_path: Path) -> None:
    tasks = [{"id": "gone", "env": "nowhere:No-v0"}, {"id": "pole", "env": "CartPole-v1"}]
    (tmp_path / "some.yaml").write_text(json.dumps({"suite": "some", "tasks": tasks}))
    done = run("tasks", "some.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "would import the module nowhere" in done.stderr
    assert "CartPole-v1" in done.stdout
    assert "gone" in done.stdout


def test_the_id_of_a_task_comes_from_what_the_module_registers(robots: Path) -> None:
    suite = load_suite("gymnasium.envs.classic_control:CartPole-v1")
    assert [(task.id, task.env) for task in suite] == [
        ("CartPole-v1", "gymnasium.envs.classic_control:CartPole-v1")
    ]
