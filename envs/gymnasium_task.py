"""Any registered Gymnasium environment as a task: flat observations, an instruction, an outcome, frames."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np

from .admission import admit
from .controls import Controls, from_mapping, guess, with_rest_key
from .default_keys import unreached
from .errors import TutelageError, nearest
from .extras import missing, missing_for
from .pictures import RENDER_MODES, to_picture
from .spaces import Observation, flatten, leaves, row_to_action
from .task import Task

DEFAULT_LIMIT = 1000
"""Steps after which an environment without any limit of its own is truncated."""


@dataclass(frozen=True)
class Step:
    """What one reset or step gave.

    `observation` maps leaf paths to arrays or text. `legal` is a boolean mask over a Discrete space's
    actions when the environment reports one (`info["action_mask"]`), else None.
    `success` is None until the episode has ended.
    """

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    success: bool | None
    legal: np.ndarray | None

    @property
    def done(self) -> bool:
        return self.terminated or self.truncated


class TaskEnvironment:
    """One environment of a task, playing one episode after another.

    `rgb=True` makes `frame()` work. Actions are rows `[k]` of float64 (see `spaces.action_to_row`).
    Raises TutelageError for an unknown id, a missing package or arguments the environment refuses; Untrusted
    for what would act and was not trusted, see `admission`.
    """

    def __init__(self, task: Task, rgb: bool = False) -> None:
        self.task = task
        self.env = _make(task, rgb)
        self._rgb, self._played = rgb, False
        self.observation_space = self.env.observation_space
        self.action_space = self.env.action_space
        self.limit = _limit(task, self.env)
        self.action_names = tuple(task.action_names) or _enumerated(self.env)
        self.instruction = task.instruction
        leaves(self.action_space)
        self._leaves = leaves(self.observation_space)
        self.last_action: np.ndarray | None = None
        self._reward, self._total, self._steps = 0.0, 0.0, 0

    def reset(self, seed: int) -> Step:
        """Begin the episode of `seed`."""
        self.forget()
        if self._played and _remembers(self.env):
            self.env.close()
            self.env = _make(self.task, self._rgb)
        self._played = True
        with failures(self.task, "in reset", "start what it needs; its reset must take seed and options"):
            observation, info = self.env.reset(seed=seed)
        return self.begun(seed, observation, info)

    def step(self, action: np.ndarray) -> Step:
        """Take one action, a row `[k]`."""
        return self.stepped(action, *self.env.step(row_to_action(self.action_space, action)))

    def forget(self) -> None:
        """Forget the last episode."""
        self.last_action = None
        self._reward, self._total, self._steps = 0.0, 0.0, 0

    def begun(self, seed: int, observation: Any, info: dict[str, Any]) -> Step:
        """Tell what the environment's own `reset` gave."""
        self.limit = _limit(self.task, self.env)  # some environments know theirs only now
        # some environments draw from their spaces while they run
        self.env.action_space.seed(seed)
        return self._step(observation, 0.0, False, False, info)

    def stepped(
        self,
        action: np.ndarray,
        observation: Any,
        reward: Any,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> Step:
        """Tell what the environment's own `step` gave."""
        self.last_action = action
        self._reward = float(reward)
        self._total += self._reward
        self._steps += 1
        truncated = bool(truncated) or (not terminated and self._steps >= self.limit)
        return self._step(observation, self._reward, bool(terminated), truncated, info)

    def frame(self) -> np.ndarray | str:
        """Render what a person sees now: uint8 `[H, W, 3]`, or text; see `pictures.to_picture`."""
        return to_picture(self.env.render(), self.task.env)

    def controls(self) -> Controls:
        """Return the suite's controls for this task, or those found for its action space."""
        controls = self._controls()
        missing = unreached(controls, self.action_space, self.task.fps is not None)
        return replace(controls, unreached=tuple(missing))

    def _controls(self) -> Controls:
        if self.task.controls is not None:
            return from_mapping(self.task.controls, self.task.idle, self.action_space, self.action_names)
        guessed = guess(self.env, self.action_names)
        if self.task.idle is None:
            return guessed if self.task.fps else with_rest_key(guessed)
        rest = from_mapping({}, self.task.idle, self.action_space)
        return replace(guessed, idle=rest.idle, mixer=rest.mixer)

    def close(self) -> None:
        self.env.close()

    def _step(self, raw: Any, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]) -> Step:
        observation = flatten(self.observation_space, raw)
        texts = [observation[leaf.path] for leaf in self._leaves if leaf.is_words]
        self.instruction = self.task.instruction or " ".join(texts)
        success = None
        if terminated or truncated:
            success = self.task.success(
                reward=reward,
                total=self._total,
                terminated=terminated,
                truncated=truncated,
                steps=self._steps,
            )
        mask = info.get("action_mask")
        legal = None if mask is None else np.asarray(mask, dtype=bool)
        return Step(observation, reward, terminated, truncated, success, legal)


def registry() -> dict[str, Any]:
    """Return Gymnasium's registry after the environment packages we know have added theirs."""
    if importlib.util.find_spec("minigrid"):
        importlib.import_module("minigrid")
        # its level generator prints each rejected layout; a thousand episodes would flood the terminal
        rooms = importlib.import_module("minigrid.envs.babyai.core.roomgrid_level")
        rooms.__dict__.setdefault("print", lambda *_: None)
    return gymnasium.registry


def _make(task: Task, rgb: bool) -> gymnasium.Env[Any, Any]:
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and sys.platform == "linux":
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # or SDL complains of a missing display
    admit(task)
    module, _, env_id = task.env.rpartition(":")
    for name in dict.fromkeys([*task.imports, *([module] if module else [])]):
        _import(name, task)
    known = registry()
    if env_id not in known:
        if install := missing_for(env_id):
            raise TutelageError(
                f"task {task.id!r}: {env_id} needs a package that is not installed: {install}"
            )
        raise TutelageError(
            f"task {task.id!r}: expected a registered Gymnasium id, got {env_id!r}{nearest(env_id, known)}; "
            f"if another package registers it, install it and name its module: MODULE:{env_id}"
        )
    kwargs = dict(task.kwargs)
    given = kwargs.pop("render_mode", None)
    with failures(task, "when it was made", "check its kwargs, and what it needs to run"):
        modes = _render_modes(known[env_id])
        if rgb:
            return _made(env_id, shown_mode(task, modes, given), kwargs)
        try:
            return _made(env_id, given, kwargs)
        except gymnasium.error.DependencyNotInstalled:
            raise
        except Exception:  # some environments require a render mode, even where no picture is used
            if given is not None or not (usable := [mode for mode in RENDER_MODES if mode in modes]):
                raise
            try:
                return _made(env_id, usable[0], kwargs)
            except Exception:
                pass  # it is something else: say what went wrong first
            raise


@contextlib.contextmanager
def failures(task: Task, phase: str, remedy: str) -> Iterator[None]:
    """Turn what an environment raises into one line: the task, the phase, what was raised, the remedy."""
    try:
        yield
    except TutelageError:
        raise
    except gymnasium.error.DependencyNotInstalled as error:  # some find out only at their first reset
        remedy = missing_for(task.env) or str(error)
        raise TutelageError(f"task {task.id!r}: {task.env} needs a missing package: {remedy}") from None
    except ModuleNotFoundError as error:
        remedy = str(missing(error) or f"{error}; install it, and try again")
        raise TutelageError(f"task {task.id!r}: {task.env} needs a missing package: {remedy}") from None
    except Exception as error:
        what = " ".join(str(error).split()) or "nothing more"
        raise TutelageError(
            f"task {task.id!r}: {task.env} failed {phase}: {type(error).__name__}: {what[:500]}; {remedy}"
        ) from error


def shown_mode(task: Task, modes: Sequence[str], given: str | None) -> str:
    """Choose a render mode that a page can show; raises TutelageError where an environment has none.

    `modes` are those that the environment declares, none where it declares none; `given` is the task's own.
    """
    if given in RENDER_MODES:
        return str(given)
    usable = [mode for mode in RENDER_MODES if mode in modes]
    if modes and not usable:
        raise TutelageError(
            f"task {task.id!r}: expected {task.env} to render for a page ({', '.join(RENDER_MODES)}), "
            f"got render modes {', '.join(map(str, modes))}; add one of these to it"
        )
    return usable[0] if usable else RENDER_MODES[0]


def _made(env_id: str, mode: str | None, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return gymnasium.make(env_id, render_mode=mode, disable_env_checker=True, **kwargs)
        except TypeError as error:
            if "unexpected keyword argument 'render_mode'" not in str(error):
                raise
            return gymnasium.make(env_id, disable_env_checker=True, **kwargs)  # it draws the same way always


def _render_modes(spec: Any) -> tuple[str, ...]:
    """Return the render modes that an environment's class declares, none where it declares nothing."""
    creator = spec.entry_point
    if isinstance(creator, str):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            creator = gymnasium.envs.registration.load_env_creator(creator)
    return tuple(getattr(creator, "metadata", {}).get("render_modes") or ())


def _import(module: str, task: Task) -> None:
    """Import a module that was trusted; it registers environments."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a user's module may raise any exception
        raise TutelageError(
            f"task {task.id!r}: expected to import {module}, got {type(error).__name__}: {error}"
        ) from None


def _remembers(env: gymnasium.Env[Any, Any]) -> bool:
    """Say whether episodes share a Box2D world, whose solver starts from where the last one left it."""
    return type(getattr(env.unwrapped, "world", None)).__module__.startswith("Box2D")


def _limit(task: Task, env: gymnasium.Env[Any, Any]) -> int:
    own = env.spec.max_episode_steps if env.spec else None
    if own is None and env.has_wrapper_attr("max_steps"):
        own = int(env.get_wrapper_attr("max_steps"))
    limits = [one for one in (own, task.max_steps) if one]
    return min(limits) if limits else DEFAULT_LIMIT


def _enumerated(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    actions = getattr(env.unwrapped, "actions", None)
    members = getattr(actions, "__members__", None)
    return tuple(members) if members else ()
