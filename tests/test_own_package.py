"""A package of a stranger, installed by pip: its suite, environment, expert, wrapper, judge and actor."""

from __future__ import annotations

import csv
import json
import os
import shutil
import site
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tutelage.tests.support.sources import ROOT

PROGRAM = "import sys; from tutelage.cli.main import main; sys.exit(main())"
SMALL = ("--size", 1, "--batch-steps", 32, "--window", 4, "--threads", 1, "--select-episodes", 2)
Typed = Callable[..., subprocess.CompletedProcess[str]]


pytestmark = pytest.mark.timeout(900)  # a dozen commands, each a process that imports everything


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment with the package, which borrows all else from this one."""
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder / "venv", symlinks=True)
    interpreter = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (packages / "beside.pth").write_text("\n".join(lines) + "\n")
    source = shutil.copytree(ROOT / "tests" / "support" / "own_package", folder / "source")
    options = ["-qq", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index"]
    subprocess.run([interpreter, "-m", "pip", "install", *options, source], check=True, timeout=250)
    return interpreter


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def tutelage(python: Path, place: Path) -> Typed:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    environment.pop("TUTELAGE_TRUST", None)

    def run(*words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        command = [python, "-P", "-c", PROGRAM, *map(str, words)]
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == status, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return done

    return run


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(done.stdout)
    return read


@pytest.mark.slow
def test_its_suite_is_listed_and_described(tutelage: Typed) -> None:
    suites = {suite["suite"]: suite for suite in document(tutelage("tasks", "--json"))["suites"]}
    assert suites["corridors"]["tasks"] == ["door", "pole"]
    assert "corridors" in suites["corridors"]["about"]
    door = document(tutelage("tasks", "corridors", "--json"))["tasks"][0]
    assert door["expert"] == "corridor-walker"
    assert "corridors.judges:judge" in door["success"]


@pytest.mark.slow
def test_its_expert_wrapper_and_judge_play_train_and_are_measured(tutelage: Typed) -> None:
    crowd = ("--who", "expert", "--who", "corridors.players:CLUMSY", "--who", "careful")
    tutelage("simulate", "corridors", "-o", "crowd", "-n", 24, *crowd, "--workers", 2)
    seen = document(tutelage("inspect", "crowd", "--json", "--trust", "corridors"))
    assert seen["episodes"] == 24
    assert not seen["problems"]
    tutelage("train", "crowd", "-o", "run", "--steps", 3, *SMALL, "--trust", "corridors")
    actors = ("--actor", "corridor-steady", "--actor", "random", "--actor", "expert")
    impatient = "{corridors.players:Steady: {name: impatient, patience: 1}}"
    measured = document(
        tutelage(
            "evaluate", "run", "-o", "measured", "--episodes", 4, *actors, "--actor", impatient,
            "--workers", 2, "--json", "--trust", "corridors",
        )
    )  # fmt: skip
    door = measured["tasks"]["door"]
    assert set(door) >= {"policy", "steady", "impatient", "random", "expert"}
    assert door["steady"]["success"]["estimate"] == door["expert"]["success"]["estimate"] == 1.0
    assert door["impatient"]["success"]["estimate"] == 0.0


@pytest.mark.slow
def test_processes_of_a_cluster_have_it_too(tutelage: Typed, place: Path) -> None:
    asked = ("simulate", "corridors", "-n", 6, "--who", "expert", "--who", "corridors.players:CLUMSY")
    tutelage(*asked, "-o", "here", "--workers", 1)
    tutelage(*asked, "-o", "over-ray", "--ray", "local")
    steps: dict[str, list[list[str]]] = {}
    for store in ("here", "over-ray"):
        tutelage("export", store, "--to", "csv", "-o", f"{store}.csv", "--trust", "corridors")
        for file in sorted((place / f"{store}.csv").rglob("*step*.csv")):
            lines = file.read_text("utf-8").splitlines()
            assert lines[0].startswith("episode,step")  # ids of episodes are random
            steps.setdefault(store, []).append([line.partition(",")[2] for line in lines])
    assert max(map(len, steps["here"])) > 10
    assert steps["here"] == steps["over-ray"]


ROAD = """
import json, sys
import tutelage as tt
import corridors.players

if __name__ == "__main__":  # worker processes import this file
    suite = tt.load_suite("corridors")
    store = tt.simulate(suite, "by-python", 12, tasks=["door"], who=["expert", "careful"], workers=2)
    run = tt.train(store, "by-python-run", steps=3, size=1, batch_steps=32, window=4, select_episodes=2)
    actors = [run, "expert", "corridor-steady", corridors.players.Steady(name="impatient", patience=1)]
    result = tt.evaluate(suite, actors, episodes=4, workers=2)
    print(json.dumps({"episodes": len(store), "rows": result.table().to_pandas().to_dict("records")}))
"""


@pytest.mark.slow
def test_by_python_it_goes_the_same_road(tutelage: Typed, python: Path, place: Path) -> None:
    (place / "road.py").write_text(ROAD)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("TUTELAGE_TRUST", None)
    done = subprocess.run(
        [python, "-P", "road.py"], cwd=place, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    printed = json.loads(done.stdout.strip().splitlines()[-1])
    assert printed["episodes"] == 12
    rows = {row["actor"]: row for row in printed["rows"]}
    assert set(rows) >= {"policy", "expert", "steady", "impatient"}


@pytest.mark.slow
def test_a_store_that_mentions_it_refuses_in_one_line_until_it_is_trusted(tutelage: Typed) -> None:
    tutelage("simulate", "corridors", "-o", "some", "-n", 2, "--task", "door")
    done = tutelage("inspect", "some", status=2)
    (line,) = done.stderr.strip().splitlines()
    assert "--trust corridors" in line
    tutelage("inspect", "some", "--trust", "corridors")


MINE = """
suite: mine
tasks:
  - id: door
    env: corridors:corridors/Corridor-v0
    expert: {corridors.players:Walker: {pause: 2}}
    wrappers: [corridors.wrappers:Scaled]
    success: {corridors.judges:judge: {most: 7, infos: [info.distance]}}
"""


@pytest.mark.slow
def test_a_suite_file_names_them_by_module_and_arguments(tutelage: Typed, place: Path) -> None:
    (place / "mine.yaml").write_text(MINE)
    tutelage("simulate", "mine.yaml", "-o", "mine", "-n", 6, "--who", "expert")
    tutelage("export", "mine", "--to", "csv", "-o", "csv", "--trust", "corridors")
    with (place / "csv" / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["steps"]) for row in rows]
    solved = [row["success"] for row in rows]
    assert set(steps) <= {7, 8}  # two back, then three or four and two
    assert [success.lower() for success in solved] == [str(count <= 7).lower() for count in steps]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        (", infos: [info.distance]", "", "expected corridors.judges:judge to judge an episode, got KeyError"),
        ("{pause: 2}", "{paus: 2}", "expert corridors.players:Walker: expected it to be made for"),
        ("players:Walker", "players:Walkr", "did you mean 'Walker'?"),
        ("wrappers:Scaled", "wrappers:Scald", "did you mean 'Scaled'?"),
        ("[corridors.wrappers:Scaled]", "[corridors.judges:judge]", "to wrap corridors"),
        ("[corridors.wrappers:Scaled]", "[gymnasium.wrappers:RecordVideo]", "--trust gymnasium.wrappers"),
        ("[corridors.wrappers:Scaled]", "[os:system]", "--trust os"),
    ],
)
def test_mistakes_in_a_suite_file_are_one_line(
    tutelage: Typed, place: Path, right: str, wrong: str, line: str
) -> None:
    assert right in MINE
    (place / "wrong.yaml").write_text(MINE.replace(right, wrong))
    words = ("simulate", "wrong.yaml", "-o", "wrong", "-n", 2, "--who", "expert")
    done = tutelage(*words, status=1 if "KeyError" in line else 2)
    assert line in done.stderr
    lines = [text for text in done.stderr.strip().splitlines() if not text.startswith("trusting ")]
    assert len(lines) == 1
