"""Tutelage: what people do, turned into one policy, and measured against the same people."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .envs import early_stop  # noqa: F401  (first: the others take a second to import)
from .envs.extensions.own_environment import register_make
from .envs.grid.registration import register_levels
from .envs.metaworld import register_metaworld
from .envs.recorded import register_recorded
from .envs.taxi import register_taxi
from .envs.web.registration import register_pages

if TYPE_CHECKING:
    from .api.evaluation import EvaluationResult as EvaluationResult
    from .api.evaluation import evaluate as evaluate
    from .api.policies import Run as Run
    from .api.policies import TrainedPolicy as TrainedPolicy
    from .api.policies import load_policy as load_policy
    from .api.store import Arrays as Arrays
    from .api.store import Episodes as Episodes
    from .api.store import Store as Store
    from .api.store import simulate as simulate
    from .api.suites import load_suite as load_suite
    from .api.training import train as train
    from .datasets.trajectory import Trajectory as Trajectory
    from .envs.suite import Suite as Suite
    from .envs.task import Task as Task
    from .envs.task_env import TaskEnv as TaskEnv
    from .errors import TutelageError as TutelageError
    from .foreign_code.trust import trust as trust

__version__ = "0.1.0"

_HOME = {
    "Arrays": ".api.store",
    "Episodes": ".api.store",
    "EvaluationResult": ".api.evaluation",
    "Run": ".api.policies",
    "Store": ".api.store",
    "Suite": ".envs.suite",
    "Task": ".envs.task",
    "TaskEnv": ".envs.task_env",
    "TrainedPolicy": ".api.policies",
    "Trajectory": ".datasets.trajectory",
    "TutelageError": ".errors",
    "evaluate": ".api.evaluation",
    "load_policy": ".api.policies",
    "load_suite": ".api.suites",
    "simulate": ".api.store",
    "train": ".api.training",
    "trust": ".foreign_code.trust",
}
"""Public name → the module that has it; `docs/python.md` shows each."""

__all__ = [*_HOME, "__version__"]

register_levels()
register_metaworld()
register_pages()
register_make()
register_recorded()
register_taxi()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that recording never waits for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'tutelage' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
