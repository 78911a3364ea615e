"""Tasks that cannot be played here: one line per task on what its recorded episodes still allow.

Their environment is not registered, or they have recordings only (`envs.recorded`), which can be trained on.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..console.printable import printable
from ..envs.recorded import ENV_ID, is_recorded_only
from ..envs.registry import register, registry_with, why_absent
from ..envs.task import Task
from ..errors import TutelageError
from ..foreign_code.trust import trusts_module

if TYPE_CHECKING:
    from .store import Store

FORMATS = ("csv", "npz", "robomimic", "rlds")
"""Export formats for episodes with stored observations that need no environment."""


def recorded_only(tasks: Iterable[Task], store: str | Path) -> list[str]:
    """Return one line per task that cannot be played: what its episodes allow, and the remedy.

    Trusted modules are imported first; tasks that name an untrusted module are skipped.
    """
    return [line for task in tasks if (line := _limitation(task, printable(store)))]


def played_without_environment(store: Store) -> list[str]:
    """Return the lines of `recorded_only` for the tasks of a store's episodes."""
    return recorded_only(_tasks_of(store), store.path)


def expect_environments(store: Store) -> None:
    """Raise TutelageError unless the environments of a store's episodes are registered."""
    for task in _tasks_of(store):
        if is_absent(task):
            raise TutelageError(_limitation(task, printable(store.path)))


def _tasks_of(store: Store) -> list[Task]:
    task_ids = set(store.episodes(store.sound_parts())["task"].to_pylist())
    return [task for task in store.suite if task.id in task_ids]


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
    if is_recorded_only(task):
        return (
            f"task {task.id!r} has recordings only, to train on; to evaluate a policy, name its environment "
            f"in its suite (`tutelage edit {store} suite FILE`)"
        )
    reason = _absence_reason(task)
    return reason and (
        f"task {task.id!r}: {reason} (`tutelage edit {store} suite FILE`); until then its recorded episodes "
        f"can be looked through, edited and exported ({', '.join(FORMATS)}), not trained on or evaluated; "
        f"with {ENV_ID} in its place they can be trained on (docs/recordings.md)"
    )
