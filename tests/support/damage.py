"""Damage to files: a copy of a folder to harm, and a flipped bit anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def copied(folder: Path, tmp_path: Path) -> Path:
    """Copy a folder that a test harms; examples of one test write over each other's copy."""
    return Path(shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True))


def flip_bit(path: Path, where: float = 0.5, bit: int = 0) -> None:
    """Flip a bit of the byte that lies at a share of a file's length."""
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    path.write_bytes(bytes(data))


def for_any_bit(examples: int, **more: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Run a test for examples of `where` and `bit`, as `flip_bit` takes them, and of `more`."""
    tried = settings(
        max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    drawn = given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), **more)
    return lambda test: tried(drawn(test))
