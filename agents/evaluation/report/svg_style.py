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
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure

from ....console.printable import printable

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
PAPER_COLORS: Mapping[str, str] = {
    "ink": "#1c1d21",
    "muted": "#62656e",
    "rule": "#e2e2dd",
    "paper": "#ffffff",
    "kind-policy": "#1f5fbf",
    "kind-person": "#c2410c",
    "kind-simulated": "#1d8a6b",
    "kind-expert": "#3c3f47",
    "kind-chance": "#8a8c93",
}
"""CSS variable → what it is in files, on white."""
_WITH_FILES = ContextVar("with_files", default=False)
_WHOLE: Mapping[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.05}
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
    file: PictureFile | None = None


@dataclass(frozen=True)
class PictureFile:
    """A drawing as files, in the colours of paper: an SVG document, and a PNG of 300 dots an inch."""

    svg: bytes
    png: bytes


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
            svg = held.getvalue()
            file = _files(figure, note) if _WITH_FILES.get() else None
            return Panel(heading, note, _inline(svg, note), file)

        yield axes, done


@contextmanager
def with_files() -> Iterator[None]:
    """Make every panel that is drawn meanwhile as files too."""
    token = _WITH_FILES.set(True)
    try:
        yield
    finally:
        _WITH_FILES.reset(token)


def _files(figure: Figure, note: str) -> PictureFile:
    """Draw a figure as files; what stands beside it, such as numbers at its right, is within them."""
    held = io.StringIO()
    figure.savefig(held, format="svg", transparent=True, metadata={"Date": None, "Creator": None}, **_WHOLE)
    return PictureFile(_document(held.getvalue(), note), _png(figure))


def _document(svg: str, note: str) -> bytes:
    """Make a drawing a document of its own, in the colours of paper."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in _CSS.items():
        svg = svg.replace(colour, PAPER_COLORS[variable])
    title = html.escape(printable(note))
    return re.sub(r"<svg[^>]*>", lambda match: f"{match[0]}<title>{title}</title>", svg, count=1).encode()


def _png(figure: Figure) -> bytes:
    """Draw a figure that was drawn as SVG already once more as PNG; its artists get the colours of paper."""
    for artist in figure.findobj(include_self=False):
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            read, write = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if read is not None and write is not None:
                colour = _on_paper(read())
                if colour is not None:
                    write(colour)
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=300, facecolor="white", metadata={"Software": None}, **_WHOLE)
    return held.getvalue()


def _on_paper(colour: Any) -> Any:
    """Return what a stand-in colour (or an array of one) is on paper; None for any other colour."""
    try:
        rgba = to_rgba_array(colour)
    except (TypeError, ValueError):
        return None
    names = {to_hex(color) for color in rgba}
    variable = _CSS.get(names.pop()) if len(names) == 1 else None
    return None if variable is None else (PAPER_COLORS[variable], float(rgba[0, 3]))


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
