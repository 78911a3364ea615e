"""What the person at the keyboard trusts to act: folders whose pages run, modules that are imported.

A suite, store, checkpoint or dataset may name a page, file or module; naming it never runs it. `--trust NAME`
(or the environment variable TUTELAGE_TRUST, names separated by the system's path separator) does, and in a
program of one's own `trust(["pages"])`. Worker processes inherit the variable. What would act is decided in
`admission`.
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
    """A page, file or module would act that the user has not trusted."""


def trust(names: Iterable[str | Path]) -> None:
    """Trust folders, files and modules for the rest of this process and those it starts.

    Raises TutelageError for a name that is empty or holds the system's path separator.
    """
    every = [*trusted_names(), *(meant for name in names for meant in _meanings(str(name)))]
    if every:
        os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys(every))


def trusted_names() -> list[str]:
    """List what is trusted: absolute paths, and names of modules."""
    return [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]


def trusts_path(path: str | Path) -> bool:
    """Say whether a file or folder is trusted, or lies in a folder that is; links are followed first."""
    try:
        real = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):  # no such path can be
        return False
    folders = [Path(name).resolve() for name in trusted_names() if os.sep in name]
    return any(real == folder or real.is_relative_to(folder) for folder in folders)


def trusts_module(module: str) -> bool:
    """Say whether a module, or a package that it lies in, is trusted."""
    return any(module == name or module.startswith(f"{name}.") for name in trusted_names())


def is_installed_extension(module: str) -> bool:
    """Say whether a module is of an installed package that names Gymnasium or Tutelage as what it needs."""
    distributions = importlib.metadata.packages_distributions().get(module.partition(".")[0], [])
    needs = [need for name in distributions for need in importlib.metadata.requires(name) or []]
    return any(re.match(r"(gymnasium|tutelage)\b", need, re.IGNORECASE) for need in needs)


def untrusted(what: str, name: str | Path, who: str = "") -> Untrusted:
    """Return the error for something that would act: `what` would happen, `name` is what to trust for it."""
    prefix = f"{who}: " if who else ""
    return Untrusted(
        f"{prefix}expected nothing here to act by itself, but this would {what}; "
        f"if you know where it comes from, say --trust {shlex.quote(printable(name))}"
    )


def _meanings(name: str) -> list[str]:
    """Return what a name stands for: a module, an absolute path where there is one, for a package both."""
    if not name or os.pathsep in name or "\0" in name:
        raise TutelageError(f"expected a folder or module to trust, got {name!r}, which cannot be one")
    path = Path(name)
    if not _MODULE.fullmatch(name):
        return [str(path.resolve())]
    if not path.exists():
        return [name]
    return [name, str(path.resolve())] if (path / "__init__.py").is_file() else [str(path.resolve())]
