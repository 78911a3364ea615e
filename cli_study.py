"""The verbs of studies, which `cli` adds to its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .envs.errors import TutelageError

if TYPE_CHECKING:
    from .datasets.forgetting import Forgotten

console = Console()


def forget(
    person: Annotated[str, typer.Argument(help="Whom: the pseudonym, as demonstrations carry it.")] = "",
    named: Annotated[
        str, typer.Option("--id", help="Or an external id, like PROLIFIC_PID=5f3c...", metavar="NAME=VALUE")
    ] = "",
    study: Annotated[Path | None, typer.Option(help="The folder that the study is served from.")] = None,
    database: Annotated[str, typer.Option(help="The study's database, where it is not in the folder.")] = "",
    store: Annotated[
        list[Path] | None, typer.Option(help="A store outside of the folder; may be given again.")
    ] = None,
    parts: Annotated[str, typer.Option(help="Where copies of the parts are, like s3://bucket/folder.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")] = False,
) -> None:
    """Remove a person from database, stores, exports and copies, and search everything for them afterwards."""
    from .datasets.forgetting import Places, find
    from .datasets.forgetting import forget as run

    places = Places(study, database, store or [], parts)
    name, _, value = named.partition("=")
    if bool(person) == bool(named) or (named and not (name and value)):
        got = "both" if person and named else named or "neither"
        raise TutelageError(f"expected a pseudonym or --id NAME=VALUE, got {got}")
    with console.status("") as status:
        whom = person or find(places, name, value)
        done = run(whom, places, [value] if value else [], lambda text: status.update(text))
    if as_json:
        print(json.dumps(dataclasses.asdict(done), indent=2))
    else:
        _print(done)
    if done.left:
        raise TutelageError(
            f"expected nothing of {whom} to be left, found something in {len(done.left)} places, the first: "
            f"{done.left[0]}; remove it there, and run this again"
        )


def _print(done: Forgotten) -> None:
    removed = ", ".join(f"{count} {what}" for what, count in done.removed.items())
    lines = [f"removed: {removed or 'nothing was there'}"]
    lines += [f"searched: {one}" for one in done.searched]
    if done.vague:
        lines.append(f"not searched for: {done.vague} external ids that are too short to tell from chance")
    lines.append(f"out of reach: {'; '.join(done.unreachable)}")
    lines += [f"left: {one}" for one in done.left]
    if not done.left:
        lines.append(f"Nothing of {done.person} is left where this could look.")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
