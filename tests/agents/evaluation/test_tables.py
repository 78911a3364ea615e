"""The terminal, Markdown and JSON say the same figures, with n, seeds and intervals."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tutelage.agents.evaluation.rows import SCHEMA
from tutelage.agents.evaluation.table_files import table_markdown
from tutelage.agents.evaluation.tables import console_table, number, percent, summary


def rows() -> pa.Table:
    plan = {
        ("goto-local", "bc", "policy"): (6, -1.0),
        ("goto-local", "chance", "chance"): (1, 0.5),
        ("cartpole", "bc", "policy"): (7, 400.0),
    }
    made = [
        (
            "first-steps",
            task,
            actor,
            kind,
            actor,
            1_500_000_000 + i,
            i < wins,
            total + i,
            5,
            0.1,
            f"{task}{actor}{i}",
            "",
        )
        for (task, actor, kind), (wins, total) in plan.items()
        for i in range(8)
    ]
    return pa.table([list(one) for one in zip(*made, strict=True)], SCHEMA)


def test_the_terminal_shows_a_line_a_task_and_a_column_an_actor() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(console_table(rows()))
    lines = [line.split() for line in console.export_text().splitlines()]
    at = next(i for i, line in enumerate(lines) if "goto-local" in line)
    assert "75.0" in lines[at]
    assert "40.9–92.9" in lines[at + 1]  # 6 of 8, Wilson
    at = next(i for i, line in enumerate(lines) if "cartpole" in line)
    assert "404" in lines[at]  # measured by its return
    assert {"402", "405"} <= set(lines[at + 1])
    shown = " ".join(word for line in lines for word in line)
    assert "n = 8 episodes a task and actor, seeds 1500000000 to 1500000007" in shown


def test_markdown_is_one_table_with_as_many_cells_in_every_line() -> None:
    lines = table_markdown(rows()).strip().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert "| goto-local | success % | **75.0** (40.9–92.9) | ≈ 12.5 (2.2–47.1) |" in table
    assert any("–" in line and "cartpole" in line for line in table)
    assert lines[-1].startswith("n = 8")


def test_the_summary_is_plain_json_with_every_cell() -> None:
    found = json.loads(json.dumps(summary(rows())))
    cell = found["tasks"]["goto-local"]["bc"]
    assert cell["success"]["estimate"] == 0.75
    assert (cell["n"], cell["seeds"], cell["kind"]) == (8, [1_500_000_000, 1_500_000_007], "policy")
    (pair,) = found["paired"]
    assert (pair["first"], pair["second"], pair["success"]["only_first"]) == ("bc", "chance", 5)
    assert found["overall"]["bc"]["success"]["estimate"] == pytest.approx(0.8125)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0.00"),
        (-0.001, "0.00"),
        (12.34, "12.3"),
        (-1247.4, "−1247"),
        (0.915, "0.92"),
        (2.5e6, "2.5e+06"),
    ],
)
def test_numbers_keep_three_digits_and_no_negative_zero(value: float, written: str) -> None:
    assert number(value) == written


@given(st.floats(0, 1))
def test_only_a_whole_share_is_written_as_0_or_100(value: float) -> None:
    assert (percent(value) in ("0", "100")) == (value in (0, 1))
