"""What strangers wrote is text wherever it is shown: terminal, log, table, Markdown, CSV, drawing."""

from __future__ import annotations

import io
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text
from tutelage.agents.evaluation.report.svg_style import panel
from tutelage.console.printable import markdown_cell
from tutelage.console.progress import Progress
from tutelage.console.terminal import LineFormatter, SafeConsole
from tutelage.datasets.simulation.simulated_crowd import crowd, simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.tests.support.command_line import run

HOSTILE = "[/bold]\x1b]0;owned\x07\x1b[2J[link=file:///etc]\u202e\r\n=cmd|$x^{$ :smile: [red"
ACTING = ("\x1b", "\x07", "\r", "\u202e", "\x9b", "\x00")


def shown(*renderables: object, terminal: bool = False, width: int = 40) -> str:
    stream = io.StringIO()
    options = {"force_terminal": True, "color_system": None, "width": width} if terminal else {}
    console = SafeConsole(file=stream, **options)
    for renderable in renderables:
        console.print(renderable)
    return stream.getvalue()


@given(st.text())
def test_no_text_acts_at_a_terminal(text: str) -> None:
    table = Table("name", title=text, caption=text)
    table.add_row(text)
    table.add_row(Text(text))
    for terminal in (True, False):
        drawn = shown(text, Text(text), table, terminal=terminal)
        assert not [char for char in ACTING if char in drawn]


def test_markup_links_and_emoji_codes_are_plain_text() -> None:
    drawn = shown(HOSTILE)
    assert "[/bold]" in drawn
    assert ":smile:" in drawn
    assert "\\x1b[2J" in drawn


def test_nothing_wraps_where_there_is_no_terminal() -> None:
    line = "word " * 200
    table = Table("name", caption="a caption that is longer than its table " * 9)
    table.add_row(line)
    assert shown(line).count("\n") == 1
    assert line.strip() in shown(table)
    assert "a caption that is longer than its table " * 9 in shown(table)
    assert shown(line, terminal=True).count("\n") > 20


def test_a_rule_and_a_bar_are_short_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    console = SafeConsole(file=stream)
    console.rule("stage")
    with Progress(HOSTILE, console=console) as progress:
        progress.add(HOSTILE, 3)
        console.print(progress.line())
    assert max(map(len, stream.getvalue().splitlines())) < 300
    assert "\x1b" not in stream.getvalue()


def test_a_bar_takes_any_text() -> None:
    stream = io.StringIO()
    console = SafeConsole(file=stream, force_terminal=True)
    with Progress(HOSTILE, console=console) as progress:
        progress.add()
        progress.note(HOSTILE)
    assert "\x1b]0;" not in stream.getvalue()


def test_a_log_record_is_one_line_and_its_traceback_escaped() -> None:
    record = logging.LogRecord("tutelage", logging.WARNING, "", 0, "got %s", (f"a\nb{HOSTILE}",), None)
    assert LineFormatter().format(record).splitlines() == [LineFormatter().format(record)]
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record.exc_info = sys.exc_info()
    record.exc_text = None
    text = LineFormatter("%(message)s").format(record)
    assert "\x1b" not in text
    assert "ValueError" in text


def test_a_markdown_cell_holds_no_markup() -> None:
    cell = markdown_cell("a|b\n<script>[x](javascript:y)`$\\")
    assert cell == "a\\|b\\\\n\\<script\\>\\[x\\](javascript:y)\\`\\$\\\\"


def test_a_drawing_takes_any_name() -> None:
    with panel("toy", 1.0) as (axes, done):
        axes.set_xlabel(HOSTILE.replace("\x1b", "").replace("\x07", "").replace("\r", ""))
        drawn = done("toy", f"{HOSTILE}<script>\\1").svg
    assert "<script>" not in drawn
    assert "\x1b" not in drawn


@pytest.fixture(scope="module")
def hostile_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store whose suite, instruction and demonstrator have a stranger's names."""
    task = {"id": "balance", "env": "CartPole-v1", "max_steps": 5, "expert": "cartpole"}
    task |= {"instruction": HOSTILE, "success": "return >= 5"}
    suite = suite_from({"suite": "hostile", "tasks": [task]})
    folder = tmp_path_factory.mktemp("hostile")
    plain = Store.create(folder / "plain", suite)
    simulate(suite, plain, {"balance": 4}, demonstrators=crowd({"careful": 1}), workers=1)
    store = Store.create(folder / "[bold]store[/red]", suite)
    store.append([replace(trajectory, demonstrator=HOSTILE) for trajectory in plain.trajectories()])
    return store.path


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["inspect", "quality", "tasks", "export", "train", "forget"])
def test_no_verb_lets_names_act(verb: str, hostile_store: Path, tmp_path: Path) -> None:
    suite = tmp_path / "[red]suite.yaml"
    document = {"suite": "hostile", "tasks": [{"id": "pole", "env": "CartPole-v1", "instruction": HOSTILE}]}
    suite.write_text(json.dumps(document), "utf-8")
    arguments = {
        "tasks": ("tasks", suite),
        "export": ("export", hostile_store, "--to", "lerobot", "-o", tmp_path / "[/out]"),
        "train": ("train", hostile_store, "-o", tmp_path / "[/run]", "--steps", "1", "--size", "1"),
        "forget": ("forget", "nobody[/x]", "--store", hostile_store),
    }.get(verb, (verb, hostile_store))
    done = run(*arguments)
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert done.returncode in (0, 2), text
    assert not [char for char in ACTING if char in text]
    if verb in ("inspect", "quality", "tasks"):
        assert done.returncode == 0, text
        assert "\\x1b]0;owned\\x07" in text


def test_a_wrong_command_line_is_one_line(tmp_path: Path) -> None:
    for arguments in (["inspekt"], ["inspect"], ["inspect", tmp_path, "--workers", "no"], ["tasks", "--wat"]):
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("tutelage: ")
        assert "--help" in done.stderr
