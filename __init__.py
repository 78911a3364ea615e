"""Tutelage: what people do, turned into one policy, and measured against the same people."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .envs import early_stop  # noqa: F401  (first: the others take a second to import)
from .envs.grid.registration import register_levels
from .envs.taxi import register_taxi
from .envs.web.registration import register_pages

if TYPE_CHECKING:
    from .agents.evaluation.evaluate import evaluate as evaluate
    from .agents.policy.policy import Policy as Policy
    from .agents.training.behavior_cloning import train as train
    from .datasets.store import Store as Store
    from .envs.suite import load_suite as load_suite
    from .envs.task_env import TaskEnv

__version__ = "0.1.0"
__all__ = ["Policy", "Store", "TaskEnv", "__version__", "evaluate", "load_suite", "train"]

_HOME = {
    "Policy": ".agents.policy.policy",
    "Store": ".datasets.store",
    "TaskEnv": ".envs.task_env",
    "evaluate": ".agents.evaluation.evaluate",
    "load_suite": ".envs.suite",
    "train": ".agents.training.behavior_cloning",
}

register_levels()
register_pages()
register_taxi()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that recording never waits for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'tutelage' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)
