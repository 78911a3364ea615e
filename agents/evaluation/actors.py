"""Actors of an evaluation, behind one interface: a policy, an expert, a simulated demonstrator, random."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces

from ...datasets.simulation.profiles import SimulatedDemonstrator
from ...datasets.simulation.simulated_crowd import SimulatedPlayer
from ...envs.admission import admit_expert
from ...envs.experts import Expert, make_expert
from ...envs.spaces import action_size, action_to_row
from ...envs.task import Task
from ...envs.task_env import StepResult, TaskEnv
from ...errors import TutelageError


@runtime_checkable
class Actor(Protocol):
    """Anything that acts: `begin` once a batch of episodes, then `act` once a step for all of them.

    `name` is what tables show and `kind` one of `datasets.trajectory.KINDS`. `begin` is called after the
    environments were reset to `seeds`. `act` gets the latest step of every environment and `alive`, a
    boolean `[N]`; it returns rows `[N, k]`, of which only the living are read. A row with a NaN in it
    means "I give up": the episode ends there and counts as a failure.
    An actor may also have `plays(task) -> bool` (without it, it plays every task), `admit(task)` (raises
    Untrusted, before anything is played, for code that it would run and was not trusted), `demonstrators`
    (after `begin`: who plays each of the N episodes, where that is not the actor itself) and `thought_ms`
    (after `act`: float `[N]`, where the time an action took is not the time that `act` took).
    """

    name: str
    kind: str

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None: ...

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray: ...


def plays(actor: Actor, task: Task) -> bool:
    """Say whether an actor can play a task at all (an expert has its tasks, a policy those it was taught)."""
    asked: Callable[[Task], bool] | None = getattr(actor, "plays", None)
    return True if asked is None else asked(task)


def episode_generator(seed: int, task: Task, episode_seed: int, actor: str = "") -> np.random.Generator:
    """Return one episode's generator: a function of evaluation seed, task, episode seed and actor only."""
    words = hashlib.blake2b(f"{task.id}\0{actor}".encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(words, "little"), episode_seed])


class ChanceActor:
    """Draw every action uniformly from the action space; from the legal actions where a task names them.

    Each episode has a generator of its own, so that an outcome depends neither on the batch nor on the name.
    """

    def __init__(self, name: str = "random", seed: int = 0) -> None:
        self.name, self.kind, self.seed = name, "chance", seed
        self._spaces: list[spaces.Space[Any]] = []
        self._size = 0

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        self._size = action_size(environments[0].action_space)
        self._spaces = [copy.deepcopy(one.action_space) for one in environments]
        for space, seed in zip(self._spaces, seeds, strict=True):
            space.seed(int(episode_generator(self.seed, task, seed, self.kind).integers(2**31)))

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        rows = np.zeros((len(steps), self._size))
        for i in np.flatnonzero(alive):
            rows[i] = _draw(self._spaces[i], steps[i].legal)
        return rows


def _draw(space: spaces.Space[Any], legal: np.ndarray | None) -> np.ndarray | float:
    if isinstance(space, spaces.Discrete):
        mask = None if legal is None or not legal.any() else legal.astype(np.int8)
        return float(space.sample(mask))
    return action_to_row(space, space.sample())


class ExpertActor:
    """Let the task's own expert act (see `envs.experts`); its limit is the environment's."""

    def __init__(self, name: str = "expert") -> None:
        self.name, self.kind = name, "expert"
        self._made: dict[int, tuple[TaskEnv, Expert]] = {}
        self._experts: list[Expert] = []
        self._size = 0

    def plays(self, task: Task) -> bool:
        return task.expert is not None

    def admit(self, task: Task) -> None:
        admit_expert(task)

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        self._size = action_size(environments[0].action_space)
        self._experts = []
        for one in environments:
            # keyed by identity and held with its environment: the id cannot be reused while we hold it
            held = self._made.setdefault(id(one), (one, make_expert(task, one)))
            self._experts.append(held[1])
        for expert in self._experts:
            expert.reset()

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        rows = np.full((len(steps), self._size), np.nan)
        for i in np.flatnonzero(alive):
            row = self._experts[i].act()
            if row is not None:
                rows[i] = row
        return rows


class SimulatedActor:
    """Let simulated demonstrators take turns: seed s is played by the one numbered s modulo their count.

    What each does, and the reaction time written down for it, is a function of (pseudonym, task, seed).
    """

    def __init__(self, demonstrators: Sequence[SimulatedDemonstrator], name: str = "simulated crowd") -> None:
        self.name, self.kind = name, "simulated"
        self.demonstrators: list[str] = []
        self.thought_ms = np.zeros(0)
        self._crowd = list(demonstrators)
        self._made: dict[tuple[int, str], SimulatedPlayer] = {}
        self._players: list[SimulatedPlayer] = []
        self._size = 0
        self._pace_ms: float | None = None

    def plays(self, task: Task) -> bool:
        return task.expert is not None

    def admit(self, task: Task) -> None:
        admit_expert(task)

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        chosen = [self._crowd[seed % len(self._crowd)] for seed in seeds]
        self.demonstrators = [one.name for one in chosen]
        self._size = action_size(environments[0].action_space)
        self._pace_ms = 1000 / task.fps if task.fps else None
        self._players = []
        for who, environment, seed in zip(chosen, environments, seeds, strict=True):
            key = (id(environment), who.name)
            player = self._made.get(key) or SimulatedPlayer(who, environment)
            # a player holds its environment, so the id stays that environment's own
            self._made[key] = player
            player.begin(seed)
            self._players.append(player)

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        rows = np.full((len(steps), self._size), np.nan)
        self.thought_ms = np.zeros(len(steps))
        for i in np.flatnonzero(alive):
            row = self._players[i].act()
            if row is not None:
                rows[i] = row
                self.thought_ms[i] = self._pace_ms or self._players[i].reaction_ms()
        return rows


class PolicyActor:
    """Let a policy act: one network call a step for all environments that are still alive.

    `greedy=False` samples; the draw then comes from one generator a batch, so a sampled policy's results
    are a function of the seed *and* of the batch size. A greedy policy's are not, up to the rounding of
    matrix products of different sizes.
    """

    def __init__(
        self,
        policy: Any,
        name: str = "policy",
        greedy: bool = True,
        seed: int = 0,
        temperature: float = 1.0,
    ) -> None:
        self.name, self.kind, self.seed = name, "policy", seed
        self._policy, self._greedy = policy, greedy
        self._temperature = temperature
        self._task = ""
        self._memory: Any = None
        self._generator: Any = None

    def plays(self, task: Task) -> bool:
        return task.id in self._policy.tasks

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        if not self.plays(task):
            known = ", ".join(self._policy.tasks)
            raise TutelageError(f"expected a task that {self.name} was taught ({known}), got {task.id!r}")
        # a policy of another kind may take any environment
        if (expect := getattr(self._policy, "expect_environment", None)) is not None:
            expect(environments[0])
        self._task = task.id
        self._memory = self._policy.start(task.id, len(environments))
        if not self._greedy:
            import torch

            draw = episode_generator(self.seed, task, seeds[0], self.name)
            self._generator = torch.Generator().manual_seed(int(draw.integers(2**62)))

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        rows, self._memory = self._policy.act(
            self._task,
            stack(steps),
            self._memory,
            greedy=self._greedy,
            generator=self._generator,
            temperature=self._temperature,
            legal=_legal(steps),
            alive=alive,
        )
        return np.asarray(rows, np.float64)


def stack(steps: Sequence[StepResult]) -> dict[str, np.ndarray]:
    """Stack the observations of N steps leaf by leaf: `[N, ...]` arrays, text as `str` objects."""
    return {path: _stacked([one.observation[path] for one in steps]) for path in steps[0].observation}


def _stacked(values: Sequence[Any]) -> np.ndarray:
    return np.array(values, object if isinstance(values[0], str) else None)


def _legal(steps: Sequence[StepResult]) -> np.ndarray | None:
    if steps[0].legal is None:
        return None
    width = len(steps[0].legal)
    # a finished environment may report none, and its row is not read
    return np.stack([np.ones(width, bool) if one.legal is None else one.legal for one in steps])
