"""Batched episodes: all environments of a task step together, with one call of the actor a step."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...datasets.trajectory import CONTROLLERS, Digest, Trajectory, stack_observations
from ...datasets.versions import versions_of
from ...envs.spaces import Observation, action_to_row
from ...envs.task import Task
from ...envs.task_env import StepResult, TaskEnv
from ...envs.web.registration import is_web
from ...errors import TutelageError
from .actors import Actor
from .broken import FailedEpisodes

TABS = 16
"""Web pages at once, at most: each takes some 30 MB."""

GAVE_UP = "gave up"
"""The `notes` of an episode whose actor stopped; such an episode is neither terminated nor truncated."""

_CONTROLLER = {"policy": "policy", "chance": "policy", "expert": "expert", "simulated": "person"}


def rollout(
    actor: Actor,
    task: Task,
    seeds: Sequence[int],
    *,
    batch: int = 256,
    suite_name: str,
    progress: Callable[[int], None] | None = None,
    environments: list[TaskEnv] | None = None,
    keep: bool = False,
    failures: dict[int, str] | None = None,
) -> list[Trajectory]:
    """Play one episode a seed and return the trajectories, in the order of `seeds`.

    At most `batch` environments (of web pages TABS) live at once; a finished one waits for the rest. A list
    handed in as `environments` is filled up to what is needed and left open, so that the next call finds
    them made. `progress` is told how many episodes have just ended. Trajectories `keep` what was seen, or
    else replaying them gives it back.
    `times_ms` is the actor's thinking: what each `act` took, divided by the episodes alive then, summed;
    the environment's own time is not in it. Simulated demonstrators state reaction times of their own.
    An actor that gives up fails: its trajectory is neither terminated nor truncated, its notes say so, and
    where it gave up before acting at all, one idle (or zero) action is taken, for an episode has a step.
    What an environment raises ends its episode only, where `failures` are asked for: they map its seed to
    what happened, and it has no trajectory. A batch in which every episode failed ends the play.
    Raises TutelageError when an environment handed in belongs to another task.
    """
    pool = [] if environments is None else environments
    batch = min(batch, getattr(actor, "batch", batch), TABS if is_web(task.env) else batch)
    for one in pool:
        if one.task != task:
            raise TutelageError(f"expected environments of {task.id!r}, got one of {one.task.id!r}")
    played: list[Trajectory] = []
    try:
        for start in range(0, len(seeds), batch):
            some = [int(seed) for seed in seeds[start : start + batch]]
            broken = FailedEpisodes(task, some, strict=failures is None)
            with broken.environment(range(len(some)), "when it was made"):
                while len(pool) < len(some):
                    pool.append(TaskEnv(task))
            if len(broken.reasons) < len(some):
                played += _play(actor, task, pool[: len(some)], some, suite_name, progress, keep, broken)
            if not broken.reasons:
                continue
            _drop(pool)  # nothing is known of the state that they are in
            assert failures is not None
            failures.update(broken.by_seed())
            if len(broken.reasons) == len(some):
                left = [int(seed) for seed in seeds[start + batch :]]
                failures.update(dict.fromkeys(left, broken.reasons[0]))
                break
    finally:
        if environments is None:
            for one in pool:
                one.close()
    return played


def _drop(pool: list[TaskEnv]) -> None:
    """Close environments and forget them, whatever they raise."""
    for environment in pool:
        with contextlib.suppress(Exception):
            environment.close()
    pool.clear()


@dataclass
class _EpisodeLog:
    """What is written down of one episode while it runs; what is `seen` only where it is kept."""

    seed: int
    demonstrator: str
    seen: list[Observation] | None = None
    clock: float = 0.0
    digest: Digest = field(default_factory=Digest)
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    hash: bytes = b""
    notes: str = ""

    def first(self, step: StepResult) -> None:
        self.hash = self.digest.update(step.observation, 0.0, False, False)
        self._see(step)

    def add(self, action: np.ndarray, step: StepResult, thought: float) -> None:
        self.clock += thought
        self.actions.append(action)
        self.rewards.append(step.reward)
        self.times.append(self.clock)
        self.hash = self.digest.update(step.observation, step.reward, step.terminated, step.truncated)
        self._see(step)

    def _see(self, step: StepResult) -> None:
        if self.seen is not None:
            self.seen.append(step.observation)


def _play(
    actor: Actor,
    task: Task,
    environments: Sequence[TaskEnv],
    seeds: Sequence[int],
    suite_name: str,
    progress: Callable[[int], None] | None,
    keep: bool,
    broken: FailedEpisodes,
) -> list[Trajectory]:
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    steps = broken.reset(environments, seeds)
    alive = broken.alive
    if progress and not alive.all():
        progress(len(broken.reasons))
    if not alive.any():
        return []
    with broken.actor(range(len(seeds)), actor.name):
        actor.begin(environments, task, seeds)
    names = getattr(actor, "demonstrators", None) or [actor.name] * len(seeds)
    tapes = [_EpisodeLog(seed, name, [] if keep else None) for seed, name in zip(seeds, names, strict=True)]
    for i in np.flatnonzero(alive):
        tapes[i].first(steps[i])
    alive &= broken.alive
    while alive.any():
        before = time.perf_counter()
        with broken.actor(np.flatnonzero(alive).tolist(), actor.name):
            rows = actor.act(steps, alive)
        if not (alive & broken.alive).any():
            break
        living = np.flatnonzero(alive)
        share = (time.perf_counter() - before) * 1000 / len(living)
        thought = getattr(actor, "thought_ms", None)
        spent = np.full(len(seeds), share) if thought is None else thought
        _advance(environments, living, steps, rows, tapes, spent, broken)
        alive[living] = [not (tapes[i].notes or steps[i].done or i in broken.reasons) for i in living]
        if progress and (ended := len(living) - int(alive.sum())):
            progress(ended)
    versions = versions_of(environments[0])
    return [
        replace(
            _trajectory(tape, step, actor, task, suite_name, started, versions),
            infos=environment.infos(),
            casts=dict(environment.casts),
        )
        for i, (tape, step, environment) in enumerate(zip(tapes, steps, environments, strict=True))
        if i not in broken.reasons
    ]


def _advance(
    environments: Sequence[TaskEnv],
    living: np.ndarray,
    steps: list[StepResult],
    rows: np.ndarray,
    tapes: Sequence[_EpisodeLog],
    thought: np.ndarray,
    broken: FailedEpisodes,
) -> None:
    """Step the environments of the living, and write it down; an actor that gives up takes no step."""
    acting: dict[int, np.ndarray] = {}
    for i in living.tolist():
        if not np.isnan(rows[i]).any():
            acting[i] = rows[i]
            continue
        tapes[i].notes = GAVE_UP
        if not tapes[i].actions:
            with broken.environment([i], "when its keys were asked for"):
                acting[i] = _rest(environments[i])
    for i, step in broken.step(environments, acting).items():
        steps[i] = step
        tapes[i].add(np.array(acting[i], np.float64), step, float(thought[i]))


def _rest(environment: TaskEnv) -> np.ndarray:
    idle = environment.controls().idle
    if idle is not None:
        return np.array(idle)
    space = environment.action_space
    return np.zeros_like(action_to_row(space, space.sample()))


def _trajectory(
    tape: _EpisodeLog,
    last: StepResult,
    actor: Actor,
    task: Task,
    suite_name: str,
    started: str,
    versions: dict[str, str],
) -> Trajectory:
    steps = len(tape.actions)
    controller = CONTROLLERS.index(_CONTROLLER.get(actor.kind, "person"))
    return Trajectory(
        suite=suite_name,
        task=task.id,
        env=task.env,
        seed=tape.seed,
        demonstrator=tape.demonstrator,
        kind=actor.kind,
        actions=np.stack(tape.actions),
        rewards=np.array(tape.rewards),
        times_ms=np.round(tape.times).astype(np.int32),
        controllers=np.full(steps, controller, np.int8),
        frames=np.arange(steps, dtype=np.int32),
        terminated=last.terminated,
        truncated=last.truncated,
        success=task.success.outcome(last.success and not tape.notes),
        digest=tape.hash,
        observations=None if tape.seen is None else stack_observations(tape.seen),
        kwargs=task.kwargs,
        versions=versions,
        started=started,
        notes=tape.notes,
    )
