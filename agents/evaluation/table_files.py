"""The result table of an evaluation as CSV, LaTeX and Markdown files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa

from ...console.printable import csv_cell, markdown_cell, printable
from ...envs.suite import Suite
from ...errors import TutelageError, nearest
from ...files.atomic_files import disk_errors, write_whole
from ...intervals import Interval
from .comparison import Comparison, Leaders
from .rows import write_rows
from .tables import MEAN, TIED, caption, mean_of, measure, shown_on

TABLE_COLUMNS = ("task", "measure", "actor", "kind", "n", "estimate", "low", "high", "best", "tied")
"""Columns of the table as CSV, one line a task and actor; success is a share from 0 to 1."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "−": r"\ensuremath{-}",
    "≈": r"\ensuremath{\approx}",
    "…": r"\ldots{}",
}
_LATEX_SPECIAL = re.compile("|".join(map(re.escape, _LATEX)))
_LIGATURES = re.compile(r"([-'`,!?<>])(?=\1)")


def latex_text(value: object) -> str:
    """Escape text for LaTeX: every character is shown as it is."""
    plain = _LIGATURES.sub("\\1\0", printable(value))  # keeps "--" in a name from becoming a dash
    return _LATEX_SPECIAL.sub(lambda match: _LATEX[match[0]], plain).replace("\0", "{}")


def table_markdown(rows: pa.Table, suite: Suite | None = None) -> str:
    """Format rows as a Markdown table, with n, seeds and the kind of interval; the best are bold."""
    return _markdown(Comparison(rows, suite))


def table_latex(rows: pa.Table, suite: Suite | None = None) -> str:
    r"""Format rows as a LaTeX `tabular` with booktabs rules: `\input` it after `\usepackage{booktabs}`."""
    return _latex(Comparison(rows, suite))


def table_csv(rows: pa.Table, suite: Suite | None = None) -> str:
    """Format rows as CSV of TABLE_COLUMNS: one line a task and actor, then the means over tasks."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(TABLE_COLUMNS)
    for line in table_lines(rows, suite):
        writer.writerow([csv_cell(str(cell).lower() if isinstance(cell, bool) else cell) for cell in line])
    return buffer.getvalue()


def rows_csv(rows: pa.Table) -> str:
    """Format rows of episodes as CSV, with the columns of `rows.SCHEMA`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(rows.column_names)
    for batch in rows.to_batches():
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            writer.writerow([csv_cell(value) for value in values])
    return buffer.getvalue()


TABLES: Mapping[str, Callable[[pa.Table, Suite | None], str]] = {
    ".csv": table_csv,
    ".tex": table_latex,
    ".md": table_markdown,
}
"""File suffix → formatter of the table."""
ROWS = (".csv", ".parquet")
"""File suffixes for all rows."""


def check_endings(tables: list[Path], rows: list[Path]) -> None:
    """Raise TutelageError for a file whose suffix is no known format."""
    for flag, paths, endings in (("--table", tables, tuple(TABLES)), ("--rows", rows, ROWS)):
        for path in paths:
            if path.suffix not in endings:
                raise TutelageError(
                    f"expected {flag} to name a file that ends in {', '.join(endings)}, got {path.name!r}"
                    f"{nearest(path.suffix, endings)}"
                )


def write_table(path: Path, rows: pa.Table, suite: Suite | None = None) -> Path:
    """Write the table atomically in the format of the suffix; raises TutelageError for an unknown one."""
    check_endings([path], [])
    return _write(path, TABLES[path.suffix](rows, suite))


def write_all_rows(path: Path, rows: pa.Table) -> Path:
    """Write all rows as CSV or Parquet, by suffix; raises TutelageError for an unknown one."""
    check_endings([], [path])
    return write_rows(path, rows) if path.suffix == ".parquet" else _write(path, rows_csv(rows))


def _write(path: Path, text: str) -> Path:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    return path


def _markdown(comparison: Comparison) -> str:
    def cell(actor: str, figure: tuple[str, str], best: Leaders) -> str:
        main, around = figure
        strong = f"**{main}**" if actor in best.best else main
        sign = f"{TIED} " if actor in best.tied else ""
        return f"{sign}{strong} ({around})" if around else main

    actors = comparison.actors
    lines = [
        "| task | measure | " + " | ".join(map(markdown_cell, actors)) + " |",
        "|---|---|" + "---:|" * len(actors),
    ]
    for task in comparison.tasks:
        best = comparison.leaders(task)
        cells = [cell(actor, shown_on(comparison, task, actor), best) for actor in actors]
        lines.append(f"| {markdown_cell(task)} | {measure(comparison, task)} | " + " | ".join(cells) + " |")
    if comparison.overall:
        best = comparison.overall_leaders
        cells = [cell(actor, mean_of(comparison, actor), best) for actor in actors]
        lines.append(f"| *{MEAN}* | success % | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", caption(comparison)]) + "\n"


def _latex(comparison: Comparison) -> str:
    def cell(actor: str, figure: tuple[str, str], best: Leaders) -> str:
        main, around = (latex_text(part) for part in figure)
        strong = rf"\textbf{{{main}}}" if actor in best.best else main
        sign = rf"{latex_text(TIED)}\," if actor in best.tied else ""
        return rf"{sign}{strong} {{\scriptsize ({around})}}" if around else main

    actors = comparison.actors
    lines = [
        rf"% {printable(caption(comparison))}; needs \usepackage{{booktabs}}",
        rf"\begin{{tabular}}{{ll{'r' * len(actors)}}}",
        r"\toprule",
        " & ".join(["task", "measure", *map(latex_text, actors)]) + r" \\",
        r"\midrule",
    ]
    for task in comparison.tasks:
        best = comparison.leaders(task)
        cells = [cell(actor, shown_on(comparison, task, actor), best) for actor in actors]
        lines.append(" & ".join([latex_text(task), latex_text(measure(comparison, task)), *cells]) + r" \\")
    if comparison.overall:
        best = comparison.overall_leaders
        cells = [cell(actor, mean_of(comparison, actor), best) for actor in actors]
        lines += [r"\midrule", " & ".join([rf"\emph{{{MEAN}}}", r"success \%", *cells]) + r" \\"]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def table_lines(rows: pa.Table, suite: Suite | None = None) -> list[list[object]]:
    """List the table's values in TABLE_COLUMNS: a line a task and actor, then one a mean over tasks."""
    comparison = Comparison(rows, suite)
    lines = []
    for task in comparison.tasks:
        measured = "return" if comparison.by_return(task) else "success"
        best = comparison.leaders(task)
        for actor, interval in comparison.measured(task).items():
            lines.append(_line(comparison, (task, measured, actor), interval, best))
    for actor, overall in comparison.overall.items():
        names = (MEAN, "success", actor)
        lines.append(_line(comparison, names, overall.success, comparison.overall_leaders))
    return lines


def _line(
    comparison: Comparison, names: tuple[str, str, str], interval: Interval, best: Leaders
) -> list[object]:
    actor = names[2]
    figures = [interval.n, interval.estimate, interval.low, interval.high]
    flags = [actor in actors for actors in (best.best, best.tied)]
    return [*names, comparison.kinds[actor], *figures, *flags]
