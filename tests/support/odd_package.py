"""A package of odd environments, put where Python finds it as pip would: outside of this repository."""

from __future__ import annotations

import shutil
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "exam" / "odd_worlds"
METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\nRequires-Dist: gymnasium>=1.1\n"


def install(site: Path) -> Path:
    """Install the two packages into a folder, each as a distribution of its own; returns the folder."""
    for package, name, version in (("odd_worlds", "odd-worlds", "1.0"), ("odd_engine", "odd-engine", "0.3")):
        shutil.copytree(SOURCE / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
        set_version(site, package, name, version)
    return site


def set_version(site: Path, package: str, name: str, version: str) -> None:
    """Say that this version of a distribution is installed, and no other."""
    for old in site.glob(f"{package}-*.dist-info"):
        shutil.rmtree(old)
    folder = site / f"{package}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA.format(name, version))
    (folder / "top_level.txt").write_text(f"{package}\n")
