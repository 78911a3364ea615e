"""Contents and integrity of a store, for `tutelage inspect`, as tables or as JSON."""

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
    """Statistics of one task's episodes: `success` is a share, medians are per episode.

    Statistics are None without episodes, `success` also without a success rule.
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
    """Statistics of one demonstrator, a pseudonym with its kind of actor.

    `success` is a share of the episodes of tasks with a success rule, None without any.
    """

    demonstrator: str
    kind: str
    episodes: int
    steps: int
    hours: float
    success: float | None


@dataclass(frozen=True)
class Inspection:
    """Summary of a store; `problems` are the findings of the checks, `verified` is whether replay was one.

    `casts` lists observations and actions that a cast to their declared dtype changed; `columns` lists
    numbers of observations that are missing, constant or outliers; `moved` lists packages whose version
    differs from the recorded one; `absent` lists tasks whose environment is not registered, and what their
    episodes allow without it.
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
        return Group(
            _headline(self), _task_table(self), _people_table(self), _column_notes(self), _verdict_text(self)
        )


def inspect(
    store: Store, verify: bool = True, progress: Progress | None = None, workers: int = 1
) -> Inspection:
    """Summarize a store; with `verify`, check every part and replay every episode (see `Store.verify`).

    A damaged part is a problem in the result; the other parts are summarized.
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
    """Return one line per task and leaf with the changes by casts: an example and the number of episodes."""
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
    """Format a count with its noun: 1 episode, 1,200 episodes."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _hours(rows: pa.Table) -> float:
    """Return the hours played, exactly rounded: independent of the order of rows."""
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
    task_rows = rows.filter(pc.equal(rows["task"], task))
    stored = int(pc.sum(task_rows["stored"]).as_py() or 0)
    return TaskSummary(
        task=task,
        env=env,
        episodes=len(task_rows),
        people=len(set(task_rows["demonstrator"].to_pylist())),
        steps=int(pc.sum(task_rows["steps"]).as_py() or 0),
        success=_rate(task_rows["success"]),
        return_mean=_mean(task_rows["return"]),
        steps_median=_median(task_rows["steps"]),
        seconds_median=_median(task_rows["seconds"]),
        replayed=len(task_rows) - stored,
        stored=stored,
    )


def _people(rows: pa.Table) -> list[PersonSummary]:
    """Summarize each demonstrator, the most active first."""
    people = []
    pairs = zip(rows["demonstrator"].to_pylist(), rows["kind"].to_pylist(), strict=True)
    for demonstrator, kind in sorted(set(pairs)):
        person_rows = rows.filter(
            pc.and_(pc.equal(rows["demonstrator"], demonstrator), pc.equal(rows["kind"], kind))
        )
        steps = int(pc.sum(person_rows["steps"]).as_py())
        people.append(
            PersonSummary(
                demonstrator,
                kind,
                len(person_rows),
                steps,
                _hours(person_rows),
                _rate(person_rows["success"]),
            )
        )
    return sorted(people, key=lambda person: -person.episodes)


def _moved(rows: pa.Table) -> list[str]:
    """List packages whose version differs from the one recorded with replayed episodes."""
    replayed = rows.filter(pc.invert(rows["stored"]))
    texts = replayed["versions"].unique().to_pylist()
    recorded = [versions for text in texts if isinstance(versions := parse_json(text, "versions"), dict)]
    return sorted({change for versions in recorded for change in moved_versions(versions)})


def _rate(column: pa.ChunkedArray) -> float | None:
    """Return the share of successes; None without rated episodes."""
    rated = [value for value in column.to_pylist() if value is not None]
    return float(np.mean(rated)) if rated else None


def _mean(column: pa.ChunkedArray) -> float | None:
    return float(np.mean(column.to_pylist())) if len(column) else None


def _median(column: pa.ChunkedArray) -> float | None:
    return float(np.median(column.to_pylist())) if len(column) else None


def _headline(inspection: Inspection) -> Text:
    counts = ", ".join(f"{count:,} {name}" for name, count in inspection.outcomes.items() if count)
    return Text(
        f"{printable(inspection.path)}: suite {printable(inspection.suite)}, "
        f"{counted(inspection.episodes, 'episode')} ({counts or 'none yet'}), "
        f"{counted(inspection.steps, 'step')}, {inspection.hours:.2f} hours, "
        f"{counted(inspection.bytes, 'byte')} in {counted(inspection.parts, 'part')}"
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
    for person in inspection.people[:most]:
        cells = (
            f"{person.episodes:,}",
            f"{person.steps:,}",
            f"{person.hours:.2f}",
            number_text(person.success, ".1%"),
        )
        table.add_row(person.demonstrator, person.kind, *cells)
    return table


def _column_notes(inspection: Inspection) -> Text:
    """Return the notes on unusual columns as text; empty without any."""
    if not inspection.columns:
        return Text("")
    lines = "\n".join(f"  {printable(note)}" for note in inspection.columns)
    return Text(f"columns to look at:\n{lines}\n", style="yellow")


def _verdict_text(inspection: Inspection) -> Text:
    verdict = _soundness_text(inspection)
    if inspection.moved:
        text = f"\nrecorded with other versions: {printable(', '.join(inspection.moved))}"
        verdict.append(text, style="yellow")
    for line in inspection.absent:
        verdict.append(f"\n{printable(line)}", style="yellow")
    return verdict


def _soundness_text(inspection: Inspection) -> Text:
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
