"""What `tutelage edit` says of a plan: the table of what changes, JSON, or why it is refused as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli_json import print_json
from .envs.console import SafeConsole
from .envs.errors import TutelageError
from .envs.printable import printable
from .envs.wording import counted

if TYPE_CHECKING:
    from .datasets.editing import Line, Plan

console = SafeConsole()
MOST_LINES = 40
"""Rows of the table of what changes; --json prints all."""


def show_plan(planned: Plan, applied: bool) -> None:
    """Print what an edit changes, or has changed."""
    for title, lines in (("", planned.lines), ("refused", planned.refused)):
        if lines:
            console.print(_lines(lines, title))
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
    from .datasets import edit_log, store

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


def _lines(lines: list[Line], title: str) -> Any:
    table = plain_table("episode", "task", "demonstrator", "steps", title or "what changes")
    for line in lines[:MOST_LINES]:
        table.add_row(
            *(
                printable(cell)
                for cell in (line.episode[:12], line.task, line.demonstrator, line.steps, line.what)
            )
        )
    if len(lines) > MOST_LINES:
        table.add_row("…", "", "", "", f"and {len(lines) - MOST_LINES} more; --json lists all")
    return table


def plan_document(planned: Plan, applied: bool) -> dict[str, Any]:
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


def whole(planned: Plan, verb: str) -> Plan:
    """Return a plan; raises TutelageError where an episode is refused: these verbs change all or nothing."""
    if planned.refused:
        first = planned.refused[0]
        raise TutelageError(
            f"expected every episode to replay, got {counted(len(planned.refused), 'episode')} that cannot "
            f"be {verb}{'ed' if verb == 'correct' else 'd'}; the first: {first.episode}: {first.what}; "
            "nothing was changed; delete them first, or leave their task as it is"
        )
    return planned
