"""Join the suites of several stores into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from ..envs.suite import Suite, suite_from
from ..envs.task import Task
from ..errors import TutelageError
from .store import Store
from .store_suite import correction


def union(stores: Sequence[Store]) -> Suite:
    """Join the suites of stores into one: every task once, in the order of the stores.

    One suite stays as it is; several are named after all of them, with the most episodes an evaluation that
    one asks for. Raises TutelageError without stores, and where a task is another one in another store.
    """
    if not stores:
        raise TutelageError("expected at least one store, got none")
    first, *others = stores
    if all(store.suite.source == first.suite.source for store in others):
        return first.suite
    tasks: dict[str, tuple[Store, Task, Any]] = {}
    for store in stores:
        for task, written in zip(store.suite, store.suite.source["tasks"], strict=True):
            there, same, _ = tasks.setdefault(task.id, (store, task, written))
            if replace(same, imports=()) != replace(task, imports=()):
                raise TutelageError(_two_tasks(task, same, store, there))
    names = dict.fromkeys(store.suite.name for store in stores)
    modules = dict.fromkeys(module for store in stores for module in store.suite.source.get("imports", []))
    document: dict[str, Any] = {"suite": "-and-".join(names)}
    document |= {"imports": [*modules]} if modules else {}
    document["tasks"] = [written for _, _, written in tasks.values()]
    document["evaluation"] = {"episodes": max(store.suite.episodes for store in stores)}
    return suite_from(document, "the suites of all stores")


def _two_tasks(task: Task, same: Task, store: Store, there: Store) -> str:
    different = [
        field.name for field in fields(Task) if getattr(task, field.name) != getattr(same, field.name)
    ]
    return (
        f"expected task {task.id!r} to be the same in all stores, got another in {store.path} than in "
        f"{there.path} ({', '.join(different)} differ); train on them one at a time, correct one with "
        f"{correction(store.path)}, or give one another id"
    )
