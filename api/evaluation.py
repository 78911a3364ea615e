"""Measure actors from a program: policies, named actors and objects of one's own, on the same seeds."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..datasets.trajectory import Trajectory
from ..envs.suite import Suite
from ..envs.task import seed_range
from ..errors import TutelageError
from ..foreign_code.trust import trust
from .policies import Run, TrainedPolicy, load_policy
from .suites import SuiteSource, load_suite
from .training import StoreSource, open_stores

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class EvaluationTable:
    """Every actor on every task, with 95 % intervals; what prints it shows the terminal's table."""

    rows: pa.Table
    suite: Suite

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return the table as CSV, a line a task and actor; write it to `path` as well."""
        return self._as(".csv", path)

    def to_latex(self, path: str | Path | None = None) -> str:
        """Return the table as a LaTeX `tabular` (booktabs); write it to `path` as well."""
        return self._as(".tex", path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Return the table as Markdown; write it to `path` as well."""
        return self._as(".md", path)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a DataFrame, a row a task and actor: n, estimate, low, high, best, tied.

        Raises TutelageError without pandas.
        """
        try:
            import pandas
        except ImportError:
            raise TutelageError("expected pandas, which is not installed: pip install pandas") from None
        from ..agents.evaluation.table_files import TABLE_COLUMNS, table_lines

        return pandas.DataFrame(table_lines(self.rows, self.suite), columns=list(TABLE_COLUMNS))

    def __str__(self) -> str:
        from rich.console import Console

        from ..agents.evaluation.tables import console_table

        console = Console(width=100, record=True, file=io.StringIO())
        console.print(console_table(self.rows, self.suite))
        return console.export_text().rstrip()

    def _as(self, ending: str, path: str | Path | None) -> str:
        from ..agents.evaluation.table_files import TABLES, write_table

        if path is not None:
            write_table(Path(path), self.rows, self.suite)
        return TABLES[ending](self.rows, self.suite)


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation gave: `rows`, a row an episode, and what failed."""

    suite: Suite
    rows: pa.Table
    episodes: Sequence[Trajectory]
    """Every episode that was played, and those of people."""
    failures: Mapping[tuple[str, str], str]
    """(task, actor) → what went wrong, wherever something did."""
    notes: Sequence[str] = ()
    """What to know beside the figures: episodes of people that were left out, episodes that were there."""

    def table(self) -> EvaluationTable:
        """Return the figures of every actor on every task."""
        return EvaluationTable(self.rows, self.suite)

    def summary(self) -> dict[str, Any]:
        """Return every figure as plain data: cells, paired differences, means over tasks."""
        from ..agents.evaluation.tables import summary

        return summary(self.rows, self.suite)

    def report(self, path: str | Path, *, runs: Sequence[Run | str | Path] = (), title: str = "") -> Path:
        """Write the report: one HTML page that needs nothing else, with the curves of training `runs`."""
        from ..agents.evaluation.report.report import write_report

        return write_report(
            Path(path),
            suite=self.suite,
            rows=self.rows,
            trajectories=list(self.episodes),
            train_runs=[run.path if isinstance(run, Run) else Path(run) for run in runs],
            stores=[],
            title=title or f"Tutelage: {self.suite.name}",
        )


def evaluate(
    suite: SuiteSource,
    actors: Sequence[Any],
    *,
    episodes: int | None = None,
    seeds: str = "test",
    out: str | Path | None = None,
    people: StoreSource | Sequence[StoreSource] = (),
    greedy: bool = True,
    seed: int = 0,
    workers: int = 1,
    device: str = "auto",
    progress: bool = False,
) -> EvaluationResult:
    """Let every actor play the same unseen seeds of every task that it can play.

    `actors` are runs, folders of runs or checkpoints, trained policies, "expert", "crowd" (simulated),
    "random", `"package.module:Object"`, and objects with `act(observation)`, see `ObjectActor`.
    `episodes` is the suite's own number if not given. `people` are stores of what people did on these
    seeds. With `out`, the evaluation is written there, for `tutelage report`; the same call goes on
    where it was stopped, unless objects of the program act. What is not `greedy` is drawn, with `seed`.
    Runs and checkpoints compute on `device` (see `load_policy`).
    More than one of `workers` starts processes: call it under `if __name__ == "__main__":`, with actors
    that can be pickled. Raises TutelageError for two actors of one name, and where no actor can play a
    task.
    """
    from ..agents.evaluation.compare import measure_actors
    from ..agents.evaluation.evaluate import progress_bars
    from ..agents.evaluation.rows import failures_of

    chosen = load_suite(suite)
    sources = [load_policy(source, device=device) if _is_run(source) else source for source in actors]
    policies = [source for source in sources if isinstance(source, TrainedPolicy)]
    playing = [_actor(source, greedy, seed, is_only=len(policies) == 1) for source in sources]
    with progress_bars() if progress else nullcontext(None) as report:
        result = measure_actors(
            chosen,
            playing,
            None if out is None else Path(out),
            policies={policy.path.name: policy.seal for policy in policies},
            episodes=episodes or 0,
            seeds=seed_range(seeds),
            people=open_stores(people),
            greedy=greedy,
            seed=seed,
            workers=workers,
            progress=report,
        )
    return EvaluationResult(
        chosen, result.rows, result.trajectories, failures_of(result.rows), list(result.notes)
    )


def _is_run(source: Any) -> bool:
    """Return whether an actor is named by the folder of a run or checkpoint."""
    return isinstance(source, Run | Path) or (isinstance(source, str) and Path(source).is_dir())


def _actor(source: Any, greedy: bool, seed: int, is_only: bool) -> Any:
    from ..agents.evaluation.actors import PolicyActor
    from ..agents.evaluation.compare import ACTORS, actor_spec, builtin_actor
    from ..agents.evaluation.own_actor import ObjectActor, OwnActor

    if isinstance(source, TrainedPolicy):
        name = "policy" if is_only else source.path.name
        return PolicyActor(source.network, name=name, greedy=greedy, seed=seed)
    if isinstance(source, str):
        spec = actor_spec(source, "an actor")
        if spec.name in ACTORS:
            return builtin_actor(spec.name, seed)
        trust([spec.module] if spec.module else [])  # the caller has named it
        return OwnActor(spec)
    if hasattr(source, "begin") and hasattr(source, "act"):
        return source
    if isinstance(source, type) or not hasattr(source, "act"):
        raise TutelageError(
            f"expected an object with act(observation) as an actor, got {source!r}; pass an instance"
        )
    return ObjectActor(source)
