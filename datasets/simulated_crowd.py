"""Simulated demonstrators, built on an expert: careful, noisy, slow, lazy, mistaken and hostile ones.

What is covered: wrong keys, reaction times, giving up, misread tasks, sabotage. What is not: learning
while playing, fatigue, and errors that depend on what is on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from gymnasium import spaces

from ..envs.controls import Controls
from ..envs.errors import TutelageError, nearest
from ..envs.experts import make_expert
from ..envs.gymnasium_task import Step, TaskEnvironment
from ..envs.stopping import signals
from ..envs.suite import Suite, suite_from
from ..envs.task import RECORD, SeedRange, Task
from .grid_crowd import play_grid
from .replay import is_grid, prove, versions_of
from .schema import to_table
from .spreading import spread
from .store import Store
from .trajectory import CONTROLLERS, Digest, Trajectory, stack_observations


@dataclass(frozen=True)
class Profile:
    """How one kind of demonstrator plays.

    `slip` is the chance that a step's action is replaced by a random bound key; `give_up` the chance a
    step of walking away; `against` the chance that an episode is played with random keys only.
    `misread` is the chance that an episode is played for another colour than the instruction's; where the
    environment is no grid world of ours, such an episode is played with random keys. `wobble` is the
    standard deviation added to continuous actions, as a share of their range. `reaction_ms` is the median
    of log-normal reaction times, `reaction_spread` their log standard deviation.
    """

    name: str
    slip: float = 0.0
    give_up: float = 0.0
    against: float = 0.0
    misread: float = 0.0
    wobble: float = 0.0
    reaction_ms: float = 350.0
    reaction_spread: float = 0.35


PROFILES = {
    one.name: one
    for one in (
        Profile("careful", slip=0.005, wobble=0.01),
        Profile("noisy", slip=0.08, wobble=0.06, reaction_ms=260.0),
        Profile("slow", slip=0.01, wobble=0.02, reaction_ms=900.0),
        Profile("lazy", slip=0.03, give_up=0.02, wobble=0.04),
        Profile("mistaken", slip=0.02, misread=0.35, wobble=0.03),
        Profile("hostile", against=1.0, reaction_ms=120.0),
        Profile("expert", reaction_ms=200.0, reaction_spread=0.0),
    )
}
CROWD: Mapping[str, int] = {"careful": 9, "slow": 3, "noisy": 5, "lazy": 2, "mistaken": 1, "hostile": 1}
"""How many demonstrators of each profile the simulated crowd has: 21 people."""


@dataclass(frozen=True)
class SimulatedDemonstrator:
    """One pseudonymous player with a profile; what it does is a function of (name, task, seed) only."""

    name: str
    profile: Profile

    @property
    def kind(self) -> str:
        """What its trajectories are; the expert is never called a demonstrator."""
        return "expert" if self.profile.name == "expert" else "simulated"

    @property
    def controller(self) -> str:
        """Who its steps say has acted."""
        return "expert" if self.profile.name == "expert" else "person"

    def generator(self, task: Task, seed: int) -> np.random.Generator:
        """Return the source of everything random in one episode."""
        words = [ord(letter) for letter in f"{self.name}/{task.id}"]
        return np.random.default_rng([seed, *words])


class Player:
    """A simulated demonstrator at one environment: asks the expert, then errs as its profile says."""

    def __init__(self, demonstrator: SimulatedDemonstrator, environment: TaskEnvironment) -> None:
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
    """Assemble the demonstrators, named `careful-01`, `careful-02`, ...

    Raises TutelageError for a profile that does not exist.
    """
    for name in counts:
        if name not in PROFILES:
            raise TutelageError(
                f"expected a profile, {', '.join(PROFILES)}; got {name!r}{nearest(name, PROFILES)}"
            )
    return [
        SimulatedDemonstrator(f"{name}-{i + 1:02d}", PROFILES[name])
        for name, count in counts.items()
        for i in range(count)
    ]


def play(
    player: Player, environment: TaskEnvironment, seed: int, suite: str, *, started: str = ""
) -> tuple[Trajectory, dict[str, np.ndarray]] | None:
    """Play one episode; return it with its observations, or None when nothing was done at all.

    An episode that its player walked away from ends truncated and without success.
    """
    step = environment.reset(seed)
    player.begin(seed)
    digest = Digest()
    proof = digest.update(step.observation, 0.0, False, False)
    seen: list[Step] = [step]
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
        success=bool(step.success),
        digest=proof,
        versions=versions_of(environment),
        started=started,
        steps_per_second=pace,
        notes="" if step.done else "walked away",
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
) -> int:
    """Let the simulated crowd play, prove every episode by replay, and append them to the store.

    `demonstrations` counts episodes a task id; seeds run from the start of `seeds` (after `skip`), and the
    demonstrators take turns. `workers` and `ray` say where, see `spread`. `progress(task_id, n)` is called
    as episodes are stored. Episodes that the store has already, of an earlier call that was stopped say, are
    not played again; on Ctrl-C, what has been played is stored. Returns how many were added.
    """
    people = list(demonstrators or crowd())
    jobs = [
        (suite.source, task.id, people, chunk)
        for task in suite
        if (count := demonstrations.get(task.id, 0))
        for chunk in _chunks(task, _missing(out, task, people, seeds.first(count, skip)))
    ]
    stored, waiting = 0, []
    if progress:
        for task_id, count in demonstrations.items():
            progress(task_id, count - sum(len(seeds) for _, played, _, seeds in jobs if played == task_id))
    try:
        for task_id, rows, asked in spread(_play_chunk, jobs, workers, ray):
            waiting.append(rows)
            if sum(map(len, waiting)) >= 4 * _CHUNK:
                with signals.held():
                    stored, waiting = stored + out.append_rows(pa.concat_tables(waiting)), []
            if progress:
                progress(task_id, asked)
    finally:  # also of a crowd that is stopped, or that an error ends
        stored += out.append_rows(pa.concat_tables(waiting)) if waiting else 0
    return stored


def _missing(
    out: Store, task: Task, people: Sequence[SimulatedDemonstrator], seeds: Sequence[int]
) -> list[int]:
    """Return the seeds of a task whose episode, by the demonstrator whose turn it is, a store has not."""
    rows = out.episodes()
    rows = rows.filter(pc.equal(rows["task"], task.id))
    there = set(zip(rows["demonstrator"].to_pylist(), rows["seed"].to_pylist(), strict=True))
    return [seed for seed in seeds if (people[seed % len(people)].name, seed) not in there]


def _chunks(task: Task, seeds: Sequence[int]) -> list[Sequence[int]]:
    size = _GRID_CHUNK if plays_grid(task) else _CHUNK
    return [seeds[at : at + size] for at in range(0, len(seeds), size)]


_CHUNK, _GRID_CHUNK = 100, 2000
_Job = tuple[Mapping[str, object], str, list[SimulatedDemonstrator], Sequence[int]]


def plays_grid(task: Task) -> bool:
    """Whether the kernels can play a task's whole episodes: a grid world of ours, turn by turn."""
    return is_grid(task) and task.expert == "grid" and not task.fps


def _play_chunk(job: _Job) -> tuple[str, pa.Table, int]:
    document, task_id, people, seeds = job
    suite = suite_from(document)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    environment = TaskEnvironment(suite[task_id])
    try:
        if plays_grid(suite[task_id]):
            episodes = play_grid(environment, people, seeds, suite.name, started)
        else:
            episodes = _play_one_by_one(environment, people, seeds, suite, started)
    finally:
        environment.close()
    return task_id, to_table(episodes), len(seeds)


def _play_one_by_one(
    environment: TaskEnvironment,
    people: Sequence[SimulatedDemonstrator],
    seeds: Sequence[int],
    suite: Suite,
    started: str,
) -> list[Trajectory]:
    witness = TaskEnvironment(environment.task)
    players = [Player(one, environment) for one in people]
    episodes = []
    for seed in seeds:
        played = play(players[seed % len(players)], environment, seed, suite.name, started=started)
        if played is not None:
            episodes.append(_proven(*played, witness))
    witness.close()
    return episodes


def _proven(
    trajectory: Trajectory, observations: dict[str, np.ndarray], witness: TaskEnvironment
) -> Trajectory:
    """Prove by replay: in an environment that has not played it, and in a fresh one where that differs."""
    proven = prove(trajectory, witness, observations)
    if proven.observations is None:
        return proven
    fresh = TaskEnvironment(witness.task)
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
