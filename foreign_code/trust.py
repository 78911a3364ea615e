"""Trust of the user in code: folders whose pages may run, modules that may be imported.

A suite, store, checkpoint or dataset may name a page, file or module; naming it never runs it. It takes
`--trust NAME`, the environment variable TUTELAGE_TRUST (names separated by the system's path separator), or,
in a program, `trust(["pages"])`. Worker processes inherit the variable. `admission` decides what needs trust.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from ..console.printable import printable
from ..errors import TutelageError

VARIABLE = "TUTELAGE_TRUST"
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


class Untrusted(TutelageError):
    """A page, file or module would run that the user has not trusted."""


def trust(names: Iterable[str | Path]) -> None:
    """Trust folders, files and modules in this process and its children.

    Raises TutelageError for a name that is empty or contains the system's path separator.
    """
    names_trusted = [*trusted_names(), *(meaning for name in names for meaning in _meanings(str(name)))]
    if names_trusted:
        os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys(names_trusted))


def trusted_names() -> list[str]:
    """Return the trusted absolute paths and module names."""
    return [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]


def trusts_path(path: str | Path) -> bool:
    """Return whether a file or folder is trusted or lies in a trusted folder, after following links."""
    try:
        real = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):  # an invalid path
        return False
    folders = [Path(name).resolve() for name in trusted_names() if os.sep in name]
    return any(real == folder or real.is_relative_to(folder) for folder in folders)


def trusts_module(module: str) -> bool:
    """Return whether a module or one of its parent packages is trusted."""
    return any(module == name or module.startswith(f"{name}.") for name in trusted_names())


def is_installed_extension(module: str) -> bool:
    """Return whether a module belongs to an installed distribution that depends on Gymnasium or Tutelage."""
    distributions = importlib.metadata.packages_distributions().get(module.partition(".")[0], [])
    needs = [need for name in distributions for need in importlib.metadata.requires(name) or []]
    return any(re.match(r"(gymnasium|tutelage)\b", need, re.IGNORECASE) for need in needs)


def untrusted(effect: str, name: str | Path, subject: str = "") -> Untrusted:
    """Return the error for an untrusted `effect`, as in "this would ..."; `name` is what to trust for it."""
    prefix = f"{subject}: " if subject else ""
    return Untrusted(
        f"{prefix}expected nothing here to act by itself, but this would {effect}; "
        f"if you know where it comes from, say --trust {shlex.quote(printable(name))}"
    )


def _meanings(name: str) -> list[str]:
    """Return the meanings of a name: a module, an absolute path if it exists, or both for a package."""
    if not name or os.pathsep in name or "\0" in name:
        raise TutelageError(f"expected a folder or module to trust, got {name!r}, which cannot be one")
    path = Path(name)
    if not _MODULE.fullmatch(name):
        return [str(path.resolve())]
    if not path.exists():
        return [name]
    return [name, str(path.resolve())] if (path / "__init__.py").is_file() else [str(path.resolve())]
