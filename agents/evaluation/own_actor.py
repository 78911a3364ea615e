"""Actors of other packages: what `--actor package.module:make` names, as an Actor that a rollout can ask."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...envs.extensions.own_expert import asked, reset
from ...envs.spaces import action_size
from ...envs.task import Task
from ...envs.task_env import StepResult, TaskEnv
from ...errors import TutelageError, brief
from ...foreign_code.objects import ACTORS, ObjectSpec, foreign_errors


class OwnActor:
    """Let objects of another package act, one for each environment of a batch.

    What is named is called with keyword arguments and returns an object with `act(observation)`, which gets
    the observation as the environment gave it and returns a value of the action space, or None to give up.
    The object may have `reset()`, called at the beginning of an episode, `name`, what tables call it, and
    `plays(task_id)`, whether it can play a task.
    """

    kind = "policy"

    def __init__(self, spec: ObjectSpec) -> None:
        self.spec = spec
        self._players = [self._made(self._maker())]
        name = getattr(self._players[0], "name", None)
        self.name = name if isinstance(name, str) and name else spec.short_name
        self._environments: Sequence[TaskEnv] = ()
        self._size = 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process makes for itself: the players may hold anything."""
        return {"spec": self.spec, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _players=[], _environments=(), _size=0)

    def plays(self, task: Task) -> bool:
        if not self._players:
            self._players.append(self._made(self._maker()))
        answer: Callable[[str], object] | None = getattr(self._players[0], "plays", None)
        return True if answer is None else bool(answer(task.id))

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        self._environments, self._size = environments, action_size(environments[0].action_space)
        if len(self._players) < len(environments):
            make = self._maker()
            self._players += [self._made(make) for _ in range(len(environments) - len(self._players))]
        for player in self._players[: len(environments)]:
            reset(player, f"actor {self.name}")

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        rows = np.full((len(steps), self._size), np.nan)
        for i in np.flatnonzero(alive).tolist():
            row = asked(self._players[i], self._environments[i], f"actor {self.name}")
            if row is not None:
                rows[i] = row
        return rows

    def fingerprint(self) -> dict[str, Any]:
        """Return what an evaluation is known by: the actor's name and arguments, and its module's SHA-256."""
        file = inspect.getsourcefile(inspect.getmodule(self._maker()) or type(self))
        data = Path(file).read_bytes() if file and Path(file).is_file() else b""
        return {"actor": self.spec.document(), "sha256": hashlib.sha256(data).hexdigest()}

    def _maker(self) -> Callable[..., Any]:
        return self.spec.load(ACTORS, "--actor")

    def _made(self, make: Callable[..., Any]) -> Any:
        with foreign_errors(
            f"expected {self.spec.name} to make an actor, got ",
            "; it is called with the keyword arguments that are named, or with none",
        ):
            player = make(**self.spec.kwargs)
        if not callable(getattr(player, "act", None)):
            raise TutelageError(
                f"expected {self.spec.name} to make an object with act(observation), got {brief(player)}; "
                "name a class or function that returns one"
            )
        return player


class ObjectActor:
    """Let an object of the running program act, one episode at a time.

    It has `act(observation)`, as those of `OwnActor` do, and optionally `reset()` and `name` (default: its
    class's).
    """

    kind = "policy"
    batch = 1
    """One episode at a time: the object holds the state of one."""

    def __init__(self, player: Any) -> None:
        name = getattr(player, "name", None)
        self.name = name if isinstance(name, str) and name else type(player).__name__
        self._player = player
        self._environment: TaskEnv | None = None

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        (self._environment,) = environments
        reset(self._player, f"actor {self.name}")

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        assert self._environment is not None
        row = asked(self._player, self._environment, f"actor {self.name}")
        size = action_size(self._environment.action_space)
        return np.full((1, size), np.nan) if row is None else row[None]
