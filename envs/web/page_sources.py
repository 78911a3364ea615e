"""Locate pages: those of the package `miniwob`, or the user's own."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ...errors import TutelageError, nearest
from ...files.bounded_files import real_path
from ...foreign_code.trust import trusts_path, untrusted

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
"""Tasks whose page keeps state of the last episode; they are reloaded for each."""


@dataclass(frozen=True)
class PageSource:
    """One page: its file, the folder it may load from, its size in px, whether each episode reloads it."""

    name: str
    path: Path
    root: Path
    width: int = WIDTH
    height: int = HEIGHT
    remembers: bool = True


def find_page(task: str) -> PageSource:
    """Find a page by the name of its task, or by the path of an HTML file.

    Raises TutelageError for an unknown name and a missing package; Untrusted for a page outside the package
    and the trusted folders.
    """
    if task.endswith(".html"):
        return _page_at(task)
    folder = miniwob_folder()
    if folder is None:
        raise TutelageError(
            f"web task {task!r} needs the pages of the package miniwob: pip install 'tutelage[web]'"
        )
    if task not in (names := miniwob_tasks()):
        raise TutelageError(f"expected a task of miniwob, got {task!r}{nearest(task, names)}")
    path = real_path(folder / "miniwob" / f"{task}.html")
    return PageSource(task, path, real_path(folder), remembers=task in REMEMBERING)


def in_miniwob(path: str | Path) -> bool:
    """Return whether a file belongs to the installed package `miniwob`, after following links."""
    folder = miniwob_folder()
    try:
        return folder is not None and real_path(Path(path)).is_relative_to(real_path(folder))
    except (OSError, ValueError, RuntimeError):
        return False


@functools.cache
def miniwob_tasks() -> tuple[str, ...]:
    """Return the names of all tasks of the installed package, none without it."""
    folder = miniwob_folder()
    return () if folder is None else tuple(sorted(page.stem for page in (folder / "miniwob").glob("*.html")))


@functools.cache
def miniwob_folder() -> Path | None:
    """Return the package's folder of pages, without importing the package."""
    spec = importlib.util.find_spec("miniwob")
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))) / "html" if locations else None


def _page_at(task: str) -> PageSource:
    try:
        path = real_path(Path(task).expanduser())
        is_file = path.is_file()
    except (OSError, ValueError, RuntimeError):
        is_file = False
    if not is_file:
        raise TutelageError(f"expected a page, got {task}, which does not exist")
    folder = miniwob_folder()
    if folder is not None and in_miniwob(path):
        return PageSource(path.stem, path, real_path(folder))
    if not trusts_path(path):
        raise untrusted(f"run the page {path}", path.parent)
    return PageSource(path.stem, path, path.parent)
