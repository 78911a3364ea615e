"""Environments of strangers, installed beside us: they draw, are judged or not, and name versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.support.odd_package import install, set_version

REHEARSE = """
import json, os, sys
from tutelage.errors import TutelageError
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.preflight import rehearse
from tutelage.envs.suite import load_suite
told = {}
for name in sys.argv[1:]:
    try:
        suite = load_suite(name)
        notes = rehearse(suite, people=True)
        environment = TaskEnv(suite.tasks[0])
        keys = len(environment.controls().bindings)
        told[name] = {"notes": notes, "keys": keys, "rule": suite.tasks[0].success.text}
    except TutelageError as error:
        told[name] = {"error": str(error)}
told["sdl"] = os.environ.get("SDL_VIDEODRIVER")
print(json.dumps(told))
"""

RECORD = """
import numpy as np
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.datasets.store import Store
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.suite import load_suite
suite = load_suite("odd_worlds:odd/Old-v0")
(task,) = suite
episodes = []
for seed in range(2):
    record = EpisodeRecord("seat", "ann", suite.name, task.id, task.env, seed, b"")
    episode = EpisodeProgress.begin(TaskEnv(task), record)
    for _ in range(5 + seed):
        episode.take(np.ones(1), 100, 0, 0)
    episodes.append(episode.trajectory())
Store.create("store", suite).append(episodes)
"""

INSPECT = """
import io, json
from rich.console import Console
from tutelage.datasets.inspection import inspect
from tutelage.datasets.store import Store
found = inspect(Store.open("store"))
shown = Console(file=io.StringIO(), width=500)
shown.print(found)
print(json.dumps({**found.to_dict(), "shown": shown.file.getvalue()}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("elsewhere"))


def run(*words: str | Path, cwd: Path, site: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    return subprocess.run(
        [str(word) for word in words],
        env={**kept, "PYTHONPATH": str(site), **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


HIDDEN = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "MUJOCO_GL", "TUTELAGE_DRIVERS", VARIABLE)


def rehearsed(*names: str, cwd: Path, site: Path, **variables: str) -> dict[str, Any]:
    done = run(sys.executable, "-c", REHEARSE, *names, cwd=cwd, site=site, **variables)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_every_odd_environment_is_playable_or_says_why_not(tmp_path: Path, site: Path) -> None:
    names = [f"odd_worlds:odd/{name}-v0" for name in ("Insists", "Gray", "Spoken", "Old", "Rated", "Dark")]
    (tmp_path / "blank.yaml").write_text(
        "suite: blank\ntasks: [{id: it, env: 'odd_worlds:odd/Blank-v0', blank_first_frame: true}]\n"
    )
    told = rehearsed(*names, "odd_worlds:odd/Blank-v0", "blank.yaml", cwd=tmp_path, site=site)
    assert [told[name]["rule"] for name in names] == [*["unknown"] * 4, "return >= 3", "unknown"]
    assert all(told[name]["keys"] for name in names)
    assert "no success rule is known" in told[names[0]]["notes"][-1]
    assert told[names[4]]["notes"] == []
    assert (
        "expected odd_worlds:odd/Blank-v0 to draw more than one color"
        in (told["odd_worlds:odd/Blank-v0"]["error"])
    )
    assert "blank_first_frame: true" in told["odd_worlds:odd/Blank-v0"]["error"]
    assert "error" not in told["blank.yaml"]
    assert "offscreen" in told["sdl"]  # Dark draws with it, and with dummy it shows nothing


def test_a_driver_that_the_person_has_set_is_kept_and_its_black_picture_is_refused(
    tmp_path: Path, site: Path
) -> None:
    told = rehearsed("odd_worlds:odd/Dark-v0", cwd=tmp_path, site=site, SDL_VIDEODRIVER="dummy")
    assert "SDL_VIDEODRIVER='dummy'" in told["odd_worlds:odd/Dark-v0"]["error"]
    assert told["sdl"] == "dummy"


@pytest.mark.slow
def test_where_the_first_driver_draws_nothing_another_is_found_by_trying(tmp_path: Path, site: Path) -> None:
    chosen = {"SDL_VIDEODRIVER": "dummy", "TUTELAGE_DRIVERS": "SDL_VIDEODRIVER"}
    told = rehearsed("odd_worlds:odd/Dark-v0", cwd=tmp_path, site=site, **chosen)
    assert "error" not in told["odd_worlds:odd/Dark-v0"]
    assert told["sdl"] == "offscreen,dummy"


@pytest.mark.slow
def test_versions_are_of_every_package_that_the_environment_imports_and_changes_are_told(
    tmp_path: Path, site: Path
) -> None:
    sound = inspected(RECORD, cwd=tmp_path, site=site)
    assert (sound["problems"], sound["moved"]) == ([], [])
    assert sound["tasks"][0]["success"] is None
    assert sound["outcomes"]["failure"] == 0

    set_version(site, "odd_engine", "odd-engine", "0.4")
    engine = site / "odd_engine" / "__init__.py"
    engine.write_text(engine.read_text().replace("float(not", "2 * float(not"))
    changed = inspected("", cwd=tmp_path, site=site)
    assert changed["moved"] == ["odd-engine 0.3 → 0.4"]
    assert len(changed["problems"]) == 2
    assert "versions changed (odd-engine 0.3 → 0.4): install the recorded ones" in changed["problems"][0]
    assert "odd-engine 0.3 → 0.4" in changed["shown"].splitlines()[-1]


def inspected(before: str, cwd: Path, site: Path) -> dict[str, Any]:
    done = run(sys.executable, "-c", before + INSPECT, cwd=cwd, site=site, **{VARIABLE: "odd_worlds"})
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
