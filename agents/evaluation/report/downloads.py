"""Downloads within the report's page: the table and all rows; its script makes files of the plots."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq
from markupsafe import Markup

from ....envs.suite import Suite
from ..table_files import rows_csv, table_csv, table_latex, table_markdown
from .html import render_template
from .svg_style import PAPER_COLORS

MOST_BYTES = 1_500_000
"""Most bytes of the files in a page; larger rows need `tutelage report --rows`."""


def downloads(rows: pa.Table, suite: Suite) -> tuple[Markup, dict[str, object]]:
    """Return the section with a button for each file, and the files as plain data for the page's script."""
    files = {
        "table.csv": table_csv(rows, suite).encode(),
        "table.tex": table_latex(rows, suite).encode(),
        "table.md": table_markdown(rows, suite).encode(),
    }
    all_rows = {"rows.csv": rows_csv(rows).encode(), "rows.parquet": _parquet(rows)}
    packed, packed_rows = _packed(files), _packed(all_rows)
    fits = sum(map(len, packed_rows.values())) <= MOST_BYTES
    buttons = {
        "table.csv": "Table, CSV",
        "table.tex": "Table, LaTeX",
        "table.md": "Table, Markdown",
        "rows.csv": "All rows, CSV",
        "rows.parquet": "All rows, Parquet",
    }
    files_in_page = packed | packed_rows if fits else packed
    held = {name: label for name, label in buttons.items() if name in files_in_page}
    document: dict[str, object] = {"files": files_in_page, "colours": dict(PAPER_COLORS)}
    return render_template("files.html", buttons=held, fits=fits), document


def _packed(files: Mapping[str, bytes]) -> dict[str, str]:
    """Compress files and encode them as text; without a timestamp, so that equal rows give equal pages."""
    return {
        name: base64.b64encode(gzip.compress(data, mtime=0)).decode("ascii") for name, data in files.items()
    }


def _parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    return bytes(sink.getvalue())
