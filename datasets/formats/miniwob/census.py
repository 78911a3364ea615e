"""What an import found, kept and left out, task by task: as a table or as JSON."""

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
    """One task's demonstrations: `solved` were rewarded, `complete` in full; `lengths` are moves."""

    found: int = 0
    kept: int = 0
    known: int = 0
    solved: int = 0
    complete: int = 0
    people: set[str] = field(default_factory=set)
    lengths: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; shares and medians are None where nothing was kept."""
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
    """All of an import. `left_out` counts what people did beside their moves, `dropped` demonstrations."""

    source: str
    tasks: dict[str, TaskCensus] = field(default_factory=dict)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    verbs: Counter[str] = field(default_factory=Counter)
    after_the_end: int = 0

    def drop(self, task: str, reason: str) -> None:
        """Count a demonstration that can't be used."""
        self.tasks.setdefault(task, TaskCensus()).found += 1
        self.dropped[task, reason] += 1

    def keep(self, task: str, recording: Recording, made: RecordedActions) -> None:
        """Count one that can."""
        one = self.tasks.setdefault(task, TaskCensus())
        one.found += 1
        one.kept += 1
        one.solved += recording.reward > 0
        one.complete += recording.reward >= 1
        one.people.add(recording.demonstrator)
        one.lengths.append(len(made.moves))
        one.seconds.append(max(made.moves[-1].time, 0) / 1000)
        self.left_out += made.left_out
        self.verbs.update(move.action.verb for move in made.moves)
        self.after_the_end += recording.rest

    def known(self, task: str) -> None:
        """Count one that the store holds already."""
        one = self.tasks.setdefault(task, TaskCensus())
        one.found += 1
        one.known += 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            "source": self.source,
            "found": sum(one.found for one in self.tasks.values()),
            "kept": sum(one.kept for one in self.tasks.values()),
            "tasks": {task: one.to_dict() for task, one in sorted(self.tasks.items())},
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
        rest = ", ".join(f"{count:,} {why}" for why, count in facts["left_out"].items())
        demonstrations = counted(facts["found"], "demonstration")
        return Text(
            f"{printable(self.source)}: {facts['kept']:,} of {demonstrations} kept; "
            f"moves: {moves or 'none'}; left out: {rest}"
        )

    def _tasks(self) -> FoldedTable:
        names = ("task", "found", "kept", "people", "solved", "complete", "moves", "seconds")
        caption = "solved: rewarded above 0; complete: in full; moves, seconds: median"
        table = FoldedTable([*map(Column, names)], title="kept", caption=caption)
        for task, one in sorted(self.tasks.items()):
            row = one.to_dict()
            table.add_row(
                task,
                *(f"{row[name]:,}" for name in ("found", "kept", "people")),
                *(_figure(row[name], ".0%") for name in ("solved", "complete")),
                _figure(row["moves"], "g"),
                _figure(row["seconds"], ".1f"),
            )
        return table

    def _dropped(self) -> FoldedTable:
        known = sum(one.known for one in self.tasks.values())
        columns = [Column("task"), Column("why", words=True), Column("demonstrations")]
        caption = f"{known:,} more {agreeing(known, 'was')} in the store already" if known else ""
        table = FoldedTable(columns, title="dropped", caption=caption)
        for (task, reason), count in sorted(self.dropped.items()):
            table.add_row(task, reason, f"{count:,}")
        return table


def _figure(value: float | None, form: str) -> str:
    """Write a figure; a dash where nothing was kept."""
    return "–" if value is None else format(value, form)
