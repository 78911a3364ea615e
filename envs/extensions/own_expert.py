"""Experts of other packages: an object with `act(observation)`, or a model saved by Stable-Baselines3."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EnvironmentFailure, TutelageError, brief
from ...foreign_code.objects import EXPERTS, ObjectSpec, described, foreign_errors
from ..spaces import action_to_row, row_to_action
from .model_files import LOAD, model_file

if TYPE_CHECKING:
    from ..task_env import TaskEnv


class OwnExpert:
    """Plays one environment by an object of another package.

    The object is called with the Gymnasium environment and keyword arguments; what it returns has
    `act(observation)`, which gets the observation as the environment gave it and returns a value of the
    action space, or None to give up. `reset()`, if there is one, is called after the environment's own.
    A class with `load` whose spec has the argument `load: FILE` is loaded from the file instead, and asked by
    `predict(observation, deterministic=True)[0]`; it keeps no memory between steps.
    """

    def __init__(self, spec: ObjectSpec, environment: TaskEnv) -> None:
        self._spec, self._environment = spec, environment
        self._who = f"task {environment.task.id!r}: expert {spec.name}"
        self._make = spec.load(EXPERTS, f"task {environment.task.id!r}")
        self._env: Any = None
        self._player: Any = None
        self._seat()

    def reset(self) -> None:
        """Forget the last episode."""
        if self._env is not self._environment.env:  # some environments are made anew for every episode
            self._seat()
        reset(self._player, self._who)

    def act(self) -> np.ndarray | None:
        """Return the next action, a row `[k]`; None is giving up.

        Raises EnvironmentFailure for what the object raises, and for what is no action of the environment.
        """
        return asked(self._player, self._environment, self._who)

    def _seat(self) -> None:
        """Make the player for the environment as it is now."""
        self._env = self._environment.env
        self._player = self._made()
        if not callable(getattr(self._player, "act", None)):
            raise TutelageError(
                f"{self._who}: expected an object with act(observation), got {brief(self._player)}; "
                "return one from the call with the environment"
            )

    def _made(self) -> Any:
        if model_file(self._spec) and hasattr(self._make, "load"):
            return _Model(self._loaded())
        with foreign_errors(
            f"{self._who}: expected it to be made for {self._environment.task.env}, got ",
            "; it is called with the environment and the keyword arguments of the suite",
        ):
            return self._make(self._env, **self._spec.kwargs)

    def _loaded(self) -> Any:
        file = Path(model_file(self._spec))
        if not file.is_file():
            raise TutelageError(
                f"{self._who}: expected a saved model at {file}, found none; "
                "name a file, relative to the suite's"
            )
        rest = {name: value for name, value in self._spec.kwargs.items() if name != LOAD}
        with foreign_errors(f"{self._who}: expected {file} to hold a model that it saved, got "):
            return _model(ObjectSpec(self._spec.name, rest), str(file), file.stat().st_mtime_ns)


class _Model:
    """A model with `predict`, as an object with `act`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def act(self, observation: Any) -> Any:
        return self._model.predict(observation, deterministic=True)[0]


@lru_cache(maxsize=4)
def _model(spec: ObjectSpec, file: str, changed: int) -> Any:
    """Load a model once for all environments of this process; `changed` is when its file was written."""
    model = spec.load(EXPERTS).load(file, **spec.kwargs)
    if not callable(getattr(model, "predict", None)):
        raise TutelageError(
            f"expected {spec.name}.load to return a model with predict(observation, deterministic=True), "
            f"got {brief(model)}"
        )
    return model


def reset(player: Any, who: str) -> None:
    """Call a foreign player's `reset()`, if it has one; raises EnvironmentFailure for what it raises."""
    if not callable(begin := getattr(player, "reset", None)):
        return
    with foreign_errors(f"{who} failed in reset: ", raised=EnvironmentFailure):
        begin()


def asked(player: Any, environment: TaskEnv, who: str) -> np.ndarray | None:
    """Ask a foreign player for its next action, a row `[k]`, None where it gives up.

    Raises EnvironmentFailure for what it raises, and for what is no action of the environment.
    """
    with foreign_errors(f"{who} failed in act: ", raised=EnvironmentFailure):
        action = player.act(environment.raw_observation)
    return None if action is None else _row(environment.action_space, action, who)


def _row(space: Any, action: Any, who: str) -> np.ndarray:
    """Return an action as a row `[k]`; raises EnvironmentFailure for none of the space."""
    if isinstance(action, np.ndarray) and action.shape == () and not space.shape:
        action = action.item()
    try:
        row = action_to_row(space, action)
        if space.contains(action) or _fits(space, row):
            return row
        change = "it is outside"
    except TutelageError as error:
        change = str(error)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        change = described(error)
    raise EnvironmentFailure(f"{who}: expected a value of {space} from act, got {brief(action)} ({change})")


def _fits(space: Any, row: np.ndarray) -> bool:
    """Say whether the space contains what the environment is given for a row, such as 1 for np.float32(1)."""
    return bool(space.contains(row_to_action(space, row)))
