"""Wrappers that a task puts around its environment, in the suite's order: the first is the innermost."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium

from ...errors import EnvironmentFailure, TutelageError, brief
from ...foreign_code.objects import ObjectSpec, foreign_errors
from ..capabilities import ReadsInput
from ..task import Task

_PACKAGE = "gymnasium.wrappers"
_ACTING = frozenset(("HumanRendering", "RecordVideo"))
"""Wrappers of Gymnasium that write files or open windows, so that they need trust as any other does."""


def is_harmless(spec: ObjectSpec) -> bool:
    """Say whether a wrapper is one of Gymnasium's own that does nothing beyond its environment."""
    return spec.module == _PACKAGE and spec.short_name in _harmless_names()


def wrapped(env: gymnasium.Env[Any, Any], task: Task) -> gymnasium.Env[Any, Any]:
    """Return an environment within its task's wrappers, which were admitted before (see `admission`).

    Raises TutelageError for an object that is no wrapper, and for one that changes the actions of a web page,
    which people's clicks are.
    """
    for spec in task.wrapper_specs:
        env = _wrapped(env, spec, task)
    if (
        task.wrappers
        and isinstance(env.unwrapped, ReadsInput)
        and env.action_space != env.unwrapped.action_space
    ):
        raise TutelageError(
            f"task {task.id!r}: expected wrappers that leave the actions as they are, since people click on "
            f"its picture, "
            f"got {env.action_space}; wrap observations and rewards only"
        )
    return env


def _wrapped(env: gymnasium.Env[Any, Any], spec: ObjectSpec, task: Task) -> gymnasium.Env[Any, Any]:
    who = f"task {task.id!r}"
    make = getattr(gymnasium.wrappers, spec.short_name) if is_harmless(spec) else spec.load(who=who)
    with foreign_errors(
        f"{who}: expected {spec.name} to wrap {task.env}, got ",
        "; it is called with the environment and the keyword arguments of the suite",
        raised=EnvironmentFailure,
        passing=gymnasium.error.DependencyNotInstalled,
    ):
        outer = make(env, **spec.kwargs)
    if not isinstance(outer, gymnasium.Env):
        raise TutelageError(
            f"{who}: expected {spec.name} to return an environment, got {brief(outer)}; "
            "let it derive from gymnasium.Wrapper"
        )
    return outer


@cache
def _harmless_names() -> frozenset[str]:
    return frozenset(gymnasium.wrappers.__all__) - _ACTING
