"""Evaluate policies beside people, expert, simulated crowd and random actions, and report the results."""

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
from ...envs.recorded import is_recorded_only
from ...envs.suite import Suite, load_suite
from ...envs.task import TEST, SeedRange
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from ...foreign_code import objects
from ..training.metrics_log import METRICS
from .actors import Actor, ChanceActor, ExpertActor, PolicyActor, SimulatedActor, plays
from .evaluate import best_of_select, evaluate
from .own_actor import OwnActor
from .parallel_rollout import ProgressCallback
from .people import people_on
from .report.report import rows_of_report, write_plots, write_report
from .rows import failures_of, joined, rows_from
from .saved_evaluation import read_evaluation
from .table_files import write_all_rows, write_table
from .tables import console_table, summary

ACTORS = ("expert", "crowd", "random")
"""Built-in actors that may play the same seeds as the policies."""


@dataclass(frozen=True)
class EvaluationResult:
    """A finished evaluation: rows (see `rows.SCHEMA`) and all episodes."""

    suite: Suite
    rows: pa.Table
    trajectories: list[Trajectory]
    notes: Sequence[str] = ()
    """Notes for the user: omitted episodes of people, episodes reused from an earlier attempt."""

    @property
    def failures(self) -> list[str]:
        """One line for each task and actor that failed."""
        return [f"{task} · {actor}: failed: {why}" for (task, actor), why in failures_of(self.rows).items()]

    def table(self) -> Any:
        """Return the headline table for a terminal."""
        return console_table(self.rows, self.suite)

    def summary(self) -> dict[str, Any]:
        """Return the same figures as plain data for JSON."""
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
    device: str = "auto",
    progress: ProgressCallback | None = None,
) -> EvaluationResult:
    """Evaluate all actors on the same seeds; writes `rows.parquet` and the store `episodes` to `out`.

    `policies` are checkpoints, or runs, of which the kept checkpoint is used. Rows of people are their
    demonstrations on these seeds. `actors` are names of ACTORS, of installed entry points, or
    `package.module:Object` (see `own_actor`), whose modules must be trusted. Policies compute on `device`
    (see `devices.choose_device`); in worker processes on the processor. Raises TutelageError for invalid
    arguments.
    """
    specs = [actor_spec(text) for text in actors]
    _check_seed(seed)  # before checkpoints are read
    if not policies:
        raise TutelageError("expected at least one policy to evaluate, got none")
    from ..policy.checkpoint import load

    loaded = {path: load(checkpoint_of(path), device) for path in policies}
    playing: list[Actor] = [
        PolicyActor(
            checkpoint.policy, name="policy" if len(loaded) == 1 else path.name, greedy=greedy, seed=seed
        )
        for path, checkpoint in loaded.items()
    ]
    playing += [builtin_actor(spec.name, seed) for spec in specs if spec.name in ACTORS]
    playing += [OwnActor(spec) for spec in specs if spec.name not in ACTORS]
    return measure_actors(
        load_suite(suite) if suite else loaded[policies[0]].suite,
        playing,
        out,
        policies={path.name: checkpoint.seal for path, checkpoint in loaded.items()},
        episodes=episodes,
        seeds=seeds,
        people=people,
        greedy=greedy,
        seed=seed,
        workers=workers,
        progress=progress,
    )


def measure_actors(
    suite: Suite,
    actors: Sequence[Actor],
    out: Path | None,
    *,
    policies: Mapping[str, str],
    episodes: int = 0,
    seeds: SeedRange = TEST,
    people: Sequence[Store] = (),
    greedy: bool = True,
    seed: int = 0,
    workers: int = 1,
    progress: ProgressCallback | None = None,
) -> EvaluationResult:
    """Evaluate actors on the same seeds, as `measure` does; nothing is written without `out`.

    `policies` maps the name of each policy among the actors to the seal of its checkpoint. An evaluation that
    was stopped goes on only where every actor is one whose actions are known by its name and these facts.
    """
    _check_seed(seed)
    played, notes = people_on(people, suite, seeds.first(episodes or suite.episodes))
    fingerprints = [actor.fingerprint() for actor in actors if isinstance(actor, OwnActor)]
    facts = {
        "policies": dict(policies),
        "seeds": seeds.name,
        "seed": seed,
        # samples depend on which episodes form a batch
        "sampled": False if greedy else episodes or suite.episodes,
        **({"own": fingerprints} if fingerprints else {}),
    }
    result = evaluate(
        suite,
        actors,
        episodes=episodes or None,
        seeds=seeds,
        out=out,
        progress=progress,
        workers=workers,
        people=played,
        facts=facts if all(isinstance(actor, _KNOWN) for actor in actors) else None,
    )
    notes += _not_played(suite, actors)
    notes += [f"{counted(result.resumed, 'episode')} were there already"] if result.resumed else []
    notes += _unseen_infos(suite, result.trajectories)
    return EvaluationResult(suite, result.rows, result.trajectories, notes)


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise TutelageError(f"expected --seed from 0 to {2**63 - 1}, got {seed}")


_KNOWN = (PolicyActor, ExpertActor, SimulatedActor, ChanceActor, OwnActor)


def builtin_actor(name: str, seed: int) -> Actor:
    """Return the actor that a name of ACTORS stands for; `seed` is that of random actions."""
    makers: Mapping[str, Callable[[], Actor]] = {
        "expert": ExpertActor,
        "crowd": lambda: SimulatedActor(crowd()),
        "random": lambda: ChanceActor(seed=seed),
    }
    return makers[name]()


def actor_spec(text: str, what: str = "--actor") -> objects.ObjectSpec:
    """Read what names an actor: a built-in one, an entry point, or an object; raises TutelageError."""
    spec = objects.parse_text(text, what, names=[*ACTORS, *objects.entry_points(objects.ACTORS)])
    if spec.name in ACTORS and spec.kwargs:
        raise TutelageError(
            f"expected no arguments for {what} {spec.name}, got {', '.join(spec.kwargs)}; leave them out"
        )
    return spec


@dataclass(frozen=True)
class ReportFiles:
    """The files of a report: the HTML `page` (None if not requested), tables, rows and figures."""

    page: Path | None
    tables: list[Path]
    rows: list[Path]
    figures: list[Path]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return one line a written file; for figures, their folder and number."""
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
    """Report an evaluation from its folder, with episodes that people have recorded since.

    `out` is the page; the suffix of `tables` and `rows_files` selects their format (see `table_files`);
    `figures` is a folder for all plots. Raises TutelageError for an evaluation that was changed, and for a
    run without metrics.
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
    all_rows = rows_of_report(rows, store.suite, stores)
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
        [write_table(path, all_rows, store.suite) for path in tables],
        [write_all_rows(path, all_rows) for path in rows_files],
        [] if figures is None else write_plots(figures, store.suite, rows, runs, stores),
    )


def select_success(
    suite: Suite, *, episodes: int, workers: int = 1, tell: Callable[[str, str], None] | None = None
) -> Callable[[Any], dict[str, float]]:
    """Return the function that scores checkpoints: policy → success by task on select seeds.

    Environments are reused between calls. `tell` receives failures of environments, see `best_of_select`.
    """
    environments: dict[str, list[TaskEnv]] = {}
    return lambda policy: best_of_select(
        policy, suite, episodes, environments=environments, workers=workers, tell=tell
    )


def _not_played(suite: Suite, actors: Sequence[Actor]) -> list[str]:
    """Return notes on tasks that nobody can play, and on policies that play none."""
    recorded = [
        f"task {task.id!r} has recordings only: nobody plays it" for task in suite if is_recorded_only(task)
    ]
    idle = [
        f"{actor.name} was taught none of the tasks that are played here"
        for actor in actors
        if isinstance(actor, PolicyActor) and not any(plays(actor, task) for task in suite)
    ]
    return recorded + idle


def _unseen_infos(suite: Suite, episodes: Sequence[Trajectory]) -> list[str]:
    """Return notes on `info` entries that success rules read and no episode reported."""
    reported = {
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
        if task.id in played and (task.id, path.text) not in reported
    ]


def checkpoint_of(path: Path) -> Path:
    """Return the checkpoint that a path means: of a run, the kept one."""
    return path / "kept" if (path / "kept").is_dir() else path
