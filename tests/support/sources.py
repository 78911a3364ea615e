"""The package's own files, as tests that read the source want them."""

from __future__ import annotations

from pathlib import Path

import tutelage

ROOT = Path(tutelage.__file__).parent
FOLDERS = tuple(
    sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if not path.parent.name.startswith("."))
)
"""The folders at the root that are packages."""

_INSIDE = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
MODULES = sorted([*_INSIDE, *ROOT.glob("*.py")])
"""Every file of the package."""
