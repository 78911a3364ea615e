"""Result tables for the terminal and as JSON; `table_files` writes them for papers."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from rich.text import Text

from ...console.folded_table import Column, FoldedTable
from ...console.printable import printable
from ...console.wording import counted
from ...envs.suite import Suite
from ...files.finite_json import MISSING
from ...intervals import CONFIDENCE, Interval
from .comparison import Cell, Comparison, Leaders

MEAN = "mean over tasks"
NONE = MISSING
"""Placeholder of a missing measurement."""
FAILED = "failed:"
TIED = "≈"
"""Mark of a figure whose interval overlaps that of the best."""


def percent(value: float) -> str:
    """Format a share as percent with one decimal, without it at the ends: 0, 97.3, 100; "–" for nan."""
    if not math.isfinite(value):
        return MISSING
    return f"{100 * value:.1f}" if 0 < value < 1 else f"{100 * value:.0f}"


def number(value: float) -> str:
    """Format a number with about three significant digits, without an exponent below a million."""
    size = abs(value)
    if not math.isfinite(size):
        return MISSING
    if size >= 1e6:
        return f"{value:.3g}".replace("-", "−")
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def bounds(interval: Interval, share: bool) -> str:
    """Format an interval's bounds, as percent or in units of the return; "" if not finite."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return ""
    write = percent if share else number
    return f"{write(interval.low)}–{write(interval.high)}" if share else _spread(interval)


def shown(cell: Cell, by_return: bool) -> tuple[str, str]:
    """Return a cell's main figure and its bounds: success in percent, or the mean return."""
    if by_return:
        return number(cell.returns.estimate), bounds(cell.returns, share=False)
    return percent(cell.success.estimate), bounds(cell.success, share=True)


def seeds_of(comparison: Comparison) -> tuple[int, int]:
    """Return the first and the last seed of all episodes."""
    ranges = [cell.seeds for cell in comparison.cells.values()]
    return min((first for first, _ in ranges), default=0), max((last for _, last in ranges), default=0)


def console_table(rows: pa.Table, suite: Suite | None = None) -> FoldedTable:
    """Build the terminal table: one line a task, one column an actor, each figure above its interval.

    The best are bold, see `comparison.leaders`; the table folds to the terminal's width.
    """
    comparison = Comparison(rows, suite)
    table = FoldedTable(
        [Column("task"), Column("measure"), *map(Column, comparison.actors)],
        keys=2,
        title="Success in %, or mean return, on unseen seeds",
        caption=caption(comparison),
    )
    for task in comparison.tasks:
        best = comparison.leaders(task)
        table.add_row(
            task,
            Text(measure(comparison, task), style="dim"),
            *(_rich(actor, shown_on(comparison, task, actor), best) for actor in comparison.actors),
        )
    if comparison.overall:
        table.add_section()
        best = comparison.overall_leaders
        table.add_row(
            MEAN,
            Text("success %", style="dim"),
            *(_rich(actor, mean_of(comparison, actor), best) for actor in comparison.actors),
        )
    return table


def summary(rows: pa.Table, suite: Suite | None = None) -> dict[str, Any]:
    """Return all figures as plain data for `--json`: cells, paired differences and means over tasks."""
    comparison = Comparison(rows, suite)
    tasks: dict[str, dict[str, Any]] = {}
    for (task, actor), cell in comparison.cells.items():
        tasks.setdefault(task, {})[actor] = {
            "kind": comparison.kinds[actor],
            "n": cell.returns.n,
            "seeds": list(cell.seeds),
            "success": asdict(cell.success) if comparison.is_rated(task) else None,
            "return": asdict(cell.returns),
            "median_steps": cell.steps,
            "mean_seconds": cell.seconds,
        }
    for (task, actor), why in comparison.failures.items():
        tasks.setdefault(task, {})[actor] = {"kind": comparison.kinds[actor], "failed": why}
    return {
        "suite": rows["suite"][0].as_py(),
        "confidence": CONFIDENCE,
        "tasks": tasks,
        "overall": {actor: asdict(score) for actor, score in comparison.overall.items()},
        "paired": [
            asdict(pair) if comparison.is_rated(pair.task) else asdict(pair) | {"success": None}
            for pair in comparison.pairs
        ],
    }


def measure(comparison: Comparison, task: str) -> str:
    """Return the name of a task's main measure."""
    return "return" if comparison.by_return(task) else "success %"


def shown_on(comparison: Comparison, task: str, actor: str) -> tuple[str, str]:
    """Return an actor's figure on a task and its bounds; a dash or the error if there is none."""
    if (why := comparison.failures.get((task, actor))) is not None:
        return printable(f"{FAILED} {_short(why)}"), ""
    cell = comparison.cells.get((task, actor))
    return (NONE, "") if cell is None else shown(cell, comparison.by_return(task))


def mean_of(comparison: Comparison, actor: str) -> tuple[str, str]:
    """Return an actor's mean success over tasks and its bounds; a dash if it has not played all tasks."""
    overall = comparison.overall.get(actor)
    if overall is None:
        return NONE, ""
    return percent(overall.success.estimate), bounds(overall.success, share=True)


def caption(comparison: Comparison) -> str:
    """Return the caption: number of episodes, seeds, kind of interval, and the meaning of the tie mark."""
    counts = [cell.success.n for cell in comparison.cells.values()] or [0]
    first, last = seeds_of(comparison)
    many = len(set(counts)) > 1
    n = f"{min(counts):,} to {counted(max(counts), 'episode')}" if many else counted(counts[0], "episode")
    tied = any(comparison.leaders(task).tied for task in comparison.tasks) or comparison.overall_leaders.tied
    sign = f"; {TIED}: its interval overlaps that of the best" if tied else ""
    return f"n = {n} a task and actor, seeds {first} to {last}, 95 % intervals{sign}"


def _short(why: str, most: int = 60) -> str:
    return why if len(why) <= most else f"{why[: most - 1]}…"


def _spread(interval: Interval) -> str:
    return f"{number(interval.low)} to {number(interval.high)}"


def _rich(actor: str, figure: tuple[str, str], best: Leaders) -> Text:
    main, around = figure
    if main == NONE:
        return Text(NONE, style="dim")
    if main.startswith(FAILED):
        return Text(main, style="red")
    sign = (f"{TIED} ", "dim") if actor in best.tied else ("", "")
    return Text.assemble(
        sign, (main, "bold" if actor in best.best else ""), (around and f"\n{around}", "dim")
    )
