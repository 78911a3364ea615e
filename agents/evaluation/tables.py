"""The same figures for a terminal, for Markdown and for a machine."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from ...envs.finite_json import MISSING
from ...envs.printable import markdown_cell, printable
from ...envs.suite import Suite
from .comparison import Cell, Comparison
from .intervals import CONFIDENCE, Interval

MEAN = "mean over tasks"


def percent(value: float) -> str:
    """Write a share as per cent with one decimal, whole at the ends: 0, 97.3, 100; "–" for no number."""
    if not math.isfinite(value):
        return MISSING
    return f"{100 * value:.1f}" if 0 < value < 1 else f"{100 * value:.0f}"


def number(value: float) -> str:
    """Write a number with about three significant digits, and never as a power of ten below a million."""
    size = abs(value)
    if not math.isfinite(size):
        return MISSING
    if size >= 1e6:
        return f"{value:.3g}".replace("-", "−")
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def bounds(interval: Interval, share: bool) -> str:
    """Write an interval's bounds, as per cent or in the return's own unit; nothing where it has none."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return ""
    write = percent if share else number
    return f"{write(interval.low)}–{write(interval.high)}" if share else _spread(interval)


def shown(cell: Cell, by_return: bool) -> tuple[str, str]:
    """Return a cell's main figure and its bounds: success in per cent, or the mean return."""
    if by_return:
        return number(cell.returns.estimate), bounds(cell.returns, share=False)
    return percent(cell.success.estimate), bounds(cell.success, share=True)


def seeds_of(comparison: Comparison) -> tuple[int, int]:
    """Return the first and the last seed of all episodes."""
    cells = comparison.cells.values()
    return min((one.seeds[0] for one in cells), default=0), max((one.seeds[1] for one in cells), default=0)


def console_table(rows: pa.Table, suite: Suite | None = None) -> Table:
    """Lay rows out for the terminal: a line a task, a column an actor, each figure above its interval."""
    comparison = Comparison(rows, suite)
    table = Table(title="Success in %, or mean return, on unseen seeds", caption=_caption(comparison))
    table.add_column("task", no_wrap=True)
    table.add_column("measure", style="dim")
    for actor in comparison.actors:
        table.add_column(printable(actor), justify="right")
    for task in comparison.tasks:
        table.add_row(
            printable(task),
            _measure(comparison, task),
            *(_rich(comparison, task, actor) for actor in comparison.actors),
        )
    if comparison.overall:
        table.add_section()
        means = (_mean(comparison, actor) for actor in comparison.actors)
        table.add_row(
            MEAN, "success %", *(Text.assemble((a, "bold"), (b and f"\n{b}", "dim")) for a, b in means)
        )
    return table


def table_markdown(rows: pa.Table, suite: Suite | None = None) -> str:
    """Write rows as a Markdown table for `card.md` and the docs, with n, seeds and the kind of interval."""
    comparison = Comparison(rows, suite)
    lines = [
        "| task | measure | " + " | ".join(map(markdown_cell, comparison.actors)) + " |",
        "|---|---|" + "---:|" * len(comparison.actors),
    ]
    for task in comparison.tasks:
        cells = [_plain(comparison, task, actor) for actor in comparison.actors]
        lines.append(f"| {markdown_cell(task)} | {_measure(comparison, task)} | " + " | ".join(cells) + " |")
    if comparison.overall:
        means = [
            f"{a} ({b})" if b else a for a, b in (_mean(comparison, actor) for actor in comparison.actors)
        ]
        lines.append(f"| *{MEAN}* | success % | " + " | ".join(means) + " |")
    return "\n".join([*lines, "", f"{_caption(comparison)}"]) + "\n"


def summary(rows: pa.Table, suite: Suite | None = None) -> dict[str, Any]:
    """Return every figure as plain data for `--json`: cells, paired differences and means over tasks."""
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
        "overall": {actor: asdict(one) for actor, one in comparison.overall.items()},
        "paired": [
            asdict(one) if comparison.is_rated(one.task) else asdict(one) | {"success": None}
            for one in comparison.pairs
        ],
    }


def _spread(interval: Interval) -> str:
    return f"{number(interval.low)} to {number(interval.high)}"


def _measure(comparison: Comparison, task: str) -> str:
    return "return" if comparison.by_return(task) else "success %"


def _rich(comparison: Comparison, task: str, actor: str) -> Text:
    cell = comparison.cells.get((task, actor))
    if (why := comparison.failures.get((task, actor))) is not None:
        return Text(printable(f"failed: {_short(why)}"), style="red")
    if cell is None:
        return Text("–", style="dim")
    main, around = shown(cell, comparison.by_return(task))
    style = "bold" if comparison.kinds[actor] == "policy" else ""
    return Text.assemble((main, style), (around and f"\n{around}", "dim"))


def _plain(comparison: Comparison, task: str, actor: str) -> str:
    cell = comparison.cells.get((task, actor))
    if (why := comparison.failures.get((task, actor))) is not None:
        return markdown_cell(f"failed: {_short(why)}")
    main, around = ("–", "") if cell is None else shown(cell, comparison.by_return(task))
    return f"{main} ({around})" if around else main


def _short(why: str, most: int = 60) -> str:
    return why if len(why) <= most else f"{why[: most - 1]}…"


def _mean(comparison: Comparison, actor: str) -> tuple[str, str]:
    one = comparison.overall.get(actor)
    return ("–", "") if one is None else (percent(one.success.estimate), bounds(one.success, share=True))


def _caption(comparison: Comparison) -> str:
    counts = [one.success.n for one in comparison.cells.values()] or [0]
    first, last = seeds_of(comparison)
    n = f"{counts[0]}" if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
    return f"n = {n} episodes a task and actor, seeds {first} to {last}, 95 % intervals"
