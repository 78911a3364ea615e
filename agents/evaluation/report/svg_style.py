"""Style of the plots: inline SVG with the page's colors and fonts.

Matplotlib draws in placeholder colors that are replaced by CSS variables, so that one plot suits print, light
and dark mode. Actors differ by color *and* by marker or dash.
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
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure

from ....console.printable import printable

INK, MUTED, RULE, PAPER = "#000001", "#000002", "#000003", "#000004"
_CSS = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"}
KINDS = {"policy": "#000011", "person": "#000012", "simulated": "#000013", "expert": "#000014"}
KINDS["chance"] = "#000015"
_CSS |= {color: f"kind-{kind}" for kind, color in KINDS.items()}
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
"""CSS variable → its color in files, on white."""
_WITH_FILES = ContextVar("with_files", default=False)
_WHOLE: Mapping[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.05}
WIDTH = 3.5  # inches; 72 SVG units each
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
    "text.parse_math": False,  # dollar signs in names are text
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Panel:
    """One plot with its heading, and a sentence as its text alternative."""

    heading: str
    note: str
    svg: Markup
    file: PictureFile | None = None


@dataclass(frozen=True)
class PictureFile:
    """A plot as files, in PAPER_COLORS: an SVG document and a PNG of 300 dpi."""

    svg: bytes
    png: bytes


@contextmanager
def panel(name: str, height: float) -> Iterator[tuple[Axes, Callable[[str, str], Panel]]]:
    """Open one figure in this style, without a display and without matplotlib's global state."""
    # the salt makes ids unique among panels of a page and reproducible between runs
    style: Any = {**_RC, "svg.hashsalt": name}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH, height))
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        figure.subplots_adjust(left=0.11, right=0.97, top=0.97, bottom=0.42 / height)

        def finish(heading: str, note: str) -> Panel:
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            svg = buffer.getvalue()
            file = _files(figure, note) if _WITH_FILES.get() else None
            return Panel(heading, note, _inline(svg, note), file)

        yield axes, finish


@contextmanager
def with_files() -> Iterator[None]:
    """Within this context, panels include their files."""
    token = _WITH_FILES.set(True)
    try:
        yield
    finally:
        _WITH_FILES.reset(token)


def _files(figure: Figure, note: str) -> PictureFile:
    """Render a figure as files; annotations beside the axes are within their bounds."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}, **_WHOLE)
    return PictureFile(_document(buffer.getvalue(), note), _png(figure))


def _document(svg: str, note: str) -> bytes:
    """Turn an SVG drawing into a standalone document in PAPER_COLORS."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for color, variable in _CSS.items():
        svg = svg.replace(color, PAPER_COLORS[variable])
    title = html.escape(printable(note))
    return re.sub(r"<svg[^>]*>", lambda match: f"{match[0]}<title>{title}</title>", svg, count=1).encode()


def _png(figure: Figure) -> bytes:
    """Render a figure as PNG after its SVG; changes the colors of its artists to PAPER_COLORS."""
    for artist in figure.findobj(include_self=False):
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            read, write = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if read is not None and write is not None:
                color = _on_paper(read())
                if color is not None:
                    write(color)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=300, facecolor="white", metadata={"Software": None}, **_WHOLE)
    return buffer.getvalue()


def _on_paper(value: Any) -> Any:
    """Return the paper color of a placeholder color (or an array of one); None for any other color."""
    try:
        rgba = to_rgba_array(value)
    except (TypeError, ValueError):
        return None
    names = {to_hex(color) for color in rgba}
    variable = _CSS.get(names.pop()) if len(names) == 1 else None
    return None if variable is None else (PAPER_COLORS[variable], float(rgba[0, 3]))


def _inline(svg: str, note: str) -> Markup:
    """Reduce an SVG drawing to what a page needs, with CSS variables and a text alternative."""
    svg = svg[svg.index("<svg") :]
    for part in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->"):
        svg = re.sub(part, "", svg, flags=re.DOTALL)
    # group ids repeat between drawings; ids of clips and markers are salted and stay
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace("xlink:href", "href")
    for color, variable in _CSS.items():
        svg = svg.replace(color, f"var(--{variable})")
    svg = svg.replace("font-family: 'DejaVu Sans', sans-serif; ", "")
    svg = re.sub(r"(font: [^;\"]*?) 'DejaVu Sans', sans-serif", r"\1 inherit", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
    title = html.escape(printable(note))

    def head(match: re.Match[str]) -> str:
        return f'<svg {match[1]} role="img"><title>{title}</title>'

    return Markup(re.sub(r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", head, svg, count=1))
