"""Package versions that an episode was played with, and which of them have changed since."""

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
"""Most modules of an environment's own package that are searched."""


def versions_of(environment: TaskEnv) -> dict[str, str]:
    """Return the version of Python, and of every distribution that the environment's modules import.

    Imports are found in the modules' globals, and in the attributes of the environment.
    """
    bare = environment.env.unwrapped
    kinds = {type(layer) for layer in _layers(environment.env)}
    attribute_packages = {_package(type(value).__module__) for value in vars(bare).values()}
    packages = {*ALWAYS, *attribute_packages, *(name for kind in kinds for name in _imported_packages(kind))}
    named = {name: version for package in packages for name, version in _versions(package)}
    return {"python": platform.python_version(), **dict(sorted(named.items()))}


def moved_versions(recorded: Mapping[str, str]) -> list[str]:
    """List packages whose version differs from the recorded one: `name old → new`, or `→ not installed`."""
    changes = []
    for name, version in recorded.items():
        current = platform.python_version() if name == "python" else _version(name)
        if current != version:
            changes.append(f"{name} {version} → {current or 'not installed'}")
    return changes


def _layers(env: Any) -> Iterator[Any]:
    while env is not None:
        yield env
        env = vars(env).get("env")


def _imported_packages(kind: type) -> frozenset[str]:
    """Return the top-level packages that the modules of a class and of its bases import.

    Modules of its own package are searched recursively; of Gymnasium, only those of the environment's folder.
    """
    if kind in _IMPORTED:
        return _IMPORTED[kind]
    packages: set[str] = set()
    packages.update(_package(base.__module__) for base in kind.__mro__)
    stack = [base.__module__ for base in kind.__mro__ if _root(base.__module__)]
    roots = {_root(name) for name in stack}
    visited: set[str] = set()
    while stack and len(visited) < MOST_MODULES:
        name = stack.pop()
        if name in visited or not (module := sys.modules.get(name)):
            continue
        visited.add(name)
        for imported in _module_names(module):
            packages.add(_package(imported))
            if any(imported == root or imported.startswith(f"{root}.") for root in roots):
                stack.append(imported)
    return _IMPORTED.setdefault(kind, frozenset(packages))


def _module_names(module: ModuleType) -> Iterator[str]:
    """Yield the names of modules that a module's globals are, or are defined in."""
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str):
            yield name


def _root(module: str) -> str:
    """Return the prefix of modules to search: the package, or a folder of Gymnasium's environments."""
    package = _package(module)
    if package == "gymnasium":
        return module.rpartition(".")[0] if module.startswith("gymnasium.envs.") else ""
    return "" if package in sys.stdlib_module_names else package


def _package(module: str) -> str:
    return module.partition(".")[0]


def _versions(package: str) -> list[tuple[str, str]]:
    """Return name and version of the distributions that provide a top-level package."""
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
