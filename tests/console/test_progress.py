"""How far work has come is heard without a terminal too: one plain line every so often, on stderr only."""

from __future__ import annotations

import io
import re
import threading

import pytest
from tutelage.console.progress import VARIABLE, Progress, counting, lines_every, waiting
from tutelage.console.terminal import SafeConsole
from tutelage.errors import TutelageError
from tutelage.tests.support.nursery import until
from tutelage.tests.support.sources import MODULES, ROOT


def test_a_line_says_what_how_many_how_long_and_what_is_left() -> None:
    with Progress("replaying", shown=False) as progress:
        progress.add(total=5000)
        assert re.fullmatch(r"replaying: 0 of 5,000 \(0 %\), 0 s", progress.line())
        progress.advance(1200)
        assert re.fullmatch(r"replaying: 1,200 of 5,000 \(24 %\), 0 s, about 0 s left", progress.line())
        progress.note("loss 0.5\n")
        assert progress.line().endswith("left, loss 0.5\\n")


def test_a_line_names_the_parts_that_are_under_way() -> None:
    with Progress("playing", shown=False) as progress:
        for name in ("a", "b", "c", "d", "e"):
            progress.add(name, 2)
        progress.reach(2, part=0)
        progress.reach(1, part=1)
        line = progress.line()
    assert line.startswith("playing: b 1 of 2, c 0 of 2, d 0 of 2 and 1 more, 3 of 10 (30 %), 0 s")


def test_work_of_unknown_size_is_counted_and_parts_that_come_as_it_goes_have_no_sum() -> None:
    with Progress("reading", shown=False) as progress:
        progress.add()
        progress.advance(7)
        assert progress.line() == "reading: 7 so far, 0 s"
    with Progress("evaluating", shown=False, open_ended=True) as progress:
        progress.add("pole · policy", 4)
        progress.add("pole · chance", 4)
        progress.expect(8, "episode")
        progress.reach(4)
        assert (
            progress.line() == "evaluating: pole · chance 0 of 4, 4 of 8 episodes (50 %), 0 s, about 0 s left"
        )


@pytest.mark.parametrize("size", [3, None])
def test_without_a_terminal_there_is_a_line_every_so_often(
    size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "0.01")
    stream = io.StringIO()
    with Progress("reading", console=SafeConsole(file=stream)) as progress:
        progress.add(total=size)
        until(lambda: stream.getvalue().count("\n") >= 3)
    lines = stream.getvalue().splitlines()
    assert all(line.startswith("tutelage: reading: ") for line in lines)
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_has_a_bar_and_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0.001")
    stream = io.StringIO()
    with Progress("reading", console=SafeConsole(file=stream, force_terminal=True)) as progress:
        progress.add(total=3)
        progress.advance(2)
        until(lambda: "2/3" in stream.getvalue())
    assert "tutelage: reading" not in stream.getvalue()


def test_the_default_is_ten_seconds_none_is_none_and_anything_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE)
    assert lines_every() == 10
    monkeypatch.setenv(VARIABLE, "0")
    before = threading.active_count()
    with counting("reading", 4) as advance, waiting("trying"):
        advance(1)
        assert threading.active_count() == before
    assert capsys.readouterr() == ("", "")
    for text in ("often", "-1", "nan", "inf"):
        monkeypatch.setenv(VARIABLE, text)
        with pytest.raises(TutelageError, match=rf"expected {VARIABLE} to be a number of seconds"):
            lines_every()


def test_all_progress_goes_this_one_way() -> None:
    """No module draws bars of its own: they would be silent in a log file."""
    drawing = [
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if re.search(r"rich\.(progress|status|live)|\.status\(\"|tqdm", path.read_text("utf-8"))
    ]
    assert drawing == ["console/progress.py"]
