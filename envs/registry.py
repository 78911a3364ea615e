"""Gymnasium's registry, including the environments of the packages that we know."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium

from .drawing.rendering import prepare


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
