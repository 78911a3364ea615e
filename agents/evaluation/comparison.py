"""Rows → what a report says: one cell a task and actor, means over tasks, the policy against each other."""

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
"""Who stands first in every table and plot."""

REFERENCES = ("expert", "chance")
"""Kinds of actors that others are measured against."""

MANY = 12
"""Tasks that a page can show one by one; of more, those come first that the subject finds hardest."""


@dataclass(frozen=True)
class EpisodeArrays:
    """The episodes of one actor on one task, as arrays `[n]` in the order of the rows."""

    kind: str
    demonstrators: np.ndarray
    seeds: np.ndarray
    success: np.ndarray
    rated: bool
    """Whether the task has a success rule; all of `success` is False without one."""
    returns: np.ndarray
    steps: np.ndarray
    seconds: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.seeds)

    def by_seed(self) -> dict[int, int]:
        """Map each seed to its first episode: an actor is paired once a seed."""
        first: dict[int, int] = {}
        for at, seed in enumerate(self.seeds.tolist()):
            first.setdefault(seed, at)
        return first


@dataclass(frozen=True)
class Cell:
    """What one actor reached on one task. `steps` is the median over all its episodes."""

    task: str
    actor: str
    success: Interval
    returns: Interval
    steps: float
    seconds: float
    seeds: tuple[int, int]


@dataclass(frozen=True)
class SuiteScore:
    """One actor over all tasks, each weighing the same; `score` is random 0, expert 1 where both played."""

    success: Interval
    score: Interval
    middle: Interval


@dataclass(frozen=True)
class PairedDifference:
    """The first actor against another on the same seeds of a task; `returns` is the mean difference."""

    task: str
    first: str
    second: str
    success: Paired
    returns: Interval


@dataclass(frozen=True)
class Leaders:
    """The `best` actors (several where equal), and those `tied` with them: whose intervals overlap theirs."""

    best: frozenset[str] = frozenset()
    tied: frozenset[str] = frozenset()


def leaders(measured: Mapping[str, Interval], kinds: Mapping[str, str]) -> Leaders:
    """Find the best of all actors that are no reference (expert, random), by the figures themselves.

    No actor is best that is not above random, or is compared with no other. `tied` are the other actors,
    random among them, whose interval overlaps that of the best.
    """
    values = {actor: figure for actor, figure in measured.items() if math.isfinite(figure.estimate)}
    rivals = {actor: figure for actor, figure in values.items() if kinds[actor] not in REFERENCES}
    others = {actor: figure for actor, figure in values.items() if kinds[actor] != "expert"}
    if not rivals or len(others) < 2:
        return Leaders()
    highest = max(figure.estimate for figure in rivals.values())
    if any(figure.estimate >= highest for actor, figure in others.items() if kinds[actor] == "chance"):
        return Leaders()
    best = frozenset(actor for actor, figure in rivals.items() if figure.estimate == highest)
    low = min(values[actor].low for actor in best)
    tied = frozenset(actor for actor, figure in others.items() if actor not in best and figure.high >= low)
    return Leaders(best, tied)


class Comparison:
    """All figures of a report, computed from rows alone; the same rows and seed give the same figures."""

    def __init__(self, rows: pa.Table, suite: Suite | None = None, seed: int = 0) -> None:
        self.suite = suite or _suite_of(rows)
        self.seed = seed
        self.failures = failures_of(rows)
        """(task, actor) → what went wrong; such a pair has no figures: those of the rest would mislead."""
        pairs = [*zip(*(rows[name].to_pylist() for name in ("task", "actor", "kind")), strict=True)]
        self.episodes = _grouped(rows, self.failures)
        kinds = {actor: kind for _, actor, kind in pairs}
        self.kinds: Mapping[str, str] = kinds
        self.actors = sorted(kinds, key=lambda one: KIND_ORDER.index(kinds[one]))
        there = dict.fromkeys(task for task, _, _ in pairs)
        known = [task.id for task in self.suite if task.id in there] if self.suite else []
        self.tasks = known + [one for one in there if one not in known]

    @property
    def subject(self) -> str:
        """The actor that the report is about: the first policy, else whoever stands first."""
        return self.actors[0]

    @cached_property
    def shown(self) -> list[str]:
        """The tasks in the order of drawings: the suite's, or the hardest first where there are many."""
        if len(self.tasks) <= MANY:
            return self.tasks
        mine = {task: cell for (task, actor), cell in self.cells.items() if actor == self.subject}
        return sorted(self.tasks, key=lambda task: mine[task].success.estimate if task in mine else 1.0)

    def by_return(self, task: str) -> bool:
        """Say whether success is a threshold on the return, or unknown, so that the return says more."""
        if not self.is_rated(task):
            return True
        if self.suite is None or not any(one.id == task for one in self.suite):
            return False
        rule = self.suite[task].success
        return rule.function is None and "return" in rule.text

    def is_rated(self, task: str) -> bool:
        """Say whether a task has a success rule."""
        return any(played.rated for (where, _), played in self.episodes.items() if where == task)

    @cached_property
    def rated(self) -> list[str]:
        """The tasks that have a success rule: means over tasks are of these."""
        return [task for task in self.tasks if self.is_rated(task)]

    def measured(self, task: str) -> dict[str, Interval]:
        """Return what counts on a task, by actor: its mean return, or its success."""
        cells = {actor: self.cells.get((task, actor)) for actor in self.actors}
        by_return = self.by_return(task)
        return {
            actor: cell.returns if by_return else cell.success
            for actor, cell in cells.items()
            if cell is not None
        }

    def leaders(self, task: str) -> Leaders:
        """Say which actors are best on a task, and which are tied with them."""
        return leaders(self.measured(task), self.kinds)

    @property
    def overall_leaders(self) -> Leaders:
        """Say which actors are best by mean success over tasks, and which are tied with them."""
        return leaders({actor: mean.success for actor, mean in self.overall.items()}, self.kinds)

    @cached_property
    def cells(self) -> dict[tuple[str, str], Cell]:
        """Every (task, actor) that has episodes."""
        return {
            (task, actor): self._cell(task, actor)
            for task, actor in itertools.product(self.tasks, self.actors)
            if (task, actor) in self.episodes
        }

    @cached_property
    def overall(self) -> dict[str, SuiteScore]:
        """Means over the tasks with a success rule, for actors that played all; empty for a single one."""
        if len(self.rated) < 2:
            return {}
        return {actor: self._overall(actor) for actor in self.actors if self._played_all(actor)}

    @cached_property
    def pairs(self) -> list[PairedDifference]:
        """The subject against every other actor, wherever they share seeds."""
        found = (
            self._pair(task, other)
            for task, other in itertools.product(self.tasks, self.actors)
            if other != self.subject
        )
        return [one for one in found if one is not None]

    def scores(self, task: str, actor: str) -> np.ndarray:
        """Return normalised returns `[n]`: 0 is random's mean and 1 the expert's on this task.

        Where one of them did not play, or they are no apart, the score is the success (0 or 1). What the
        two means are not sure of is not carried into any interval.
        """
        mine = self.episodes[task, actor]
        low, high = self._mean_of(task, "chance"), self._mean_of(task, "expert")
        if low is None or high is None or high - low <= 1e-9 * max(1.0, abs(high)):
            return mine.success.astype(float)
        return np.asarray((mine.returns - low) / (high - low))

    def shared(self, task: str, first: str, second: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices `[m]` into both actors' episodes on the seeds that both played."""
        if (task, first) not in self.episodes or (task, second) not in self.episodes:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        one, two = self.episodes[task, first].by_seed(), self.episodes[task, second].by_seed()
        both = [seed for seed in one if seed in two]
        return np.array([one[s] for s in both], np.int64), np.array([two[s] for s in both], np.int64)

    def generator(self, *names: str) -> np.random.Generator:
        """Return the generator of one figure, so that another actor's rows never change it."""
        words = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
        return np.random.default_rng([self.seed, int.from_bytes(words, "little")])

    def _cell(self, task: str, actor: str) -> Cell:
        mine = self.episodes[task, actor]
        return Cell(
            task=task,
            actor=actor,
            success=intervals.wilson(int(mine.success.sum()), len(mine)),
            returns=intervals.mean_interval(mine.returns, self.generator("return", task, actor)),
            steps=float(np.median(mine.steps)),
            seconds=float(mine.seconds.mean()),
            seeds=(int(mine.seeds.min()), int(mine.seeds.max())),
        )

    def _overall(self, actor: str) -> SuiteScore:
        success = [self.cells[task, actor].success for task in self.rated]
        scores = [self.scores(task, actor) for task in self.rated]
        return SuiteScore(
            intervals.mean_rate(success),
            intervals.task_mean(scores, self.generator("score", actor)),
            intervals.interquartile_mean(scores, self.generator("middle", actor)),
        )

    def _pair(self, task: str, other: str) -> PairedDifference | None:
        at, beside = self.shared(task, self.subject, other)
        if not at.size:
            return None
        mine, theirs = self.episodes[task, self.subject], self.episodes[task, other]
        generator = self.generator("pair", task, self.subject, other)
        return PairedDifference(
            task,
            self.subject,
            other,
            intervals.mcnemar(mine.success[at], theirs.success[beside]),
            intervals.paired_mean(mine.returns[at], theirs.returns[beside], generator),
        )

    def _played_all(self, actor: str) -> bool:
        return all((task, actor) in self.episodes for task in self.rated)

    def _mean_of(self, task: str, kind: str) -> float | None:
        found = [one for (where, _), one in self.episodes.items() if where == task and one.kind == kind]
        return float(found[0].returns.mean()) if found else None


def _suite_of(rows: pa.Table) -> Suite | None:
    """Load the shipped suite that the rows name, if there is one: it knows what success means."""
    names = rows["suite"].unique().to_pylist()
    if len(names) != 1 or ":" in names[0] or not (names[0] in suite_names() or is_registered(names[0])):
        return None  # a file or a module that rows of strangers name is not looked at
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
    found: dict[tuple[str, str], EpisodeArrays] = {}
    for task, actor in dict.fromkeys(zip(column["task"].tolist(), column["actor"].tolist(), strict=True)):
        mask = (column["task"] == task) & (column["actor"] == actor)
        found[task, actor] = EpisodeArrays(
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
    return found
