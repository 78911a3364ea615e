"""The verbs of a study: what a crowd of strangers is asked to do, served to them."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console.printable import printable
from ..console.progress import Progress, waiting
from ..console.terminal import SafeConsole
from ..console.wording import counted
from ..errors import TutelageError
from .json_output import print_json

if TYPE_CHECKING:
    from ..crowd.privacy.forgetting import ForgetResult

DATABASE, PARTS = "TUTELAGE_DATABASE", "TUTELAGE_PARTS"
"""What may be said in the environment instead: a command line can be read by everybody on a machine."""

Address = Annotated[
    str, typer.Option(help="Where people find it, if not there: https://... No other name is answered.")
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, metavar="PORT", help="Port to listen on; 0 takes a free one.")
]
Proxies = Annotated[
    list[str] | None,
    typer.Option(metavar="IP|NETWORK", help="A proxy to believe about who asks; may be given again."),
]

console = SafeConsole()
errors = SafeConsole(stderr=True, soft_wrap=True)


def serve(
    study: Annotated[str, typer.Argument(help="A study file (.yaml), or one that comes along: example.")],
    check: Annotated[
        bool,
        typer.Option("--check", help="Say everything that is wrong with it, or what it asks for; and end."),
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Its folder; default: its name.")] = None,
    database: Annotated[
        str, typer.Option(envvar=DATABASE, help="URL of its database; default: a file in its folder.")
    ] = "",
    parts: Annotated[
        str, typer.Option(envvar=PARTS, help="Also copy finished parts to s3://bucket/folder, say.")
    ] = "",
    links: Annotated[int, typer.Option(min=0, help="Print so many links for one person each, and end.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    address: Address = "",
    proxy: Proxies = None,
    new_admin_token: Annotated[
        bool, typer.Option("--new-admin-token", help="Make another token for the dashboard.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --check, print one JSON document for machines.")
    ] = False,
) -> None:
    """Serve a study to participants: consent, practice, tasks, completion; every step is journaled."""
    from ..crowd.hosting.reachable_pace import pace_notes
    from ..crowd.recruiting.pay_notes import pay_notes
    from ..crowd.studies.cost_estimate import cost_table, estimate_cost
    from ..crowd.studies.study_file import examine
    from ..envs.preflight import key_notes

    with waiting("trying the tasks (a first time takes half a minute)"):
        loaded, controls, problems = examine(study)
    if check and loaded is not None and not problems:
        from ..crowd.server.study_services import check_panel

        problems = check_panel(loaded)
    if as_json and not check:
        raise TutelageError("expected --json together with --check, got it alone; add --check")
    if loaded is None or problems:
        if as_json:
            print_json("serve", {"study": study, "sound": False, "problems": problems})
        for problem in problems:
            errors.print(f"  {problem}", style="red")
        raise TutelageError(
            f"expected a sound study in {study}, found {counted(len(problems), 'thing')} to mend"
        )
    folder = out or Path(loaded.name)
    if not check:
        from ..files.folder_kinds import STORE, STUDY, expect_place

        expect_place(folder, STUDY, STORE)
    if check:
        notes = [
            *pay_notes(loaded),
            *(note for task in loaded.tasks for note in key_notes(task, controls[task.id])),
            *pace_notes(loaded.tasks),
        ]
        if as_json:
            about = {
                "study": study,
                "sound": True,
                "problems": [],
                "outlook": estimate_cost(loaded),
                "notes": notes,
            }
            print_json("serve", about)
            return
        console.print(cost_table(loaded))
        for note in notes:
            console.print(f"note: {note}")
        return
    if links:
        from ..crowd.recruiting.links import print_links

        print_links(loaded, folder, database, links, address or f"http://{host}:{port}")
        return
    from ..crowd.server.study_app import serve_study

    for note in pace_notes(loaded.tasks):
        errors.print(f"note: {note}", style="yellow")
    serve_study(
        loaded,
        folder,
        controls,
        database=database,
        parts=parts,
        host=host,
        port=port,
        address=address,
        proxies=proxy or [],
        new_admin_token=new_admin_token,
        say=lambda text: print(printable(text, lines=True), flush=True),
    )
    sys.stdout.flush()


def forget(
    person: Annotated[str, typer.Argument(help="Whom: the pseudonym, as demonstrations carry it.")] = "",
    named: Annotated[
        str, typer.Option("--id", help="Or an external id, like PROLIFIC_PID=5f3c...", metavar="NAME=VALUE")
    ] = "",
    study: Annotated[Path | None, typer.Option(help="The folder that the study is served from.")] = None,
    database: Annotated[
        str, typer.Option(envvar=DATABASE, help="The study's database, where it is not in the folder.")
    ] = "",
    store: Annotated[
        list[Path] | None, typer.Option(help="A store outside of the folder; may be given again.")
    ] = None,
    parts: Annotated[
        str, typer.Option(envvar=PARTS, help="Where copies of the parts are, like s3://bucket/folder.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be removed and rewritten; and end.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask at a terminal before exports and copies are rewritten.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")] = False,
) -> None:
    """Remove a person from database, stores, exports and copies; then search everything for them."""
    from ..crowd.privacy.forgetting import StudyLocations, find, unchanged
    from ..crowd.privacy.forgetting import forget as run

    places = StudyLocations(study, database, store or [], parts)
    name, _, value = named.partition("=")
    if bool(person) == bool(named) or (named and not (name and value)):
        got = "both" if person and named else named or "neither"
        raise TutelageError(f"expected a pseudonym or --id NAME=VALUE, got {got}")
    with Progress("searching") as progress, unchanged(places) if dry_run else nullcontext(places) as places:
        progress.add()
        whom = person or find(places, name, value)

        def approve(plan: ForgetResult) -> bool:
            if not as_json:
                _print_plan(plan)
            if dry_run or yes or not plan.outside or not sys.stdin.isatty():
                return not dry_run
            with progress.paused():
                agreed = typer.confirm("Remove all this?", err=True)
            if not agreed:
                raise TutelageError("expected your agreement, got none; nothing was removed")
            return True

        done = run(whom, places, [value] if value else [], progress.note, approve=approve)
    if as_json:
        print_json("forget", dataclasses.asdict(done))
    if not as_json and not dry_run:
        _print(done)
    if done.left:
        raise TutelageError(
            f"expected nothing of {whom} to be left, found something in "
            f"{counted(len(done.left), 'place')}, the first: "
            f"{done.left[0]}; remove it there, and run this again"
        )
    if not done.existed:
        raise TutelageError(
            f"expected a person named {whom}, found no person of that name and nothing to remove; "
            f"check the pseudonym and the places"
        )


def _print_plan(plan: ForgetResult) -> None:
    for line in plan.planned or ["nothing of them was found to be removed"]:
        console.print(f"to do: {line}")


def _print(done: ForgetResult) -> None:
    removed = ", ".join(f"{count} {what}" for what, count in done.removed.items())
    lines = [f"removed: {removed or 'nothing was there'}"]
    lines += [f"searched: {place}" for place in done.searched]
    if done.vague:
        lines.append(f"not searched for: {counted(done.vague, 'external id')}, too short to tell from chance")
    lines.append(f"out of reach: {'; '.join(done.unreachable)}")
    lines += [f"left: {place}" for place in done.left]
    if done.existed and not done.left:
        lines.append(f"Nothing of {done.person} is left where this could look.")
    for line in lines:
        console.print(line)
