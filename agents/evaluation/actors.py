"""Actors of an evaluation behind one interface: policy, expert, simulated demonstrators, random."""

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
from ...envs.recorded import is_recorded_only
from ...envs.spaces import action_size, action_to_row
from ...envs.task import Task
from ...envs.task_env import StepResult, TaskEnv
from ...errors import TutelageError


@runtime_checkable
class Actor(Protocol):
    """Anything that acts: `begin` once for a batch of N episodes, then `act` once a step for all of them.

    `name` is shown in tables and `kind` is one of `datasets.trajectory.KINDS`. `begin` is called after the
    environments were reset to `seeds`. `act` gets the latest step of every environment and `alive`, bool
    `[N]`; it returns action rows `[N, k]`, of which only those alive are read. A row with a NaN gives up: the
    episode ends there and counts as a failure.
    Optional: `plays(task) -> bool` (default: every task), `admit(task)` (raises Untrusted, before anything is
    played, for code that it would run and that is not trusted), `demonstrators` (after `begin`: names of the
    players of the N episodes, if not the actor itself), `thought_ms` (after `act`: float `[N]`, if the time
    an action took differs from the duration of `act`) and `batch`, the most episodes that it plays at once.
    """

    name: str
    kind: str

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None: ...

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray: ...


def plays(actor: Actor, task: Task) -> bool:
    """Return whether an actor can play a task (experts and policies have a fixed set of tasks).

    Nobody plays a task that has recordings only.
    """
    if is_recorded_only(task):
        return False
    method: Callable[[Task], bool] | None = getattr(actor, "plays", None)
    return True if method is None else method(task)


def episode_generator(seed: int, task: Task, episode_seed: int, actor: str = "") -> np.random.Generator:
    """Return an episode's generator: a function of evaluation seed, task, episode seed and actor only."""
    words = hashlib.blake2b(f"{task.id}\0{actor}".encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(words, "little"), episode_seed])


class ChanceActor:
    """Sample every action uniformly from the action space, or from the legal actions if a task has a mask.

    Each episode has its own generator, so that an outcome depends neither on the batch nor on the name.
    """

    def __init__(self, name: str = "random", seed: int = 0) -> None:
        self.name, self.kind, self.seed = name, "chance", seed
        self._spaces: list[spaces.Space[Any]] = []
        self._size = 0

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        self._size = action_size(environments[0].action_space)
        self._spaces = [copy.deepcopy(environment.action_space) for environment in environments]
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
    """Act by the task's own expert (see `envs.experts`); the environment limits its steps."""

    def __init__(self, name: str = "expert") -> None:
        self.name, self.kind = name, "expert"
        self._cache: dict[int, tuple[TaskEnv, Expert]] = {}
        self._experts: list[Expert] = []
        self._size = 0

    def plays(self, task: Task) -> bool:
        return task.expert is not None

    def admit(self, task: Task) -> None:
        admit_expert(task)

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        self._size = action_size(environments[0].action_space)
        self._experts = []
        for environment in environments:
            # stored with its environment, so that the id is not reused while the entry exists
            entry = self._cache.setdefault(id(environment), (environment, make_expert(task, environment)))
            self._experts.append(entry[1])
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
    """Act by simulated demonstrators: seed s is played by number s modulo their count.

    Actions and recorded reaction times are a function of (pseudonym, task, seed).
    """

    def __init__(self, demonstrators: Sequence[SimulatedDemonstrator], name: str = "simulated crowd") -> None:
        self.name, self.kind = name, "simulated"
        self.demonstrators: list[str] = []
        self.thought_ms = np.zeros(0)
        self._crowd = list(demonstrators)
        self._cache: dict[tuple[int, str], SimulatedPlayer] = {}
        self._players: list[SimulatedPlayer] = []
        self._size = 0
        self._pace_ms: float | None = None

    def plays(self, task: Task) -> bool:
        return task.expert is not None

    def admit(self, task: Task) -> None:
        admit_expert(task)

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        chosen = [self._crowd[seed % len(self._crowd)] for seed in seeds]
        self.demonstrators = [demonstrator.name for demonstrator in chosen]
        self._size = action_size(environments[0].action_space)
        self._pace_ms = 1000 / task.fps if task.fps else None
        self._players = []
        for demonstrator, environment, seed in zip(chosen, environments, seeds, strict=True):
            key = (id(environment), demonstrator.name)
            player = self._cache.get(key) or SimulatedPlayer(demonstrator, environment)
            # a player holds its environment, so that the id is not reused
            self._cache[key] = player
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
    """Act by a policy: one network call a step for all environments that are still alive.

    `greedy=False` samples from one generator a batch, so results depend on the seed *and* the batch size.
    Greedy results do not, up to the rounding of matrix products of different sizes.
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

    def __getstate__(self) -> dict[str, Any]:
        # worker processes get a policy on the processor: they cannot all have an accelerator
        state = dict(self.__dict__)
        if getattr(getattr(self._policy, "device", None), "type", "cpu") != "cpu":
            state["_policy"] = copy.deepcopy(self._policy).cpu()
        return state

    def plays(self, task: Task) -> bool:
        return task.id in self._policy.tasks

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        if not self.plays(task):
            taught = ", ".join(self._policy.tasks)
            raise TutelageError(f"expected a task that {self.name} was taught ({taught}), got {task.id!r}")
        # other policies need not have this check
        if (expect := getattr(self._policy, "expect_environment", None)) is not None:
            expect(environments[0])
        self._task = task.id
        self._memory = self._policy.start(task.id, len(environments))
        if not self._greedy:
            import torch

            random = episode_generator(self.seed, task, seeds[0], self.name)
            self._generator = torch.Generator().manual_seed(int(random.integers(2**62)))

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
    return {path: _stacked([step.observation[path] for step in steps]) for path in steps[0].observation}


def _stacked(values: Sequence[Any]) -> np.ndarray:
    return np.array(values, object if isinstance(values[0], str) else None)


def _legal(steps: Sequence[StepResult]) -> np.ndarray | None:
    if steps[0].legal is None:
        return None
    width = len(steps[0].legal)
    # finished environments may have no mask; their rows are not read
    return np.stack([np.ones(width, bool) if step.legal is None else step.legal for step in steps])
