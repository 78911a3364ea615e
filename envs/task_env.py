"""Wrap any registered Gymnasium environment as a task: flat observations, instruction, outcome, frames."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from ..errors import EnvironmentFailure, TutelageError
from ..foreign_code.extras import missing_for, remedy_of
from ..foreign_code.own_modules import remedy_for
from .capabilities import Snapshots, plain
from .drawing.pictures import RENDER_MODES, to_picture
from .drawing.rendering import draw_in_own_context
from .drawing.undisturbed import undisturbed
from .extensions.wrappers import wrapped
from .families import action_names
from .keys.controls import Controls, by_name, from_mapping, guess, with_rest_key
from .keys.unreached import unreached
from .spaces import Observation, flatten, leaves, row_to_action, whole_numbers
from .success import SuccessMonitor
from .task import Task
from .task_spec import spec_of

ACTION = "(action)"
"""Key of the action in `TaskEnv.casts`; no leaf of an observation has this name."""

DEFAULT_LIMIT = 1000
"""Step limit of environments that have none of their own."""


@dataclass(frozen=True)
class StepResult:
    """The result of one reset or step.

    `observation` maps leaf paths to arrays or text. `legal` is the action mask of a Discrete space, bool, if
    the environment reports one (`info["action_mask"]`), else None. `success` is None until the episode has
    ended.
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


@dataclass(frozen=True)
class TaskSnapshot:
    """A state to which `TaskEnv.restore` returns."""

    environment: Any
    limits: list[tuple[TimeLimit[Any, Any], int]]  # wrappers, and how many steps they have counted
    generator: Any  # of the action space
    watch: SuccessMonitor
    casts: dict[str, str]
    last_action: np.ndarray | None
    instruction: str
    limit: int


class TaskEnv:
    """One environment of a task, for one episode after another.

    `frame()` needs `rgb=True`. Actions are rows float64 `[k]` (see `spaces.action_to_row`). Raises
    TutelageError for an unknown id, a missing package or arguments that the environment refuses; Untrusted
    for side effects that are not trusted, see `admission`.
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
        self.raw_observation: Any = None
        """The latest observation as the environment gave it."""
        self.casts: dict[str, str] = {}
        """Changes by casts to the declared dtypes in this episode: leaf path, or ACTION → description."""
        self._whole = whole_numbers(self.action_space)
        self._watch = SuccessMonitor(task.success)

    def reset(self, seed: int) -> StepResult:
        """Begin the episode of `seed`."""
        self.forget()
        if self._played and _has_shared_world(self.env):
            self.env.close()
            self.env = _make(self.task, self._rgb)
        self._played = True
        with failures(self.task, "in reset", "start what it needs; its reset must take seed and options"):
            observation, info = self.env.reset(seed=seed)
        return self.finish_reset(seed, observation, info)

    def step(self, action: np.ndarray) -> StepResult:
        """Take one action, a row `[k]`."""
        return self.finish_step(action, *self.env.step(row_to_action(self.action_space, action)))

    @property
    def fixed_limit(self) -> int | None:
        """The step limit that is the same in every episode, None if only the environment knows it."""
        limits = [limit for limit in (_spec_limit(self.env), self.task.max_steps) if limit]
        if limits:
            return min(limits)
        return None if self.env.has_wrapper_attr("max_steps") else DEFAULT_LIMIT

    @property
    def time_limit(self) -> int | None:
        """The step limit of Gymnasium's own wrapper, None without one."""
        return _spec_limit(self.env)

    def forget(self) -> None:
        """Clear the state of the last episode."""
        self.last_action, self.casts = None, {}
        self._watch = SuccessMonitor(self.task.success)

    def snapshot(self) -> TaskSnapshot | None:
        """Return the present state; None without `capabilities.Snapshots`, or where they fail."""
        bare = plain(self.env, Snapshots)
        if bare is None:
            return None
        try:
            state = bare.snapshot()
        except Exception:  # nothing depends on it
            return None
        return TaskSnapshot(
            environment=state,
            limits=[(wrapper, wrapper._elapsed_steps or 0) for wrapper in _time_limits(self.env)],
            generator=self.env.action_space.np_random.bit_generator.state,
            watch=self._watch.copied(),
            casts=dict(self.casts),
            last_action=self.last_action,
            instruction=self.instruction,
            limit=self.limit,
        )

    def restore(self, snapshot: TaskSnapshot, observation: Observation) -> bool:
        """Return to a snapshot of this episode; False unless that gives the observation it was made at."""
        bare = plain(self.env, Snapshots)
        assert bare is not None
        try:
            self.raw_observation = bare.restore(snapshot.environment)
            restored = self._flat(self.raw_observation)
        except Exception:  # the caller begins again
            return False
        for wrapper, steps in snapshot.limits:
            wrapper._elapsed_steps = steps  # type: ignore[assignment]
        self.env.action_space.np_random.bit_generator.state = snapshot.generator
        self._watch, self.casts = snapshot.watch.copied(), dict(snapshot.casts)
        self.last_action, self.instruction = snapshot.last_action, snapshot.instruction
        self.limit = snapshot.limit
        return all(np.array_equal(restored[path], value) for path, value in observation.items())

    def infos(self) -> dict[str, np.ndarray]:
        """Return the info values that the success rule read in this episode, see `SuccessMonitor.infos`."""
        return self._watch.infos()

    def finish_reset(self, seed: int, observation: Any, info: dict[str, Any]) -> StepResult:
        """Convert the result of the environment's own `reset`; for callers that reset it themselves."""
        self.limit = _limit(self.task, self.env)  # some environments set their limit in reset
        # some environments sample from their spaces during an episode
        self.env.action_space.seed(seed)
        return self._step(observation, 0.0, False, False, info)

    def finish_step(
        self,
        action: np.ndarray,
        observation: Any,
        reward: Any,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> StepResult:
        """Convert the result of the environment's own `step`; for callers that step it themselves."""
        self.last_action = action
        self._note_action(action)
        reward, terminated = float(reward), bool(terminated)
        steps = self._watch.steps + 1
        # Gymnasium's own wrapper, which concurrent steps pass by, truncates what has terminated, too
        truncated = bool(truncated) or steps == self.time_limit or (not terminated and steps >= self.limit)
        self._watch.add(reward, terminated, truncated, info)
        return self._step(observation, reward, terminated, truncated, info)

    def frame(self) -> np.ndarray | str:
        """Render the current frame: uint8 `[H, W, 3]`, or text; see `pictures.to_picture`.

        Rendering does not affect the episode (`undisturbed`).
        """
        draw_in_own_context(getattr(self.env.unwrapped, "mujoco_renderer", None))
        with undisturbed(self.env.unwrapped):
            return to_picture(self.env.render(), self.task.env)

    def controls(self) -> Controls:
        """Return the suite's controls for this task, or default controls for its action space."""
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
        self.raw_observation = raw
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
        """Record the first entry of an action that was truncated to an integer."""
        part = np.asarray(action)[self._whole]
        if part.size and ACTION not in self.casts and (changed := part != np.trunc(part)).any():
            number = part[changed][0]
            self.casts[ACTION] = (
                f"declared {self.action_space}, got {number:g}: it became {np.trunc(number):g}"
            )


def _make(task: Task, rgb: bool) -> gymnasium.Env[Any, Any]:
    """Make a task's environment within its wrappers, after what acts in it was admitted."""
    env = _bare(task, rgb)
    try:
        return wrapped(env, task)
    except BaseException:
        with contextlib.suppress(Exception):
            env.close()
        raise


def _bare(task: Task, rgb: bool) -> gymnasium.Env[Any, Any]:
    spec = spec_of(task)
    env_id = task.env.rpartition(":")[2]
    kwargs = dict(task.kwargs)
    own_mode = kwargs.pop("render_mode", None)
    with failures(task, "when it was made", "check its kwargs, and what it needs to run"):
        modes = _render_modes(spec)
        if rgb:
            return _gymnasium_make(env_id, shown_mode(task, modes, own_mode), kwargs)
        try:
            return _gymnasium_make(env_id, own_mode, kwargs)
        except gymnasium.error.DependencyNotInstalled:
            raise
        except Exception:  # some environments require a render mode, even where no picture is used
            if own_mode is not None or not (usable := [mode for mode in RENDER_MODES if mode in modes]):
                raise
            try:
                return _gymnasium_make(env_id, usable[0], kwargs)
            except Exception:
                pass  # the render mode was not the cause: raise the first error
            raise


@contextlib.contextmanager
def failures(task: Task, phase: str, remedy: str) -> Iterator[None]:
    """Convert an exception of an environment to an EnvironmentFailure: task, phase, exception, remedy."""
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
        message = " ".join(str(error).split()) or "nothing more"
        raise EnvironmentFailure(
            f"task {task.id!r}: {task.env} failed {phase}: {type(error).__name__}: {message[:500]}; {remedy}"
        ) from error


def shown_mode(task: Task, modes: Sequence[str], own_mode: str | None) -> str:
    """Choose a render mode that a page can show; raises TutelageError if the environment has none.

    `modes` are the declared render modes, possibly none; `own_mode` is the task's own.
    """
    if own_mode in RENDER_MODES:
        return str(own_mode)
    usable = [mode for mode in RENDER_MODES if mode in modes]
    if modes and not usable:
        raise TutelageError(
            f"task {task.id!r}: expected {task.env} to render for a page ({', '.join(RENDER_MODES)}), "
            f"got render modes {', '.join(map(str, modes))}; add one of these to it"
        )
    return usable[0] if usable else RENDER_MODES[0]


def _gymnasium_make(env_id: str, mode: str | None, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return gymnasium.make(env_id, render_mode=mode, disable_env_checker=True, **kwargs)
        except TypeError as error:
            refused = ("unexpected keyword argument 'render_mode'", "takes no arguments")
            if not any(words in str(error) for words in refused):
                raise
            return gymnasium.make(
                env_id, disable_env_checker=True, **kwargs
            )  # it has a single way of rendering


def _render_modes(spec: Any) -> tuple[str, ...]:
    """Return the render modes that an environment's class declares, possibly none."""
    creator = spec.entry_point
    if isinstance(creator, str):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            creator = gymnasium.envs.registration.load_env_creator(creator)
    return tuple(getattr(creator, "metadata", {}).get("render_modes") or ())


def _has_shared_world(env: gymnasium.Env[Any, Any]) -> bool:
    """Return whether episodes share a Box2D world, whose solver is warm-started from the last episode."""
    return type(getattr(env.unwrapped, "world", None)).__module__.startswith("Box2D")


def _time_limits(env: gymnasium.Env[Any, Any]) -> Iterator[TimeLimit[Any, Any]]:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, TimeLimit):
            yield env
        env = env.env


def _limit(task: Task, env: gymnasium.Env[Any, Any]) -> int:
    own_limit = _spec_limit(env)
    if own_limit is None and env.has_wrapper_attr("max_steps"):
        own_limit = int(env.get_wrapper_attr("max_steps"))
    limits = [limit for limit in (own_limit, task.max_steps) if limit]
    return min(limits) if limits else DEFAULT_LIMIT


def _spec_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    return env.spec.max_episode_steps if env.spec else None


def _enumerated(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    actions = getattr(env.unwrapped, "actions", None)
    members = getattr(actions, "__members__", None)
    return tuple(members) if members else ()
