"""Try a suite before anything is written: environments begin, keys are actions, experts exist."""

from __future__ import annotations

from collections.abc import Iterable

from .experts import make_expert
from .gymnasium_task import TaskEnvironment
from .suite import Suite
from .task import Task
from .web.browser import close_shared


def rehearse(suite: Suite, experts: Iterable[str] = ()) -> None:
    """Begin an episode of each task, read its keys, and make the experts of the tasks named in `experts`.

    Raises TutelageError for the first mistake, which would otherwise show in the midst of playing, when
    a store already holds the suite with the mistake in it.
    """
    named = {suite[task].id for task in experts}
    try:
        for task in suite:
            try_out(task, expert=task.id in named)
    finally:
        close_shared()  # people's pages are shown by other processes


def try_out(task: Task, expert: bool = False) -> None:
    """Try one task, see `rehearse`."""
    environment = TaskEnvironment(task)
    try:
        environment.reset(0)
        environment.controls()
        if expert:
            make_expert(task, environment)
    finally:
        environment.close()
