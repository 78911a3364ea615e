"""What the report says, section by section: each a function from figures to HTML."""

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
    """Write the sentence that the report opens with, and a figure for each actor under it."""
    if not comparison.overall:
        return ""
    kinds = comparison.kinds
    tiles = "".join(
        f'<div class="tile"><dt>{mark(kinds[actor])}{text(actor)}</dt>'
        f"<dd>{percent(one.success.estimate)}<span>%</span></dd>"
        f'<dd class="around">{bounds(one.success, share=True)}</dd></div>'
        for actor, one in comparison.overall.items()
    )
    return (
        f'<p class="opening">{_opening(comparison)}</p><dl class="tiles">{tiles}</dl>'
        f'<p class="caption">Mean success over {counted(len(comparison.tasks), "task")}, '
        "with 95 % intervals.</p>"
    )


def picture(comparison: Comparison) -> str:
    """Draw success with its interval for everyone, task by task."""
    lead = "Each mark is a rate or a mean over unseen seeds; the bar through it is its 95 % interval."
    keys = ""
    if len(comparison.tasks) > MANY:
        lead += f" The hardest tasks come first; figures are those of <b>{text(comparison.subject)}</b>."
        keys = legend(comparison)
    drawings = panels(plots.forest(comparison), keys, first=MANY + 1)  # a panel a task, and their mean
    return section("success", "Who succeeds, and how surely", lead, drawings)


def headline(comparison: Comparison) -> str:
    """Lay the same figures out as a table, with n."""
    rows = [[_task(comparison, task), *_cells(comparison, task)] for task in comparison.tasks]
    foot = 0
    if comparison.overall:
        rows += _means(comparison)
        foot = 3
    head = ["task", *(f"{mark(comparison.kinds[one])}{text(one)}" for one in comparison.actors)]
    lead = (
        "Success in per cent, or the mean return where success is a threshold on it. The best actor that is "
        "neither expert nor random stands in bold, where it is above random; "
        f"{TIED} marks whose interval overlaps that of the best. {_count(comparison)}"
    )
    return section("table", "The figures", lead, table(head, rows, css="headline", foot=foot))


def failures(comparison: Comparison) -> str:
    """List the tasks and actors that failed, and what was raised."""
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
    return section("failures", "What failed", lead, table(["task", "actor", ""], rows, left=3, css="facts"))


def paired(comparison: Comparison) -> str:
    """Lay out the subject against everyone else, on the seeds that both played."""
    with_returns = any(map(comparison.by_return, comparison.tasks))
    rows = []
    for one in comparison.pairs:
        counts = (one.success.both, one.success.only_first, one.success.only_second, one.success.neither)
        row = [
            text(one.task),
            f"{mark(comparison.kinds[one.second])}{text(one.second)}",
            _signed(100 * one.success.difference.estimate, 1),
            f"<small>{_range(one.success.difference, 100, 1)}</small>",
            _p(one.success.p),
            *map(str, counts),
        ]
        if not comparison.is_rated(one.task):
            row[2:] = ["–"] * 7
        if with_returns and comparison.by_return(one.task):
            row += [_signed(one.returns.estimate), f"<small>{_range(one.returns, 1)}</small>"]
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
    return section("paired", "Seed by seed", lead, table(head, rows, left=2, css="dense"))


def solving(comparison: Comparison, limits: Mapping[str, int]) -> str:
    """Draw how soon episodes are solved."""
    found = plots.curves(comparison, limits)
    if not found:
        return ""
    lead = (
        "The share of episodes solved within so many steps; what was never solved stays below for good. "
        "Bands are 95 % at each point. Tasks whose success is a threshold on the return are left out: there, "
        "a longer episode is no worse."
    )
    return section("time", "How soon", lead, panels(found, legend(comparison)))


def people(comparison: Comparison) -> str:
    """Draw one point a demonstrator: effort against success."""
    found = plots.effort(comparison)
    if not found:
        return ""
    everyone = sorted({comparison.kinds[one] for one in comparison.actors} & {"person", "simulated"})
    who = "person" if everyone == ["person"] else "demonstrator"
    lead = (
        f"One point for each {who}, never just their mean: time taken against success, with an interval for "
        "the few episodes each has played. Lines are the other actors' success."
    )
    if "simulated" in everyone:
        lead += " The simulated crowd's times are drawn, not measured."
    return section("people", "Effort and success", lead, panels(found, legend(comparison)))


def habits(comparison: Comparison, found: Sequence[Diagnostics]) -> str:
    """Lay out how each actor plays, the demonstrations beside them."""
    if not found:
        return ""
    rows = [
        [
            text(one.task),
            f"{mark(comparison.kinds[one.actor])}{text(one.actor)}"
            if one.actor in comparison.kinds
            else f"<em>{text(one.actor)}</em>",
            _share(one.repeat_rate),
            _share(one.still_rate),
            _over(one.entropy, one.most_entropy),
            NOTHING if math.isnan(one.detour) else f"{one.detour:.2f}×",
            f"{one.episodes:,}",
        ]
        for one in found
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
    return section("habits", "How they play", lead, table(head, rows, left=2, css="dense"))


def demonstrations(stores: Sequence[Store], suite: Suite) -> str:
    """Summarise what the policy was taught with."""
    tables = [one.filter(pc.less(one["seed"], RECORD.stop)) for one in (store.episodes() for store in stores)]
    rows, whole = [], [0, 0, 0.0, 0, 0]
    everyone: set[str] = set()
    for task in suite:
        chosen = [one.filter(pc.equal(one["task"], task.id)) for one in tables]
        count = sum(map(len, chosen))
        if not count:
            continue
        who = {name for one in chosen for name in one["demonstrator"].to_pylist()}
        hours = sum(pc.sum(one["seconds"]).as_py() or 0.0 for one in chosen) / 3600
        steps = sum(pc.sum(one["steps"]).as_py() or 0 for one in chosen)
        solved = sum(pc.sum(one["success"]).as_py() or 0 for one in chosen)
        rated = sum(len(table) - table["success"].null_count for table in chosen)
        rows.append(_dataset_row(text(task.id), count, len(who), hours, steps, solved, rated))
        everyone |= who
        whole = [a + b for a, b in zip(whole, (count, steps, hours, solved, rated), strict=True)]
    if not rows:
        return ""
    counts = [int(total) for total in (whole[0], *whole[1:2], *whole[3:])]
    rows.append(_dataset_row("all", counts[0], len(everyone), whole[2], *counts[1:]))
    kinds = sorted({kind for one in tables for kind in one["kind"].to_pylist()})
    head = ["task", "demonstrations", "demonstrators", "hours", "steps", "succeeded, %"]
    lead = f"What the policy was taught with. Who played: {text(', '.join(kinds))}."
    if "simulated" in kinds:
        lead += " The simulated crowd's hours are drawn from its reaction times, not spent by anyone."
    return section("data", "The demonstrations", lead, table(head, rows, foot=1))


def training(
    runs: Mapping[str, tuple[plots.Series, plots.Series]], practised: Mapping[str, plots.Series]
) -> str:
    """Draw each run's loss and its success on the select seeds, see `training_panels`."""
    drawn = training_panels(runs, practised)
    if not drawn:
        return ""
    lead = (
        "The checkpoint is chosen by success on the select seeds, never by the loss and never on the seeds "
        "reported here."
    )
    return section("training", "Training", lead, panels(drawn))


def training_panels(
    runs: Mapping[str, tuple[plots.Series, plots.Series]], practised: Mapping[str, plots.Series]
) -> list[Panel]:
    """Draw each run's success on the select seeds and its loss; `runs` maps a name to (loss, success).

    `practised` maps the name of a run to its success by rounds of practice.
    """
    found = []
    for name, series in practised.items():
        one = plots.training(name, series, share=True, axis="round of practice")
        found.append(replace(one, heading=f"{name}: {one.heading}, by round of practice"))
    for name, (loss, success) in runs.items():
        prefix = f"{name}: " if len(runs) > 1 else ""
        for series, share in ((success, True), (loss, False)):
            if series:
                one = plots.training(name, series, share)
                found.append(replace(one, heading=prefix + one.heading))
    return found


def _opening(comparison: Comparison) -> str:
    subject = comparison.subject
    one = comparison.overall.get(subject)
    if one is None:
        return ""
    words = (
        f"On unseen seeds, <b>{text(subject)}</b> succeeds in {percent(one.success.estimate)} % of episodes"
    )
    others = {comparison.kinds[actor] for actor in comparison.overall}
    if comparison.kinds[subject] in ("expert", "chance") or not {"expert", "chance"} <= others:
        return f"{words}."
    return f"{words}. With random at 0 and the expert at 100, it scores {percent_any(one.score.estimate)}."


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
        cells.append(_marked(actor, shown(cell, by_return), best) + count)
    return cells


def _marked(actor: str, shown_figure: tuple[str, str], best: Leaders) -> str:
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
            one: SuiteScore | None = comparison.overall.get(actor)
            interval: Interval | None = getattr(one, which) if one else None
            cells.append(
                NOTHING
                if interval is None
                else _marked(
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
    """Write a score, which may lie outside 0 to 1, as per cent."""
    if not math.isfinite(value):
        return MISSING
    return f"{100 * value:.1f}".replace("-", "−").replace("100.0", "100").replace("−0.0", "0.0")


def bounds_any(one: Interval) -> str:
    """Write the bounds of a score; nothing where it has none."""
    if not (math.isfinite(one.low) and math.isfinite(one.high)):
        return ""
    return f"{percent_any(one.low)} to {percent_any(one.high)}"


def _signed(value: float, digits: int | None = None) -> str:
    if not math.isfinite(value):
        return MISSING
    size = f"{abs(value):.{digits}f}" if digits is not None else number(abs(value))
    zero = not float(size)
    return size if zero else f"{'+' if value > 0 else '−'}{size}"


def _range(one: Interval, scale: float, digits: int | None = None) -> str:
    return f"{_signed(scale * one.low, digits)} to {_signed(scale * one.high, digits)}"


def _p(value: float) -> str:
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.995 else "1"


def _share(value: float) -> str:
    return NOTHING if math.isnan(value) else percent(value)


def _over(value: float, most: float) -> str:
    return f"{value:.2f}" + ("" if math.isnan(most) else f"<small> of {most:.2f}</small>")


def _dataset_row(
    name: str, count: int, who: int, hours: float, steps: int, solved: int, rated: int
) -> list[str]:
    """Lay out a line of the demonstrations; `solved` of the `rated` episodes, whose success is known."""
    return [
        name,
        f"{count:,}",
        f"{who:,}",
        f"{hours:,.{1 if hours >= 10 else 2}f}",
        f"{steps:,}",
        percent(solved / rated) if rated else NOTHING,
    ]
