"""A store's suite: begin a store for it, refuse what is not of it; and the suite of several stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console.printable import printable
from ..console.wording import counted
from ..envs.suite import Suite, suite_from
from ..envs.task import Task
from ..errors import TutelageError
from ..files.atomic_files import write_whole
from .manifest import DOCUMENT, MANIFEST, Manifest, seal_document
from .trajectory import Trajectory

if TYPE_CHECKING:
    from .store import Store


def begin(path: Path, suite: Suite) -> None:
    """Write the files of an empty store; the caller holds the lock.

    Raises TutelageError where parts are that another `dataset.yaml` belongs to.
    """
    if any(path.glob("part-*.parquet")) or ((path / MANIFEST).exists() and Manifest.read(path).parts):
        raise TutelageError(
            f"expected {path / DOCUMENT} beside the parts that are there, found none; "
            f"list what is wrong and mend it with `tutelage repair {path}`"
        )
    text = seal_document(suite)
    Manifest(text).write(path)  # first: a store without dataset.yaml is begun anew after a crash
    write_whole(path / DOCUMENT, text.encode())


def other_suite(path: Path, there: Suite, suite: Suite) -> str:
    """Say in one line that a folder holds another suite than the given one, and how they differ."""
    if there.name != suite.name:
        return (
            f"expected {path} to hold suite {suite.name!r}, got {there.name!r}; choose another folder, or, "
            f"if this is the same suite corrected, give it to the store: {_correct(path)}"
        )
    for mine, theirs in zip(suite, there, strict=False):
        if mine != theirs:
            what = f"task {theirs.id!r} differs"
            break
    else:
        what = f"it has {counted(len(there), 'task')}, not {len(suite)}, or another evaluation"
    return (
        f"expected {path} to hold this very suite {suite.name!r}, got another of that name ({what}); "
        f"correct the store's with {_correct(path)}, choose another folder, or give the changed suite "
        f"another name"
    )


def _correct(path: Path) -> str:
    return f"`tutelage edit {printable(path)} suite FILE`"


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
        f"{_correct(store.path)}, or give one another id"
    )


def check_belongs(path: Path, suite: Suite, episode: Trajectory) -> None:
    """Raise TutelageError unless an episode is of a task of the suite."""
    if episode.suite != suite.name:
        raise TutelageError(
            f"expected episodes of suite {suite.name!r} in {path}, got one of {episode.suite!r}; "
            f"append it to a store of its own, or correct this one's suite: {_correct(path)}"
        )
    task = suite[episode.task]
    if (episode.env, dict(episode.kwargs)) != (task.env, dict(task.kwargs)):
        raise TutelageError(
            f"expected task {episode.task!r} to be {task.env} with {dict(task.kwargs)}, "
            f"got {episode.env} with {dict(episode.kwargs)} in {episode.episode}; append it to a store of "
            f"its own, or correct this one's suite: {_correct(path)}"
        )
