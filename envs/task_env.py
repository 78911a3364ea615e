"""Any registered Gymnasium environment as a task: flat observations, an instruction, an outcome, frames."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np

from ..errors import EnvironmentFailure, TutelageError
from ..foreign_code.extras import missing_for, remedy_of
from ..foreign_code.own_modules import remedy_for
from .admission import admit
from .families import action_names
from .keys.controls import Controls, by_name, from_mapping, guess, with_rest_key
from .keys.unreached import unreached
from .pictures import RENDER_MODES, to_picture
from .registry import registry_with
from .rendering import prepare
from .spaces import Observation, flatten, leaves, row_to_action, whole_numbers
from .success import SuccessMonitor
from .task import Task
from .undisturbed import undisturbed
from .unregistered import why_absent

ACTION = "(action)"
"""How `TaskEnv.casts` names the action, which no leaf of an observation is called."""

DEFAULT_LIMIT = 1000
"""Steps after which an environment without any limit of its own is truncated."""


@dataclass(frozen=True)
class StepResult:
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


class TaskEnv:
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
        self.action_names = tuple(task.action_names) or _enumerated(self.env) or action_names(self.env)
        self.instruction = task.instruction
        leaves(self.action_space)
        self._leaves = leaves(self.observation_space)
        self.last_action: np.ndarray | None = None
        self.casts: dict[str, str] = {}
        """What casts to the declared dtypes changed in this episode: leaf path, or ACTION, → a sentence."""
        self._whole = whole_numbers(self.action_space)
        self._watch = SuccessMonitor(task.success)

    def reset(self, seed: int) -> StepResult:
        """Begin the episode of `seed`."""
        self.forget()
        if self._played and _remembers(self.env):
            self.env.close()
            self.env = _make(self.task, self._rgb)
        self._played = True
        with failures(self.task, "in reset", "start what it needs; its reset must take seed and options"):
            observation, info = self.env.reset(seed=seed)
        return self.begun(seed, observation, info)

    def step(self, action: np.ndarray) -> StepResult:
        """Take one action, a row `[k]`."""
        return self.stepped(action, *self.env.step(row_to_action(self.action_space, action)))

    def forget(self) -> None:
        """Forget the last episode."""
        self.last_action, self.casts = None, {}
        self._watch = SuccessMonitor(self.task.success)

    def infos(self) -> dict[str, np.ndarray]:
        """Return what the success rule has read from info in this episode, see `SuccessMonitor.infos`."""
        return self._watch.infos()

    def begun(self, seed: int, observation: Any, info: dict[str, Any]) -> StepResult:
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
    ) -> StepResult:
        """Tell what the environment's own `step` gave."""
        self.last_action = action
        self._note_action(action)
        reward, terminated = float(reward), bool(terminated)
        truncated = bool(truncated) or (not terminated and self._watch.steps + 1 >= self.limit)
        self._watch.add(reward, terminated, truncated, info)
        return self._step(observation, reward, terminated, truncated, info)

    def frame(self) -> np.ndarray | str:
        """Render what a person sees now: uint8 `[H, W, 3]`, or text; see `pictures.to_picture`.

        However often it is drawn, the episode goes on the same (`undisturbed`).
        """
        with undisturbed(self.env.unwrapped):
            return to_picture(self.env.render(), self.task.env)

    def controls(self) -> Controls:
        """Return the suite's controls for this task, or those found for its action space."""
        controls = self._controls()
        missing = unreached(controls, self.action_space, self.task.fps is not None)
        return replace(controls, unreached=tuple(missing))

    def _controls(self) -> Controls:
        if self.task.controls is not None:
            return from_mapping(self.task.controls, self.task.idle, self.action_space, self.action_names)
        named = by_name(self.task.keys, self.task.idle, self.action_space, self.action_names)
        if named is not None:
            return named
        guessed = guess(self.env, self.action_names)
        if self.task.idle is None:
            return guessed if self.task.fps else with_rest_key(guessed)
        rest = from_mapping({}, self.task.idle, self.action_space)
        return replace(guessed, idle=rest.idle, mixer=rest.mixer)

    def close(self) -> None:
        self.env.close()

    def _step(
        self, raw: Any, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        observation = self._flat(raw)
        texts = [observation[leaf.path] for leaf in self._leaves if leaf.is_words]
        self.instruction = self.task.instruction or " ".join(texts)
        success = self._watch.success if terminated or truncated else None
        mask = info.get("action_mask")
        legal = None if mask is None else np.asarray(mask, dtype=bool)
        return StepResult(observation, reward, terminated, truncated, success, legal)

    def _flat(self, raw: Any) -> Observation:
        try:
            return flatten(self.observation_space, raw, casts=self.casts)
        except TutelageError as error:
            raise TutelageError(f"task {self.task.id!r}: observation {error}") from None

    def _note_action(self, action: np.ndarray) -> None:
        """Note the first number of an action that the environment was given as another, whole one."""
        part = np.asarray(action)[self._whole]
        if part.size and ACTION not in self.casts and (changed := part != np.trunc(part)).any():
            number = part[changed][0]
            self.casts[ACTION] = (
                f"declared {self.action_space}, got {number:g}: it became {np.trunc(number):g}"
            )


def _make(task: Task, rgb: bool) -> gymnasium.Env[Any, Any]:
    prepare(lambda: _may_use_opengl(task))
    admit(task)
    module, _, env_id = task.env.rpartition(":")
    for name in dict.fromkeys([*task.imports, *([module] if module else [])]):
        _import(name, task)
    registered = registry_with(env_id)
    if why := why_absent(env_id, registered):
        raise TutelageError(f"task {task.id!r}: {why}")
    kwargs = dict(task.kwargs)
    given = kwargs.pop("render_mode", None)
    with failures(task, "when it was made", "check its kwargs, and what it needs to run"):
        modes = _render_modes(registered[env_id])
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


def _may_use_opengl(task: Task) -> bool:
    """Say whether a task may draw with MuJoCo: it is there, and the task comes from it or from elsewhere."""
    module, _, env_id = task.env.rpartition(":")
    entry = gymnasium.registry[env_id].entry_point if env_id in gymnasium.registry else ""
    foreign = module or task.imports or "mujoco" in str(entry) or "robotics" in str(entry)
    return bool(foreign) and importlib.util.find_spec("mujoco") is not None


@contextlib.contextmanager
def failures(task: Task, phase: str, remedy: str) -> Iterator[None]:
    """Turn what an environment raises into one line: the task, the phase, what was raised, the remedy."""
    try:
        yield
    except TutelageError:
        raise
    except gymnasium.error.DependencyNotInstalled as error:  # some find out only at their first reset
        remedy = missing_for(task.env) or remedy_of(str(error))
        raise EnvironmentFailure(f"task {task.id!r}: {task.env} needs a missing package: {remedy}") from None
    except ModuleNotFoundError as error:
        remedy = f"{error}; {remedy_for(error)}"
        raise EnvironmentFailure(f"task {task.id!r}: {task.env} needs a missing package: {remedy}") from None
    except Exception as error:
        what = " ".join(str(error).split()) or "nothing more"
        raise EnvironmentFailure(
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
            refused = ("unexpected keyword argument 'render_mode'", "takes no arguments")
            if not any(words in str(error) for words in refused):
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
    except ModuleNotFoundError as error:
        raise TutelageError(
            f"task {task.id!r}: expected to import {module}, got {error}; {remedy_for(error, module)}"
        ) from None
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
