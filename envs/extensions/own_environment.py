"""An environment by the name of what makes it: `tutelage/Make-v0` with `factory: package.module:Object`.

The name is an argument of the task, so stores and checkpoints carry it, other processes make the same
environment, and `admission` asks whether the module is trusted before it is imported.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.envs.registration import register, registry

from ...errors import TutelageError
from ...foreign_code.objects import name_of, parse_object

MAKE_ID = "tutelage/Make-v0"
LOCAL = "local"
"""The namespace of environments that only this process can make: those of a notebook, of `__main__`."""


def register_make() -> None:
    """Register `tutelage/Make-v0`, once."""
    if MAKE_ID not in registry:
        register(id=MAKE_ID, entry_point="tutelage.envs.extensions.own_environment:make")


def make(factory: str, render_mode: str | None = None, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Import `package.module:Object`, call it, and return the environment that it gives.

    `render_mode` is handed on to what takes it. Raises Untrusted for a module that is not trusted, and
    TutelageError for a name that is none, and where the result is no gymnasium.Env.
    """
    target: Any = parse_object(factory, "factory").load(who=MAKE_ID)
    if render_mode is not None and _takes(target, "render_mode"):
        kwargs["render_mode"] = render_mode
    environment = target(**kwargs)
    if not isinstance(environment, gymnasium.Env):
        raise TutelageError(
            f"expected {factory} to give a gymnasium.Env, got {type(environment).__name__}; return one"
        )
    return environment


def task_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the keys `id`, `env` and `kwargs` of a task whose environment is made by a class or function.

    One that can be imported is named, see `MAKE_ID`; any other is registered for this process alone, as
    `local/NAME-v0`.
    """
    short_name = getattr(factory, "__qualname__", type(factory).__qualname__)
    task_id = re.sub(r"\W+", "-", short_name).strip("-") or "environment"
    name = name_of(factory)
    if name is not None and not name.startswith("__main__:"):
        return {"id": task_id, "env": MAKE_ID, "kwargs": {"factory": name}}
    env_id = f"{LOCAL}/{task_id}-v0"
    registry.pop(env_id, None)
    register(id=env_id, entry_point=factory)
    return {"id": task_id, "env": env_id}


def _takes(target: Any, keyword: str) -> bool:
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return False
    return keyword in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )
