"""Edits of several stores or of the suite: merge, split, copy a selection, correct the suite."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...console.printable import printable
from ...console.wording import counted
from ...envs.suite import Suite, suite_from
from ...envs.task import Task
from ...errors import TutelageError
from ...files.atomic_files import disk_errors, sync_folder
from ...files.safe_tree import remove_tree
from ..manifest import DOCUMENT, seal_document
from ..proof import ReplayResult
from ..replay import Environments, replay_many
from ..store import Store
from ..trajectory import Trajectory
from ..verification import check_row
from .annotate import annotate
from .annotations import Annotation
from .edit_commit import StoreChange
from .plans import EditPlan, PlanRow, line_of, lines_of, meant_rows, play_in, read_episodes
from .recorded_edits import recorded_in
from .row_spool import RowSpool
from .selection import Selection

Progress = Callable[[int], None]


def plan_merge(store: Store, folders: Sequence[Path], progress: Progress) -> EditPlan:
    """Plan to add the episodes of other stores, each proven by replay, with their notes, tags and marks.

    Tasks with the same id must be equal; tasks that only another store has are added to the suite. Episodes
    that this store has already are skipped. Raises TutelageError for conflicting tasks or episodes.
    """
    if not folders:
        raise TutelageError("expected stores to merge into this one, got none; name them")
    suite, lines, spool, annotations = store.suite, list[PlanRow](), RowSpool(), dict[str, Annotation]()
    refused: list[PlanRow] = []
    existing = dict(zip(*_columns(store.episodes(), "episode", "digest"), strict=True))
    passed_over = 0
    for folder in folders:
        other = Store.open(folder)
        if other.path.resolve() == store.path.resolve():
            raise TutelageError(f"expected another store than {store.path} to merge into it, got itself")
        suite = _union(suite, other.suite, folder)
        other.admit_played()
        rows, notes = other.episodes(), other.annotations()
        new = frozenset(_new_episodes(other, rows, existing))
        passed_over += len(rows) - len(new)
        for trajectory, refusal in _replayed_episodes(other, new, progress):
            if refusal:
                refused.append(line_of(trajectory, refusal))
                continue
            spool.add([replace(trajectory, suite=suite.name)])
            lines.append(line_of(trajectory, f"added from {folder}"))
            existing[trajectory.episode] = trajectory.digest
            if not notes[trajectory.episode].is_empty:
                annotations[trajectory.episode] = notes[trajectory.episode]
    put = spool.table()
    document = seal_document(suite) if suite.source != store.suite.source else ""
    change = StoreChange(
        "merge", f"add {counted(len(put), 'episode')}", put=put, document=document, annotations=annotations
    )
    plan = EditPlan(change, lines, refused)
    if passed_over:
        plan.notes.append(f"passed over, being here already: {counted(passed_over, 'episode')}")
    if document:
        plan.notes.append(
            f"the suite gains tasks: {', '.join(t.id for t in suite if t not in tuple(store.suite))}"
        )
    return plan


def plan_split(store: Store, selection: Selection, out: Path, *, move: bool) -> EditPlan:
    """Plan to copy the selected episodes to a new store at `out`; with `move`, delete them here.

    Raises TutelageError when `out` holds something else.
    """
    rows = store.episodes()
    selected = meant_rows(store, selection, rows)
    ids = frozenset(rows["episode"][index].as_py() for index in selected)
    if not ids:
        raise TutelageError("expected episodes to put into another store, got none that fit the conditions")
    _check_target(store, out, ids)
    verb, action = ("split", "moved to") if move else ("filter", "copied to")
    change = StoreChange(
        verb, f"{'move' if move else 'copy'} {counted(len(ids), 'episode')} to another store"
    )
    if move:
        change = replace(change, drop=ids, deleted=ids)
    return EditPlan(change, lines_of(rows, selected, f"{action} {out}"))


def write_selection(store: Store, ids: frozenset[str], out: Path) -> None:
    """Write the given episodes, with their annotations, as a new store, atomically.

    Nothing is written if a store at `out` holds exactly these already, from an interrupted call.
    """
    if _check_target(store, out, ids):
        return
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with disk_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            new_store = Store.create(temporary, store.suite)
            for part in store.parts():
                table = store.part_rows(part)
                new_store.append_rows(
                    table.filter(pc.is_in(table["episode"], pa.array(sorted(ids), pa.string())))
                )
            notes = store.annotations()
            annotate(
                new_store, {name: notes[name].to_dict() for name in sorted(ids) if not notes[name].is_empty}
            )
            if out.exists():
                out.rmdir()  # an empty folder, see _check_target
            temporary.rename(out)
            sync_folder(out.parent)
    finally:
        if temporary.exists():
            remove_tree(temporary)


def plan_suite(store: Store, suite: Suite, renamed: Mapping[str, str], progress: Progress) -> EditPlan:
    """Plan to replace a store's suite: corrected instructions, keys, paces, rules; `renamed`: old → new ids.

    Every episode of a changed task is replayed in the new one: observations must be equal, and the new rule
    decides its outcome. Raises TutelageError when a task with episodes is missing.
    """
    rows = store.episodes()
    for old, new in renamed.items():
        store.suite[old], suite[new]
    for task in sorted(set(rows["task"].to_pylist())):
        suite[renamed.get(task, task)]
    plan, put = EditPlan(StoreChange("suite", "")), RowSpool()
    with Environments(suite) as environments:
        for trajectory in _all_episodes(store):
            progress(1)
            task = suite[renamed.get(trajectory.task, trajectory.task)]
            after, refusal = _converted(trajectory, store.suite[trajectory.task], task, environments)
            if refusal:
                plan.refused.append(line_of(trajectory, refusal))
            elif changes := _describe_changes(trajectory, after):
                put.add([after])
                plan.lines.append(line_of(trajectory, changes))
    differing = [task.id for task in suite if task not in tuple(store.suite)]
    document = seal_document(suite) if suite.source != store.suite.source else ""
    text = f"correct the suite ({counted(len(differing), 'task')}), {counted(len(put), 'episode')} to change"
    plan.change = StoreChange("suite", text, put=put.table(), document=document)
    if differing:
        plan.notes.append(f"tasks that differ: {', '.join(differing)}")
    if document:
        plan.notes.append("a recorder goes on in this store with the corrected suite only")
    return plan


def with_instructions(suite: Suite, instructions: Mapping[str, str]) -> Suite:
    """Return a suite with the given instructions, task id → sentence."""
    for task_id in instructions:
        suite[task_id]  # raises for another
    source: dict[str, Any] = dict(suite.source)
    source["tasks"] = [
        {**task, "instruction": instructions[task["id"]]} if task["id"] in instructions else task
        for task in source["tasks"]
    ]
    return suite_from(source)


def _converted(
    trajectory: Trajectory, before: Task, task: Task, environments: Environments
) -> tuple[Trajectory, str]:
    """Return an episode converted to another suite's task, and the reason of a refusal or ""."""
    after = replace(
        trajectory, suite=environments.suite.name, task=task.id, env=task.env, kwargs=dict(task.kwargs)
    )
    if before == replace(task, id=before.id):
        return after, ""
    if after.observations is not None:
        return recorded_in(after, before, environments)
    after, refusal = play_in(after, environments)
    if not (after.terminated or after.truncated):
        after = replace(after, success=task.success.outcome(None))
    return after, refusal


def _describe_changes(before: Trajectory, after: Trajectory) -> str:
    names = ("suite", "task", "env", "success")
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in names]
    words = [f"{name}: {printable(old)} → {printable(new)}" for name, old, new in pairs if old != new]
    if before.kwargs != after.kwargs:
        words.append("kwargs")
    if before.infos.keys() != after.infos.keys():
        words.append("what its rule reads from info")
    return ", ".join(words)


def _union(suite: Suite, other: Suite, folder: Path) -> Suite:
    """Return a suite with the tasks of both; raises TutelageError for conflicting tasks."""
    tasks = {task.id: task for task in suite}
    for task in other:
        if task.id in tasks and tasks[task.id] != task:
            raise TutelageError(
                f"expected task {task.id!r} of {folder} to be the one of this store, got another of that "
                f"name; correct one of them with `tutelage edit {folder} suite`"
            )
    new = [task for task in other.source["tasks"] if task["id"] not in tasks]
    if not new:
        return suite
    source = {**suite.source, "tasks": [*suite.source["tasks"], *new]}
    if imports := [*dict.fromkeys([*suite.source.get("imports", []), *other.source.get("imports", [])])]:
        source["imports"] = imports
    return suite_from(source)


def _new_episodes(other: Store, rows: pa.Table, existing: Mapping[str, bytes]) -> Iterator[str]:
    for episode, digest in zip(*_columns(rows, "episode", "digest"), strict=True):
        if episode not in existing:
            yield episode
        elif existing[episode] != digest:
            raise TutelageError(
                f"expected episode {printable(episode)} of {other.path} to be the one that is here, got "
                "another of that id (one of them was edited); delete one of the two first"
            )


def _replayed_episodes(
    other: Store, ids: frozenset[str], progress: Progress
) -> Iterator[tuple[Trajectory, str]]:
    """Replay episodes of another store; yield each with the reason of a refusal or ""."""
    with Environments(other.suite) as environments:
        for part, group, rows in other.groups():
            indices = [index for index, episode in enumerate(rows["episode"].to_pylist()) if episode in ids]
            if not indices:
                continue
            read = list(other.read_rows(part, group, indices))
            for trajectory, result in zip(read, replay_many(read, environments), strict=True):
                progress(1)
                contradictions = check_row(trajectory, other.suite)
                if isinstance(result, ReplayResult) and not contradictions:
                    yield trajectory, ""
                else:
                    yield trajectory, printable(contradictions[0] if contradictions else result)


def _all_episodes(store: Store) -> Iterator[Trajectory]:
    return read_episodes(store, frozenset(store.episodes()["episode"].to_pylist()))


def _check_target(store: Store, out: Path, ids: frozenset[str]) -> bool:
    """Return whether `out` is the finished store already; raises TutelageError for any other content."""
    if out.resolve() == store.path.resolve():
        raise TutelageError(f"expected another folder than {out}, which is the store itself; choose one")
    if not (out / DOCUMENT).exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise TutelageError(f"expected a new folder at {out}, got one that is not empty; choose another")
        return False
    existing = Store.open(out)
    if (
        existing.suite.source == store.suite.source
        and frozenset(existing.episodes()["episode"].to_pylist()) == ids
    ):
        return True
    raise TutelageError(f"expected no store at {out}, found one with other episodes; choose another folder")


def _columns(rows: pa.Table, *names: str) -> list[list[Any]]:
    return [rows[name].to_pylist() for name in names]
