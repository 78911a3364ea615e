"""Charts: small panels that a page sets side by side, one a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ....console.wording import counted
from ....intervals import Curve, Interval, time_to_success, wilson
from ..comparison import MANY, Cell, Comparison, leaders
from ..tables import number, percent
from .svg_style import DASHES, INK, KINDS, MARKERS, MUTED, PAPER, Panel, panel

Series = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Name → (training steps or rounds of practice `[K]`, values `[K]`)."""

NAMED = 10
"""Series that are named at their ends: of more, the mean and those that end lowest."""

ROWS = 20
"""Tasks that are rows of one panel, at most."""

_EXTRA = ("-", (0, (5, 1)), (0, (2, 1)))


def forest(comparison: Comparison) -> list[Panel]:
    """Draw every actor's success (or mean return) with its interval, a panel a task, then the mean.

    Of many tasks, those whose success says it are rows of a few panels, the hardest first.
    """
    panels = []
    many = len(comparison.tasks) > MANY
    rows = [task for task in comparison.shown if not comparison.by_return(task)] if many else []
    for part in np.array_split(np.arange(len(rows)), -(-len(rows) // ROWS)) if rows else []:
        panels.append(_rows(comparison, [rows[at] for at in part], int(part[0]) + 1, len(rows)))
    for task in comparison.shown:
        if task in rows:
            continue
        by_return = comparison.by_return(task)
        found = {
            actor: comparison.cells[task, actor].returns
            if by_return
            else comparison.cells[task, actor].success
            for actor in comparison.actors
            if (task, actor) in comparison.cells
        }
        if found:
            measure = "mean return" if by_return else "success, %"
            panels.append(_dots(comparison, task, measure, found, by_return))
    if comparison.overall and not many:
        means = {actor: one.success for actor, one in comparison.overall.items()}
        panels.append(_dots(comparison, "mean over tasks", "success, %", means, False))
    return panels


def curves(comparison: Comparison, limits: Mapping[str, int]) -> list[Panel]:
    """Draw the share solved within n steps, for the tasks whose success is not a threshold on the return."""
    return [
        _curve(comparison, task, limits[task])
        for task in comparison.shown
        if not comparison.by_return(task) and any(one.success.estimate for one in _cells(comparison, task))
    ]


def effort(comparison: Comparison) -> list[Panel]:
    """Draw one point a demonstrator: mean time an episode against success, beside the actors' lines."""
    panels = []
    for task in comparison.shown:
        crowd = [
            actor
            for actor in comparison.actors
            if comparison.kinds[actor] in ("person", "simulated") and (task, actor) in comparison.episodes
        ]
        if crowd:
            panels.append(_effort(comparison, task, crowd))
    return panels


def training(run: str, metrics: Series, share: bool, axis: str = "training step") -> Panel:
    """Draw series over training steps: `metrics` maps a name to (steps, values); `share` runs 0 to 100.

    `axis` says what is counted, where it is something else.
    """
    with panel(f"training {run} {'success' if share else 'loss'}", 2.3) as (axes, done):
        for i, (name, (steps, values)) in enumerate(metrics.items()):
            strong = name in ("mean", "loss")
            axes.plot(
                steps,
                values * (100 if share else 1),
                color=KINDS["policy"] if strong else MUTED,
                linestyle="-" if strong else _EXTRA[i % len(_EXTRA)],
                linewidth=2 if strong else 1,
                zorder=3 if strong else 2,
            )
        if share:
            axes.set_ylim(-3, 103)
        else:
            _loss_scale(axes, [values for _, values in metrics.values()])
        axes.set_xlim(0, max(steps[-1] for steps, _ in metrics.values()))
        axes.set_xlabel(axis)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid(axis="y")
        _label_ends(axes, metrics, share)
        heading = "success on select seeds, %" if share else "training loss"
        last = ", ".join(f"{name} {values[-1]:.3g}" for name, (_, values) in metrics.items())
        return done(heading, f"{heading} of {run} by {axis}; at the end: {last}")


def _cells(comparison: Comparison, task: str) -> list[Cell]:
    return [cell for (where, _), cell in comparison.cells.items() if where == task]


def _dots(
    comparison: Comparison, task: str, measure: str, found: Mapping[str, Interval], by_return: bool
) -> Panel:
    write = number if by_return else percent
    best = leaders(found, comparison.kinds).best
    scale = 1.0 if by_return else 100.0
    with panel(f"forest {task}", 0.62 + 0.23 * len(found)) as (axes, done):
        for y, (actor, one) in enumerate(found.items()):
            kind = comparison.kinds[actor]
            _dot(axes, y, one, kind, scale)
            _beside(axes, y, write(one.estimate), actor in best)
        _lines(axes, list(found))
        if by_return:
            axes.margins(x=0.06)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
        else:
            _percents(axes)
        axes.set_xlabel(measure)
        axes.figure.subplots_adjust(left=0.34, right=0.87)
        said = ", ".join(
            f"{actor} {write(one.estimate)} ({write(one.low)} to {write(one.high)})"
            for actor, one in found.items()
        )
        return done(task, f"{measure} on {task} with 95 % intervals: {said}")


def _rows(comparison: Comparison, tasks: Sequence[str], first: int, count: int) -> Panel:
    """Draw success on some tasks, one a row, everyone in it; the number is the subject's."""
    with panel(f"forest {first}", 0.5 + 0.19 * len(tasks)) as (axes, done):
        said = []
        for y, task in enumerate(tasks):
            here = [cell for actor in comparison.actors if (cell := comparison.cells.get((task, actor)))]
            for cell in reversed(here):
                _dot(axes, y, cell.success, comparison.kinds[cell.actor], 100.0)
                if cell.actor == comparison.subject:
                    best = leaders({row.actor: row.success for row in here}, comparison.kinds).best
                    _beside(axes, y, percent(cell.success.estimate), cell.actor in best)
            said.append(
                f"{task}: " + ", ".join(f"{one.actor} {percent(one.success.estimate)}" for one in here)
            )
        _lines(axes, tasks)
        _percents(axes)
        axes.set_xlabel("success, %")
        axes.figure.subplots_adjust(left=0.47, right=0.87)
        last = first + len(tasks) - 1
        heading = f"the hardest {last}" if first == 1 else f"{first} to {last} of {count}"
        return done(heading, "success, %, the hardest tasks first. " + "; ".join(said))


def _dot(axes: Axes, y: float, one: Interval, kind: str, scale: float) -> None:
    """Draw an estimate with its interval."""
    axes.plot([scale * one.low, scale * one.high], [y, y], color=KINDS[kind], linewidth=2, zorder=3)
    axes.plot(
        scale * one.estimate,
        y,
        MARKERS[kind],
        color=KINDS[kind],
        markersize=5.5 if kind == "expert" else 7,
        markeredgecolor=PAPER,
        markeredgewidth=0.9,
        zorder=4,
    )


def _beside(axes: Axes, y: float, label: str, strong: bool) -> None:
    """Write a number to the right of its row; in bold that of the best."""
    axes.annotate(
        label,
        (1, y),
        xycoords=("axes fraction", "data"),
        xytext=(34, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontweight="bold" if strong else "normal",
    )


def _lines(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows, from top to bottom."""
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def _percents(axes: Axes) -> None:
    axes.set_xlim(-3, 103)
    axes.set_xticks([0, 25, 50, 75, 100])


def _curve(comparison: Comparison, task: str, limit: int) -> Panel:
    with panel(f"curve {task}", 2.3) as (axes, done):
        said = []
        ends: list[tuple[Curve, str]] = []
        longest = 1
        for actor in reversed(comparison.actors):
            if (task, actor) not in comparison.episodes:
                continue
            mine, kind = comparison.episodes[task, actor], comparison.kinds[actor]
            one = time_to_success(mine.steps, mine.success, limit)
            colour = KINDS[kind]
            axes.fill_between(
                one.steps, 100 * one.low, 100 * one.high, step="post", color=colour, alpha=0.13, linewidth=0
            )
            axes.step(one.steps, 100 * one.share, where="post", color=colour, linestyle=DASHES[kind])
            ends.append((one, kind))
            half = mine.steps[mine.success]
            longest = max(longest, int(np.quantile(half, 0.98)) if half.size else 1)
            said.append(f"{actor} {percent(one.share[-1])} % in the end")
        shown = min(limit, longest)
        for one, kind in ends:
            _end_mark(axes, shown, 100 * one.share[np.searchsorted(one.steps, shown, side="right") - 1], kind)
        axes.set_xlim(0, shown)
        axes.set_ylim(0, 103)
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("steps")
        axes.grid(axis="y")
        return done(task, f"Share of {task} solved within so many steps: " + ", ".join(reversed(said)))


def _effort(comparison: Comparison, task: str, crowd: Sequence[str]) -> Panel:
    with panel(f"effort {task}", 2.5) as (axes, done):
        points = 0
        lines: list[tuple[float, str]] = []
        for actor in comparison.actors:
            cell = comparison.cells.get((task, actor))
            if cell is None:
                continue
            kind = comparison.kinds[actor]
            if actor not in crowd:
                share = 100 * cell.success.estimate
                axes.axhline(share, color=KINDS[kind], linestyle=DASHES[kind], linewidth=1.3)
                lines.append((share, kind))
                continue
            mine = comparison.episodes[task, actor]
            for who in sorted(set(mine.demonstrators.tolist())):
                points += 1
                _person(
                    axes,
                    mine.success[mine.demonstrators == who],
                    mine.seconds[mine.demonstrators == who],
                    kind,
                )
        axes.set_ylim(-3, 106)
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.margins(x=0.08)
        axes.set_xlim(left=0)
        for share, kind in reversed(lines):
            _end_mark(axes, axes.get_xlim()[1], share, kind)
        axes.set_xlabel("mean seconds an episode")
        axes.grid(axis="y")
        return done(
            task,
            f"Success on {task} against time taken, one point for each of {counted(points, 'demonstrator')}",
        )


def _end_mark(axes: Axes, x: float, y: float, kind: str) -> None:
    """Put an actor's mark at the right end of its line, where the legend's reader looks for it."""
    axes.plot(
        x,
        y,
        MARKERS[kind],
        color=KINDS[kind],
        markersize=5 if kind == "expert" else 6,
        markeredgecolor=PAPER,
        markeredgewidth=0.7,
        clip_on=False,
        zorder=5,
    )


def _person(axes: Axes, success: np.ndarray, seconds: np.ndarray, kind: str) -> None:
    rate = wilson(int(success.sum()), len(success))
    at, colour = float(seconds.mean()), KINDS[kind]
    axes.plot([at, at], [100 * rate.low, 100 * rate.high], color=colour, linewidth=0.9, alpha=0.35)
    axes.plot(
        at,
        100 * rate.estimate,
        MARKERS[kind],
        color=colour,
        markersize=6 if kind == "person" else 4.5,
        markeredgecolor=PAPER,
        markeredgewidth=0.7,
        zorder=4,
    )


def _loss_scale(axes: Axes, series: Sequence[np.ndarray]) -> None:
    """Use a logarithm where a loss falls by more than ten times and stays above zero."""
    low = min(float(np.min(one)) for one in series)
    high = max(float(np.max(one)) for one in series)
    if low > 0 and high > 10 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def _label_ends(axes: Axes, metrics: Series, share: bool) -> None:
    """Write each series' name at its end, spread so that they do not cover each other."""
    if len(metrics) < 2:
        return
    low, high = axes.get_ylim()
    gap = (high - low) / 14
    ends = sorted((float(v[-1]) * (100 if share else 1), name) for name, (_, v) in metrics.items())
    lowest = [name for _, name in ends if name != "mean"][: NAMED - 1]
    ends = [one for one in ends if one[1] in (*lowest, "mean")]
    at = -np.inf
    places: list[tuple[float, str]] = []
    for value, name in ends:
        at = max(value, at + gap)
        places.append((at, name))
    over = max(0.0, places[-1][0] - high)
    for place, name in places:
        axes.annotate(
            name,
            (1, place - over),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            fontweight="bold" if name == "mean" else "normal",
            color=INK if name == "mean" else MUTED,
            annotation_clip=False,
        )
    axes.figure.subplots_adjust(right=0.66)
