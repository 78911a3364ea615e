"""Experts: scripted policies that read the environment's internal state. Never called demonstrators."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from ..errors import TutelageError, nearest
from ..foreign_code.objects import EXPERTS, FORM, entry_points
from .admission import admit_expert
from .extensions.own_expert import OwnExpert
from .task import Task
from .task_env import TaskEnv


class Expert(Protocol):
    """A scripted policy for one environment; call `reset` after the environment's own reset."""

    def reset(self) -> None:
        """Forget the last episode."""

    def act(self) -> np.ndarray | None:
        """Return the next action, a row `[k]`, from any state; None to give up."""


def make_expert(task: Task, environment: TaskEnv) -> Expert:
    """Return the expert that the suite names for a task.

    Raises TutelageError if the suite names none, an unknown one, or one that cannot play the environment.
    """
    fitting = [name for name, fits in _FITS.items() if fits(environment.env.unwrapped)]
    remedy = f"name it in a suite: expert: {fitting[0]}" if fitting else _NONE_FITS
    if task.expert is None:
        raise TutelageError(f"task {task.id!r}: expected an expert for {task.env}, got none; {remedy}")
    spec = task.expert_spec
    assert spec is not None
    if spec.name not in _EXPERTS:
        names = [*_EXPERTS, *entry_points(EXPERTS)]
        if not spec.module and spec.name not in names:
            raise TutelageError(
                f"task {task.id!r}: expected `expert` to be one of {', '.join(names)}, or {FORM}, "
                f"got {spec.name!r}{nearest(spec.name, names)}; {remedy}"
            )
        admit_expert(task)
        return OwnExpert(spec, environment)
    if spec.kwargs:
        raise TutelageError(
            f"task {task.id!r}: expected no arguments for expert {spec.name!r}, "
            f"got {', '.join(spec.kwargs)}; leave them out"
        )
    if spec.name not in fitting:
        raise TutelageError(
            f"task {task.id!r}: expected an expert that can play {task.env}, got {spec.name!r}; {remedy}"
        )
    if task.wrappers and environment.action_space != environment.env.unwrapped.action_space:
        raise TutelageError(
            f"task {task.id!r}: expected wrappers that leave the actions as they are for expert "
            f"{spec.name!r}, got {environment.action_space}; name an expert of your own: {FORM}"
        )
    return _EXPERTS[spec.name](environment)


def expert_names() -> list[str]:
    """List the experts of ours that a suite may name."""
    return list(_EXPERTS)


class BabyAIExpert:
    """minigrid's own BabyAI bot, which replans from the action actually taken.

    Gives up after the level's step limit, or when one plan takes too many searches: on a few seeds its
    planner loops forever inside one call, which only a limit on searches can stop.
    """

    SEARCHES = 1_000

    def __init__(self, environment: TaskEnv) -> None:
        from minigrid.utils.baby_ai_bot import BabyAIBot

        self._bot_class = BabyAIBot
        self._environment = environment
        self._bot: Any = None
        self._asked = 0

    def reset(self) -> None:
        self._bot = self._bot_class(self._environment.env)
        self._asked = 0
        search = self._bot._breadth_first_search

        def limited_search(*args: Any, **kwargs: Any) -> Any:
            if self._bot.bfs_counter > self.SEARCHES:
                raise _BotLost
            return search(*args, **kwargs)

        self._bot._breadth_first_search = limited_search

    def act(self) -> np.ndarray | None:
        if self._asked >= self._environment.limit:
            return None
        last_action = self._environment.last_action if self._asked else None
        self._asked += 1
        try:
            action = self._bot.replan(None if last_action is None else int(last_action[0]))
        except (_BotLost, AssertionError, ValueError, IndexError, TypeError, AttributeError, RecursionError):
            return None  # an invariant of the bot broke: it cannot continue this episode
        except Exception as error:
            if type(error).__name__ == "DisappearedBoxError":
                return None
            raise
        return np.array([float(action)])


class GridExpert:
    """The planner of our grid environments; it explores, and uses only the cells it has seen."""

    def __init__(self, environment: TaskEnv) -> None:
        from .grid.environment import GridEnv
        from .grid.planner.memory import empty_memory

        env = environment.env.unwrapped
        assert isinstance(env, GridEnv)
        self._env = env
        self._memory = empty_memory(1, env.level.height, env.level.width)

    def reset(self) -> None:
        from .grid.planner.memory import forget

        forget(self._memory, 0)

    def act(self) -> np.ndarray | None:
        from .grid.planner.planner import advise

        return np.array([float(advise(self._env.grids, self._memory, 0))])


class _BotLost(Exception):
    """The bot ran more searches than any solvable plan needs."""


class CartPoleExpert:
    """Linear state feedback that pushes the cart under the falling pole."""

    GAINS = np.array([0.6, 1.1, 9.0, 2.2])  # position, velocity, angle, angular velocity

    def __init__(self, environment: TaskEnv) -> None:
        self._environment = environment

    def reset(self) -> None:
        pass

    def act(self) -> np.ndarray | None:
        state = np.asarray(self._environment.env.unwrapped.state)  # type: ignore[attr-defined]
        return np.array([float(self.GAINS @ state > 0)])


class TaxiExpert:
    """Shortest paths over the environment's transition table, from one backward search from delivery."""

    def __init__(self, environment: TaskEnv) -> None:
        self._environment = environment
        self._plan = _taxi_plan(type(environment.env.unwrapped))  # type: ignore[arg-type]

    def reset(self) -> None:
        pass

    def act(self) -> np.ndarray | None:
        return np.array([float(self._plan[int(self._environment.env.unwrapped.s)])])  # type: ignore[attr-defined]


class PendulumExpert:
    """Pump energy until the pendulum can reach the top, then hold it there by linear feedback.

    Energy shaping after Åström and Furuta, "Swinging up a pendulum by energy control" (2000).
    """

    def __init__(self, environment: TaskEnv) -> None:
        self._environment = environment

    def reset(self) -> None:
        pass

    def act(self) -> np.ndarray | None:
        pendulum: Any = self._environment.env.unwrapped
        angle, speed = pendulum.state
        angle = (angle + np.pi) % (2 * np.pi) - np.pi  # 0 is upright
        if np.cos(angle) > 0.85 and abs(speed) < 4.0:
            torque = -(10.0 * angle + 2.0 * speed)
        else:
            rod = pendulum.m * pendulum.l**2 / 3
            energy = 0.5 * rod * speed**2 + pendulum.m * pendulum.g * pendulum.l / 2 * (np.cos(angle) - 1)
            torque = pendulum.max_torque * np.sign(-energy * speed) if speed else pendulum.max_torque
        return np.array([float(np.clip(torque, -pendulum.max_torque, pendulum.max_torque))])


class MetaWorldExpert:
    """The scripted policy that Meta-World has for each of its tasks."""

    def __init__(self, environment: TaskEnv) -> None:
        from .metaworld import MetaWorldEnv, scripted_policies

        arm = environment.env.unwrapped
        assert isinstance(arm, MetaWorldEnv)
        self._arm, self._make = arm, scripted_policies()[arm.task]
        self._policy = self._make()

    def reset(self) -> None:
        self._policy = self._make()

    def act(self) -> np.ndarray | None:
        with warnings.catch_warnings():  # that its own constants exceed the action space
            warnings.simplefilter("ignore")
            action = np.asarray(self._policy.get_action(self._arm.seen), np.float32)
        return np.clip(action, -1, 1).astype(np.float64)


_EXPERTS: dict[str, Callable[[TaskEnv], Expert]] = {
    "grid": GridExpert,
    "babyai": BabyAIExpert,
    "cartpole": CartPoleExpert,
    "taxi": TaxiExpert,
    "pendulum": PendulumExpert,
    "metaworld": MetaWorldExpert,
}

_NONE_FITS = (
    "no scripted expert fits this environment: name one of your own (expert: package.module:Object), or "
    "leave `expert` out, record people (`tutelage record`), and evaluate beside random actions"
)


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda environment: all(hasattr(environment, name) for name in names)


def _is_called(name: str) -> Callable[[Any], bool]:
    """Return a predicate: the environment's class or one of its bases has this name."""
    return lambda environment: any(base.__name__ == name for base in type(environment).__mro__)


_FITS: dict[str, Callable[[Any], bool]] = {
    "grid": _has("grids", "level"),
    "babyai": _is_called("RoomGridLevel"),
    "cartpole": _has("state", "masspole"),
    "taxi": _has("P", "decode"),
    "pendulum": _has("max_torque", "m", "l", "g"),
    "metaworld": _is_called("MetaWorldEnv"),
}
"""Name of an expert → predicate: whether it can play an (unwrapped) environment."""


@lru_cache(maxsize=4)
def _taxi_plan(environment_class: type) -> np.ndarray:
    """Return the best action for each of the 500 states, int64 `[500]`, by a search back from delivery."""
    table = environment_class().P
    predecessors: dict[int, list[tuple[int, int]]] = {state: [] for state in table}
    frontier: deque[int] = deque()
    plan = np.zeros(len(table), np.int64)
    planned = set()
    for state, actions in table.items():
        for action, outcomes in actions.items():
            _, after, _, delivered = outcomes[0]
            if delivered and state not in planned:
                plan[state] = action
                planned.add(state)
                frontier.append(state)
            elif not delivered:
                predecessors[after].append((state, action))
    while frontier:
        for state, action in predecessors[frontier.popleft()]:
            if state not in planned:
                planned.add(state)
                plan[state] = action
                frontier.append(state)
    return plan
