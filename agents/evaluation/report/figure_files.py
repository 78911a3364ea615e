"""Write every plot of a report as SVG and PNG files for papers, in colors for a white page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ....errors import TutelageError
from ....files.atomic_files import disk_errors, write_whole
from ..comparison import Comparison
from . import plots
from .sections import training_panels
from .svg_style import Panel, with_files

Runs = Mapping[str, tuple[plots.Series, plots.Series]]


def write_figures(
    folder: Path,
    comparison: Comparison,
    limits: Mapping[str, int],
    runs: Runs,
    self_imitation: Mapping[str, plots.Series],
) -> list[Path]:
    """Write `SECTION-HEADING.svg` and `.png` for every plot, each atomically; returns their paths.

    `limits` are step limits by task; `runs` and `self_imitation` are those of `sections.training`. Files of
    the same names are replaced, others stay.
    """
    written: list[Path] = []
    with with_files(), disk_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise TutelageError(f"expected a folder for figures at {folder}, got a file; name another place")
        folder.mkdir(parents=True, exist_ok=True)
        for name, panel in _named(comparison, limits, runs, self_imitation):
            assert panel.file is not None
            for ending, data in (("svg", panel.file.svg), ("png", panel.file.png)):
                path = folder / f"{name}.{ending}"
                write_whole(path, data)
                written.append(path)
    return written


def file_name(text: str) -> str:
    """Return a file name without special characters: only letters, digits and `._-`."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:80] or "figure"


def _named(
    comparison: Comparison,
    limits: Mapping[str, int],
    runs: Runs,
    self_imitation: Mapping[str, plots.Series],
) -> Iterator[tuple[str, Panel]]:
    """Yield every plot with its file name; names are unique regardless of case."""
    sections = {
        "success": plots.forest(comparison),
        "time": plots.curves(comparison, limits),
        "people": plots.effort(comparison),
        "training": training_panels(runs, self_imitation),
    }
    names: set[str] = set()
    for section, panels in sections.items():
        for panel in panels:
            stem = name = f"{section}-{file_name(panel.heading)}"
            number = 1
            while name.lower() in names:
                number += 1
                name = f"{stem}-{number}"
            names.add(name.lower())
            yield name, panel
