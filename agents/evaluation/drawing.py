"""The house style of charts: inline SVG in the page's own colours and fonts.

Matplotlib draws in a few stand-in colours that are replaced by CSS variables, so that one drawing looks
right on paper, in light and in dark. Who is who is told by colour *and* by marker or dash.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ...envs.printable import printable

INK, MUTED, RULE, PAPER = "#000001", "#000002", "#000003", "#000004"
_CSS = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"}
KINDS = {"policy": "#000011", "person": "#000012", "simulated": "#000013", "expert": "#000014"}
KINDS["chance"] = "#000015"
_CSS |= {colour: f"kind-{kind}" for kind, colour in KINDS.items()}
MARKERS = {"policy": "o", "person": "s", "simulated": "^", "expert": "D", "chance": "X"}
DASHES: Mapping[str, Any] = {
    "policy": "-",
    "person": (0, (6, 1.5)),
    "simulated": (0, (4, 1.5, 1, 1.5)),
    "expert": (0, (1, 1)),
    "chance": (0, (3, 3)),
}
WIDTH = 3.5  # inches; 72 units each in the drawing
_RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "text.parse_math": False,  # a name with a dollar sign is a name
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Panel:
    """One drawing with the heading that stands over it, and the sentence read out instead of it."""

    heading: str
    note: str
    svg: str


@contextmanager
def panel(name: str, height: float) -> Iterator[tuple[Axes, Callable[[str, str], Panel]]]:
    """Open one figure in the house style, without a display and without matplotlib's global state."""
    # the salt keeps the ids of panels on one page apart, and equal from one writing to the next
    style: Any = {**_RC, "svg.hashsalt": name}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH, height))
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        figure.subplots_adjust(left=0.11, right=0.97, top=0.97, bottom=0.42 / height)

        def done(heading: str, note: str) -> Panel:
            held = io.StringIO()
            figure.savefig(held, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            return Panel(heading, note, _inline(held.getvalue(), note))

        yield axes, done


def _inline(svg: str, note: str) -> str:
    """Strip a drawing down to what a page needs, in the page's colours, with words for who cannot see it."""
    svg = svg[svg.index("<svg") :]
    for part in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->"):
        svg = re.sub(part, "", svg, flags=re.DOTALL)
    # group ids repeat from drawing to drawing; those of clips and markers are salted and stay
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace("xlink:href", "href")
    for colour, variable in _CSS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = svg.replace("font-family: 'DejaVu Sans', sans-serif; ", "")
    svg = re.sub(r"(font: [^;\"]*?) 'DejaVu Sans', sans-serif", r"\1 inherit", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
    title = html.escape(printable(note))

    def head(match: re.Match[str]) -> str:
        return f'<svg {match[1]} role="img"><title>{title}</title>'

    return re.sub(r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", head, svg, count=1)
