"""Tasks whose environment is not registered: one line per task on what its recorded episodes still allow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..console.printable import printable
from ..envs.registry import register, registry_with, why_absent
from ..envs.task import Task
from ..errors import TutelageError
from ..foreign_code.trust import trusts_module

if TYPE_CHECKING:
    from .store import Store

FORMATS = ("csv", "npz", "robomimic", "rlds")
"""Export formats for episodes with stored observations that need no environment."""


def recorded_only(tasks: Iterable[Task], store: str | Path) -> list[str]:
    """Return one line per task with an unregistered id: what its episodes allow, and the remedy.

    Trusted modules are imported first; tasks that name an untrusted module are skipped.
    """
    return [line for task in tasks if (line := _limitation(task, printable(store)))]


def played_without_environment(store: Store) -> list[str]:
    """Return the lines of `recorded_only` for the tasks of a store's episodes."""
    task_ids = set(store.episodes(store.sound_parts())["task"].to_pylist())
    return recorded_only([task for task in store.suite if task.id in task_ids], store.path)


def expect_environments(store: Store) -> None:
    """Raise TutelageError unless the environments of a store's episodes are registered."""
    if lines := played_without_environment(store):
        raise TutelageError(lines[0])


def is_absent(task: Task) -> bool:
    """Return whether a task's environment id is unregistered, and no untrusted module could register it."""
    return bool(_absence_reason(task))


def _absence_reason(task: Task) -> str:
    module, _, env_id = task.env.rpartition(":")
    modules = [name for name in (*task.imports, module) if name]
    if not all(map(trusts_module, modules)):
        return ""
    if modules and env_id not in registry_with(env_id):
        register(modules)
    return why_absent(env_id, registry_with(env_id))


def _limitation(task: Task, store: str) -> str:
    reason = _absence_reason(task)
    return reason and (
        f"task {task.id!r}: {reason} (`tutelage edit {store} suite FILE`); until then its recorded episodes "
        f"can be looked through, edited and exported ({', '.join(FORMATS)}), not trained on or evaluated"
    )
