"""Plots: small panels for a page, one a task."""

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
"""Name → (training steps or self-imitation rounds `[K]`, values `[K]`)."""

NAMED = 10
"""Most series labeled at their ends; of more, the mean and those that end lowest."""

ROWS = 20
"""Most tasks that are rows of one panel."""

_EXTRA = ("-", (0, (5, 1)), (0, (2, 1)))


def forest(comparison: Comparison) -> list[Panel]:
    """Plot every actor's success (or mean return) with its interval, one panel a task, then the mean.

    With more than MANY tasks, those measured by success become rows of a few panels, hardest first.
    """
    panels = []
    many = len(comparison.tasks) > MANY
    rows = [task for task in comparison.shown if not comparison.by_return(task)] if many else []
    for part in np.array_split(np.arange(len(rows)), -(-len(rows) // ROWS)) if rows else []:
        panels.append(_rows(comparison, [rows[index] for index in part], int(part[0]) + 1, len(rows)))
    for task in comparison.shown:
        if task in rows:
            continue
        by_return = comparison.by_return(task)
        intervals = {
            actor: comparison.cells[task, actor].returns
            if by_return
            else comparison.cells[task, actor].success
            for actor in comparison.actors
            if (task, actor) in comparison.cells
        }
        if intervals:
            measure = "mean return" if by_return else "success, %"
            panels.append(_dots(comparison, task, measure, intervals, by_return))
    if comparison.overall and not many:
        means = {actor: score.success for actor, score in comparison.overall.items()}
        panels.append(_dots(comparison, "mean over tasks", "success, %", means, False))
    return panels


def curves(comparison: Comparison, limits: Mapping[str, int]) -> list[Panel]:
    """Plot the share solved within n steps, for tasks measured by success."""
    return [
        _curve(comparison, task, limits[task])
        for task in comparison.shown
        if not comparison.by_return(task) and any(cell.success.estimate for cell in _cells(comparison, task))
    ]


def effort(comparison: Comparison) -> list[Panel]:
    """Plot one point a demonstrator, mean episode time against success, with lines for other actors."""
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
    """Plot series over training steps: `metrics` maps a name to (steps, values); a `share` is in percent.

    `axis` is the label of the x axis.
    """
    with panel(f"training {run} {'success' if share else 'loss'}", 2.3) as (axes, finish):
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
        return finish(heading, f"{heading} of {run} by {axis}; at the end: {last}")


def _cells(comparison: Comparison, task: str) -> list[Cell]:
    return [cell for (where, _), cell in comparison.cells.items() if where == task]


def _dots(
    comparison: Comparison, task: str, measure: str, intervals: Mapping[str, Interval], by_return: bool
) -> Panel:
    write = number if by_return else percent
    best = leaders(intervals, comparison.kinds).best
    scale = 1.0 if by_return else 100.0
    with panel(f"forest {task}", 0.62 + 0.23 * len(intervals)) as (axes, finish):
        for y, (actor, interval) in enumerate(intervals.items()):
            kind = comparison.kinds[actor]
            _dot(axes, y, interval, kind, scale)
            _annotate_row(axes, y, write(interval.estimate), actor in best)
        _label_rows(axes, list(intervals))
        if by_return:
            axes.margins(x=0.06)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
        else:
            _percent_axis(axes)
        axes.set_xlabel(measure)
        axes.figure.subplots_adjust(left=0.34, right=0.87)
        description = ", ".join(
            f"{actor} {write(interval.estimate)} ({write(interval.low)} to {write(interval.high)})"
            for actor, interval in intervals.items()
        )
        return finish(task, f"{measure} on {task} with 95 % intervals: {description}")


def _rows(comparison: Comparison, tasks: Sequence[str], first: int, count: int) -> Panel:
    """Plot success on tasks, one row each with all actors; the number is the subject's."""
    with panel(f"forest {first}", 0.5 + 0.19 * len(tasks)) as (axes, finish):
        descriptions = []
        for y, task in enumerate(tasks):
            cells = [cell for actor in comparison.actors if (cell := comparison.cells.get((task, actor)))]
            for cell in reversed(cells):
                _dot(axes, y, cell.success, comparison.kinds[cell.actor], 100.0)
                if cell.actor == comparison.subject:
                    best = leaders({row.actor: row.success for row in cells}, comparison.kinds).best
                    _annotate_row(axes, y, percent(cell.success.estimate), cell.actor in best)
            descriptions.append(
                f"{task}: " + ", ".join(f"{entry.actor} {percent(entry.success.estimate)}" for entry in cells)
            )
        _label_rows(axes, tasks)
        _percent_axis(axes)
        axes.set_xlabel("success, %")
        axes.figure.subplots_adjust(left=0.47, right=0.87)
        last = first + len(tasks) - 1
        heading = f"the hardest {last}" if first == 1 else f"{first} to {last} of {count}"
        return finish(heading, "success, %, the hardest tasks first. " + "; ".join(descriptions))


def _dot(axes: Axes, y: float, interval: Interval, kind: str, scale: float) -> None:
    """Plot an estimate with its interval."""
    axes.plot([scale * interval.low, scale * interval.high], [y, y], color=KINDS[kind], linewidth=2, zorder=3)
    axes.plot(
        scale * interval.estimate,
        y,
        MARKERS[kind],
        color=KINDS[kind],
        markersize=5.5 if kind == "expert" else 7,
        markeredgecolor=PAPER,
        markeredgewidth=0.9,
        zorder=4,
    )


def _annotate_row(axes: Axes, y: float, label: str, strong: bool) -> None:
    """Write a number to the right of its row, bold if it is the best."""
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


def _label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Label the rows, from top to bottom."""
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def _percent_axis(axes: Axes) -> None:
    axes.set_xlim(-3, 103)
    axes.set_xticks([0, 25, 50, 75, 100])


def _curve(comparison: Comparison, task: str, limit: int) -> Panel:
    with panel(f"curve {task}", 2.3) as (axes, finish):
        descriptions = []
        ends: list[tuple[Curve, str]] = []
        longest = 1
        for actor in reversed(comparison.actors):
            if (task, actor) not in comparison.episodes:
                continue
            episodes, kind = comparison.episodes[task, actor], comparison.kinds[actor]
            curve = time_to_success(episodes.steps, episodes.success, limit)
            color = KINDS[kind]
            axes.fill_between(
                curve.steps,
                100 * curve.low,
                100 * curve.high,
                step="post",
                color=color,
                alpha=0.13,
                linewidth=0,
            )
            axes.step(curve.steps, 100 * curve.share, where="post", color=color, linestyle=DASHES[kind])
            ends.append((curve, kind))
            solved_steps = episodes.steps[episodes.success]
            longest = max(longest, int(np.quantile(solved_steps, 0.98)) if solved_steps.size else 1)
            descriptions.append(f"{actor} {percent(curve.share[-1])} % in the end")
        end = min(limit, longest)
        for curve, kind in ends:
            _end_mark(axes, end, 100 * curve.share[np.searchsorted(curve.steps, end, side="right") - 1], kind)
        axes.set_xlim(0, end)
        axes.set_ylim(0, 103)
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("steps")
        axes.grid(axis="y")
        return finish(
            task, f"Share of {task} solved within so many steps: " + ", ".join(reversed(descriptions))
        )


def _effort(comparison: Comparison, task: str, crowd: Sequence[str]) -> Panel:
    with panel(f"effort {task}", 2.5) as (axes, finish):
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
            episodes = comparison.episodes[task, actor]
            for demonstrator in sorted(set(episodes.demonstrators.tolist())):
                points += 1
                _person(
                    axes,
                    episodes.success[episodes.demonstrators == demonstrator],
                    episodes.seconds[episodes.demonstrators == demonstrator],
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
        return finish(
            task,
            f"Success on {task} against time taken, one point for each of {counted(points, 'demonstrator')}",
        )


def _end_mark(axes: Axes, x: float, y: float, kind: str) -> None:
    """Plot an actor's marker at the right end of its line."""
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
    mean, color = float(seconds.mean()), KINDS[kind]
    axes.plot([mean, mean], [100 * rate.low, 100 * rate.high], color=color, linewidth=0.9, alpha=0.35)
    axes.plot(
        mean,
        100 * rate.estimate,
        MARKERS[kind],
        color=color,
        markersize=6 if kind == "person" else 4.5,
        markeredgecolor=PAPER,
        markeredgewidth=0.7,
        zorder=4,
    )


def _loss_scale(axes: Axes, series: Sequence[np.ndarray]) -> None:
    """Use a logarithmic axis if a loss spans more than a factor of ten and is above zero."""
    low = min(float(np.min(values)) for values in series)
    high = max(float(np.max(values)) for values in series)
    if low > 0 and high > 10 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def _label_ends(axes: Axes, metrics: Series, share: bool) -> None:
    """Write each series' name at its end, moved apart so that names do not overlap."""
    if len(metrics) < 2:
        return
    low, high = axes.get_ylim()
    gap = (high - low) / 14
    ends = sorted((float(v[-1]) * (100 if share else 1), name) for name, (_, v) in metrics.items())
    lowest = [name for _, name in ends if name != "mean"][: NAMED - 1]
    ends = [end for end in ends if end[1] in (*lowest, "mean")]
    position = -np.inf
    places: list[tuple[float, str]] = []
    for value, name in ends:
        position = max(value, position + gap)
        places.append((position, name))
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
