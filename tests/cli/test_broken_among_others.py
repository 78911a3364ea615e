"""A recorder serves the tasks that can be made, and says in a line which cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tutelage.cli.main import app
from tutelage.tests.crowd.server.test_recorder_app import LAKE, Page
from typer.testing import CliRunner

GONE = {"id": "gone", "env": "Nothing-v0"}
MISSING = {"id": "missing", "env": "CartPole-v1", "kwargs": {"no_such_argument": 1}}


def suite_file(folder: Path, *tasks: dict[str, Any]) -> Path:
    (folder / "some.yaml").write_text(json.dumps({"suite": "some", "tasks": tasks}))
    return folder / "some.yaml"


@pytest.mark.slow
def test_the_others_are_served_and_the_broken_ones_are_left_out_with_a_line(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "tutelage"
    suite = suite_file(tmp_path, GONE, LAKE, MISSING)
    flags = ["-o", str(tmp_path / "store"), "--port", "0", "--no-browser", "--json"]
    started = subprocess.Popen(
        [program, "record", suite, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stderr is not None
    try:
        lines: list[str] = []
        while "Play at" not in (line := started.stderr.readline()):
            assert line, lines
            lines.append(line)
        address = line.partition("http://")[2].partition("/")[0]
        with Page(address) as page:
            assert [task["id"] for task in page.state["tasks"]] == ["lake"]
            page.send("choose", task="gone")
            assert "left out" in page.wait("error")["text"]
            page.send("choose", task="lake")
            assert page.until("playing")["episode"]["task"] == "lake"
    finally:
        started.terminate()
        printed, _ = started.communicate(timeout=60)
    (gone, missing) = [line for line in lines if "left out" in line]
    assert "task 'gone' is left out: expected a registered Gymnasium id" in gone
    assert "task 'missing' is left out: CartPole-v1 failed when it was made: TypeError" in missing
    document = json.loads(printed)
    assert (document["verb"], document["suite"], document["kept"]) == ("record", "some", {})
    assert [problem[:11] for problem in document["problems"]] == ["task 'gone'", "task 'missi"]
    assert document["ended"] == "Stopped; everything is saved."


@pytest.mark.parametrize(
    ("tasks", "rest"), [([GONE], ""), ([GONE, MISSING], "; the other 1 task failed too")]
)
def test_nothing_is_served_where_no_task_can_be_made(
    tasks: list[dict[str, Any]], rest: str, tmp_path: Path
) -> None:
    suite = suite_file(tmp_path, *tasks)
    done = CliRunner().invoke(app, ["record", str(suite), "-o", str(tmp_path / "store"), "--port", "0"])
    assert "task 'gone': expected a registered Gymnasium id" in str(done.exception)
    assert rest in str(done.exception)
    assert not (tmp_path / "store").exists()
