"""The few pieces of HTML that every section of the report is made of. All text is escaped here."""

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
    """Put a section together: its anchor, its heading, one sentence (HTML) on how to read it, its parts."""
    inside = "\n".join(parts)
    return (
        f'<section id="{text(key)}"><h2>{text(heading)}</h2><p class="lead">{lead}</p>\n{inside}\n</section>'
    )


def panels(found: Iterable[Panel], legend: str = "", first: int = MANY) -> str:
    """Set drawings side by side, as many as the width takes; those after the `first` are folded."""
    figures = [
        f'<figure class="panel"><figcaption>{text(one.heading)}</figcaption>{one.svg}</figure>'
        for one in found
    ]
    side = f'{legend}<div class="panels">{"".join(figures[:first])}</div>'
    rest = figures[first:]
    if not rest:
        return side
    more = f"<summary>{len(rest)} more</summary>"
    return f'{side}<details>{more}<div class="panels">{"".join(rest)}</div></details>'


def legend(comparison: Comparison, actors: Sequence[str] | None = None) -> str:
    """Show every actor's colour and mark once."""
    keys = "".join(
        f"<li>{mark(comparison.kinds[one])}{text(one)}</li>" for one in (actors or comparison.actors)
    )
    return f'<ul class="legend">{keys}</ul>'


def mark(kind: str) -> str:
    """Draw the mark of a kind of actor."""
    return (
        f'<svg class="mark" viewBox="0 0 12 12" aria-hidden="true" style="fill:var(--kind-{kind})">'
        f"{_SHAPES[MARKERS[kind]]}</svg>"
    )


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, css: str = "", foot: int = 0
) -> str:
    """Lay out a table of cells that are HTML already; the first `left` columns are words, the rest numbers.

    The last `foot` rows are set apart as totals. With two columns of words, rows whose first cell is the
    same are set as one group under it.
    """
    body = list(rows)
    assert all(len(row) == len(head) for row in body), f"rows that do not fit their heads {list(head)}"
    cut = len(body) - foot
    names = "".join(_cell("th", one, i, left, ' scope="col"') for i, one in enumerate(head))
    groups = itertools.groupby(body[:cut], key=lambda row: row[0] if left > 1 else "")
    parts = "".join(f"<tbody>{_group(list(group), left)}</tbody>" for _, group in groups)
    total = f"<tfoot>{''.join(_group([row], left) for row in body[cut:])}</tfoot>" if foot else ""
    return (
        f'<div class="scroll" tabindex="0"><table class="{css}"><thead><tr>{names}</tr></thead>'
        f"{parts}{total}</table></div>"
    )


def figure(main: str, around: str = "", strong: bool = False) -> str:
    """Write a number with, smaller beneath it, its interval."""
    tag = "strong" if strong else "span"
    small = f"<small>{text(around)}</small>" if around else ""
    return f"<{tag}>{text(main)}</{tag}>{small}"


def _group(rows: Sequence[Sequence[str]], left: int) -> str:
    spanned = left > 1
    lines = []
    for at, row in enumerate(rows):
        span = f' scope="rowgroup" rowspan="{len(rows)}"' if spanned else ' scope="row"'
        first = f"<th{span}>{row[0]}</th>" if not (spanned and at) else ""
        cells = "".join(_cell("td", one, i + 1, left, "") for i, one in enumerate(row[1:]))
        lines.append(f"<tr>{first}{cells}</tr>")
    return "".join(lines)


def _cell(tag: str, inside: str, column: int, left: int, more: str) -> str:
    css = "" if column < left else ' class="n"'
    return f"<{tag}{css}{more}>{inside}</{tag}>"
