"""Sections of the report: each computes its figures and fills in a template with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

import pyarrow.compute as pc
from markupsafe import Markup

from ....console.wording import counted
from ....envs.suite import Suite
from ....envs.task import RECORD
from ....files.finite_json import MISSING
from ....intervals import Interval
from ..comparison import MANY, REFERENCES, Comparison, Leaders, PairedDifference, SuiteScore
from ..diagnostics import Diagnostics
from ..tables import MEAN, NONE, TIED, bounds, number, percent, shown
from . import plots
from .html import render_template
from .svg_style import Panel

if TYPE_CHECKING:
    from ....datasets.store import Store

NOTHING = Markup("")
"""A section that has nothing to show."""


@dataclass(frozen=True)
class Figure:
    """A cell of the headline table: a figure, its interval and, if counts differ, n; or why it is absent."""

    main: str = ""
    around: str = ""
    strong: bool = False
    count: str = ""
    absent: str = ""


@dataclass(frozen=True)
class FigureRow:
    """A row of the headline table, with a cell for each actor."""

    name: str
    unit: str
    cells: list[Figure]


@dataclass(frozen=True)
class Failure:
    """An actor that failed on a task, with the error."""

    task: str
    actor: str
    kind: str
    why: str


@dataclass(frozen=True)
class Difference:
    """A difference between two actors with its interval; of success also p and the counts of seeds."""

    difference: str
    around: str
    p: str = ""
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class PairRow:
    """The subject against another actor on a task; None where a measure does not apply."""

    task: str
    actor: str
    kind: str
    success: Difference | None
    returns: Difference | None


@dataclass(frozen=True)
class Habits:
    """How one actor plays one task; `kind` is "" for the demonstrations."""

    task: str
    actor: str
    kind: str
    repeats: str
    still: str
    entropy: str
    most_entropy: str
    detour: str
    episodes: str


@dataclass(frozen=True)
class DatasetRow:
    """The demonstrations of a task."""

    name: str
    episodes: str
    demonstrators: str
    hours: str
    steps: str
    share: str


Row = TypeVar("Row", Failure, PairRow, Habits)
"""A row of a table that is grouped by task."""


def standing(comparison: Comparison) -> Markup:
    """Return the opening sentence of the report, with a figure for each actor."""
    if not comparison.overall:
        return NOTHING
    tiles = [
        {
            "actor": actor,
            "kind": comparison.kinds[actor],
            "share": percent(score.success.estimate),
            "bounds": bounds(score.success, share=True),
        }
        for actor, score in comparison.overall.items()
    ]
    score = comparison.overall.get(comparison.subject)
    kinds = {comparison.kinds[actor] for actor in comparison.overall}
    is_reference = comparison.kinds[comparison.subject] in REFERENCES
    is_scored = score is not None and not is_reference and kinds.issuperset(REFERENCES)
    return render_template(
        "standing.html",
        subject=comparison.subject,
        share=percent(score.success.estimate) if score else "",
        score=percent_any(score.score.estimate) if score and is_scored else "",
        tiles=tiles,
        tasks=counted(len(comparison.tasks), "task"),
    )


def picture(comparison: Comparison) -> Markup:
    """Return the plots of success with intervals for all actors, task by task."""
    return render_template(
        "success.html",
        subject=comparison.subject,
        actors=_actors(comparison),
        is_folded=len(comparison.tasks) > MANY,
        drawings=plots.forest(comparison),
    )


def headline(comparison: Comparison) -> Markup:
    """Return the same figures as a table, with n."""
    return render_template(
        "table.html",
        actors=_actors(comparison),
        rows=[
            FigureRow(task, _unit(comparison, task), _cells(comparison, task)) for task in comparison.tasks
        ],
        means=_means(comparison) if comparison.overall else [],
        tied=TIED,
        count=_count(comparison),
    )


def failures(comparison: Comparison) -> Markup:
    """Return the table of failed tasks and actors with their errors."""
    rows = [
        Failure(task, actor, comparison.kinds[actor], why)
        for (task, actor), why in comparison.failures.items()
    ]
    return render_template("failures.html", groups=_by_task(rows)) if rows else NOTHING


def paired(comparison: Comparison) -> Markup:
    """Return the table of paired comparisons of the subject with all others, on shared seeds."""
    with_returns = any(map(comparison.by_return, comparison.tasks))
    rows = [_pair_row(comparison, pair) for pair in comparison.pairs]
    if not rows:
        return NOTHING
    columns = ["task", "against", "success", "95 %", "p", "both", f"only {comparison.subject}", "only other"]
    columns += ["neither", *(["return", "95 %"] if with_returns else [])]
    return render_template(
        "paired.html",
        subject=comparison.subject,
        columns=columns,
        groups=_by_task(rows),
        with_returns=with_returns,
    )


def solving(comparison: Comparison, limits: Mapping[str, int]) -> Markup:
    """Return the plots of the share solved within n steps."""
    drawings = plots.curves(comparison, limits)
    if not drawings:
        return NOTHING
    return render_template("time.html", actors=_actors(comparison), drawings=drawings)


def people(comparison: Comparison) -> Markup:
    """Return the plots of effort against success, one point a demonstrator."""
    drawings = plots.effort(comparison)
    if not drawings:
        return NOTHING
    kinds = sorted({comparison.kinds[actor] for actor in comparison.actors} & {"person", "simulated"})
    return render_template(
        "people.html",
        noun="person" if kinds == ["person"] else "demonstrator",
        is_simulated="simulated" in kinds,
        actors=_actors(comparison),
        drawings=drawings,
    )


def habits(comparison: Comparison, diagnoses: Sequence[Diagnostics]) -> Markup:
    """Return the table of diagnostics of all actors and the demonstrations."""
    rows = [
        Habits(
            entry.task,
            entry.actor,
            comparison.kinds.get(entry.actor, ""),
            percent(entry.repeat_rate),
            percent(entry.still_rate),
            f"{entry.entropy:.2f}",
            "" if math.isnan(entry.most_entropy) else f"{entry.most_entropy:.2f}",
            NONE if math.isnan(entry.detour) else f"{entry.detour:.2f}×",
            f"{entry.episodes:,}",
        )
        for entry in diagnoses
    ]
    return render_template("habits.html", groups=_by_task(rows)) if rows else NOTHING


def demonstrations(stores: Sequence[Store], suite: Suite) -> Markup:
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
        rows.append(_dataset_row(task.id, count, len(demonstrators), hours, steps, solved, rated))
        all_people |= demonstrators
        totals = [a + b for a, b in zip(totals, (count, steps, hours, solved, rated), strict=True)]
    if not rows:
        return NOTHING
    counts = [int(total) for total in (totals[0], *totals[1:2], *totals[3:])]
    total = _dataset_row("all", counts[0], len(all_people), totals[2], *counts[1:])
    kinds = sorted({kind for table in tables for kind in table["kind"].to_pylist()})
    return render_template("data.html", kinds=kinds, rows=rows, total=total)


def training(
    runs: Mapping[str, tuple[plots.Series, plots.Series]], self_imitation: Mapping[str, plots.Series]
) -> Markup:
    """Return the plots of each run's loss and its success on select seeds, see `training_panels`."""
    drawn = training_panels(runs, self_imitation)
    return render_template("training.html", drawings=drawn) if drawn else NOTHING


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


def _actors(comparison: Comparison) -> dict[str, str]:
    """Map every actor to its kind, in the order of the report."""
    return {actor: comparison.kinds[actor] for actor in comparison.actors}


def _by_task(rows: Sequence[Row]) -> list[list[Row]]:
    """Group neighboring rows of the same task."""
    return [list(group) for _, group in groupby(rows, key=lambda row: row.task)]


def _unit(comparison: Comparison, task: str) -> str:
    return "mean return" if comparison.by_return(task) else "success, %"


def _cells(comparison: Comparison, task: str) -> list[Figure]:
    by_return = comparison.by_return(task)
    best = comparison.leaders(task)
    counts = {cell.success.n for cell in comparison.cells.values()}
    cells = []
    for actor in comparison.actors:
        cell = comparison.cells.get((task, actor))
        if cell is None:
            cells.append(Figure(absent="failed" if (task, actor) in comparison.failures else NONE))
            continue
        count = "" if len(counts) == 1 else str(cell.success.n)
        cells.append(_figure(actor, shown(cell, by_return), best, count))
    return cells


def _figure(actor: str, shown_figure: tuple[str, str], best: Leaders, count: str = "") -> Figure:
    main, around = shown_figure
    return Figure(f"{TIED} {main}" if actor in best.tied else main, around, actor in best.best, count)


def _count(comparison: Comparison) -> str:
    counts = {cell.success.n for cell in comparison.cells.values()}
    if not counts:
        return "No actor has played a task to its end."
    if len(counts) > 1:
        return "The number of episodes, n, stands under each figure."
    return f"Every figure is from {counted(counts.pop(), 'episode')}."


def _means(comparison: Comparison) -> list[FigureRow]:
    def line(name: str, unit: str, which: str) -> FigureRow:
        cells = []
        for actor in comparison.actors:
            score: SuiteScore | None = comparison.overall.get(actor)
            interval: Interval | None = getattr(score, which) if score else None
            if interval is None:
                cells.append(Figure(absent=NONE))
            elif which == "success":
                main = percent(interval.estimate), bounds(interval, share=True)
                cells.append(_figure(actor, main, comparison.overall_leaders))
            else:
                cells.append(Figure(percent_any(interval.estimate), bounds_any(interval)))
        return FigureRow(name, unit, cells)

    return [
        line(MEAN, "success, %", "success"),
        line("mean score", "random 0, expert 100", "score"),
        line("middle half (IQM)", "random 0, expert 100", "middle"),
    ]


def _pair_row(comparison: Comparison, pair: PairedDifference) -> PairRow:
    kind, result = comparison.kinds[pair.second], pair.success
    success = returns = None
    if comparison.is_rated(pair.task):
        success = Difference(
            _signed(100 * result.difference.estimate, 1),
            _range(result.difference, 100, 1),
            _p(result.p),
            (result.both, result.only_first, result.only_second, result.neither),
        )
    if comparison.by_return(pair.task):
        returns = Difference(_signed(pair.returns.estimate), _range(pair.returns, 1))
    return PairRow(pair.task, pair.second, kind, success, returns)


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
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.995 else "1"


def _dataset_row(
    name: str, count: int, demonstrators: int, hours: float, steps: int, solved: int, rated: int
) -> DatasetRow:
    """Return a row of the demonstrations table; `solved` counts among the `rated` episodes."""
    return DatasetRow(
        name,
        f"{count:,}",
        f"{demonstrators:,}",
        f"{hours:,.{1 if hours >= 10 else 2}f}",
        f"{steps:,}",
        percent(solved / rated) if rated else NONE,
    )
