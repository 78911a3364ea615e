"""Tasks whose environment is not here: what their recorded episodes allow without it, in one line a task."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..console.printable import printable
from ..envs.registry import register, registry_with
from ..envs.task import Task
from ..envs.unregistered import why_absent
from ..errors import TutelageError
from ..foreign_code.trust import trusts_module

if TYPE_CHECKING:
    from .store import Store

FORMATS = ("csv", "npz", "robomimic", "rlds")
"""What episodes with stored observations can be exported to without their environment."""


def recorded_only(tasks: Iterable[Task], store: str | Path) -> list[str]:
    """Say of each task whose id is not registered what its episodes allow, what they lack, and the remedy.

    Modules that are trusted are imported first; a task that names another one is not spoken of.
    """
    return [line for task in tasks if (line := _line(task, printable(store)))]


def played_without_environment(store: Store) -> list[str]:
    """Return what `recorded_only` says of the tasks of a store's episodes."""
    played = set(store.episodes(store.sound_parts())["task"].to_pylist())
    return recorded_only([task for task in store.suite if task.id in played], store.path)


def expect_environments(store: Store) -> None:
    """Raise TutelageError, in one line, unless the environments of a store's episodes are registered."""
    if lines := played_without_environment(store):
        raise TutelageError(lines[0])


def is_absent(task: Task) -> bool:
    """Say whether a task's environment id is registered nowhere, and no module is named that could do so."""
    return bool(_why(task))


def _why(task: Task) -> str:
    module, _, env_id = task.env.rpartition(":")
    modules = [name for name in (*task.imports, module) if name]
    if not all(map(trusts_module, modules)):
        return ""
    if modules and env_id not in registry_with(env_id):
        register(modules)
    return why_absent(env_id, registry_with(env_id))


def _line(task: Task, store: str) -> str:
    why = _why(task)
    return why and (
        f"task {task.id!r}: {why} (`tutelage edit {store} suite FILE`); until then its recorded episodes can "
        f"be looked through, edited and exported ({', '.join(FORMATS)}), not trained on or evaluated"
    )
