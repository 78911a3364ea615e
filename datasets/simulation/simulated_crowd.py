"""Simulated demonstrators, built on an expert: careful, noisy, slow, lazy, mistaken and hostile ones.

What is covered: wrong keys, reaction times, giving up, misread tasks, sabotage. What is not: learning
while playing, fatigue, and errors that depend on what is on the screen.
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
from ...envs.task_env import StepResult, TaskEnv
from ...errors import EnvironmentFailure, TutelageError
from ...foreign_code.trust import Untrusted
from ..parallel import JobDied, spread_safely
from ..replay import is_grid, prove
from ..schema import to_table
from ..store import Store
from ..trajectory import CONTROLLERS, Digest, Trajectory, stack_observations
from ..versions import versions_of
from .grid_simulation import play_grid
from .own_profile import profile_of
from .profiles import CROWD, SimulatedDemonstrator


class SimulatedPlayer:
    """A simulated demonstrator at one environment: asks the expert, then errs as its profile says."""

    def __init__(self, demonstrator: SimulatedDemonstrator, environment: TaskEnv) -> None:
        self.demonstrator = demonstrator
        self._environment = environment
        self._expert = make_expert(environment.task, environment)
        self._controls: Controls = environment.controls()
        self._random = np.random.default_rng(0)
        self._against = False

    def begin(self, seed: int) -> None:
        """Sit down at the episode of `seed`; the environment has just been reset."""
        self._random = self.demonstrator.generator(self._environment.task, seed)
        profile = self.demonstrator.profile
        self._against = bool(self._random.random() < max(profile.against, profile.misread))
        self._expert.reset()

    def act(self) -> np.ndarray | None:
        """Return the next action, a row `[k]`; None is walking away."""
        profile, random = self.demonstrator.profile, self._random
        if random.random() < profile.give_up:
            return None
        wanted = None if self._against else self._expert.act()
        if wanted is None or random.random() < profile.slip:
            return self._random_key()
        return self._wobbled(wanted)

    def reaction_ms(self) -> float:
        """Draw the time until the next key."""
        profile = self.demonstrator.profile
        wait = np.exp(profile.reaction_spread * self._random.standard_normal())
        return float(profile.reaction_ms * wait)

    def _random_key(self) -> np.ndarray:
        bindings = self._controls.bindings
        return np.array(bindings[self._random.integers(len(bindings))].action)

    def _wobbled(self, row: np.ndarray) -> np.ndarray:
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


def play(
    player: SimulatedPlayer, environment: TaskEnv, seed: int, suite: str, *, started: str = ""
) -> tuple[Trajectory, dict[str, np.ndarray]] | None:
    """Play one episode; return it with its observations, or None when nothing was done at all.

    An episode that its player walked away from ends truncated and without success.
    """
    step = environment.reset(seed)
    player.begin(seed)
    digest = Digest()
    proof = digest.update(step.observation, 0.0, False, False)
    seen: list[StepResult] = [step]
    actions: list[np.ndarray] = []
    times: list[int] = []
    clock, pace = 0.0, environment.task.fps
    while not step.done and (action := player.act()) is not None:
        clock = (len(actions) + 1) * 1000 / pace if pace else clock + player.reaction_ms()
        step = environment.step(action)
        proof = digest.update(step.observation, step.reward, step.terminated, step.truncated)
        actions.append(action)
        times.append(int(clock))
        seen.append(step)
    if not actions:
        return None
    task = environment.task
    trajectory = Trajectory(
        suite=suite,
        task=task.id,
        env=task.env,
        kwargs=dict(task.kwargs),
        seed=seed,
        demonstrator=player.demonstrator.name,
        kind=player.demonstrator.kind,
        actions=np.stack(actions),
        rewards=np.array([one.reward for one in seen[1:]]),
        times_ms=np.array(times, np.int32),
        controllers=np.full(len(actions), CONTROLLERS.index(player.demonstrator.controller), np.int8),
        frames=np.arange(len(actions), dtype=np.int32),
        terminated=step.terminated,
        truncated=step.truncated,
        success=task.success.outcome(step.success),
        digest=proof,
        versions=versions_of(environment),
        casts=dict(environment.casts),
        started=started,
        steps_per_second=pace,
        notes="" if step.done else "walked away",
        infos=environment.infos(),
    )
    return trajectory, stack_observations([one.observation for one in seen])


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
    """Let the simulated crowd play, prove every episode by replay, and append them to the store.

    `demonstrations` counts episodes a task id; seeds run from the start of `seeds` (after `skip`), and the
    demonstrators take turns. `workers` and `ray` say where, see `spread_safely`. `progress(task_id, n)` is
    called as episodes are stored. Episodes that the store has already, of an earlier call that was stopped
    say, are not played again; on Ctrl-C, what has been played is stored. Returns how many were added. An
    episode that its environment ended by an error is left out, and `tell` hears of the task, and what
    happened by seed; without it, EnvironmentFailure is raised when all others are stored.
    """
    people = list(demonstrators or crowd())
    jobs = _jobs(suite, out, demonstrations, people, seeds, skip)
    stored, waiting = 0, list[pa.Table]()
    failures: dict[str, dict[int, str]] = {}
    if progress:
        for task_id, count in demonstrations.items():
            if there := count - sum(len(left) for _, played, _, left in jobs if played == task_id):
                progress(task_id, there)
    try:
        for job, result in zip(jobs, spread_safely(_play_chunk, jobs, workers, ray), strict=True):
            task_id, asked = job[1], job[3]
            if isinstance(result, JobDied):
                result = _Chunk(to_table([]), dict.fromkeys(asked, str(result)))
            waiting.append(result.rows)
            failures.setdefault(task_id, {}).update(result.failures)
            if sum(map(len, waiting)) >= 4 * _CHUNK:
                with signals.held():
                    stored, waiting = stored + out.append_rows(pa.concat_tables(waiting)), []
            if progress:
                progress(task_id, len(asked))
    finally:  # what was played is kept, whatever ends this
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
    """Cut what the store does not hold yet into chunks of seeds of one task."""
    jobs: list[_Job] = []
    for task in suite:
        if not (count := demonstrations.get(task.id, 0)):
            continue
        left = _missing(out, task, people, seeds.first(count, skip))
        chunk = _GRID_CHUNK if plays_grid(task) else _CHUNK
        jobs += [(suite.source, task.id, people, left[at : at + chunk]) for at in range(0, len(left), chunk)]
    return jobs


def _missing(
    out: Store, task: Task, people: Sequence[SimulatedDemonstrator], seeds: Sequence[int]
) -> list[int]:
    """Return the seeds of a task whose episode, by the demonstrator whose turn it is, a store has not."""
    rows = out.episodes()
    rows = rows.filter(pc.equal(rows["task"], task.id))
    there = set(zip(rows["demonstrator"].to_pylist(), rows["seed"].to_pylist(), strict=True))
    return [seed for seed in seeds if (people[seed % len(people)].name, seed) not in there]


_CHUNK, _GRID_CHUNK = 100, 2000
_Job = tuple[Mapping[str, object], str, list[SimulatedDemonstrator], list[int]]


def plays_grid(task: Task) -> bool:
    """Whether the kernels can play a task's whole episodes: a grid world of ours, turn by turn."""
    return is_grid(task) and task.expert == "grid" and not task.fps


@dataclass(frozen=True)
class _Chunk:
    """What came of a job: rows of `schema.SCHEMA`, and seed → what happened where there is none."""

    rows: pa.Table
    failures: dict[int, str]


def _play_chunk(job: _Job) -> _Chunk:
    document, task_id, people, seeds = job
    suite = suite_from(document)
    task = suite[task_id]
    started = datetime.now(UTC).isoformat(timespec="seconds")
    episodes: list[Trajectory] = []
    failures: dict[int, str] = {}
    left = list(seeds)
    while left and len(failures) < _FAILURES:
        with _noting(task, left, failures), closing(TaskEnv(task)) as environment:
            if plays_grid(task):
                episodes, left = play_grid(environment, people, left, suite.name, started), []
            else:
                _play_one_by_one(environment, people, left, suite, started, episodes)
    failures |= dict.fromkeys(left, next(iter(failures.values()), ""))
    return _Chunk(to_table(episodes), failures)


_FAILURES = 3
"""So many episodes that an environment ends by an error end a chunk: it would go on like that."""


@contextmanager
def _noting(task: Task, left: list[int], failures: dict[int, str]) -> Iterator[None]:
    """Note what an environment raises for the first seed that is left; the others are left."""
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
        failures[left.pop(0)] = reason[:_LONGEST]


_LONGEST = 600


def _play_one_by_one(
    environment: TaskEnv,
    people: Sequence[SimulatedDemonstrator],
    left: list[int],
    suite: Suite,
    started: str,
    episodes: list[Trajectory],
) -> None:
    """Play the seeds that are left, adding to `episodes`; what is played is not left any more."""
    with closing(TaskEnv(environment.task)) as witness:
        players = [SimulatedPlayer(person, environment) for person in people]
        while left:
            seed = left[0]
            played = play(players[seed % len(players)], environment, seed, suite.name, started=started)
            if played is not None:
                episodes.append(_proven(*played, witness))
            left.pop(0)


def _proven(trajectory: Trajectory, observations: dict[str, np.ndarray], witness: TaskEnv) -> Trajectory:
    """Prove by replay: in an environment that has not played it, and in a fresh one where that differs."""
    proven = prove(trajectory, witness, observations)
    if proven.observations is None:
        return proven
    fresh = TaskEnv(witness.task)
    try:
        return prove(replace(trajectory, observations=None), fresh, observations)
    finally:
        fresh.close()


def profile_counts(episodes: Iterable[Trajectory]) -> dict[str, int]:
    """Count episodes by the profile that their pseudonym begins with."""
    counts: dict[str, int] = {}
    for one in episodes:
        name = one.demonstrator.rpartition("-")[0]
        counts[name] = counts.get(name, 0) + 1
    return counts
