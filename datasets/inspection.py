"""What a store holds, and whether it is sound: for `tutelage inspect`, as tables or as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Group, RenderableType
from rich.text import Text

from ..console.folded_table import Column, FoldedTable
from ..console.printable import printable
from ..console.wording import counted
from ..files.bounded_files import parse_json
from ..files.finite_json import number_text
from .arrays.array_profile import ArrayProfile
from .recorded_only import played_without_environment
from .store import Progress, Store
from .versions import moved_versions


@dataclass(frozen=True)
class TaskSummary:
    """One task's episodes: `success` is a share, `steps_median` and `seconds_median` are per episode.

    All of them are None where there is no episode, `success` also without a success rule.
    """

    task: str
    env: str
    episodes: int
    people: int
    steps: int
    success: float | None
    return_mean: float | None
    steps_median: float | None
    seconds_median: float | None
    replayed: int
    stored: int


@dataclass(frozen=True)
class PersonSummary:
    """One demonstrator: a pseudonym, what kind of actor, how much and how well.

    `success` is a share of the episodes of tasks with a success rule, None where there is none.
    """

    demonstrator: str
    kind: str
    episodes: int
    steps: int
    hours: float
    success: float | None


@dataclass(frozen=True)
class Inspection:
    """A store at a glance; `problems` is what the checks found, `verified` whether replay was one of them.

    `casts` says which observations and actions were not what their spaces declare, so that a cast changed
    them; `columns` which numbers of observations are missing, constant or far outside of the others;
    `moved` names packages that have another version now than when episodes were recorded; `absent` says of
    tasks whose environment is not registered here what their episodes allow without it.
    """

    path: str
    suite: str
    episodes: int
    steps: int
    hours: float
    bytes: int
    parts: int
    outcomes: dict[str, int]
    tasks: list[TaskSummary]
    people: list[PersonSummary]
    verified: bool
    problems: list[str] = field(default_factory=list)
    casts: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return dataclasses.asdict(self)

    def __rich__(self) -> RenderableType:
        return Group(_headline(self), _task_table(self), _people_table(self), _notes(self), _verdict(self))


def inspect(
    store: Store, verify: bool = True, progress: Progress | None = None, workers: int = 1
) -> Inspection:
    """Summarise a store; with `verify`, check every part and replay every episode (see `Store.verify`).

    A damaged part is a problem in the result, and what the other parts hold is summarised.
    """
    profile = ArrayProfile()
    problems = store.verify(progress, workers=workers, replayed=verify, profile=profile)
    parts = store.sound_parts()
    rows = store.episodes(parts)
    return Inspection(
        path=str(store.path),
        suite=store.suite.name,
        episodes=len(rows),
        steps=int(pc.sum(rows["steps"]).as_py() or 0),
        hours=_hours(rows),
        bytes=sum(part.stat().st_size for part in parts),
        parts=len(parts),
        outcomes=_outcomes(rows),
        tasks=[_task(rows, task.id, task.env) for task in store.suite],
        people=_people(rows),
        verified=verify,
        problems=problems,
        casts=_casts(rows),
        columns=profile.notes(),
        moved=_moved(rows),
        absent=played_without_environment(store),
    )


def _casts(rows: pa.Table) -> list[str]:
    """Say in one line a task and leaf what casts changed, with an example and in how many episodes."""
    first: dict[tuple[str, str], str] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for task, text in zip(rows["task"].to_pylist(), rows["casts"].to_pylist(), strict=True):
        if text == "{}":
            continue
        casts = parse_json(text, f"casts of an episode of {task}")
        for leaf, change in casts.items() if isinstance(casts, dict) else ():
            first.setdefault((task, leaf), str(change))
            counts[task, leaf] += 1
    return [
        f"{task}: {leaf or 'observation'}: {first[task, leaf]} (in {plural(count, 'episode')})"
        for (task, leaf), count in counts.items()
    ]


def plural(count: int, word: str) -> str:
    """Write a count with its word: 1 episode, 1,200 episodes."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _hours(rows: pa.Table) -> float:
    """Sum the hours played, exactly rounded: the same however the rows are ordered."""
    return math.fsum(rows["seconds"].to_pylist()) / 3600


def _outcomes(rows: pa.Table) -> dict[str, int]:
    success, terminated, truncated = (
        np.array(rows[name].to_pylist(), bool) for name in ("success", "terminated", "truncated")
    )
    rated = np.array([value is not None for value in rows["success"].to_pylist()], bool)
    ended = terminated | truncated
    return {
        "success": int((ended & success).sum()),
        "failure": int((terminated & rated & ~success).sum()),
        "out of time": int((truncated & ~terminated & rated & ~success).sum()),
        "finished": int((ended & ~rated).sum()),
        "left early": int((~ended).sum()),
    }


def _task(rows: pa.Table, task: str, env: str) -> TaskSummary:
    mine = rows.filter(pc.equal(rows["task"], task))
    stored = int(pc.sum(mine["stored"]).as_py() or 0)
    return TaskSummary(
        task=task,
        env=env,
        episodes=len(mine),
        people=len(set(mine["demonstrator"].to_pylist())),
        steps=int(pc.sum(mine["steps"]).as_py() or 0),
        success=_rate(mine["success"]),
        return_mean=_mean(mine["return"]),
        steps_median=_median(mine["steps"]),
        seconds_median=_median(mine["seconds"]),
        replayed=len(mine) - stored,
        stored=stored,
    )


def _people(rows: pa.Table) -> list[PersonSummary]:
    """Summarise each demonstrator, the most active first."""
    found = []
    pairs = zip(rows["demonstrator"].to_pylist(), rows["kind"].to_pylist(), strict=True)
    for who, kind in sorted(set(pairs)):
        mine = rows.filter(pc.and_(pc.equal(rows["demonstrator"], who), pc.equal(rows["kind"], kind)))
        steps = int(pc.sum(mine["steps"]).as_py())
        found.append(PersonSummary(who, kind, len(mine), steps, _hours(mine), _rate(mine["success"])))
    return sorted(found, key=lambda one: -one.episodes)


def _moved(rows: pa.Table) -> list[str]:
    """List packages whose version is not the one that replayed episodes were recorded with."""
    replayed = rows.filter(pc.invert(rows["stored"]))
    texts = replayed["versions"].unique().to_pylist()
    recorded = [versions for text in texts if isinstance(versions := parse_json(text, "versions"), dict)]
    return sorted({change for versions in recorded for change in moved_versions(versions)})


def _rate(column: pa.ChunkedArray) -> float | None:
    """Return the share of successes; None where no episode could have been one."""
    rated = [value for value in column.to_pylist() if value is not None]
    return float(np.mean(rated)) if rated else None


def _mean(column: pa.ChunkedArray) -> float | None:
    return float(np.mean(column.to_pylist())) if len(column) else None


def _median(column: pa.ChunkedArray) -> float | None:
    return float(np.median(column.to_pylist())) if len(column) else None


def _headline(one: Inspection) -> Text:
    counts = ", ".join(f"{count:,} {name}" for name, count in one.outcomes.items() if count)
    return Text(
        f"{printable(one.path)}: suite {printable(one.suite)}, "
        f"{counted(one.episodes, 'episode')} ({counts or 'none yet'}), {counted(one.steps, 'step')}, "
        f"{one.hours:.2f} hours, {counted(one.bytes, 'byte')} in {counted(one.parts, 'part')}"
    )


def _task_table(inspection: Inspection) -> FoldedTable:
    names = ("task", "episodes", "people", "success", "return", "steps", "seconds", "stored")
    caption = "return: mean; steps, seconds: median; stored: episodes whose observations are kept too"
    table = FoldedTable([*map(Column, names)], title="tasks", caption=caption)
    for task in inspection.tasks:
        table.add_row(
            task.task,
            f"{task.episodes:,}",
            f"{task.people:,}",
            number_text(task.success, ".1%"),
            number_text(task.return_mean, ".2f"),
            number_text(task.steps_median, "g"),
            number_text(task.seconds_median, ".1f"),
            f"{task.stored:,}",
        )
    return table


def _people_table(inspection: Inspection, most: int = 30) -> FoldedTable:
    names = ("demonstrator", "kind", "episodes", "steps", "hours", "success")
    more = f"and {len(inspection.people) - most:,} more" if len(inspection.people) > most else ""
    table = FoldedTable([*map(Column, names)], 2, "people and other demonstrators", more)
    for who in inspection.people[:most]:
        cells = f"{who.episodes:,}", f"{who.steps:,}", f"{who.hours:.2f}", number_text(who.success, ".1%")
        table.add_row(who.demonstrator, who.kind, *cells)
    return table


def _notes(inspection: Inspection) -> Text:
    """List columns that are unusual; nothing where there are none."""
    if not inspection.columns:
        return Text("")
    lines = "\n".join(f"  {printable(note)}" for note in inspection.columns)
    return Text(f"columns to look at:\n{lines}\n", style="yellow")


def _verdict(one: Inspection) -> Text:
    verdict = _soundness(one)
    if one.moved:
        told = f"\nrecorded with other versions: {printable(', '.join(one.moved))}"
        verdict.append(told, style="yellow")
    for line in one.absent:
        verdict.append(f"\n{printable(line)}", style="yellow")
    return verdict


def _soundness(inspection: Inspection) -> Text:
    if inspection.problems:
        listed = "\n".join(f"  {printable(problem)}" for problem in inspection.problems)
        return Text(f"{counted(len(inspection.problems), 'problem')}:\n{listed}", style="red")
    if not inspection.verified:
        return Text("every part is sound; replay was not asked for", style="yellow")
    replayed, stored = (
        sum(task.replayed for task in inspection.tasks),
        sum(task.stored for task in inspection.tasks),
    )
    if inspection.casts:
        lines = "\n".join(f"  {printable(line)}" for line in inspection.casts)
        return Text(
            f"{counted(replayed, 'episode')} replayed bit for bit, "
            f"{stored:,} with stored observations intact, but "
            f"casts changed what was observed or done:\n{lines}",
            style="yellow",
        )
    return Text(
        f"sound: {counted(replayed, 'episode')} replayed bit for bit, "
        f"{stored:,} with stored observations intact",
        style="green",
    )
