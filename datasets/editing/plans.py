"""Plans of store edits: which episodes change and how, which are refused and why; nothing is written.

Rows that an edit does not touch stay equal bit for bit. Edits of an action, a task or the suite are replayed
first, and an episode whose replay differs is refused. `edit_commit` makes the change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pyarrow as pa

from ...console.printable import printable
from ...console.wording import counted
from ...errors import TutelageError
from ..proof import ReplayResult
from ..replay import Environments, replay_many
from ..store import Store
from ..trajectory import KINDS, Trajectory
from .annotations import Annotation, check_tag
from .edit_commit import StoreChange
from .row_spool import RowSpool
from .selection import Selection

Progress = Callable[[int], None]
DEMONSTRATOR = re.compile(r"[A-Za-z0-9_.-]{1,80}")
"""Valid pseudonyms."""


class PlanRow(NamedTuple):
    """One row of the table of changes: an episode, and what happens to it."""

    episode: str
    task: str
    demonstrator: str
    steps: int
    what: str


@dataclass
class EditPlan:
    """One edit, not made yet: the change, its effect on each episode, and the `refused` episodes."""

    change: StoreChange
    lines: list[PlanRow] = field(default_factory=list)
    refused: list[PlanRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Further information, one sentence per entry."""


def plan_delete(store: Store, selection: Selection, keep: bool = False) -> EditPlan:
    """Plan to delete the selected episodes, or with `keep` all others; `tutelage repair` respects it."""
    rows = store.episodes()
    selected = set(meant_rows(store, selection, rows))
    deleted = [index for index in range(len(rows)) if (index in selected) != keep]
    ids = rows["episode"].to_pylist()
    drop = frozenset(ids[index] for index in deleted)
    verb = "keep" if keep else "delete"
    text = (
        f"keep {counted(len(selected), 'episode')}, delete {len(drop)}"
        if keep
        else f"delete {counted(len(drop), 'episode')}"
    )
    plan = EditPlan(StoreChange(verb, text, drop=drop, deleted=drop), [*lines_of(rows, deleted, "deleted")])
    if len(drop) == len(rows) and drop:
        plan.notes.append("no episode is left afterwards")
    return plan


def plan_tags(
    store: Store,
    selection: Selection,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    marked: bool | None = None,
    note: str | None = None,
) -> EditPlan:
    """Plan to add and remove tags, and to set mark and note, of the selected episodes."""
    if not add and not remove and marked is None and note is None:
        raise TutelageError("expected a tag to add or remove, a mark or a note, got none; name one")
    for tag in (*add, *remove):
        check_tag(tag)
    rows, annotations = store.episodes(), store.annotations()
    ids = rows["episode"].to_pylist()
    changes: dict[str, Annotation] = {}
    plan = EditPlan(StoreChange("tag", ""))
    for index in meant_rows(store, selection, rows):
        before = annotations[ids[index]]
        after = Annotation(
            before.note if note is None else note,
            tuple(sorted({*before.tags, *add} - set(remove))),
            before.marked if marked is None else marked,
        )
        if after != before:
            changes[ids[index]] = after
            plan.lines += lines_of(rows, [index], _annotation_text(after))
    plan.change = replace(
        plan.change, annotations=changes, text=f"annotate {counted(len(changes), 'episode')}"
    )
    return plan


def plan_relabel(store: Store, selection: Selection, labels: dict[str, str], progress: Progress) -> EditPlan:
    """Plan to change `task`, `demonstrator`, `kind`, `study` or `notes` of the selected episodes.

    A new task's environment must give the same digest; its success rule decides the outcome.
    """
    _check_labels(store, labels)
    rows = store.episodes()
    selected_rows = meant_rows(store, selection, rows)
    plan, put = EditPlan(StoreChange("relabel", "")), RowSpool()
    ids = frozenset(rows["episode"][index].as_py() for index in selected_rows)
    changed = (
        (trajectory, _relabeled(store, trajectory, labels)) for trajectory in read_episodes(store, ids)
    )
    for trajectory, labeled, refusal in replayed_in(changed, Environments(store.suite), progress):
        if refusal:
            plan.refused.append(line_of(trajectory, refusal))
            continue
        changes = _describe_changes(trajectory, labeled)
        if changes:
            put.add([labeled])
            plan.lines.append(line_of(trajectory, changes))
    text = f"relabel {counted(len(put), 'episode')}: {', '.join(sorted(labels))}"
    plan.change = replace(plan.change, put=put.table(), text=text)
    if "demonstrator" in labels:
        plan.notes.append("`tutelage forget` finds these episodes under the new name from then on")
    return plan


def _relabeled(store: Store, trajectory: Trajectory, labels: dict[str, str]) -> Trajectory:
    fields: dict[str, Any] = {key: value for key, value in labels.items() if key != "task"}
    if "task" in labels:
        task = store.suite[labels["task"]]
        fields |= {"task": task.id, "env": task.env, "kwargs": dict(task.kwargs)}
    return replace(trajectory, **fields)


def replayed_in(
    pairs: Iterable[tuple[Trajectory, Trajectory]], environments: Environments, progress: Progress
) -> Iterator[tuple[Trajectory, Trajectory, str]]:
    """Replay episodes in their new task; yield before, after, and the reason of a refusal or "".

    An episode whose task stays the same is not replayed.
    """
    with environments:
        for before, after in pairs:
            progress(1)
            is_same = (before.task, before.env, before.kwargs) == (after.task, after.env, after.kwargs)
            yield before, *((after, "") if is_same else play_in(after, environments))


def play_in(after: Trajectory, environments: Environments) -> tuple[Trajectory, str]:
    """Replay an episode in its new task; return it with its outcome, and the reason of a refusal or ""."""
    if after.observations is not None:
        return after, "its observations are stored: no replay shows that the task is right"
    [result] = replay_many([after], environments, is_judged=False)
    if isinstance(result, ReplayResult):
        return replace(after, success=result.success, infos=result.infos or {}), ""
    return after, f"it does not replay so: {printable(result)}"


def read_episodes(store: Store, ids: frozenset[str]) -> Iterator[Trajectory]:
    """Read the given episodes, in the store's order."""
    for part, group, rows in store.groups():
        indices = [index for index, episode in enumerate(rows["episode"].to_pylist()) if episode in ids]
        if indices:
            yield from store.read_rows(part, group, indices)


def lines_of(rows: pa.Table, indices: Sequence[int], effect: str) -> list[PlanRow]:
    """Return the plan rows of some SUMMARY rows."""
    columns = rows.take(pa.array(indices, pa.int64())).select(["episode", "task", "demonstrator", "steps"])
    return [PlanRow(**row, what=effect) for row in columns.to_pylist()]


def line_of(trajectory: Trajectory, effect: str) -> PlanRow:
    """Return the plan row of one episode."""
    return PlanRow(trajectory.episode, trajectory.task, trajectory.demonstrator, len(trajectory), effect)


def selected(store: Store, selection: Selection) -> tuple[pa.Table, list[int]]:
    """Return all SUMMARY rows, and the indices of the selected ones; all without a condition."""
    rows = store.episodes()
    return rows, selection.rows(rows, store.annotations())


def meant_rows(store: Store, selection: Selection, rows: pa.Table) -> list[int]:
    """Return the indices of the selected episodes; raises TutelageError without any condition."""
    if selection.is_empty:
        raise TutelageError(
            "expected which episodes: ids, or conditions such as --task, --failure, --marked or --all, got "
            "none; "
            f"look at them with `tutelage browse {store.path}` or `tutelage edit {store.path} list`"
        )
    return selection.rows(rows, store.annotations())


def _check_labels(store: Store, labels: dict[str, str]) -> None:
    if not labels:
        raise TutelageError(
            "expected a new --to-task, --to-demonstrator, --to-kind, --to-study or --to-notes, got none"
        )
    if "task" in labels:
        store.suite[labels["task"]]  # raises for another
    name = labels.get("demonstrator")
    if name is not None and not DEMONSTRATOR.fullmatch(name):
        raise TutelageError(
            f"expected a pseudonym of at most 80 letters, digits and _ . -, got {printable(name)!r}"
        )
    if labels.get("kind", KINDS[0]) not in KINDS:
        raise TutelageError(f"expected a kind of {', '.join(KINDS)}, got {printable(labels['kind'])!r}")


def _describe_changes(before: Trajectory, after: Trajectory) -> str:
    names = ("task", "env", "demonstrator", "kind", "study", "notes", "success")
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in names]
    words = [f"{name}: {_shortened(old)} → {_shortened(new)}" for name, old, new in pairs if old != new]
    if before.infos.keys() != after.infos.keys():
        words.append("what its rule reads from info")
    return ", ".join(words)


def _shortened(value: Any) -> str:
    text = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
    printed = printable(text) or "–"
    return printed if len(printed) <= 60 else f"{printed[:59]}…"


def _annotation_text(annotation: Annotation) -> str:
    parts = [f"tags: {', '.join(annotation.tags) or '–'}"]
    if annotation.marked:
        parts.append("marked for removal")
    if annotation.note:
        parts.append(f"note: {_shortened(annotation.note)}")
    return "; ".join(parts)
