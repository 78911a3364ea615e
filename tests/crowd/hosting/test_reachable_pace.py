"""Tasks in real time that this machine cannot keep up with are named before anything is served."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from tutelage.cli.main import app
from tutelage.crowd.hosting.reachable_pace import pace_notes, reachable_rate
from tutelage.envs.suite import load_suite, suite_from
from tutelage.envs.task import Task
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.browser.slow import slow
from typer.testing import CliRunner

LATE = slow("late", step_seconds=0.05, pace={"fps": 50, "idle": 0})


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "tutelage.tests.support.toy_slow")


def task(description: dict[str, Any]) -> Task:
    return suite_from({"suite": "slow", "tasks": [description]})[description["id"]]


def test_a_task_that_is_too_slow_is_told_with_a_pace_that_is_kept() -> None:
    [note] = pace_notes([task(LATE)])
    told = re.fullmatch(
        r"task 'late': this machine reaches (\d+|\d\.\d) of the 50 steps a second that its pace asks for; "
        r"lower the pace to \{fps: ([\d.]+)\}, or render less",
        note,
    )
    assert told
    assert float(told[1]) <= 20
    assert float(told[2]) < float(told[1])


def test_a_task_that_keeps_up_or_waits_is_not_told() -> None:
    assert pace_notes([task(slow("early", pace={"fps": 1, "idle": 0})), task(slow("own"))]) == []
    assert pace_notes([task for task in load_suite("first-steps") if task.env.startswith("tutelage/")]) == []


def test_episodes_that_end_at_once_are_timed_too() -> None:
    assert reachable_rate(task(slow("short", max_steps=1, pace={"fps": 9, "idle": 0}))) > 9


def test_the_recorder_says_it_in_one_line_before_it_serves(tmp_path: Path) -> None:
    suite = tmp_path / "late.yaml"
    suite.write_text(yaml.safe_dump({"suite": "late", "tasks": [LATE]}), "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that it ends before it serves
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["record", str(suite), "-o", str(tmp_path / "out"), "--port", port])
    [line] = [line for line in result.output.splitlines() if "reaches" in line]
    assert line.startswith("note: task 'late': this machine reaches")
    assert "of the 50 steps a second" in line
