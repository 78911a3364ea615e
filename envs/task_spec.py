"""Gymnasium's specification of a task's environment, and the capabilities of its class."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from ..errors import TutelageError
from ..foreign_code.own_modules import remedy_for
from .admission import admit
from .drawing.rendering import prepare
from .registry import registry_with, why_absent
from .task import Task


def spec_of(task: Task) -> EnvSpec:
    """Return the specification of a task's environment, after importing the modules that register it.

    Raises Untrusted for code that is not trusted, see `admission`, and TutelageError for an unknown id or a
    module that cannot be imported.
    """
    prepare(lambda: _may_use_opengl(task))
    admit(task)
    module, _, env_id = task.env.rpartition(":")
    for name in dict.fromkeys([*task.imports, *([module] if module else [])]):
        _import(name, task)
    registered = registry_with(env_id)
    if why := why_absent(env_id, registered):
        raise TutelageError(f"task {task.id!r}: {why}")
    spec: EnvSpec = registered[env_id]
    return spec


def class_of(task: Task) -> type | None:
    """Return the class of a task's environment, if no wrapper changes what it says; the task is not made.

    None for code that is not trusted or cannot be imported, and for a factory that is no class.
    """
    if task.wrappers:
        return None
    try:
        spec = spec_of(task)
    except TutelageError:
        return None
    creator: Any = spec.entry_point
    if isinstance(creator, str):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                creator = gymnasium.envs.registration.load_env_creator(creator)
        except Exception:  # reported when the environment is made
            return None
    is_plain = not getattr(spec, "additional_wrappers", ())
    return creator if is_plain and isinstance(creator, type) else None


def supports(task: Task, capability: type) -> bool:
    """Return whether a task's environment has a capability (`capabilities`), without making it."""
    made_by = class_of(task)
    return made_by is not None and issubclass(made_by, capability)


def is_reproducible(task: Task) -> bool:
    """Return whether a task's environment is registered as deterministic; True if it is not registered."""
    try:
        return not spec_of(task).nondeterministic
    except TutelageError:
        return True


def _import(module: str, task: Task) -> None:
    """Import a trusted module, which registers environments."""
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


def _may_use_opengl(task: Task) -> bool:
    """Return whether a task may render with MuJoCo: it is installed, and the task may use it."""
    module, _, env_id = task.env.rpartition(":")
    entry = gymnasium.registry[env_id].entry_point if env_id in gymnasium.registry else ""
    foreign = module or task.imports or "mujoco" in str(entry) or "robotics" in str(entry)
    return bool(foreign) and importlib.util.find_spec("mujoco") is not None
