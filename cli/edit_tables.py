"""What `tutelage edit` says of a plan: the table of what changes, JSON, or why it is refused as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console.printable import printable
from ..console.terminal import SafeConsole
from ..console.wording import counted
from ..errors import TutelageError
from .json_output import print_json

if TYPE_CHECKING:
    from ..datasets.editing.plans import EditPlan, PlanRow

console = SafeConsole()
SHORTEST_ID = 12
"""Characters of an episode's id that a table shows, where they are enough."""
MOST_LINES = 40
"""Rows of the table of what changes; --json prints all."""


def id_length(shown: Iterable[str], episodes: Iterable[str]) -> int:
    """Return how many characters of the shown ids tell each from all other episodes, at least SHORTEST_ID."""
    ordered = sorted({*shown, *episodes})
    alike = [_common_length(first, second) for first, second in pairwise(ordered)]
    needed = {name: 1 + max(both) for name, both in zip(ordered, pairwise([0, *alike, 0]), strict=False)}
    return max([SHORTEST_ID, *(needed[name] for name in shown)])


def _common_length(first: str, second: str) -> int:
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def show_plan(planned: EditPlan, applied: bool, episodes: Sequence[str]) -> None:
    """Print what an edit changes, or has changed; `episodes` are all ids of the store."""
    for title, lines in (("", planned.lines), ("refused", planned.refused)):
        if lines:
            console.print(_lines(lines, title, episodes))
    for note in planned.notes:
        console.print(f"note: {note}")
    if planned.refused:
        console.print(f"{counted(len(planned.refused), 'episode')} refused, and left as they are")
    if planned.change.is_empty and planned.change.verb != "filter":
        console.print("nothing changes")
    elif applied:
        console.print(f"done: {planned.change.text}")
        if planned.change.verb != "filter":
            console.print("take it back with `undo --apply`, as long as `compact` has not been called")
    else:
        console.print(f"would {planned.change.text}")
        console.print("nothing was changed; do it with --apply")


def show_history(folder: Path, as_json: bool) -> None:
    """Print the edits that can be undone, and the one that can be made again."""
    from ..datasets import store
    from ..datasets.editing import edit_log

    opened = store.Store.open(folder)
    made, undone = edit_log.records(folder), edit_log.redo_records(folder)
    marked = sum(annotation.marked for annotation in opened.annotations().episodes.values())
    if as_json:
        edits = [{"number": record.number, "time": record.time, "text": record.text} for record in made]
        again = undone[0].text if undone else None
        print_json("edit", {"episodes": len(opened), "marked": marked, "edits": edits, "redo": again})
        return
    table = plain_table("edit", "time", "what it did")
    for record in made:
        table.add_row(str(record.number), printable(record.time), printable(record.text))
    if made:
        console.print(table)
    if undone:
        console.print(f"undone, and `redo` makes it again: {printable(undone[0].text)}")
    console.print(
        f"{counted(len(opened), 'episode')}, {marked} marked for removal, "
        f"{counted(len(made), 'edit')} to undo"
    )
    console.print("the verbs: tutelage edit --help")


def _lines(lines: list[PlanRow], title: str, episodes: Sequence[str]) -> Any:
    length = id_length([line.episode for line in lines[:MOST_LINES]], episodes)
    table = plain_table("episode", "task", "demonstrator", "steps", title or "what changes")
    for line in lines[:MOST_LINES]:
        table.add_row(
            *(
                printable(cell)
                for cell in (line.episode[:length], line.task, line.demonstrator, line.steps, line.what)
            )
        )
    if len(lines) > MOST_LINES:
        table.add_row("…", "", "", "", f"and {len(lines) - MOST_LINES} more; --json lists all")
    return table


def plan_document(planned: EditPlan, applied: bool) -> dict[str, Any]:
    """Return a plan as plain data, ready for JSON."""
    return {
        "applied": applied,
        "edit": planned.change.verb,
        "text": planned.change.text,
        "episodes": [line._asdict() for line in planned.lines],
        "refused": [line._asdict() for line in planned.refused],
        "notes": planned.notes,
    }


def plain_table(*columns: str) -> Any:
    """Make a table with the given columns."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name == "steps" else "left", no_wrap=name == "episode")
    return table


def whole(planned: EditPlan, verb: str) -> EditPlan:
    """Return a plan; raises TutelageError where an episode is refused: these verbs change all or nothing."""
    if planned.refused:
        first = planned.refused[0]
        raise TutelageError(
            f"expected every episode to replay, got {counted(len(planned.refused), 'episode')} that cannot "
            f"be {verb}{'ed' if verb == 'correct' else 'd'}; the first: {first.episode}: {first.what}; "
            "nothing was changed; delete them first, or leave their task as it is"
        )
    return planned
