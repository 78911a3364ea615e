"""The verbs that look through a store and edit it: `tutelage browse`, and `tutelage edit STORE VERB`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from ..console.printable import printable
from ..console.progress import counting
from ..console.signals import signals
from ..console.terminal import SafeConsole
from ..console.wording import counted
from ..errors import TutelageError
from ..files.finite_json import MISSING
from .edit_options import Apply, Json, Out, pairs, selecting
from .edit_tables import id_length, plain_table, plan_document, show_history, show_plan, whole
from .json_output import print_json
from .safety import reads_files
from .study import Port

if TYPE_CHECKING:
    from ..datasets.editing.plans import EditPlan
    from ..datasets.store import Store

console = SafeConsole()
errors = SafeConsole(stderr=True)
Planner = Callable[["Store", Callable[[int], None]], "EditPlan"]

edit = typer.Typer(rich_markup_mode="rich", invoke_without_command=True, no_args_is_help=True)


def browse(
    folder: Annotated[Path, typer.Argument(help="A store: the folder that demonstrations are kept in.")],
    port: Port = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    replay: Annotated[bool, typer.Option(help="Play episodes again for their pictures.")] = True,
    as_json: Json = False,
) -> None:
    """Look through a store in the browser: play any episode, filter, note, tag, mark for removal."""
    from ..crowd.browsing.serve import browse as serve_browser

    def tell_marked() -> None:
        annotations = _opened(folder).annotations().episodes
        marked = sorted(episode for episode, annotation in annotations.items() if annotation.marked)
        print_json("browse", {"store": folder, "marked": marked})
        sys.stdout.flush()

    more: dict[str, Any] = {"say": errors.print, "farewell": tell_marked} if as_json else {}
    if serve_browser(folder, port=port, open_browser=browser, replays=replay, **more):
        signals.end_others()
        sys.stdout.flush()
        os._exit(0)  # nothing is left to do, for which an interpreter takes seconds on a busy machine


@edit.callback()
def main(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="STORE", help="The folder that demonstrations are kept in.")
    ],
    as_json: Json = False,
) -> None:
    """Delete, keep, tag, trim, merge, split and relabel episodes of a store, or correct its suite.

    A verb says what it would change; with --apply it does it. Every change can be undone until `compact`.
    Without a verb, the edits are listed that can be undone.
    """
    context.obj = folder
    if context.invoked_subcommand is None:
        show_history(folder, as_json)


@edit.command("list")
@reads_files
@selecting
def list_(context: typer.Context, selection: Any, as_json: Json = False) -> None:
    """List the episodes that fit the conditions, with their tags, marks and notes."""
    from ..datasets.editing.plans import selected

    store = _store(context)
    rows, meant = selected(store, selection)
    annotations = store.annotations()
    names = ("episode", "task", "demonstrator", "kind", "steps", "success", "seconds", "started")
    listed = []
    for index in meant:
        row: dict[str, Any] = {name: rows[name][index].as_py() for name in names}
        listed.append(
            {**row, "note": "", "tags": [], "marked": False, **annotations[row["episode"]].to_dict()}
        )
    if as_json:
        print_json("edit", {"episodes": listed})
        return
    length = id_length([row["episode"] for row in listed], rows["episode"].to_pylist())
    table = plain_table("episode", "task", "demonstrator", "steps", "success", "annotations")
    for row in listed:
        words = [f"#{tag}" for tag in row["tags"]] + ["marked for removal"] * row["marked"] + [row["note"]]
        outcome = {True: "yes", False: "no", None: MISSING}[row["success"]]
        cells = (row["episode"][:length], row["task"], row["demonstrator"], row["steps"], outcome)
        table.add_row(*(printable(cell) for cell in cells), printable(" ".join(filter(None, words))))
    console.print(table)
    console.print(counted(len(listed), "episode"))


@edit.command()
@reads_files
@selecting
def delete(context: typer.Context, selection: Any, apply: Apply = False, as_json: Json = False) -> None:
    """Delete the episodes that are named or fit the conditions; `--marked`: those marked in `browse`."""
    from ..datasets.editing.plans import plan_delete

    _run(context, lambda store, _: plan_delete(store, selection), apply, as_json)


@edit.command()
@reads_files
@selecting
def keep(context: typer.Context, selection: Any, apply: Apply = False, as_json: Json = False) -> None:
    """Keep the episodes that are named or fit the conditions, delete all others."""
    from ..datasets.editing.plans import plan_delete

    _run(context, lambda store, _: plan_delete(store, selection, keep=True), apply, as_json)


@edit.command("filter")
@reads_files
@selecting
def filter_(
    context: typer.Context, selection: Any, out: Out, apply: Apply = False, as_json: Json = False
) -> None:
    """Copy the episodes that fit the conditions to a store of their own; this one stays as it is."""
    from ..datasets.editing.edit_stores import plan_split

    _run(context, lambda store, _: plan_split(store, selection, out, move=False), apply, as_json, out)


@edit.command()
@reads_files
@selecting
def split(
    context: typer.Context, selection: Any, out: Out, apply: Apply = False, as_json: Json = False
) -> None:
    """Move the episodes that fit the conditions to a store of their own."""
    from ..datasets.editing.edit_stores import plan_split

    _run(context, lambda store, _: plan_split(store, selection, out, move=True), apply, as_json, out)


@edit.command()
@reads_files
@selecting
def tag(
    context: typer.Context,
    selection: Any,
    add: Annotated[list[str] | None, typer.Option(help="A tag to add; may be given again.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A tag to remove; may be given again.")] = None,
    mark: Annotated[
        bool | None,
        typer.Option("--mark/--unmark", help="Mark for removal, or no longer.", show_default=False),
    ] = None,
    note: Annotated[str | None, typer.Option(help="The note; an empty one removes it.")] = None,
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Tag, mark and note the episodes that are named or fit the conditions."""
    from ..datasets.editing.plans import plan_tags

    def plan(store: Store, _: Callable[[int], None]) -> EditPlan:
        return plan_tags(store, selection, add or (), remove or (), mark, note)

    _run(context, plan, apply, as_json)


@edit.command()
@reads_files
@selecting
def trim(
    context: typer.Context,
    selection: Any,
    start: Annotated[bool, typer.Option("--start", help="Only at the start.")] = False,
    end: Annotated[bool, typer.Option("--end", help="Only at the end.")] = False,
    idle: Annotated[str, typer.Option(help="The idle action, as JSON, where the suite names none.")] = "",
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Cut idle steps off both ends of episodes, where replay proves that all else stays the same."""
    from ..datasets.editing.trimming import plan_trim

    def plan(store: Store, progress: Callable[[int], None]) -> EditPlan:
        both = start == end
        return plan_trim(store, selection, start=start or both, end=end or both, idle=idle, progress=progress)

    _run(context, plan, apply, as_json)


@edit.command()
@reads_files
@selecting
def relabel(
    context: typer.Context,
    selection: Any,
    task: Annotated[str, typer.Option("--to-task", help="Another task, in which they replay the same.")] = "",
    demonstrator: Annotated[str, typer.Option("--to-demonstrator", help="Another pseudonym.")] = "",
    kind: Annotated[
        str, typer.Option("--to-kind", help="person, expert, simulated, policy or chance (random actions).")
    ] = "",
    study: Annotated[str, typer.Option("--to-study", help="The study they belong to.")] = "",
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Correct whose episodes these are, of which kind, study or task."""
    from ..datasets.editing.plans import plan_relabel

    labels = {"task": task, "demonstrator": demonstrator, "kind": kind, "study": study}
    given = {name: label for name, label in labels.items() if label}
    _run(context, lambda store, progress: plan_relabel(store, selection, given, progress), apply, as_json)


@edit.command()
@reads_files
def merge(
    context: typer.Context,
    stores: Annotated[list[Path], typer.Argument(metavar="OTHER...", help="The stores to take in.")],
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Add the episodes of other stores, each proven by replay, with their notes and tags."""
    from ..datasets.editing.edit_stores import plan_merge

    def plan(store: Store, progress: Callable[[int], None]) -> EditPlan:
        return whole(plan_merge(store, stores, progress), "merge")

    _run(context, plan, apply, as_json)


@edit.command()
@reads_files
def suite(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="[SUITE.yaml]", help="The corrected suite.")] = "",
    instruction: Annotated[
        list[str] | None, typer.Option(metavar="TASK=TEXT", help="Another instruction; may be given again.")
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Another id for a task; may be given again.")
    ] = None,
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Correct instructions, keys, paces and rules; every episode is replayed in its task as corrected.

    Without a file or an instruction, the store's suite is printed: edit that, and give it back. What a file
    leaves out is filled in as everywhere; a success rule that it leaves out stays the store's.
    """
    from ..datasets.editing.edit_stores import plan_suite, with_instructions
    from ..envs.suite import load_suite

    if not file and not instruction:
        print(yaml.safe_dump(dict(_store(context).suite.source), sort_keys=False, allow_unicode=True), end="")
        return

    def plan(store: Store, progress: Callable[[int], None]) -> EditPlan:
        renamed = pairs(rename, "--rename OLD=NEW")
        rules = {renamed.get(task.id, task.id): task.success.text for task in store.suite}
        corrected = load_suite(file, rules) if file else store.suite
        corrected = with_instructions(corrected, pairs(instruction, "--instruction TASK=TEXT"))
        return whole(plan_suite(store, corrected, renamed, progress), "correct")

    _run(context, plan, apply, as_json)


@edit.command()
@reads_files
def undo(context: typer.Context, apply: Apply = False, as_json: Json = False) -> None:
    """Take back the latest edit; call it again for the one before."""
    _reverse(context, apply, as_json, is_redo=False)


@edit.command()
@reads_files
def redo(context: typer.Context, apply: Apply = False, as_json: Json = False) -> None:
    """Make again the edit that was undone last, as long as no other was made since."""
    _reverse(context, apply, as_json, is_redo=True)


@edit.command()
@reads_files
def compact(context: typer.Context, apply: Apply = False, as_json: Json = False) -> None:
    """Remove what undoes edits, for good: deleted episodes are gone from the disk then."""
    from ..datasets.editing import edit_commit, edit_log

    store = _store(context)
    size = edit_log.undo_bytes(store.path)
    count = edit_log.count(store.path) + len(edit_log.redo_names(store.path))
    told = counted(count, "edit")
    if apply:
        with _alone(context.obj):
            edit_commit.compact(store)
    if as_json:
        print_json("edit", {"edit": "compact", "applied": apply, "edits": count, "bytes": size})
    elif apply:
        console.print(f"{told} can no longer be undone or made again; {counted(size, 'byte')} are free")
    else:
        console.print(f"would remove what undoes {told} or makes them again: {counted(size, 'byte')}")
        console.print("nothing was changed; do it with --apply")


def _reverse(context: typer.Context, apply: bool, as_json: bool, *, is_redo: bool) -> None:
    """Undo or redo an edit, or say which one it would be."""
    from ..datasets.editing import edit_commit

    verb = "redo" if is_redo else "undo"
    record = edit_commit.latest(context.obj, is_redo=is_redo)
    if apply:
        with _alone(context.obj):
            record = (edit_commit.redo if is_redo else edit_commit.undo)(_store(context))
    if as_json:
        print_json("edit", {"edit": verb, "applied": apply, "text": record.text})
    elif not apply:
        console.print(f"would {verb}: {record.text} ({record.time})")
        console.print("nothing was changed; do it with --apply")
    else:
        console.print(f"{'made again' if is_redo else 'undone'}: {record.text}")
        if not is_redo:
            console.print("make it again with `redo --apply`, as long as nothing else is edited")


def _run(context: typer.Context, plan: Planner, apply: bool, as_json: bool, out: Path | None = None) -> None:
    """Plan an edit, make it with `apply`, and say what it changes."""
    from ..datasets.editing.edit_commit import commit
    from ..datasets.editing.edit_stores import write_selection

    with _alone(context.obj) if apply else nullcontext():
        store = _store(context)
        episodes = store.episodes()["episode"].to_pylist()
        with counting("replaying", len(store)) as advance:
            planned = plan(store, advance)
        if planned.refused and not planned.lines:
            first = planned.refused[0]
            raise TutelageError(
                f"expected an episode that can be changed so, got "
                f"{counted(len(planned.refused), 'refusal')}, the first: {first.episode}: {first.what}"
            )
        if apply:
            if out is not None:
                write_selection(store, frozenset(line.episode for line in planned.lines), out)
            if not planned.change.is_empty:
                commit(store, planned.change)
    print_json("edit", plan_document(planned, apply)) if as_json else show_plan(planned, apply, episodes)


def _alone(folder: Path) -> Any:
    """Hold the folder as a recorder does; raises TutelageError while one records there."""
    from ..files.folder_lock import lock_folder

    if not folder.is_dir():
        raise TutelageError(f"expected a store at {folder}, found no such folder; check the path")
    return lock_folder(folder)


def _store(context: typer.Context) -> Store:
    return _opened(context.obj)


def _opened(folder: Path) -> Store:
    from ..datasets import store

    return store.Store.open(folder)
