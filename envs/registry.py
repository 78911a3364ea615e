"""Gymnasium's registry with the packages that we know, and error messages for ids that are not in it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import gymnasium

from ..errors import closest, nearest
from ..foreign_code.extras import advice_for, corrected
from .drawing.rendering import prepare

NEAR = 0.85
"""Minimal similarity (difflib ratio) of two names without version for a "did you mean"."""


def registry() -> dict[str, Any]:
    """Return Gymnasium's registry after importing the environment packages that we know."""
    if importlib.util.find_spec("minigrid"):
        importlib.import_module("minigrid")
        # its level generator prints each rejected layout; a thousand episodes would flood the terminal
        rooms = importlib.import_module("minigrid.envs.babyai.core.roomgrid_level")
        rooms.__dict__.setdefault("print", lambda *_: None)
    return gymnasium.registry


def registry_with(env_id: str) -> dict[str, Any]:
    """Return Gymnasium's registry; import the packages that we know only if the id needs them."""
    needless = env_id in gymnasium.registry and "minigrid" not in sys.modules
    return gymnasium.registry if needless else registry()


def register(modules: Sequence[str]) -> None:
    """Import trusted modules, which register environments; a module that fails is skipped."""
    registry()
    prepare(lambda: bool(modules) and importlib.util.find_spec("mujoco") is not None)
    for module in modules:
        with contextlib.suppress(Exception):  # reported when the environment is made
            importlib.import_module(module)


def why_absent(env_id: str, registered: Collection[str]) -> str:
    """Explain in one line why an id is not registered, with the remedy; "" if it is registered."""
    if env_id in registered:
        return ""
    return f"expected a registered Gymnasium id, got {unregistered(env_id, registered)}"


def unregistered(env_id: str, registered: Iterable[str], other_names: Iterable[str] = ()) -> str:
    """Describe an unregistered id: the package that provides it, or the nearest name, and the remedy."""
    if advice := advice_for(env_id):
        return f"{env_id!r}{advice}"
    near = nearest(env_id, other_names) or nearest_id(env_id, registered)
    if not near and (advice := corrected(env_id)):
        return f"{env_id!r}{advice}"
    return (
        f"{env_id!r}{near}; if another package registers it, install it and name its module: MODULE:{env_id}"
    )


def nearest_id(env_id: str, registered: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the id of the most similar name, in its latest version, or ""."""
    ids = {_name(registered_id): registered_id for registered_id in registered}
    near = closest(_name(env_id), ids, NEAR)
    return f"; did you mean {ids[near]!r}?" if near else ""


def _name(env_id: str) -> str:
    """Return an id without its version, in lower case."""
    return re.sub(r"-v\d+$", "", env_id).casefold()
