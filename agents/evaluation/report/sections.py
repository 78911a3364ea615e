"""Sections of the report: functions from figures to HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from ....console.wording import counted
from ....envs.suite import Suite
from ....envs.task import RECORD
from ....files.finite_json import MISSING
from ....intervals import Interval
from ..comparison import MANY, Comparison, Leaders, SuiteScore
from ..diagnostics import Diagnostics
from ..tables import MEAN, NONE, TIED, bounds, number, percent, shown
from . import plots
from .html import figure, legend, mark, panels, section, table, text
from .svg_style import Panel

if TYPE_CHECKING:
    from ....datasets.store import Store

NOTHING = f'<span class="none">{NONE}</span>'


def standing(comparison: Comparison) -> str:
    """Return the opening sentence of the report, with a figure for each actor."""
    if not comparison.overall:
        return ""
    kinds = comparison.kinds
    tiles = "".join(
        f'<div class="tile"><dt>{mark(kinds[actor])}{text(actor)}</dt>'
        f"<dd>{percent(score.success.estimate)}<span>%</span></dd>"
        f'<dd class="around">{bounds(score.success, share=True)}</dd></div>'
        for actor, score in comparison.overall.items()
    )
    return (
        f'<p class="opening">{_opening(comparison)}</p><dl class="tiles">{tiles}</dl>'
        f'<p class="caption">Mean success over {counted(len(comparison.tasks), "task")}, '
        "with 95 % intervals.</p>"
    )


def picture(comparison: Comparison) -> str:
    """Return the plots of success with intervals for all actors, task by task."""
    lead = "Each mark is a rate or a mean over unseen seeds; the bar through it is its 95 % interval."
    keys = ""
    if len(comparison.tasks) > MANY:
        lead += f" The hardest tasks come first; figures are those of <b>{text(comparison.subject)}</b>."
        keys = legend(comparison)
    drawings = panels(plots.forest(comparison), keys, first=MANY + 1)  # a panel a task, and their mean
    return section("success", "Who succeeds, and how surely", lead, drawings)


def headline(comparison: Comparison) -> str:
    """Return the same figures as a table, with n."""
    rows = [[_task(comparison, task), *_cells(comparison, task)] for task in comparison.tasks]
    foot = 0
    if comparison.overall:
        rows += _means(comparison)
        foot = 3
    head = ["task", *(f"{mark(comparison.kinds[actor])}{text(actor)}" for actor in comparison.actors)]
    lead = (
        "Success in per cent, or the mean return where success is a threshold on it. The best actor that is "
        "neither expert nor random stands in bold, where it is above random; "
        f"{TIED} marks whose interval overlaps that of the best. {_count(comparison)}"
    )
    return section("table", "The figures", lead, table(head, rows, css="headline", foot=foot))


def failures(comparison: Comparison) -> str:
    """Return the table of failed tasks and actors with their errors."""
    if not comparison.failures:
        return ""
    rows = [
        [
            text(task),
            f"{mark(comparison.kinds[actor])}{text(actor)}",
            f'<span class="wrap">failed: {text(why)}</span>',
        ]
        for (task, actor), why in comparison.failures.items()
    ]
    lead = "These have no figures: errors ended episodes. The same evaluation, run again, tries those."
    return section(
        "failures", "What failed", lead, table(["task", "actor", ""], rows, text_columns=3, css="facts")
    )


def paired(comparison: Comparison) -> str:
    """Return the table of paired comparisons of the subject with all others, on shared seeds."""
    with_returns = any(map(comparison.by_return, comparison.tasks))
    rows = []
    for pair in comparison.pairs:
        counts = (pair.success.both, pair.success.only_first, pair.success.only_second, pair.success.neither)
        row = [
            text(pair.task),
            f"{mark(comparison.kinds[pair.second])}{text(pair.second)}",
            _signed(100 * pair.success.difference.estimate, 1),
            f"<small>{_range(pair.success.difference, 100, 1)}</small>",
            _p(pair.success.p),
            *map(str, counts),
        ]
        if not comparison.is_rated(pair.task):
            row[2:] = ["–"] * 7
        if with_returns and comparison.by_return(pair.task):
            row += [_signed(pair.returns.estimate), f"<small>{_range(pair.returns, 1)}</small>"]
        elif with_returns:
            row += ["", ""]
        rows.append(row)
    if not rows:
        return ""
    subject = text(comparison.subject)
    head = ["task", "against", "success", "95 %", "p", "both", f"only {subject}", "only other", "neither"]
    head += ["return", "95 %"] if with_returns else []
    lead = (
        f"<b>{subject}</b> against each other actor on the seeds that both played: the difference of their "
        "success in percentage points, and on how many seeds both, one or neither succeeded. Where the "
        "return is what counts, the difference of the mean returns follows."
    )
    return section("paired", "Seed by seed", lead, table(head, rows, text_columns=2, css="dense"))


def solving(comparison: Comparison, limits: Mapping[str, int]) -> str:
    """Return the plots of the share solved within n steps."""
    drawings = plots.curves(comparison, limits)
    if not drawings:
        return ""
    lead = (
        "The share of episodes solved within so many steps; what was never solved stays below for good. "
        "Bands are 95 % at each point. Tasks whose success is a threshold on the return are left out: there, "
        "a longer episode is no worse."
    )
    return section("time", "How soon", lead, panels(drawings, legend(comparison)))


def people(comparison: Comparison) -> str:
    """Return the plots of effort against success, one point a demonstrator."""
    drawings = plots.effort(comparison)
    if not drawings:
        return ""
    kinds = sorted({comparison.kinds[actor] for actor in comparison.actors} & {"person", "simulated"})
    noun = "person" if kinds == ["person"] else "demonstrator"
    lead = (
        f"One point for each {noun}, never just their mean: time taken against success, with an interval for "
        "the few episodes each has played. Lines are the other actors' success."
    )
    if "simulated" in kinds:
        lead += " The simulated crowd's times are drawn, not measured."
    return section("people", "Effort and success", lead, panels(drawings, legend(comparison)))


def habits(comparison: Comparison, diagnoses: Sequence[Diagnostics]) -> str:
    """Return the table of diagnostics of all actors and the demonstrations."""
    if not diagnoses:
        return ""
    rows = [
        [
            text(entry.task),
            f"{mark(comparison.kinds[entry.actor])}{text(entry.actor)}"
            if entry.actor in comparison.kinds
            else f"<em>{text(entry.actor)}</em>",
            _share(entry.repeat_rate),
            _share(entry.still_rate),
            _of_maximum(entry.entropy, entry.most_entropy),
            NOTHING if math.isnan(entry.detour) else f"{entry.detour:.2f}×",
            f"{entry.episodes:,}",
        ]
        for entry in diagnoses
    ]
    head = [
        "task",
        "actor",
        "repeats, %",
        "stands still, %",
        "entropy, bits",
        "steps beside expert",
        "episodes",
    ]
    lead = (
        "A policy can score well and play strangely, or the other way round. A policy that repeats itself or "
        "stands still far more than its demonstrators has learned a shortcut."
    )
    return section("habits", "How they play", lead, table(head, rows, text_columns=2, css="dense"))


def demonstrations(stores: Sequence[Store], suite: Suite) -> str:
    """Return the table of the training demonstrations by task."""
    tables = [
        table.filter(pc.less(table["seed"], RECORD.stop)) for table in (store.episodes() for store in stores)
    ]
    rows, totals = [], [0, 0, 0.0, 0, 0]
    all_people: set[str] = set()
    for task in suite:
        chosen = [table.filter(pc.equal(table["task"], task.id)) for table in tables]
        count = sum(map(len, chosen))
        if not count:
            continue
        demonstrators = {name for table in chosen for name in table["demonstrator"].to_pylist()}
        hours = sum(pc.sum(table["seconds"]).as_py() or 0.0 for table in chosen) / 3600
        steps = sum(pc.sum(table["steps"]).as_py() or 0 for table in chosen)
        solved = sum(pc.sum(table["success"]).as_py() or 0 for table in chosen)
        rated = sum(len(table) - table["success"].null_count for table in chosen)
        rows.append(_dataset_row(text(task.id), count, len(demonstrators), hours, steps, solved, rated))
        all_people |= demonstrators
        totals = [a + b for a, b in zip(totals, (count, steps, hours, solved, rated), strict=True)]
    if not rows:
        return ""
    counts = [int(total) for total in (totals[0], *totals[1:2], *totals[3:])]
    rows.append(_dataset_row("all", counts[0], len(all_people), totals[2], *counts[1:]))
    kinds = sorted({kind for table in tables for kind in table["kind"].to_pylist()})
    head = ["task", "demonstrations", "demonstrators", "hours", "steps", "succeeded, %"]
    lead = f"What the policy was taught with. Who played: {text(', '.join(kinds))}."
    if "simulated" in kinds:
        lead += " The simulated crowd's hours are drawn from its reaction times, not spent by anyone."
    return section("data", "The demonstrations", lead, table(head, rows, foot=1))


def training(
    runs: Mapping[str, tuple[plots.Series, plots.Series]], self_imitation: Mapping[str, plots.Series]
) -> str:
    """Return the plots of each run's loss and its success on select seeds, see `training_panels`."""
    drawn = training_panels(runs, self_imitation)
    if not drawn:
        return ""
    lead = (
        "The checkpoint is chosen by success on the select seeds, never by the loss and never on the seeds "
        "reported here."
    )
    return section("training", "Training", lead, panels(drawn))


def training_panels(
    runs: Mapping[str, tuple[plots.Series, plots.Series]], self_imitation: Mapping[str, plots.Series]
) -> list[Panel]:
    """Plot each run's success on select seeds and its loss; `runs` maps a name to (loss, success).

    `self_imitation` maps the name of a run to its success by self-imitation round.
    """
    drawings = []
    for name, series in self_imitation.items():
        drawing = plots.training(name, series, share=True, axis="round of self-imitation")
        drawings.append(replace(drawing, heading=f"{name}: {drawing.heading}, by round of self-imitation"))
    for name, (loss, success) in runs.items():
        prefix = f"{name}: " if len(runs) > 1 else ""
        for series, share in ((success, True), (loss, False)):
            if series:
                drawing = plots.training(name, series, share)
                drawings.append(replace(drawing, heading=prefix + drawing.heading))
    return drawings


def _opening(comparison: Comparison) -> str:
    subject = comparison.subject
    score = comparison.overall.get(subject)
    if score is None:
        return ""
    words = (
        f"On unseen seeds, <b>{text(subject)}</b> succeeds in {percent(score.success.estimate)} % of episodes"
    )
    kinds = {comparison.kinds[actor] for actor in comparison.overall}
    if comparison.kinds[subject] in ("expert", "chance") or not {"expert", "chance"} <= kinds:
        return f"{words}."
    return f"{words}. With random at 0 and the expert at 100, it scores {percent_any(score.score.estimate)}."


def _task(comparison: Comparison, task: str) -> str:
    unit = "mean return" if comparison.by_return(task) else "success, %"
    return f"{text(task)}<small>{unit}</small>"


def _cells(comparison: Comparison, task: str) -> list[str]:
    by_return = comparison.by_return(task)
    best = comparison.leaders(task)
    counts = {cell.success.n for cell in comparison.cells.values()}
    cells = []
    for actor in comparison.actors:
        cell = comparison.cells.get((task, actor))
        if cell is None:
            cells.append(_absent(comparison, task, actor))
            continue
        count = "" if len(counts) == 1 else f'<small class="count">n {cell.success.n}</small>'
        cells.append(_figure_cell(actor, shown(cell, by_return), best) + count)
    return cells


def _figure_cell(actor: str, shown_figure: tuple[str, str], best: Leaders) -> str:
    main, around = shown_figure
    return figure(f"{TIED} {main}" if actor in best.tied else main, around, strong=actor in best.best)


def _absent(comparison: Comparison, task: str, actor: str) -> str:
    return '<span class="none">failed</span>' if (task, actor) in comparison.failures else NOTHING


def _count(comparison: Comparison) -> str:
    counts = {cell.success.n for cell in comparison.cells.values()}
    if not counts:
        return "No actor has played a task to its end."
    if len(counts) > 1:
        return "The number of episodes, n, stands under each figure."
    return f"Every figure is from {counted(counts.pop(), 'episode')}."


def _means(comparison: Comparison) -> list[list[str]]:
    def line(name: str, unit: str, which: str) -> list[str]:
        cells = []
        for actor in comparison.actors:
            score: SuiteScore | None = comparison.overall.get(actor)
            interval: Interval | None = getattr(score, which) if score else None
            cells.append(
                NOTHING
                if interval is None
                else _figure_cell(
                    actor,
                    (percent(interval.estimate), bounds(interval, share=True)),
                    comparison.overall_leaders,
                )
                if which == "success"
                else figure(percent_any(interval.estimate), bounds_any(interval))
            )
        return [f"{text(name)}<small>{unit}</small>", *cells]

    return [
        line(MEAN, "success, %", "success"),
        line("mean score", "random 0, expert 100", "score"),
        line("middle half (IQM)", "random 0, expert 100", "middle"),
    ]


def percent_any(value: float) -> str:
    """Format a score, which may lie outside 0 to 1, as percent."""
    if not math.isfinite(value):
        return MISSING
    return f"{100 * value:.1f}".replace("-", "−").replace("100.0", "100").replace("−0.0", "0.0")


def bounds_any(interval: Interval) -> str:
    """Format the bounds of a score; "" if they are not finite."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return ""
    return f"{percent_any(interval.low)} to {percent_any(interval.high)}"


def _signed(value: float, digits: int | None = None) -> str:
    if not math.isfinite(value):
        return MISSING
    size = f"{abs(value):.{digits}f}" if digits is not None else number(abs(value))
    zero = not float(size)
    return size if zero else f"{'+' if value > 0 else '−'}{size}"


def _range(interval: Interval, scale: float, digits: int | None = None) -> str:
    return f"{_signed(scale * interval.low, digits)} to {_signed(scale * interval.high, digits)}"


def _p(value: float) -> str:
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.995 else "1"


def _share(value: float) -> str:
    return NOTHING if math.isnan(value) else percent(value)


def _of_maximum(value: float, most: float) -> str:
    return f"{value:.2f}" + ("" if math.isnan(most) else f"<small> of {most:.2f}</small>")


def _dataset_row(
    name: str, count: int, demonstrators: int, hours: float, steps: int, solved: int, rated: int
) -> list[str]:
    """Return a row of the demonstrations table; `solved` counts among the `rated` episodes."""
    return [
        name,
        f"{count:,}",
        f"{demonstrators:,}",
        f"{hours:,.{1 if hours >= 10 else 2}f}",
        f"{steps:,}",
        percent(solved / rated) if rated else NOTHING,
    ]
