"""From folders to figures: a policy beside people, the expert, the simulated crowd and random actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...console.wording import counted
from ...datasets.simulation.simulated_crowd import crowd
from ...datasets.store import Store
from ...datasets.trajectory import Trajectory
from ...envs.suite import Suite, load_suite
from ...envs.task import TEST, SeedRange
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from ...foreign_code import objects
from ..training.metrics_log import METRICS
from .actors import Actor, ChanceActor, ExpertActor, PolicyActor, SimulatedActor
from .evaluate import best_of_select, evaluate
from .own_actor import OwnActor
from .parallel_rollout import Report
from .people import people_on
from .report.report import rows_of_report, write_plots, write_report
from .rows import failures_of, joined, rows_from
from .saved_evaluation import read_evaluation
from .table_files import write_all_rows, write_table
from .tables import console_table, summary

ACTORS = ("expert", "crowd", "random")
"""Actors of ours that may play the same seeds."""


@dataclass(frozen=True)
class EvaluationResult:
    """An evaluation on disk and in memory: rows (see `rows.SCHEMA`), and every episode that was played."""

    suite: Suite
    rows: pa.Table
    trajectories: list[Trajectory]
    notes: Sequence[str] = ()
    """What the person should know: people's episodes that were left out, what an earlier try had left."""

    @property
    def failures(self) -> list[str]:
        """A line for each task and actor that failed."""
        return [f"{task} · {actor}: failed: {why}" for (task, actor), why in failures_of(self.rows).items()]

    def table(self) -> Any:
        """Return the headline table for a terminal."""
        return console_table(self.rows, self.suite)

    def summary(self) -> dict[str, Any]:
        """Return the same figures for machines."""
        return summary(self.rows, self.suite) | {"failures": self.failures, "notes": list(self.notes)}


def measure(
    policies: Sequence[Path],
    out: Path,
    *,
    suite: str = "",
    episodes: int = 0,
    seeds: SeedRange = TEST,
    people: Sequence[Store] = (),
    actors: Sequence[str] = ACTORS,
    greedy: bool = True,
    seed: int = 0,
    workers: int = 1,
    progress: Report | None = None,
) -> EvaluationResult:
    """Let every actor play the same seeds, and write `rows.parquet` and the store `episodes` to `out`.

    `policies` are checkpoints or runs (whose kept checkpoint is meant). People are not asked to play:
    their rows are their own demonstrations on these seeds. `actors` are names of ACTORS, of installed entry
    points, or `package.module:Object` (see `own_actor`), whose modules must be trusted.
    """
    specs = [actor_spec(text) for text in actors]
    if not 0 <= seed < 2**63:
        raise TutelageError(f"expected --seed from 0 to {2**63 - 1}, got {seed}")
    if not policies:
        raise TutelageError("expected at least one policy to evaluate, got none")
    from ..policy.checkpoint import load

    loaded = [(path, load(_checkpoint(path))) for path in policies]
    chosen = load_suite(suite) if suite else loaded[0][1].suite
    playing: list[Actor] = [
        PolicyActor(
            checkpoint.policy, name="policy" if len(loaded) == 1 else path.name, greedy=greedy, seed=seed
        )
        for path, checkpoint in loaded
    ]
    makers: Mapping[str, Callable[[], Actor]] = {
        "expert": ExpertActor,
        "crowd": lambda: SimulatedActor(crowd(), name="simulated crowd"),
        "random": lambda: ChanceActor(seed=seed),
    }
    own = [OwnActor(spec) for spec in specs if spec.name not in ACTORS]
    playing += [*(makers[spec.name]() for spec in specs if spec.name in ACTORS), *own]
    played, notes = people_on(people, chosen, seeds.first(episodes or chosen.episodes))
    result = evaluate(
        chosen,
        playing,
        episodes=episodes or None,
        seeds=seeds,
        out=out,
        progress=progress,
        workers=workers,
        people=played,
        facts={
            "policies": {path.name: checkpoint.seal for path, checkpoint in loaded},
            "seeds": seeds.name,
            "seed": seed,
            # what is drawn depends on which episodes are played together
            "sampled": False if greedy else episodes or chosen.episodes,
            **({"own": [actor.fingerprint() for actor in own]} if own else {}),
        },
    )
    notes += [f"{counted(result.resumed, 'episode')} were there already"] if result.resumed else []
    notes += _unseen_infos(chosen, result.trajectories)
    return EvaluationResult(chosen, result.rows, result.trajectories, notes)


def actor_spec(text: str) -> objects.ObjectSpec:
    """Read what `--actor` names: an actor of ours, an entry point, or an object; raises TutelageError."""
    spec = objects.parse_text(text, "--actor", names=[*ACTORS, *objects.entry_points(objects.ACTORS)])
    if spec.name in ACTORS and spec.kwargs:
        raise TutelageError(
            f"expected no arguments for --actor {spec.name}, got {', '.join(spec.kwargs)}; leave them out"
        )
    return spec


@dataclass(frozen=True)
class ReportFiles:
    """The files that tell an evaluation: its `page` (None if not asked for), tables, rows and figures."""

    page: Path | None
    tables: list[Path]
    rows: list[Path]
    figures: list[Path]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say what was written, a line each; of figures, where and how many."""
        lines = [f"report: {self.page}"] if self.page else []
        lines += [f"table: {path}" for path in self.tables] + [f"rows: {path}" for path in self.rows]
        if self.figures:
            lines.append(f"figures: {counted(len(self.figures), 'file')} in {self.figures[0].parent}")
        return lines


def report_on(
    evaluation: Path,
    out: Path | None,
    *,
    runs: Sequence[Path] = (),
    stores: Sequence[Store] = (),
    people: Sequence[Store] = (),
    title: str = "",
    tables: Sequence[Path] = (),
    rows_files: Sequence[Path] = (),
    figures: Path | None = None,
) -> ReportFiles:
    """Tell an evaluation that lies in a folder, with what people have played since.

    `out` is the page, `tables` and `rows_files` are files whose endings say their format (see `table_files`),
    `figures` is a folder for every plot.
    Raises TutelageError naming what was changed in it, and a run without figures.
    """
    saved = read_evaluation(evaluation)
    store, rows = saved.store, saved.rows
    for run in runs:
        if not (run / METRICS).is_file():
            raise TutelageError(f"expected a training run at {run}, found no {METRICS} there; check the path")
    played, _ = people_on(people, store.suite, set(rows["seed"].to_pylist()))
    if played:
        rows = joined(
            [rows.filter(pa.compute.not_equal(rows["kind"], "person")), rows_from(played, "people")]
        )
    whole = rows_of_report(rows, store.suite, stores)
    page = None
    if out is not None:
        page = write_report(
            out,
            suite=store.suite,
            rows=rows,
            trajectories=[*store.trajectories(), *played],
            train_runs=list(runs),
            stores=list(stores),
            title=title or f"Tutelage: {store.suite.name}",
        )
    return ReportFiles(
        page,
        [write_table(path, whole, store.suite) for path in tables],
        [write_all_rows(path, whole) for path in rows_files],
        [] if figures is None else write_plots(figures, store.suite, rows, runs, stores),
    )


def select_success(
    suite: Suite, *, episodes: int, workers: int = 1, tell: Callable[[str, str], None] | None = None
) -> Callable[[Any], dict[str, float]]:
    """Return what chooses a checkpoint: policy → success by task on select seeds, environments reused.

    `tell` hears of tasks whose environments failed, see `best_of_select`.
    """
    environments: dict[str, list[TaskEnv]] = {}
    return lambda policy: best_of_select(
        policy, suite, episodes, environments=environments, workers=workers, tell=tell
    )


def _unseen_infos(suite: Suite, episodes: Sequence[Trajectory]) -> list[str]:
    """Name what success rules read from info, and no episode showed."""
    shown = {
        (episode.task, path)
        for episode in episodes
        for path, numbers in episode.infos.items()
        if not np.isnan(numbers).all()
    }
    played = {episode.task for episode in episodes}
    return [
        f"task {task.id!r}: no episode showed {path.text}, which its success rule reads; it counts as false"
        for task in suite
        for path in task.success.paths
        if task.id in played and (task.id, path.text) not in shown
    ]


def _checkpoint(path: Path) -> Path:
    return path / "kept" if (path / "kept").is_dir() else path
