"""Where the pages are: those of the package `miniwob`, or one of your own."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ..errors import TutelageError, nearest

WIDTH, HEIGHT = 160, 210
REMEMBERING = frozenset(
    (
        *(
            "book-flight",
            "book-flight-nodelay",
            "choose-date",
            "choose-date-easy",
            "choose-date-medium",
            "choose-date-nodelay",
            "click-menu",
            "copy-paste-2",
            "drag-items",
            "drag-sort-numbers",
            "form-sequence",
        ),
        *(
            "scroll-text",
            "scroll-text-2",
            "simon-says",
            "use-colorwheel",
            "use-colorwheel-2",
            "use-slider",
            "use-slider-2",
        ),
    )
)
"""Tasks whose page shows traces of the last episode; they are loaded anew for each."""


@dataclass(frozen=True)
class Page:
    """One page: its address, its size in px, and whether it must be loaded anew for every episode."""

    name: str
    url: str
    width: int = WIDTH
    height: int = HEIGHT
    remembers: bool = True


def find_page(task: str) -> Page:
    """Find a page by the name of its task, or by the path of an HTML file.

    Raises TutelageError for an unknown name, and where the package is missing.
    """
    if task.endswith(".html"):
        path = Path(task).resolve()
        if not path.is_file():
            raise TutelageError(f"expected a page, got {task}, which does not exist")
        return Page(path.stem, path.as_uri())
    folder = miniwob_folder()
    if folder is None:
        raise TutelageError(
            f"web task {task!r} needs the pages of the package miniwob: pip install 'tutelage[web]'"
        )
    if task not in (known := miniwob_tasks()):
        raise TutelageError(f"expected a task of miniwob, got {task!r}{nearest(task, known)}")
    return Page(task, (folder / "miniwob" / f"{task}.html").as_uri(), remembers=task in REMEMBERING)


@functools.cache
def miniwob_tasks() -> tuple[str, ...]:
    """Return the names of all tasks that the installed package has, none without it."""
    folder = miniwob_folder()
    return () if folder is None else tuple(sorted(one.stem for one in (folder / "miniwob").glob("*.html")))


@functools.cache
def miniwob_folder() -> Path | None:
    """Return the package's folder of pages; the package itself is never imported."""
    found = importlib.util.find_spec("miniwob")
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places))) / "html" if places else None
