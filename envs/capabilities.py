"""Capabilities of an environment beyond Gymnasium's interface, queried without importing its module."""

from __future__ import annotations

from typing import Any


def draws_tiles(environment: Any) -> bool:
    """Return whether an unwrapped environment is a `grid.environment.GridEnv` or a subclass.

    Reads an attribute of the class: importing that module would compile kernels.
    """
    return bool(getattr(type(environment), "draws_tiles", False))
