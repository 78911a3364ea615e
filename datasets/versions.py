"""Which versions of which packages an episode was played with, and which of them are others now."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from ..envs.task_env import TaskEnv

ALWAYS = ("gymnasium", "numpy")
_IMPORTED: dict[type, frozenset[str]] = {}
MOST_MODULES = 2000
"""Modules of an environment's own package that are looked through."""


def versions_of(environment: TaskEnv) -> dict[str, str]:
    """Return the version of Python, and of every distribution that the environment's modules import.

    These are found by what stands in those modules, and by what the environment and its wrappers hold.
    """
    bare = environment.env.unwrapped
    kinds = {type(layer) for layer in _layers(environment.env)}
    held = {_package(type(value).__module__) for value in vars(bare).values()}
    packages = {*ALWAYS, *held, *(name for kind in kinds for name in _imported_by(kind))}
    named = {name: version for package in packages for name, version in _versions(package)}
    return {"python": platform.python_version(), **dict(sorted(named.items()))}


def moved_versions(recorded: Mapping[str, str]) -> list[str]:
    """List what has another version now than was recorded: `name old → new`, or `→ not installed`."""
    moved = []
    for name, version in recorded.items():
        now = platform.python_version() if name == "python" else _version(name)
        if now != version:
            moved.append(f"{name} {version} → {now or 'not installed'}")
    return moved


def _layers(env: Any) -> Iterator[Any]:
    while env is not None:
        yield env
        env = vars(env).get("env")


def _imported_by(kind: type) -> frozenset[str]:
    """Return the top-level packages that the modules of a class and of its bases import.

    Modules of its own package are followed; of Gymnasium, only those of the environment's own folder.
    """
    if kind in _IMPORTED:
        return _IMPORTED[kind]
    packages: set[str] = set()
    packages.update(_package(base.__module__) for base in kind.__mro__)
    waiting = [base.__module__ for base in kind.__mro__ if _root(base.__module__)]
    roots = {_root(name) for name in waiting}
    looked: set[str] = set()
    while waiting and len(looked) < MOST_MODULES:
        name = waiting.pop()
        if name in looked or not (module := sys.modules.get(name)):
            continue
        looked.add(name)
        for other in _names_in(module):
            packages.add(_package(other))
            if any(other == root or other.startswith(f"{root}.") for root in roots):
                waiting.append(other)
    return _IMPORTED.setdefault(kind, frozenset(packages))


def _names_in(module: ModuleType) -> Iterator[str]:
    """Yield the modules that a module's globals are, or come from."""
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str):
            yield name


def _root(module: str) -> str:
    """Return what is followed of a module's package: all of it, or a folder of Gymnasium's environments."""
    package = _package(module)
    if package == "gymnasium":
        return module.rpartition(".")[0] if module.startswith("gymnasium.envs.") else ""
    return "" if package in sys.stdlib_module_names else package


def _package(module: str) -> str:
    return module.partition(".")[0]


def _versions(package: str) -> list[tuple[str, str]]:
    """Return name and version of the distributions that a top-level package comes from."""
    if package in sys.stdlib_module_names or package == "tutelage":
        return []
    named = [(name, _version(name)) for name in dict.fromkeys(_distributions().get(package, ()))]
    return [(name.lower(), version) for name, version in named if version is not None]


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@cache
def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
