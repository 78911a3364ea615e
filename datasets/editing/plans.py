"""Edits of a store, planned: which episodes change and how, which are refused and why; nothing is written.

Rows that an edit keeps stay bit for bit. What changes an action, a task or the suite is played again first,
and an episode that does not give what it should is refused. `edit_commit` makes the change.
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
"""What a pseudonym may look like."""


class PlanRow(NamedTuple):
    """One row of the table of what changes: an episode, and what becomes of it."""

    episode: str
    task: str
    demonstrator: str
    steps: int
    what: str


@dataclass
class EditPlan:
    """One edit, not made yet: the change, what it does to each episode, and what is `refused`."""

    change: StoreChange
    lines: list[PlanRow] = field(default_factory=list)
    refused: list[PlanRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What else is to be known, a sentence each."""


def plan_delete(store: Store, selection: Selection, keep: bool = False) -> EditPlan:
    """Delete the episodes that are meant; with `keep` all others, which stay out of `tutelage repair` too."""
    rows = store.episodes()
    meant = set(meant_rows(store, selection, rows))
    gone = [at for at in range(len(rows)) if (at in meant) != keep]
    ids = rows["episode"].to_pylist()
    drop = frozenset(ids[at] for at in gone)
    verb = "keep" if keep else "delete"
    text = (
        f"keep {counted(len(meant), 'episode')}, delete {len(drop)}"
        if keep
        else f"delete {counted(len(drop), 'episode')}"
    )
    plan = EditPlan(StoreChange(verb, text, drop=drop, deleted=drop), [*lines_of(rows, gone, "deleted")])
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
    """Add and remove tags, set the mark and the note of the episodes that are meant."""
    if not add and not remove and marked is None and note is None:
        raise TutelageError("expected a tag to add or remove, a mark or a note, got none; name one")
    for tag in (*add, *remove):
        check_tag(tag)
    rows, annotations = store.episodes(), store.annotations()
    ids = rows["episode"].to_pylist()
    changes: dict[str, Annotation] = {}
    plan = EditPlan(StoreChange("tag", ""))
    for at in meant_rows(store, selection, rows):
        before = annotations[ids[at]]
        after = Annotation(
            before.note if note is None else note,
            tuple(sorted({*before.tags, *add} - set(remove))),
            before.marked if marked is None else marked,
        )
        if after != before:
            changes[ids[at]] = after
            plan.lines += lines_of(rows, [at], _shown(after))
    plan.change = replace(
        plan.change, annotations=changes, text=f"annotate {counted(len(changes), 'episode')}"
    )
    return plan


def plan_relabel(store: Store, selection: Selection, labels: dict[str, str], progress: Progress) -> EditPlan:
    """Give the episodes that are meant another `task`, `demonstrator`, `kind`, `study` or `notes`.

    Another task is one whose environment gives the same digest; the outcome is what its rule says.
    """
    _check_labels(store, labels)
    rows = store.episodes()
    meant = meant_rows(store, selection, rows)
    plan, put = EditPlan(StoreChange("relabel", "")), RowSpool()
    ids = frozenset(rows["episode"][at].as_py() for at in meant)
    changed = ((trajectory, _labeled(store, trajectory, labels)) for trajectory in read_episodes(store, ids))
    for trajectory, labeled, refusal in replayed_in(changed, Environments(store.suite), progress):
        if refusal:
            plan.refused.append(line_of(trajectory, refusal))
            continue
        what = _differences(trajectory, labeled)
        if what:
            put.add([labeled])
            plan.lines.append(line_of(trajectory, what))
    text = f"relabel {counted(len(put), 'episode')}: {', '.join(sorted(labels))}"
    plan.change = replace(plan.change, put=put.table(), text=text)
    if "demonstrator" in labels:
        plan.notes.append("`tutelage forget` finds these episodes under the new name from then on")
    return plan


def _labeled(store: Store, trajectory: Trajectory, labels: dict[str, str]) -> Trajectory:
    fields: dict[str, Any] = {key: value for key, value in labels.items() if key != "task"}
    if "task" in labels:
        task = store.suite[labels["task"]]
        fields |= {"task": task.id, "env": task.env, "kwargs": dict(task.kwargs)}
    return replace(trajectory, **fields)


def replayed_in(
    pairs: Iterable[tuple[Trajectory, Trajectory]], environments: Environments, progress: Progress
) -> Iterator[tuple[Trajectory, Trajectory, str]]:
    """Play episodes whose task changes in the new one: yields before, after, and why it is refused.

    An episode whose task stays the same comes back as it is.
    """
    with environments:
        for before, after in pairs:
            progress(1)
            is_same = (before.task, before.env, before.kwargs) == (after.task, after.env, after.kwargs)
            yield before, *((after, "") if is_same else play_in(after, environments))


def play_in(after: Trajectory, environments: Environments) -> tuple[Trajectory, str]:
    """Play an episode in its new task; returns it with its outcome there, and why it is refused."""
    if after.observations is not None:
        return after, "its observations are stored: no replay shows that the task is right"
    [got] = replay_many([after], environments, is_judged=False)
    if isinstance(got, ReplayResult):
        return replace(after, success=got.success, infos=got.infos or {}), ""
    return after, f"it does not replay so: {printable(got)}"


def read_episodes(store: Store, ids: frozenset[str]) -> Iterator[Trajectory]:
    """Read some episodes, in the store's order."""
    for part, group, rows in store.groups():
        chosen = [at for at, episode in enumerate(rows["episode"].to_pylist()) if episode in ids]
        if chosen:
            yield from store.read_rows(part, group, chosen)


def lines_of(rows: pa.Table, indices: Sequence[int], what: str) -> list[PlanRow]:
    """Make the lines of some SUMMARY rows."""
    chosen = rows.take(pa.array(indices, pa.int64())).select(["episode", "task", "demonstrator", "steps"])
    return [PlanRow(**row, what=what) for row in chosen.to_pylist()]


def line_of(trajectory: Trajectory, what: str) -> PlanRow:
    """Make the line of one episode."""
    return PlanRow(trajectory.episode, trajectory.task, trajectory.demonstrator, len(trajectory), what)


def selected(store: Store, selection: Selection) -> tuple[pa.Table, list[int]]:
    """Return all SUMMARY rows, and the indices of those that are meant; without a condition all are."""
    rows = store.episodes()
    return rows, selection.rows(rows, store.annotations())


def meant_rows(store: Store, selection: Selection, rows: pa.Table) -> list[int]:
    """Return the indices of the episodes that are meant; raises TutelageError where none are named."""
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


def _differences(before: Trajectory, after: Trajectory) -> str:
    names = ("task", "env", "demonstrator", "kind", "study", "notes", "success")
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in names]
    words = [f"{name}: {_short(old)} → {_short(new)}" for name, old, new in pairs if old != new]
    if before.infos.keys() != after.infos.keys():
        words.append("what its rule reads from info")
    return ", ".join(words)


def _short(value: Any) -> str:
    text = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
    shown = printable(text) or "–"
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


def _shown(annotation: Annotation) -> str:
    parts = [f"tags: {', '.join(annotation.tags) or '–'}"]
    if annotation.marked:
        parts.append("marked for removal")
    if annotation.note:
        parts.append(f"note: {_short(annotation.note)}")
    return "; ".join(parts)
