"""Measure actors from a program: policies, named actors and objects of one's own, on the same seeds."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..datasets.trajectory import Trajectory
from ..envs.suite import Suite
from ..envs.task import SEED_RANGES
from ..errors import TutelageError, nearest
from ..foreign_code.objects import is_object_text, parse_text
from ..foreign_code.trust import trust
from .policies import Run, TrainedPolicy, load_policy
from .suites import SuiteSource, load_suite
from .training import StoreSource, open_stores

if TYPE_CHECKING:
    import pandas

ACTORS = ("expert", "crowd", "random")
"""Actors that come along: the task's expert, the simulated crowd, uniformly random actions."""


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
        return pandas.read_csv(io.StringIO(self.to_csv()))

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
    progress: bool = False,
) -> EvaluationResult:
    """Let every actor play the same unseen seeds of every task that it can play.

    `actors` are runs, folders of runs or checkpoints, trained policies, "expert", "crowd" (simulated),
    "random", `"package.module:Object"`, and objects with `act(observation)`, see `ObjectActor`.
    `episodes` is the suite's own number if not given. `people` are stores of what people did on these
    seeds. With `out`, the evaluation is written there, for `tutelage report`. What is not `greedy` is
    drawn, with `seed`. More than one of `workers` starts processes: call it under `if __name__ ==
    "__main__":`, with actors that can be pickled. Raises TutelageError for two actors of one name, and
    where no actor can play a task.
    """
    from ..agents.evaluation.evaluate import evaluate as measure
    from ..agents.evaluation.evaluate import progress_bars
    from ..agents.evaluation.people import people_on

    chosen = load_suite(suite)
    if seeds not in SEED_RANGES:
        raise TutelageError(
            f"expected seeds from {', '.join(SEED_RANGES)}, got {seeds!r}{nearest(seeds, SEED_RANGES)}"
        )
    played, _ = people_on(open_stores(people), chosen, SEED_RANGES[seeds].first(episodes or chosen.episodes))
    with progress_bars() if progress else nullcontext(None) as report:
        result = measure(
            chosen,
            _named([_actor(source, greedy, seed) for source in actors]),
            episodes=episodes,
            seeds=SEED_RANGES[seeds],
            out=None if out is None else Path(out),
            people=played,
            workers=workers,
            progress=report,
            facts=None if out is None else {"seeds": seeds, "seed": seed},
        )
    return EvaluationResult(chosen, result.rows, result.trajectories, result.failures)


def _actor(source: Any, greedy: bool, seed: int) -> Any:
    from ..agents.evaluation.actors import ChanceActor, ExpertActor, PolicyActor, SimulatedActor
    from ..agents.evaluation.own_actor import ObjectActor, OwnActor
    from ..datasets.simulation.simulated_crowd import crowd

    makers: Mapping[str, Callable[[], Any]] = {
        "expert": ExpertActor,
        "crowd": lambda: SimulatedActor(crowd()),
        "random": lambda: ChanceActor(seed=seed),
    }
    if isinstance(source, str) and source in makers:
        return makers[source]()
    if isinstance(source, str) and is_object_text(source) and not Path(source).exists():
        spec = parse_text(source, "an actor", names=None)
        trust([spec.module])  # the caller has named it
        return OwnActor(spec)
    if isinstance(source, Run | TrainedPolicy | str | Path):
        if isinstance(source, str) and not Path(source).exists():
            raise TutelageError(
                f"expected an actor ({', '.join(makers)}) or the folder of a run, got {source!r}"
                f"{nearest(source, makers)}"
            )
        policy = source if isinstance(source, TrainedPolicy) else load_policy(source)
        return PolicyActor(policy.network, name=policy.path.name, greedy=greedy, seed=seed)
    if hasattr(source, "begin") and hasattr(source, "act"):
        return source
    if isinstance(source, type) or not hasattr(source, "act"):
        raise TutelageError(
            f"expected an object with act(observation) as an actor, got {source!r}; pass an instance"
        )
    return ObjectActor(source)


def _named(actors: list[Any]) -> list[Any]:
    """Give the only policy the name that reports of one policy have."""
    from ..agents.evaluation.actors import PolicyActor

    policies = [actor for actor in actors if isinstance(actor, PolicyActor)]
    if len(policies) == 1:
        policies[0].name = "policy"
    return actors
