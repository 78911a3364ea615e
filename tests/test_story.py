"""The whole road through the command line: play, look, learn, measure, report, exchange."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tutelage.tests.support.command_line import run

SUITE = """
suite: tiny
tasks:
  - id: cartpole
    env: CartPole-v1
    max_steps: 40
    instruction: keep the pole upright
    success: "return >= 40"
    expert: cartpole
  - id: taxi
    env: tutelage/Taxi-v0
    max_steps: 40
    instruction: take the passenger to the destination
    success: "terminated"
    expert: taxi
evaluation: {episodes: 4}
"""


@pytest.mark.timeout(600)
def test_the_road_from_tasks_to_the_report(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)

    def tutelage(*arguments: str) -> str:
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 0, f"tutelage {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    program = Path(sys.executable).with_name("tutelage")
    listed = subprocess.run(
        [program, "tasks", "tiny.yaml", "--json"], cwd=tmp_path, capture_output=True, check=True
    )
    assert {row["task"] for row in json.loads(listed.stdout)["tasks"]} == {"cartpole", "taxi"}

    tutelage("simulate", "tiny.yaml", "-o", "crowd", "-n", "48", "--workers", "1")
    held = inspected(tutelage, "crowd")
    assert held["episodes"] == 48
    assert held["outcomes"]["success"] > 24

    few = ("--size", "1", "--batch-steps", "64", "--select-episodes", "2", "--threads", "1", "--workers", "1")
    tutelage("train", "crowd", "-o", "run", "--steps", "4", *few)
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any("loss" in line for line in logged)

    measured = json.loads(tutelage("evaluate", "run", "-o", "evaluation", "--json"))
    for task in ("cartpole", "taxi"):
        actors = measured["tasks"][task]
        assert set(actors) == {"policy", "expert", "simulated crowd", "random"}
        assert actors["expert"]["success"]["estimate"] == 1.0
        assert {one["n"] for one in actors.values()} == {4}
        assert actors["policy"]["seeds"] == [1_500_000_000, 1_500_000_003]
    assert inspected(tutelage, "evaluation/episodes")["episodes"] == 2 * 4 * 4

    tutelage(
        "report", "evaluation", "-o", "report.html", "--run", "run", "--store", "crowd", "--title", "A tale"
    )
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "A tale" in page
    assert all(actor in page for actor in ("policy", "expert", "simulated crowd", "random"))

    tutelage("export", "crowd", "--to", "minari", "-o", "minari")
    tutelage("import", "minari", "--from", "minari", "-o", "back")
    back = inspected(tutelage, "back")
    assert {one: back[one] for one in ("episodes", "steps", "outcomes", "people", "tasks")} == {
        one: held[one] for one in ("episodes", "steps", "outcomes", "people", "tasks")
    }


def inspected(tutelage: Any, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tutelage("inspect", folder, "--workers", "1", "--json"))
    assert found["verified"]
    assert not found["problems"]
    return found
