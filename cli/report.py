"""The verb that tells an evaluation: a page, and the table, the plots and all rows as files for papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console.progress import waiting
from ..console.terminal import SafeConsole
from .json_output import print_json

console = SafeConsole()


def report(
    evaluation: Annotated[Path, typer.Argument(help="The folder that `tutelage evaluate` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The HTML file; default: report.html, if nothing else is asked for."
        ),
    ] = None,
    run: Annotated[list[Path] | None, typer.Option(help="Training runs to draw curves of.")] = None,
    store: Annotated[list[Path] | None, typer.Option(help="Stores to summarise.")] = None,
    title: Annotated[str, typer.Option(help="What the page is called.")] = "",
    table: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Also the table: .csv, .tex (booktabs) or .md; again: more.",
        ),
    ] = None,
    rows: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Also every episode's row: .csv or .parquet; again: more."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also every plot, as SVG and as PNG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")] = False,
) -> None:
    """Write one self-contained HTML page, or its table, plots and rows as files for a paper."""
    from ..files.folder_kinds import DEMO, EVALUATION, FILE, OTHER, expect_file, expect_place

    for path in (*(table or []), *(rows or []), *([out] if out is not None and not out.is_dir() else [])):
        expect_file(path)
    if out is not None:
        expect_place(out, EVALUATION, DEMO, OTHER, FILE, what="a place of its own for the page")
    if figures is not None:
        expect_place(figures, EVALUATION, DEMO, OTHER, what="a folder for figures")
    from ..agents.evaluation.compare import report_on
    from ..agents.evaluation.table_files import check_endings
    from ..datasets.store import Store

    check_endings(table or [], rows or [])
    asks_for_files = bool(table or rows or figures)
    page = out if out is not None or asks_for_files else Path("report.html")
    with waiting("writing the report"):
        written = report_on(
            evaluation,
            page,
            runs=run or [],
            stores=[Store.open(folder) for folder in store or []],
            title=title,
            tables=table or [],
            rows_files=rows or [],
            figures=figures,
        )
    if as_json:
        print_json("report", written.to_dict())
        return
    for line in written.lines():
        console.print(line)
