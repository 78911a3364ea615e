"""Suites that installed packages bring: entry points of the group `tutelage.suites`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import TutelageError, brief
from ...files.bounded_files import read_yaml
from ...foreign_code.objects import SUITES, ObjectSpec, entry_point, entry_points, foreign_errors
from ...foreign_code.trust import trust
from .model_files import with_model_files


def installed_suites() -> list[str]:
    """List the names of the suites that installed packages bring; imports nothing."""
    return sorted(entry_points(SUITES))


def package_of(name: str) -> str:
    """Return the name of the distribution that brings a suite."""
    distribution = entry_point(SUITES, name).dist
    return distribution.name if distribution is not None else "unknown"


def installed_document(name: str) -> tuple[Any, str]:
    """Return the document of an installed suite, and where it is from.

    The entry point is the path of a YAML file, a document, or a function without arguments that returns one
    of these. Its package is trusted. Raises TutelageError for anything else.
    """
    where = f"suite {name}"
    point = entry_point(SUITES, name)
    trust([point.module.partition(".")[0]])
    held = ObjectSpec(name).load(SUITES, where)
    if callable(held) and not isinstance(held, os.PathLike):
        with foreign_errors(f"{where}: expected {point.value} to return a suite, got "):
            held = held()
    if isinstance(held, Mapping):
        return dict(held), where
    if not isinstance(held, str | os.PathLike):
        raise TutelageError(
            f"{where}: expected {point.value} to be the path of a YAML file, a document, or a function that "
            f"returns one of these, got {brief(held)}"
        )
    path = Path(held)
    try:
        return with_model_files(read_yaml(path), path.parent), where
    except FileNotFoundError:
        raise TutelageError(
            f"{where}: expected its file at {path}, found none; reinstall its package"
        ) from None
