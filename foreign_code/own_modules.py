"""Remedies for a module that Python does not find: its location, and how to make Python find it.

The current folder and a suite's folder are never added to `sys.path`: they may contain untrusted modules.
"""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path

from ..console.printable import printable
from .extras import missing

_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
_suite_folders: dict[Path, None] = {}


def note_suite_folder(folder: Path) -> None:
    """Add a suite's folder to those searched by `folder_of`."""
    _suite_folders[folder.resolve()] = None


def folder_of(module: str) -> Path | None:
    """Return the folder that contains a module: the current one or a suite's; None if there is none."""
    top = module.partition(".")[0]
    if not top.isidentifier():
        return None
    return next((folder for folder in (Path.cwd(), *_suite_folders) if _holds(folder, top)), None)


def remedy_for(error: ModuleNotFoundError, imported: str = "") -> str:
    """Return how to find or install the module that `error` names; `imported` is the one being imported."""
    if extra := missing(error):
        return str(extra)
    module = (error.name or imported).partition(".")[0]
    if not _is_found(module) and (folder := folder_of(module)) is not None:
        place = shlex.quote(printable(folder))
        has_project = any((folder / name).is_file() for name in _PROJECT_FILES)
        install = "" if has_project else "write a pyproject.toml there and "
        return (
            f"{module} lies in {printable(folder)}, where Python does not look: run this with "
            f"PYTHONPATH={place}, or {install}install it: pip install -e {place}"
        )
    return (
        f"install the package that brings {printable(module)}, or run this with PYTHONPATH=FOLDER, "
        "the folder that holds its file"
    )


def _is_found(module: str) -> bool:
    """Return whether Python finds the module; then the missing one is a submodule."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _holds(folder: Path, top: str) -> bool:
    try:
        return (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()
    except OSError:
        return False
