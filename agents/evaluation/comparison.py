"""Rows → the figures of a report: cells by task and actor, means over tasks, paired differences."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from ... import intervals
from ...envs.suite import Suite, is_registered, load_suite, suite_names
from ...errors import TutelageError
from ...intervals import Interval, Paired
from .rows import failures_of

KIND_ORDER = ("policy", "person", "simulated", "expert", "chance")
"""Order of actors in tables and plots."""

REFERENCES = ("expert", "chance")
"""Kinds of actors that serve as references."""

MANY = 12
"""Most tasks that a page shows one by one; of more, the subject's hardest come first."""


@dataclass(frozen=True)
class EpisodeArrays:
    """Episodes of one actor on one task as arrays `[n]`, in the order of the rows."""

    kind: str
    demonstrators: np.ndarray
    seeds: np.ndarray
    success: np.ndarray
    rated: bool
    """Whether the task has a success rule; without one all of `success` is False."""
    returns: np.ndarray
    steps: np.ndarray
    seconds: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.seeds)

    def by_seed(self) -> dict[int, int]:
        """Map each seed to the index of its first episode: pairing uses one episode a seed."""
        first: dict[int, int] = {}
        for index, seed in enumerate(self.seeds.tolist()):
            first.setdefault(seed, index)
        return first


@dataclass(frozen=True)
class Cell:
    """Results of one actor on one task. `steps` is the median and `seconds` the mean over its episodes."""

    task: str
    actor: str
    success: Interval
    returns: Interval
    steps: float
    seconds: float
    seeds: tuple[int, int]


@dataclass(frozen=True)
class SuiteScore:
    """Mean of one actor over all tasks with equal weights; `score` is 0 for random and 1 for the expert."""

    success: Interval
    score: Interval
    middle: Interval


@dataclass(frozen=True)
class PairedDifference:
    """Paired comparison of two actors on the same seeds of a task; `returns` is the mean difference."""

    task: str
    first: str
    second: str
    success: Paired
    returns: Interval


@dataclass(frozen=True)
class Leaders:
    """The `best` actors (several if equal), and those `tied`, whose intervals overlap that of the best."""

    best: frozenset[str] = frozenset()
    tied: frozenset[str] = frozenset()


def leaders(measured: Mapping[str, Interval], kinds: Mapping[str, str]) -> Leaders:
    """Return the best actors, by point estimate, among those that are no reference (expert, random).

    An actor must be above random and compared with at least one other to be best. `tied` are the other
    actors, including random, whose interval overlaps that of the best.
    """
    values = {actor: figure for actor, figure in measured.items() if math.isfinite(figure.estimate)}
    rivals = {actor: figure for actor, figure in values.items() if kinds[actor] not in REFERENCES}
    compared = {actor: figure for actor, figure in values.items() if kinds[actor] != "expert"}
    if not rivals or len(compared) < 2:
        return Leaders()
    highest = max(figure.estimate for figure in rivals.values())
    if any(figure.estimate >= highest for actor, figure in compared.items() if kinds[actor] == "chance"):
        return Leaders()
    best = frozenset(actor for actor, figure in rivals.items() if figure.estimate == highest)
    low = min(values[actor].low for actor in best)
    tied = frozenset(actor for actor, figure in compared.items() if actor not in best and figure.high >= low)
    return Leaders(best, tied)


class Comparison:
    """All figures of a report, a deterministic function of rows and seed."""

    def __init__(self, rows: pa.Table, suite: Suite | None = None, seed: int = 0) -> None:
        self.suite = suite or _suite_of(rows)
        self.seed = seed
        self.failures = failures_of(rows)
        """(task, actor) → error; such a pair has no figures: those of the rest would mislead."""
        pairs = [*zip(*(rows[name].to_pylist() for name in ("task", "actor", "kind")), strict=True)]
        self.episodes = _grouped(rows, self.failures)
        kinds = {actor: kind for _, actor, kind in pairs}
        self.kinds: Mapping[str, str] = kinds
        self.actors = sorted(kinds, key=lambda actor: KIND_ORDER.index(kinds[actor]))
        played = dict.fromkeys(task for task, _, _ in pairs)
        in_suite = [task.id for task in self.suite if task.id in played] if self.suite else []
        self.tasks = in_suite + [task for task in played if task not in in_suite]

    @property
    def subject(self) -> str:
        """The actor that the report is about: the first policy, else the first actor."""
        return self.actors[0]

    @cached_property
    def shown(self) -> list[str]:
        """The tasks in the order of plots: the suite's, or hardest first if there are more than MANY."""
        if len(self.tasks) <= MANY:
            return self.tasks
        cells = {task: cell for (task, actor), cell in self.cells.items() if actor == self.subject}
        return sorted(self.tasks, key=lambda task: cells[task].success.estimate if task in cells else 1.0)

    def by_return(self, task: str) -> bool:
        """Return whether a task is measured by return: success is unknown or a threshold on the return."""
        if not self.is_rated(task):
            return True
        if self.suite is None or not any(listed.id == task for listed in self.suite):
            return False
        rule = self.suite[task].success
        return rule.function is None and "return" in rule.text

    def is_rated(self, task: str) -> bool:
        """Return whether a task has a success rule."""
        return any(played.rated for (where, _), played in self.episodes.items() if where == task)

    @cached_property
    def rated(self) -> list[str]:
        """The tasks with a success rule; means over tasks use these."""
        return [task for task in self.tasks if self.is_rated(task)]

    def measured(self, task: str) -> dict[str, Interval]:
        """Return the main measure of a task by actor: mean return or success."""
        cells = {actor: self.cells.get((task, actor)) for actor in self.actors}
        by_return = self.by_return(task)
        return {
            actor: cell.returns if by_return else cell.success
            for actor, cell in cells.items()
            if cell is not None
        }

    def leaders(self, task: str) -> Leaders:
        """Return the actors that are best on a task, and those tied with them."""
        return leaders(self.measured(task), self.kinds)

    @property
    def overall_leaders(self) -> Leaders:
        """Return the actors that are best by mean success over tasks, and those tied with them."""
        return leaders({actor: mean.success for actor, mean in self.overall.items()}, self.kinds)

    @cached_property
    def cells(self) -> dict[tuple[str, str], Cell]:
        """Cells of every (task, actor) with episodes."""
        return {
            (task, actor): self._cell(task, actor)
            for task, actor in itertools.product(self.tasks, self.actors)
            if (task, actor) in self.episodes
        }

    @cached_property
    def overall(self) -> dict[str, SuiteScore]:
        """Means over the tasks with a success rule, for actors that played all; {} for fewer than 2 tasks."""
        if len(self.rated) < 2:
            return {}
        return {actor: self._overall(actor) for actor in self.actors if self._played_all(actor)}

    @cached_property
    def pairs(self) -> list[PairedDifference]:
        """The subject paired with every other actor, on tasks where they share seeds."""
        pairs = (
            self._pair(task, actor)
            for task, actor in itertools.product(self.tasks, self.actors)
            if actor != self.subject
        )
        return [pair for pair in pairs if pair is not None]

    def scores(self, task: str, actor: str) -> np.ndarray:
        """Return normalized returns `[n]`: 0 is the mean of random and 1 that of the expert on this task.

        If one of them did not play, or the expert is not above chance, the score is the success (0 or 1).
        Intervals do not cover the uncertainty of these two means.
        """
        episodes = self.episodes[task, actor]
        low, high = self._mean_of(task, "chance"), self._mean_of(task, "expert")
        if low is None or high is None or high - low <= 1e-9 * max(1.0, abs(high)):
            return episodes.success.astype(float)
        return np.asarray((episodes.returns - low) / (high - low))

    def shared(self, task: str, first: str, second: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices `[m]` into both actors' episodes on the seeds that both played."""
        if (task, first) not in self.episodes or (task, second) not in self.episodes:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        first_index, second_index = (
            self.episodes[task, first].by_seed(),
            self.episodes[task, second].by_seed(),
        )
        seeds = [seed for seed in first_index if seed in second_index]
        return np.array([first_index[seed] for seed in seeds], np.int64), np.array(
            [second_index[seed] for seed in seeds], np.int64
        )

    def generator(self, *names: str) -> np.random.Generator:
        """Return the generator of one figure, so that rows of other actors do not change it."""
        words = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
        return np.random.default_rng([self.seed, int.from_bytes(words, "little")])

    def _cell(self, task: str, actor: str) -> Cell:
        episodes = self.episodes[task, actor]
        return Cell(
            task=task,
            actor=actor,
            success=intervals.wilson(int(episodes.success.sum()), len(episodes)),
            returns=intervals.mean_interval(episodes.returns, self.generator("return", task, actor)),
            steps=float(np.median(episodes.steps)),
            seconds=float(episodes.seconds.mean()),
            seeds=(int(episodes.seeds.min()), int(episodes.seeds.max())),
        )

    def _overall(self, actor: str) -> SuiteScore:
        success = [self.cells[task, actor].success for task in self.rated]
        scores = [self.scores(task, actor) for task in self.rated]
        return SuiteScore(
            intervals.mean_rate(success),
            intervals.task_mean(scores, self.generator("score", actor)),
            intervals.interquartile_mean(scores, self.generator("middle", actor)),
        )

    def _pair(self, task: str, opponent: str) -> PairedDifference | None:
        subject_rows, opponent_rows = self.shared(task, self.subject, opponent)
        if not subject_rows.size:
            return None
        subject, against = self.episodes[task, self.subject], self.episodes[task, opponent]
        generator = self.generator("pair", task, self.subject, opponent)
        return PairedDifference(
            task,
            self.subject,
            opponent,
            intervals.mcnemar(subject.success[subject_rows], against.success[opponent_rows]),
            intervals.paired_mean(subject.returns[subject_rows], against.returns[opponent_rows], generator),
        )

    def _played_all(self, actor: str) -> bool:
        return all((task, actor) in self.episodes for task in self.rated)

    def _mean_of(self, task: str, kind: str) -> float | None:
        matches = [
            episodes
            for (where, _), episodes in self.episodes.items()
            if where == task and episodes.kind == kind
        ]
        return float(matches[0].returns.mean()) if matches else None


def _suite_of(rows: pa.Table) -> Suite | None:
    """Load the shipped suite that the rows name, if any, for its success rules."""
    names = rows["suite"].unique().to_pylist()
    if len(names) != 1 or ":" in names[0] or not (names[0] in suite_names() or is_registered(names[0])):
        return None  # untrusted rows must not load a file or a module
    try:
        return load_suite(names[0])
    except TutelageError:
        return None


def _grouped(rows: pa.Table, failures: Container[tuple[str, str]]) -> dict[tuple[str, str], EpisodeArrays]:
    if not len(rows):
        raise TutelageError("expected rows to compare, got none; evaluate at least one episode")
    pairs = zip(rows["task"].to_pylist(), rows["actor"].to_pylist(), strict=True)
    rows = rows.filter(pa.array([pair not in failures for pair in pairs], pa.bool_()))
    # combine_chunks: strings read from Parquet may come in several chunks
    column = {name: rows[name].combine_chunks().to_numpy(zero_copy_only=False) for name in rows.column_names}
    groups: dict[tuple[str, str], EpisodeArrays] = {}
    for task, actor in dict.fromkeys(zip(column["task"].tolist(), column["actor"].tolist(), strict=True)):
        mask = (column["task"] == task) & (column["actor"] == actor)
        groups[task, actor] = EpisodeArrays(
            kind=str(column["kind"][mask][0]),
            demonstrators=column["demonstrator"][mask],
            seeds=column["seed"][mask],
            success=np.array([bool(value) for value in column["success"][mask]]),
            rated=any(value is not None for value in column["success"][mask]),
            returns=column["return"][mask],
            steps=column["steps"][mask],
            seconds=column["seconds"][mask],
            ids=column["episode"][mask],
        )
    return groups
