"""What an environment can do beyond Gymnasium, asked without importing its module."""

from __future__ import annotations

from typing import Any


def draws_tiles(world: Any) -> bool:
    """Say whether an unwrapped environment is a `grid.environment.GridEnv`, or derives from it.

    That module compiles code, so the class says so itself.
    """
    return bool(getattr(type(world), "draws_tiles", False))
