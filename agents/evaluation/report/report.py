"""The report: one self-contained HTML file."""

from __future__ import annotations

import datetime
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from ....console.wording import counted
from ....datasets.trajectory import Trajectory
from ....envs.suite import Suite
from ....envs.task import SEED_RANGES
from ....envs.task_env import TaskEnv
from ....files.atomic_files import disk_errors, write_whole
from ....foreign_code.trust import Untrusted
from ...training.metrics_log import METRICS, expect_steps, read_log
from ...training.run_log import read_rounds
from ..comparison import MANY, Comparison
from ..diagnostics import diagnose
from ..people import people_on
from ..rows import joined, rows_from
from ..tables import seeds_of
from . import sections
from .downloads import downloads
from .figure_files import write_figures
from .html import render_template
from .plots import Series
from .sections import NOTHING
from .worst_seeds import EpisodeFilm, WorstSeed, render, worst_seeds

if TYPE_CHECKING:
    from ....datasets.store import Store

REPLAY_BYTES = 4_000_000
"""Most bytes of all replays together; the whole page stays below six megabytes."""

_PACKAGES = ("tutelage", "gymnasium", "minigrid", "numpy", "scipy", "torch", "matplotlib")


def write_report(
    out: Path,
    *,
    suite: Suite,
    rows: pa.Table,
    trajectories: Sequence[Trajectory],
    train_runs: Sequence[Path],
    stores: Sequence[Store],
    title: str,
) -> Path:
    """Write the report of an evaluation to `out` (a file, or a folder that gets `report.html`).

    `rows` are those of all actors (see `rows.SCHEMA`); people's episodes in the stores on the same seeds are
    added. `trajectories` are the evaluation's episodes, for replays and diagnostics. `train_runs` are folders
    with a `metrics.jsonl`; their self-imitation rounds are plotted too. The file is written atomically.
    Raises TutelageError when there are no rows, or `out` cannot be written.
    """
    people = _people_of(rows, suite, stores)
    rows = joined([rows, rows_from(people)])
    comparison = Comparison(rows, suite)
    runs, self_imitation = _curves_of(train_runs)
    played = [*trajectories, *people]
    plays = _replays(comparison, suite, played)
    files, held = downloads(rows, suite)
    parts = [
        sections.standing(comparison),
        sections.picture(comparison),
        sections.headline(comparison),
        sections.failures(comparison),
        sections.paired(comparison),
        sections.solving(comparison, _limits(suite, comparison)),
        sections.people(comparison),
        _worst_section(comparison, plays),
        sections.habits(comparison, diagnose(suite, comparison, played, stores)),
        sections.training(runs, self_imitation),
        sections.demonstrations(stores, suite),
        files,
        _provenance_section(suite, comparison),
        render_template("words.html"),
    ]
    page = render_template(
        "report.html",
        title=title,
        subtitle=_subtitle(suite, comparison),
        style=_static("report.css"),
        script=_static("report.js"),
        downloads=_static("downloads.js"),
        sections=[part for part in parts if part],
        replays=[replay for replay, _ in plays],
        files=held,
    )
    return _write(out / "report.html" if out.is_dir() else out, page)


def write_plots(
    folder: Path, suite: Suite, rows: pa.Table, train_runs: Sequence[Path], stores: Sequence[Store]
) -> list[Path]:
    """Write every plot of the corresponding report to a folder, as SVG and PNG; returns the paths."""
    comparison = Comparison(rows_of_report(rows, suite, stores), suite)
    runs, self_imitation = _curves_of(train_runs)
    return write_figures(folder, comparison, _limits(suite, comparison), runs, self_imitation)


def _curves_of(
    train_runs: Sequence[Path],
) -> tuple[dict[str, tuple[Series, Series]], dict[str, Series]]:
    """Read the training curves of runs and of their self-imitation rounds, and success by round."""
    folders = [folder for run in train_runs for folder in (run, *self_imitation_runs(run))]
    self_imitation = {run.name: rounds for run in train_runs if (rounds := self_imitation_series(run))}
    return {run.name: series for run in folders if (series := read_metrics(run))}, self_imitation


def rows_of_report(rows: pa.Table, suite: Suite, stores: Sequence[Store]) -> pa.Table:
    """Add rows of people's episodes in the stores on the same seeds."""
    return joined([rows, rows_from(_people_of(rows, suite, stores))])


def _people_of(rows: pa.Table, suite: Suite, stores: Sequence[Store]) -> list[Trajectory]:
    people, _ = people_on(stores, suite, set(rows["seed"].to_pylist()), required=False)
    return list(people)


def self_imitation_runs(run: Path) -> list[Path]:
    """Return the folders of a run's self-imitation rounds, in order."""
    rounds = (
        folder
        for folder in run.glob("self-imitation-*")
        if folder.name.removeprefix("self-imitation-").isdecimal()
    )
    return sorted(rounds, key=lambda folder: int(folder.name.removeprefix("self-imitation-")))


def self_imitation_series(run: Path) -> Series:
    """Read a run's success on select seeds by round, for each task and the mean; {} without rounds."""
    rounds = read_rounds(run)
    before = _last_select(run)
    by_round = [*([before] if before else []), *(result.select for result in rounds)]
    if not rounds or len(by_round) < 2:
        return {}
    numbers = np.arange(len(by_round)) + (0 if before else 1)
    tasks = [task for task in by_round[0] if all(task in rates for rates in by_round)]
    series = {task: (numbers, np.array([rates[task] for rates in by_round])) for task in tasks}
    return {**series, "mean": (numbers, np.mean([values for _, values in series.values()], axis=0))}


def _last_select(run: Path) -> Mapping[str, float]:
    selections = [record["select"] for record in read_log(run).records if "select" in record]
    return dict(selections[-1]) if selections else {}


def read_metrics(run: Path) -> tuple[Series, Series] | None:
    """Read a run's `metrics.jsonl`: its training loss, and its success on select seeds by task and mean.

    None if there is no such file. An unfinished last line, which a killed run leaves, is ignored. Raises
    TutelageError naming a damaged line, or when lines are missing before the last checkpoint.
    """
    if not (run / METRICS).is_file():
        return None
    written = read_log(run)
    if (run / "last").is_dir():
        from ...policy.checkpoint import trained_steps

        expect_steps(run, written, trained_steps(run / "last"))
    loss: dict[str, list[tuple[float, float]]] = {}
    success: dict[str, list[tuple[float, float]]] = {}
    for record in written.records:
        for name, value in _flatten(record):
            if name in ("loss", "holdout_loss"):
                name = name.replace("holdout_loss", "held-out loss")
                loss.setdefault(name, []).append((float(record["step"]), value))
            elif name.split("/")[0] in ("success", "select"):
                success.setdefault(name.rsplit("/", 1)[-1], []).append((float(record["step"]), value))
    if len(success) > 1 and "mean" not in success:
        steps = [step for step, _ in next(iter(success.values()))]
        values = zip(*([value for _, value in points] for points in success.values()), strict=False)
        success["mean"] = [(s, float(np.mean(v))) for s, v in zip(steps, values, strict=False)]
    return _smoothed(_series(loss)), _series(success)


def _flatten(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    values: list[tuple[str, float]] = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            values += _flatten(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            values.append((f"{prefix}{name}", float(value)))
    return values


def _series(curves: Mapping[str, list[tuple[float, float]]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        name: (np.array([s for s, _ in points]), np.array([v for _, v in points]))
        for name, points in curves.items()
        if len(points) > 1
    }


def _smoothed(series: Series, most: int = 200) -> Series:
    """Average neighboring points so that at most `most` are plotted."""
    smoothed = {}
    for name, (steps, values) in series.items():
        parts = np.array_split(np.arange(len(steps)), min(most, len(steps)))
        smoothed[name] = (
            np.array([steps[part].mean() for part in parts]),
            np.array([values[part].mean() for part in parts]),
        )
    return smoothed


def _limits(suite: Suite, comparison: Comparison) -> dict[str, int]:
    """Return each task's time limit; of one that cannot be made here, the steps of its longest episode."""
    limits: dict[str, int] = {}
    for (name, _), arrays in comparison.episodes.items():
        limits[name] = max([limits.get(name, 1), *map(int, arrays.steps)])
    for task in suite:
        if task.id not in comparison.tasks:
            continue
        try:
            environment = TaskEnv(task)
            environment.reset(0)  # some environments have a limit only after a reset
            limits[task.id] = environment.limit
            environment.close()
        except Untrusted:
            raise
        except Exception:
            continue
    return limits


def _replays(
    comparison: Comparison, suite: Suite, trajectories: Sequence[Trajectory]
) -> list[tuple[dict[str, Any], WorstSeed]]:
    """Render the worst seeds' episodes of the subject and the expert, within the page's budget.

    With more than MANY tasks, only the hardest are rendered.
    """
    by_id = {trajectory.episode: trajectory for trajectory in trajectories}
    suite_tasks = {task.id for task in suite}
    chosen = [
        (suite[task], worst)
        for task in [task for task in comparison.shown if task in suite_tasks][:MANY]
        for worst in worst_seeds(comparison, task)
        if worst.episode in by_id
    ]
    budget = REPLAY_BYTES // max(1, 2 * len(chosen))
    replays = []
    for task, worst in chosen:
        pair = [(worst.episode, comparison.subject), (worst.beside, _expert(comparison))]
        plays: list[EpisodeFilm] = []
        for episode, actor in pair:
            if episode in by_id:
                try:
                    plays.append(render(by_id[episode], task, actor, budget))
                except Untrusted:
                    raise
                except Exception:  # an environment that cannot render, or fails, has no replays
                    continue
        if plays:
            about = {"task": task.id, "seed": worst.seed, "reason": worst.reason}
            replays.append(({**about, "plays": [film.to_dict() for film in plays]}, worst))
    return replays


def _expert(comparison: Comparison) -> str:
    return next((actor for actor in comparison.actors if comparison.kinds[actor] == "expert"), "expert")


def _worst_section(comparison: Comparison, plays: Sequence[tuple[dict[str, Any], WorstSeed]]) -> Markup:
    if not plays:
        return NOTHING
    return render_template(
        "worst.html",
        subject=comparison.subject,
        is_folded=len(comparison.tasks) > MANY,
        tasks=list(dict.fromkeys(str(replay["task"]) for replay, _ in plays)),
    )


def _provenance_section(suite: Suite, comparison: Comparison) -> Markup:
    first, last = seeds_of(comparison)
    ranges = [
        seed_range.name for seed_range in SEED_RANGES.values() if first in seed_range and last in seed_range
    ]
    counts = sorted({cell.success.n for cell in comparison.cells.values()}) or [0]
    facts = {
        "suite": suite.name,
        "tasks": ", ".join(comparison.tasks),
        "seeds": f"{first} to {last}" + (f" (the {ranges[0]} range)" if ranges else ""),
        "episodes": " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
        + " a task and actor",
        "bootstrap": f"2,000 resamples, seed {comparison.seed}",
        "command": _command(),
        "written": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": ", ".join(_versions()),
        "machine": f"{platform.system()} {platform.machine()}, {counted(os.cpu_count() or 1, 'processor')}",
    }
    return render_template("made.html", facts=facts, is_test=ranges == ["test"])


def _command() -> str:
    """Return the running command, without the folder of its program."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _versions() -> list[str]:
    versions = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return versions


def _subtitle(suite: Suite, comparison: Comparison) -> str:
    first, last = seeds_of(comparison)
    episodes = sum(len(arrays) for arrays in comparison.episodes.values())
    count = len(comparison.tasks)
    return (
        f"{suite.name} · {counted(count, 'task')} · {counted(len(comparison.actors), 'actor')} · "
        f"{counted(episodes, 'episode')} on seeds {first} to {last}"
    )


def _static(name: str) -> Markup:
    """Read a style sheet or a script of the page."""
    return Markup(resources.files(__package__).joinpath("static", name).read_text("utf-8"))


def _write(path: Path, page: str) -> Path:
    with disk_errors(path, "try again, or choose another file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page.encode())
    return path
