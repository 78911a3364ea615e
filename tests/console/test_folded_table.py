"""No terminal is so narrow that a number is cut; only the best is bold; nothing played is a dash."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from tutelage.agents.evaluation.comparison import Leaders, leaders
from tutelage.agents.evaluation.rows import SCHEMA
from tutelage.agents.evaluation.table_files import (
    latex_text,
    rows_csv,
    table_csv,
    table_latex,
    table_markdown,
)
from tutelage.agents.evaluation.tables import console_table, number, percent
from tutelage.console.folded_table import Column, FoldedTable
from tutelage.console.terminal import SafeConsole
from tutelage.console.wording import agreeing, counted
from tutelage.envs.suite import suite_from
from tutelage.intervals import Interval
from tutelage.tests.support.sources import MODULES, ROOT

SUITE = suite_from(
    {
        "suite": "swings",
        "tasks": [
            {"id": "pendulum-with-a-long-name", "env": "Pendulum-v1", "success": "return >= -400"},
            {"id": "cartpole", "env": "CartPole-v1"},
        ],
    }
)
ACTORS = {
    "policy": ("policy", -394.0),
    "people": ("person", -1247.0),
    "simulated crowd": ("simulated", -1282.0),
    "expert": ("expert", -150.0),
    "chance": ("chance", -1136.0),
}


def rows(
    actors: dict[str, tuple[str, float]] = ACTORS, tasks: Sequence[str] = tuple(t.id for t in SUITE)
) -> pa.Table:
    made = [
        (
            "swings",
            task,
            actor,
            kind,
            actor,
            1_500_000_000 + i,
            i % 3 > 0,
            total + i,
            5,
            0.1,
            f"{task}{actor}{i}",
            "",
        )
        for task in tasks
        for actor, (kind, total) in actors.items()
        for i in range(8)
    ]
    return pa.table([list(column) for column in zip(*made, strict=True)], SCHEMA)


def drawn(table: object, width: int | None) -> str:
    stream = io.StringIO()
    options = {"force_terminal": True, "color_system": None, "width": width} if width else {}
    SafeConsole(file=stream, **options).print(table)
    return stream.getvalue()


def bold_words(table: object) -> str:
    stream = io.StringIO()
    SafeConsole(file=stream, force_terminal=True, width=160, color_system="standard").print(table)
    return " ".join(re.findall(r"\x1b\[1m([^\x1b]*)\x1b", stream.getvalue()))


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, None])
def test_no_figure_of_five_actors_is_cut(width: int | None) -> None:
    text = drawn(console_table(rows(), SUITE), width)
    words = set(re.split(r"[\s–]+", text))  # a dash stands between the bounds of a share
    for actor in ("policy", "people", "simulated", "crowd", "expert", "chance"):
        assert actor in words
    for line in csv.DictReader(io.StringIO(table_csv(rows(), SUITE))):
        write = number if line["measure"] == "return" else percent
        assert {write(float(line[name])) for name in ("estimate", "low", "high")} <= words
    if width:
        assert max(map(len, text.splitlines())) <= width
    else:
        assert "simulated crowd" in text


def test_at_40_columns_each_actor_has_a_line() -> None:
    lines = drawn(console_table(rows(), SUITE), 40).splitlines()
    assert any(re.match(r" +people +−1244 −1245 to −1242", line) for line in lines)


def test_at_80_columns_the_table_folds_by_actors() -> None:
    text = drawn(console_table(rows(), SUITE), 80)
    assert text.count("pendulum-with") == 2
    assert drawn(console_table(rows(), SUITE), 140).count("pendulum-with") == 1


@given(
    width=st.integers(24, 140),
    numbers=st.lists(st.lists(st.integers(-(10**9), 10**9), min_size=3, max_size=3), min_size=1, max_size=4),
    name=st.text(max_size=30),
)
def test_every_number_is_whole_at_every_width(width: int, numbers: list[list[int]], name: str) -> None:
    table = FoldedTable([Column("task"), *(Column(f"{name} {at}") for at in range(3))])
    for row in numbers:
        table.add_row(name, *(Text(f"{value}\n{value}.5") for value in row))
    words = drawn(table, width).split()
    for row in numbers:
        for value in row:
            assert {str(value), f"{value}.5"} <= set(words)


def interval(estimate: float, half: float = 0.05) -> Interval:
    return Interval(estimate, estimate - half, estimate + half, 100)


KINDS = {name: kind for name, (kind, _) in ACTORS.items()}


@pytest.mark.parametrize(
    ("values", "best", "tied"),
    [
        ({"policy": -394.0, "chance": -136.0}, set(), set()),
        ({"policy": 0.9, "people": 0.5, "chance": 0.1}, {"policy"}, set()),
        ({"policy": 0.5, "people": 0.9, "expert": 1.0, "chance": 0.1}, {"people"}, set()),
        ({"policy": 0.88, "people": 0.9, "chance": 0.1}, {"people"}, {"policy"}),
        ({"policy": 0.9, "people": 0.9, "chance": 0.1}, {"policy", "people"}, set()),
        ({"policy": 0.15, "chance": 0.1}, {"policy"}, {"chance"}),
        ({"policy": 0.0, "people": 0.0, "chance": 0.0}, set(), set()),
        ({"policy": 0.9, "expert": 1.0}, set(), set()),
        ({"policy": float("nan"), "people": 0.4, "chance": 0.1}, {"people"}, set()),
        ({"expert": 1.0, "chance": 0.1}, set(), set()),
    ],
)
def test_the_best_is_best_by_its_value_and_above_chance(
    values: dict[str, float], best: set[str], tied: set[str]
) -> None:
    leading = leaders({actor: interval(value) for actor, value in values.items()}, KINDS)
    assert leading == Leaders(frozenset(best), frozenset(tied))


def test_a_policy_below_chance_is_bold_nowhere() -> None:
    below = {"policy": ("policy", -394.0), "chance": ("chance", -136.0)}
    task = ["pendulum-with-a-long-name"]
    assert "390" not in bold_words(console_table(rows(below, task), SUITE))
    assert "**" not in table_markdown(rows(below, task), SUITE)
    assert "textbf" not in table_latex(rows(below, task), SUITE)
    above = {"policy": ("policy", -136.0), "chance": ("chance", -394.0)}
    assert "−132" in bold_words(console_table(rows(above, task), SUITE))


HOSTILE = "a&b_%$#{}~^\\input{x}|`*<b>[l](u)\n=1+1"


def hostile_rows() -> pa.Table:
    return rows({HOSTILE: ("policy", -5.0), "=HYPERLINK(1)": ("person", -9.0), "chance": ("chance", -20.0)})


def test_names_of_strangers_are_text_in_latex() -> None:
    text = table_latex(hostile_rows(), SUITE)
    assert text.startswith("% ")
    body = text[text.index(r"\begin{tabular}") :]
    commands = set(re.findall(r"\\[A-Za-z]+", body))
    assert r"\input" not in commands
    assert commands <= {
        *(r"\begin", r"\end", r"\toprule", r"\midrule", r"\bottomrule", r"\textbf", r"\emph", r"\scriptsize"),
        *(
            r"\ensuremath",
            r"\approx",
            r"\textbackslash",
            r"\textasciicircum",
            r"\textasciitilde",
            r"\textbar",
        ),
        *(r"\textless", r"\textgreater", r"\textasciigrave", r"\textquotedbl"),
    }
    plain = re.sub(r"\\[&%$#_{}]", "", body)  # escaped characters
    lines = [line for line in plain.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in lines} == {4}
    assert "%" not in plain
    assert "$" not in plain
    assert plain.count("{") == plain.count("}")


@given(st.text())
def test_no_text_is_a_command_in_latex(text: str) -> None:
    escaped = latex_text(text)
    rest = re.sub(
        r"\\(text[a-z]+|ensuremath|ldots)\{[^{}]*\}|\\ensuremath\{\\approx\}|\\[&%$#_{}]|\{\}", "", escaped
    )
    assert not set(rest) & set("\\{}$&#%_^~")


def test_names_of_strangers_are_text_in_markdown_and_csv() -> None:
    lines = [line for line in table_markdown(hostile_rows(), SUITE).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    for text in (table_csv(hostile_rows(), SUITE), rows_csv(hostile_rows())):
        cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
        assert "'=HYPERLINK(1)" in cells
        assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))]


def test_the_csv_has_a_line_a_task_and_actor_with_plain_numbers() -> None:
    lines = list(csv.DictReader(io.StringIO(table_csv(rows(), SUITE))))
    assert len(lines) == 2 * 5 + 5  # and the means over tasks
    policy = lines[0]
    assert (policy["task"], policy["actor"], policy["measure"]) == (SUITE.tasks[0].id, "policy", "return")
    assert float(policy["estimate"]) == -390.5
    assert (policy["n"], policy["best"], lines[3]["best"]) == ("8", "true", "false")


def test_a_count_agrees_with_its_noun() -> None:
    assert [counted(count, "episode") for count in (0, 1, 2, 1200)] == [
        *("0 episodes", "1 episode", "2 episodes", "1,200 episodes")
    ]
    assert counted(2, "saved copy") == "2 saved copies"
    assert (counted(1, "person"), counted(3, "person")) == ("1 person", "3 people")
    assert (agreeing(1, "was"), agreeing(2, "was")) == ("was", "were")


UNCOUNTED = re.compile(
    r"\{(?![A-Z_]+\}|self\.name\}|self\._speed|task\.fps)[^{}]+\} "
    r"(more )?(episodes|tasks|steps|seeds|demonstrations|people|actors|parts|files|bytes|rows|links)\b(?!/s)"
)


def test_every_count_in_the_source_agrees_with_its_noun() -> None:
    uncounted = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in MODULES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if UNCOUNTED.search(line) and "counted(" not in line
    ]
    assert uncounted == [], "write a count with `envs.wording.counted`"
