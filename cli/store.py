"""The verb that mends a store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..console.progress import counting
from ..console.terminal import SafeConsole
from ..errors import TutelageError
from .json_output import print_json

console = SafeConsole()


def repair(
    folder: Annotated[Path, typer.Argument(help="A store: the folder that demonstrations are kept in.")],
    copies: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="FOLDER|URL", help="A copy of the store or its parts; again: more."),
    ] = None,
    journal: Annotated[
        str,
        typer.Option(metavar="FILE|FOLDER|URL", help="Its journal, where it is not in the store's folder."),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is wrong, change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")] = False,
) -> None:
    """Repair a store: restore what a copy or the journal has, and move aside files that do not belong."""
    from ..crowd.storage.store_repair import mend

    def tell(text: str) -> None:
        if not as_json:
            console.print(text)

    with counting("mending", None) as advance:
        done = mend(folder, copies or [], journal, dry_run=dry_run, tell=tell, progress=advance)
    if as_json:
        print_json("repair", asdict(done))
    elif not dry_run:
        for line in done.lines():
            console.print(line)
    if done.problems:
        more = f" (and {len(done.problems) - 1} more)" if len(done.problems) > 1 else ""
        raise TutelageError(f"expected a sound store at {folder}, found: {done.problems[0]}{more}")
    if dry_run and not as_json:
        console.print("nothing is to be mended")
