"""What the report's page holds for downloads: the table and all rows; plots are made by its script."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from ....envs.suite import Suite
from ....files.finite_json import json_text
from ..table_files import rows_csv, table_csv, table_latex, table_markdown
from .html import section, text
from .svg_style import PAPER_COLORS

MOST_BYTES = 1_500_000
"""What the files in a page may take together; rows that are more are left to `tutelage report --rows`."""


def downloads(rows: pa.Table, suite: Suite) -> tuple[str, str]:
    """Return the section with a button for each file, and the files as JSON for the page's script."""
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
    whole = packed | packed_rows if fits else packed
    held = "".join(
        f'<button type="button" data-file="{name}">{text(label)}</button>'
        for name, label in buttons.items()
        if name in whole
    )
    lead = "The figures as files. Each plot has buttons of its own: SVG and PNG, in the colours of paper."
    if not fits:
        lead += (
            " All rows are too many for a page: <code>tutelage report --rows rows.parquet</code> writes them."
        )
    document = {"files": whole, "colours": dict(PAPER_COLORS)}
    body = f'<div class="files screen">{held}</div>'
    body += "<noscript><p>The buttons need JavaScript.</p></noscript>"
    return section("files", "For papers and programs", lead, body), json_text(document)


def _packed(files: Mapping[str, bytes]) -> dict[str, str]:
    """Compress files (without a time, so that the same rows give the same page), as text."""
    return {
        name: base64.b64encode(gzip.compress(data, mtime=0)).decode("ascii") for name, data in files.items()
    }


def _parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    return bytes(sink.getvalue())
