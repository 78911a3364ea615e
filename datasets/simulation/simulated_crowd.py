"""Simulated demonstrators, built on an expert: careful, noisy, slow, lazy, mistaken and hostile ones.

Covers: wrong keys, reaction times, giving up, misread tasks, sabotage. Does not cover: learning while
playing, fatigue, and errors that depend on the observation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from gymnasium import spaces

from ...console.signals import signals
from ...envs.experts import make_expert
from ...envs.keys.controls import Controls
from ...envs.suite import Suite, suite_from
from ...envs.task import RECORD, SeedRange, Task
from ...envs.task_env import TaskEnv
from ...errors import EnvironmentFailure, TutelageError
from ...foreign_code.trust import Untrusted
from ..batch_replay import replays_many
from ..episode_builder import EpisodeBuilder
from ..replay import prove
from ..schema import to_table
from ..store import Store
from ..trajectory import Trajectory
from ..versions import versions_of
from ..workers.parallel import JobDied, spread_safely
from .batch_simulation import play_batch, simulates
from .own_profile import profile_of
from .profiles import CROWD, SimulatedDemonstrator


class SimulatedPlayer:
    """A simulated demonstrator in one environment: perturbs the expert's actions according to its profile."""

    def __init__(self, demonstrator: SimulatedDemonstrator, environment: TaskEnv) -> None:
        self.demonstrator = demonstrator
        self._environment = environment
        self._expert = make_expert(environment.task, environment)
        self._controls: Controls = environment.controls()
        self._random = np.random.default_rng(0)
        self._against = False

    def begin(self, seed: int) -> None:
        """Begin the episode of `seed`; the environment has just been reset."""
        self._random = self.demonstrator.generator(self._environment.task, seed)
        profile = self.demonstrator.profile
        self._against = bool(self._random.random() < max(profile.against, profile.misread))
        self._expert.reset()

    def act(self) -> np.ndarray | None:
        """Return the next action, a row `[k]`; None abandons the episode."""
        profile, random = self.demonstrator.profile, self._random
        if random.random() < profile.give_up:
            return None
        action = None if self._against else self._expert.act()
        if action is None or random.random() < profile.slip:
            return self._random_key()
        return self._add_noise(action)

    def reaction_ms(self) -> float:
        """Draw the time until the next key press, in ms."""
        profile = self.demonstrator.profile
        wait = np.exp(profile.reaction_spread * self._random.standard_normal())
        return float(profile.reaction_ms * wait)

    def _random_key(self) -> np.ndarray:
        bindings = self._controls.bindings
        return np.array(bindings[self._random.integers(len(bindings))].action)

    def _add_noise(self, row: np.ndarray) -> np.ndarray:
        space = self._environment.action_space
        if not isinstance(space, spaces.Box) or not self.demonstrator.profile.wobble:
            return row
        low, high = space.low.ravel().astype(float), space.high.ravel().astype(float)
        noise = self.demonstrator.profile.wobble * (high - low) * self._random.standard_normal(row.shape)
        return np.clip(row + noise, low, high).astype(space.dtype).astype(float)


def crowd(counts: Mapping[str, int] = CROWD) -> list[SimulatedDemonstrator]:
    """Assemble the demonstrators, named `careful-01`, `careful-02`, ...; `counts` are of names of profiles.

    Raises TutelageError for a profile that does not exist, see `own_profile`.
    """
    profiles = [(profile_of(name), count) for name, count in counts.items()]
    names = [profile.name for profile, _ in profiles]
    if twice := [name for name in names if names.count(name) > 1]:
        raise TutelageError(f"expected profiles with different names, got {twice[0]!r} twice; rename one")
    return [
        SimulatedDemonstrator(f"{profile.name}-{i + 1:02d}", profile)
        for profile, count in profiles
        for i in range(count)
    ]


def deal(demonstrations: int, tasks: Sequence[str]) -> dict[str, int]:
    """Deal a number of episodes evenly to tasks; the last ones get the remainder."""
    return {task: (demonstrations + place) // len(tasks) for place, task in enumerate(reversed(tasks))}


def play(
    player: SimulatedPlayer, environment: TaskEnv, seed: int, suite: str, *, started: str = ""
) -> tuple[Trajectory, dict[str, np.ndarray]] | None:
    """Play one episode; return it with its observations, or None when it has no action.

    An abandoned episode is neither terminated nor truncated, and has no success.
    """
    step = environment.reset(seed)
    player.begin(seed)
    demonstrator = player.demonstrator
    builder = EpisodeBuilder(seed, demonstrator.name, demonstrator.kind, demonstrator.controller, keep=True)
    builder.start(step)
    clock, pace = 0.0, environment.task.fps
    while not step.done and (action := player.act()) is not None:
        clock = (len(builder.actions) + 1) * 1000 / pace if pace else clock + player.reaction_ms()
        step = environment.step(action)
        builder.add(action, step, int(clock))
    if not builder.actions:
        return None
    if not step.done:
        builder.notes = "walked away"
    trajectory = builder.build(
        environment, suite, versions_of(environment), started=started, steps_per_second=pace
    )
    observations = trajectory.observations
    assert observations is not None
    return replace(trajectory, observations=None), dict(observations)


def simulate(
    suite: Suite,
    out: Store,
    demonstrations: Mapping[str, int],
    *,
    demonstrators: Sequence[SimulatedDemonstrator] | None = None,
    seeds: SeedRange = RECORD,
    skip: int = 0,
    workers: int = 1,
    ray: str | None = None,
    progress: Callable[[str, int], None] | None = None,
    tell: Callable[[str, Mapping[int, str]], None] | None = None,
) -> int:
    """Play episodes with the simulated crowd, prove each by replay, store them; return their number.

    `demonstrations` maps task id → number of episodes; seeds run from the start of `seeds` (after `skip`),
    and the demonstrators take turns. `workers` and `ray` are those of `spread_safely`. `progress(task_id, n)`
    is called as episodes are stored. Episodes that are in the store already, from an interrupted call for
    example, are not played again; on Ctrl-C, completed episodes are stored. An episode whose environment
    raised an error is left out, and `tell(task_id, seed → reason)` is called; without `tell`,
    EnvironmentFailure is raised after all others are stored.
    """
    people = list(demonstrators or crowd())
    jobs = _jobs(suite, out, demonstrations, people, seeds, skip)
    stored, waiting = 0, list[pa.Table]()
    failures: dict[str, dict[int, str]] = {}
    if progress:
        for task_id, count in demonstrations.items():
            if stored_before := count - sum(
                len(remaining) for _, job_task, _, remaining in jobs if job_task == task_id
            ):
                progress(task_id, stored_before)
    try:
        for job, result in zip(jobs, spread_safely(_play_chunk, jobs, workers, ray), strict=True):
            task_id, job_seeds = job[1], job[3]
            if isinstance(result, JobDied):
                result = _Chunk(to_table([]), dict.fromkeys(job_seeds, str(result)))
            waiting.append(result.rows)
            failures.setdefault(task_id, {}).update(result.failures)
            if sum(map(len, waiting)) >= 4 * _CHUNK:
                with signals.held():
                    stored, waiting = stored + out.append_rows(pa.concat_tables(waiting)), []
            if progress:
                progress(task_id, len(job_seeds))
    finally:  # completed episodes are stored on any exception
        stored += out.append_rows(pa.concat_tables(waiting)) if waiting else 0
    for task_id, reasons in failures.items():
        if reasons and tell is None:
            raise EnvironmentFailure(f"task {task_id!r}: {next(iter(reasons.values()))}")
        if reasons and tell is not None:
            tell(task_id, reasons)
    return stored


def _jobs(
    suite: Suite,
    out: Store,
    demonstrations: Mapping[str, int],
    people: list[SimulatedDemonstrator],
    seeds: SeedRange,
    skip: int,
) -> list[_Job]:
    """Split the episodes that the store lacks into jobs: chunks of seeds of one task."""
    jobs: list[_Job] = []
    for task in suite:
        if not (count := demonstrations.get(task.id, 0)):
            continue
        remaining = _missing(out, task, people, seeds.first(count, skip))
        chunk = _BATCH_CHUNK if simulates(task) else _CHUNK
        jobs += [
            (suite.source, task.id, people, remaining[first : first + chunk])
            for first in range(0, len(remaining), chunk)
        ]
    return jobs


def _missing(
    out: Store, task: Task, people: Sequence[SimulatedDemonstrator], seeds: Sequence[int]
) -> list[int]:
    """Return the seeds of a task whose episode by the demonstrator in turn is not in the store."""
    rows = out.episodes()
    rows = rows.filter(pc.equal(rows["task"], task.id))
    stored = set(zip(rows["demonstrator"].to_pylist(), rows["seed"].to_pylist(), strict=True))
    return [seed for seed in seeds if (people[seed % len(people)].name, seed) not in stored]


_CHUNK, _BATCH_CHUNK = 100, 2000
_Job = tuple[Mapping[str, object], str, list[SimulatedDemonstrator], list[int]]


@dataclass(frozen=True)
class _Chunk:
    """The result of a job: rows of `schema.SCHEMA`, and seed → reason for each failed episode."""

    rows: pa.Table
    failures: dict[int, str]


def _play_chunk(job: _Job) -> _Chunk:
    document, task_id, people, seeds = job
    suite = suite_from(document)
    task = suite[task_id]
    started = datetime.now(UTC).isoformat(timespec="seconds")
    episodes: list[Trajectory] = []
    failures: dict[int, str] = {}
    remaining = list(seeds)
    while remaining and len(failures) < _FAILURES:
        with _record_failure(task, remaining, failures), closing(TaskEnv(task)) as environment:
            if simulates(task) and replays_many(environment, remaining[0]):
                episodes, remaining = play_batch(environment, people, remaining, suite.name, started), []
            else:
                _play_one_by_one(environment, people, remaining, suite, started, episodes)
    failures |= dict.fromkeys(remaining, next(iter(failures.values()), ""))
    return _Chunk(to_table(episodes), failures)


_FAILURES = 3
"""Number of failed episodes that ends a chunk: the others would most likely fail too."""


@contextmanager
def _record_failure(task: Task, remaining: list[int], failures: dict[int, str]) -> Iterator[None]:
    """Record an exception as the failure of the first remaining seed, and remove that seed."""
    try:
        yield
    except Untrusted:
        raise
    except Exception as error:  # an environment may raise anything
        reason = str(error).removeprefix(f"task {task.id!r}: ")
        if not isinstance(error, TutelageError):
            reason = (
                f"{task.env} failed: {type(error).__name__}: {' '.join(reason.split()) or 'nothing more'}"
            )
        failures[remaining.pop(0)] = reason[:_LONGEST]


_LONGEST = 600


def _play_one_by_one(
    environment: TaskEnv,
    people: Sequence[SimulatedDemonstrator],
    remaining: list[int],
    suite: Suite,
    started: str,
    episodes: list[Trajectory],
) -> None:
    """Play the remaining seeds, moving each from `remaining` to `episodes`."""
    with closing(TaskEnv(environment.task)) as witness:
        players = [SimulatedPlayer(person, environment) for person in people]
        while remaining:
            seed = remaining[0]
            episode = play(players[seed % len(players)], environment, seed, suite.name, started=started)
            if episode is not None:
                episodes.append(_prove(*episode, witness))
            remaining.pop(0)


def _prove(trajectory: Trajectory, observations: dict[str, np.ndarray], witness: TaskEnv) -> Trajectory:
    """Prove by replay in `witness`, which did not play it; where that differs, in a fresh environment."""
    proven = prove(trajectory, witness, observations)
    if proven.observations is None:
        return proven
    fresh = TaskEnv(witness.task)
    try:
        return prove(replace(trajectory, observations=None), fresh, observations)
    finally:
        fresh.close()


def profile_counts(episodes: Iterable[Trajectory]) -> dict[str, int]:
    """Count episodes by the profile in their demonstrator's name."""
    counts: dict[str, int] = {}
    for episode in episodes:
        name = episode.demonstrator.rpartition("-")[0]
        counts[name] = counts.get(name, 0) + 1
    return counts
