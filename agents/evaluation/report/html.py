"""HTML elements shared by all sections of the report. All text is escaped here."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Sequence

from ....console.printable import printable
from ..comparison import MANY, Comparison
from .svg_style import MARKERS, Panel

_SHAPES = {
    "o": '<circle cx="6" cy="6" r="4.2"/>',
    "s": '<rect x="2" y="2" width="8" height="8"/>',
    "^": '<path d="M6 1.5 10.6 10H1.4z"/>',
    "D": '<path d="M6 .9 11.1 6 6 11.1.9 6z"/>',
    "X": '<path d="M3 1l3 3 3-3 2 2-3 3 3 3-2 2-3-3-3 3-2-2 3-3-3-3z"/>',
}


def text(value: object) -> str:
    """Escape anything for use inside HTML."""
    return html.escape(printable(value, lines=True))


def section(key: str, heading: str, lead: str, *parts: str) -> str:
    """Build a section: anchor, heading, one sentence (HTML) on how to read it, and its parts."""
    inside = "\n".join(parts)
    return (
        f'<section id="{text(key)}"><h2>{text(heading)}</h2><p class="lead">{lead}</p>\n{inside}\n</section>'
    )


def panels(drawings: Iterable[Panel], legend: str = "", first: int = MANY) -> str:
    """Arrange plots side by side; those after the `first` are folded."""
    figures = [
        f'<figure class="panel"><figcaption>{text(panel.heading)}</figcaption>{panel.svg}</figure>'
        for panel in drawings
    ]
    side = f'{legend}<div class="panels">{"".join(figures[:first])}</div>'
    rest = figures[first:]
    if not rest:
        return side
    more = f"<summary>{len(rest)} more</summary>"
    return f'{side}<details>{more}<div class="panels">{"".join(rest)}</div></details>'


def legend(comparison: Comparison, actors: Sequence[str] | None = None) -> str:
    """Return the legend: color and marker of every actor."""
    keys = "".join(
        f"<li>{mark(comparison.kinds[actor])}{text(actor)}</li>" for actor in (actors or comparison.actors)
    )
    return f'<ul class="legend">{keys}</ul>'


def mark(kind: str) -> str:
    """Return the marker of a kind of actor as SVG."""
    return (
        f'<svg class="mark" viewBox="0 0 12 12" aria-hidden="true" style="fill:var(--kind-{kind})">'
        f"{_SHAPES[MARKERS[kind]]}</svg>"
    )


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1, css: str = "", foot: int = 0
) -> str:
    """Build a table from cells that are HTML already; the first `text_columns` are text, the rest numbers.

    The last `foot` rows are totals. With two or more text columns, rows with the same first cell form one
    group.
    """
    body = list(rows)
    assert all(len(row) == len(head) for row in body), f"rows that do not fit their heads {list(head)}"
    cut = len(body) - foot
    names = "".join(_cell("th", name, i, text_columns, ' scope="col"') for i, name in enumerate(head))
    groups = itertools.groupby(body[:cut], key=lambda row: row[0] if text_columns > 1 else "")
    parts = "".join(f"<tbody>{_group(list(group), text_columns)}</tbody>" for _, group in groups)
    total = f"<tfoot>{''.join(_group([row], text_columns) for row in body[cut:])}</tfoot>" if foot else ""
    return (
        f'<div class="scroll" tabindex="0"><table class="{css}"><thead><tr>{names}</tr></thead>'
        f"{parts}{total}</table></div>"
    )


def figure(main: str, around: str = "", strong: bool = False) -> str:
    """Return a number with its interval below it in small type."""
    tag = "strong" if strong else "span"
    small = f"<small>{text(around)}</small>" if around else ""
    return f"<{tag}>{text(main)}</{tag}>{small}"


def _group(rows: Sequence[Sequence[str]], text_columns: int) -> str:
    spanned = text_columns > 1
    lines = []
    for index, row in enumerate(rows):
        span = f' scope="rowgroup" rowspan="{len(rows)}"' if spanned else ' scope="row"'
        first = f"<th{span}>{row[0]}</th>" if not (spanned and index) else ""
        cells = "".join(_cell("td", cell, i + 1, text_columns, "") for i, cell in enumerate(row[1:]))
        lines.append(f"<tr>{first}{cells}</tr>")
    return "".join(lines)


def _cell(tag: str, inside: str, column: int, text_columns: int, more: str) -> str:
    css = "" if column < text_columns else ' class="n"'
    return f"<{tag}{css}{more}>{inside}</{tag}>"
