"""The verbs of a study: what a crowd of strangers is asked to do, served to them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .envs.errors import TutelageError

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def serve(
    study: Annotated[str, typer.Argument(help="A study file (.yaml), or one that comes along: example.")],
    check: Annotated[
        bool,
        typer.Option("--check", help="Say everything that is wrong with it, or what it asks for; and end."),
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Its folder; default: its name.")] = None,
    database: Annotated[str, typer.Option(help="URL of its database; default: a file in its folder.")] = "",
    links: Annotated[int, typer.Option(min=0, help="Print so many links for one person each, and end.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    address: Annotated[str, typer.Option(help="Where people find it, if not there: https://...")] = "",
) -> None:
    """Lead strangers through a study: consent, practice, tasks, thanks; every step is journalled."""
    from .datasets.crowd.outlook import outlook_table
    from .datasets.crowd.study import examine

    with errors.status("trying the tasks (a first time takes half a minute)"):
        found, controls, wrong = examine(study)
    if found is None or wrong:
        for one in wrong:
            errors.print(f"  {one}", style="red", markup=False)
        count = "1 thing" if len(wrong) == 1 else f"{len(wrong)} things"
        raise TutelageError(f"expected a sound study in {study}, found {count} to mend")
    folder = out or Path(found.name)
    if check:
        console.print(outlook_table(found))
        return
    if links:
        from .datasets.crowd.links import print_links

        print_links(found, folder, database, links, address or f"http://{host}:{port}")
        return
    from .datasets.crowd.serving import serve_study

    serve_study(
        found,
        folder,
        controls,
        database=database,
        host=host,
        port=port,
        address=address,
        told=lambda text: print(text, flush=True),
    )
    sys.stdout.flush()
