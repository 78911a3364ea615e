"""Counts of an import by task (found, kept, left out), as a table or as JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ....console.folded_table import Column, FoldedTable
from ....console.printable import printable
from ....console.wording import agreeing, counted
from .moves import RecordedActions
from .recording import Recording


@dataclass
class TaskCensus:
    """Counts of one task's demonstrations: `solved`: reward > 0, `complete`: >= 1; `lengths`: in moves."""

    found: int = 0
    kept: int = 0
    known: int = 0
    solved: int = 0
    complete: int = 0
    people: set[str] = field(default_factory=set)
    lengths: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; shares and medians are None for a task without kept demonstrations."""
        return {
            "found": self.found,
            "kept": self.kept,
            "already_there": self.known,
            "people": len(self.people),
            "solved": self.solved / self.kept if self.kept else None,
            "complete": self.complete / self.kept if self.kept else None,
            "moves": statistics.median(self.lengths) if self.lengths else None,
            "seconds": statistics.median(self.seconds) if self.seconds else None,
        }


@dataclass
class Census:
    """Counts of an import: `left_out` is input that is no move, `dropped` unusable demonstrations."""

    source: str
    tasks: dict[str, TaskCensus] = field(default_factory=dict)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    verbs: Counter[str] = field(default_factory=Counter)
    after_the_end: int = 0

    def drop(self, task: str, reason: str) -> None:
        """Count an unusable demonstration."""
        self.tasks.setdefault(task, TaskCensus()).found += 1
        self.dropped[task, reason] += 1

    def keep(self, task: str, recording: Recording, actions: RecordedActions) -> None:
        """Count a usable demonstration."""
        task_census = self.tasks.setdefault(task, TaskCensus())
        task_census.found += 1
        task_census.kept += 1
        task_census.solved += recording.reward > 0
        task_census.complete += recording.reward >= 1
        task_census.people.add(recording.demonstrator)
        task_census.lengths.append(len(actions.moves))
        task_census.seconds.append(max(actions.moves[-1].time, 0) / 1000)
        self.left_out += actions.left_out
        self.verbs.update(move.action.verb for move in actions.moves)
        self.after_the_end += recording.rest

    def known(self, task: str) -> None:
        """Count a demonstration that is in the store already."""
        task_census = self.tasks.setdefault(task, TaskCensus())
        task_census.found += 1
        task_census.known += 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            "source": self.source,
            "found": sum(task.found for task in self.tasks.values()),
            "kept": sum(task.kept for task in self.tasks.values()),
            "tasks": {name: task.to_dict() for name, task in sorted(self.tasks.items())},
            "dropped": [
                {"task": task, "reason": reason, "demonstrations": count}
                for (task, reason), count in sorted(self.dropped.items())
            ],
            "moves": dict(self.verbs.most_common()),
            "left_out": {**dict(self.left_out.most_common()), "events after the end": self.after_the_end},
        }

    def __rich__(self) -> RenderableType:
        return Group(self._headline(), self._tasks(), self._dropped())

    def _headline(self) -> Text:
        facts = self.to_dict()
        moves = ", ".join(f"{count:,} {verb}" for verb, count in facts["moves"].items())
        rest = ", ".join(f"{count:,} {reason}" for reason, count in facts["left_out"].items())
        demonstrations = counted(facts["found"], "demonstration")
        return Text(
            f"{printable(self.source)}: {facts['kept']:,} of {demonstrations} kept; "
            f"moves: {moves or 'none'}; left out: {rest}"
        )

    def _tasks(self) -> FoldedTable:
        names = ("task", "found", "kept", "people", "solved", "complete", "moves", "seconds")
        caption = "solved: rewarded above 0; complete: in full; moves, seconds: median"
        table = FoldedTable([*map(Column, names)], title="kept", caption=caption)
        for task, task_census in sorted(self.tasks.items()):
            row = task_census.to_dict()
            table.add_row(
                task,
                *(f"{row[name]:,}" for name in ("found", "kept", "people")),
                *(_figure(row[name], ".0%") for name in ("solved", "complete")),
                _figure(row["moves"], "g"),
                _figure(row["seconds"], ".1f"),
            )
        return table

    def _dropped(self) -> FoldedTable:
        already_stored = sum(task.known for task in self.tasks.values())
        columns = [Column("task"), Column("why", words=True), Column("demonstrations")]
        caption = (
            f"{already_stored:,} more {agreeing(already_stored, 'was')} in the store already"
            if already_stored
            else ""
        )
        table = FoldedTable(columns, title="dropped", caption=caption)
        for (task, reason), count in sorted(self.dropped.items()):
            table.add_row(task, reason, f"{count:,}")
        return table


def _figure(value: float | None, form: str) -> str:
    """Format a figure; a dash for None."""
    return "–" if value is None else format(value, form)
