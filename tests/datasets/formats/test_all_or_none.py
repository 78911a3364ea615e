"""Imports that were killed leave a folder; the next import removes it, and never one that is underway."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tutelage.datasets.formats.all_or_none import staged_import
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from

DOCUMENT = {"suite": "lake", "tasks": [{"id": "lake", "env": "FrozenLake-v1"}]}
KILLED = f"""
import os, signal, sys
from pathlib import Path
from tutelage.datasets.formats.all_or_none import staged_import
from tutelage.envs.suite import suite_from
with staged_import(Path(sys.argv[1]), suite_from({DOCUMENT!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def staged(parent: Path) -> list[Path]:
    return list(parent.glob(".import-*"))


@pytest.mark.parametrize("is_there", [True, False])
def test_what_a_killed_import_left_goes_with_the_next_one(tmp_path: Path, is_there: bool) -> None:
    out, suite = tmp_path / "store", suite_from(DOCUMENT)
    parent = out if is_there else tmp_path
    if is_there:
        Store.create(out, suite)
    done = subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    [left] = staged(parent)
    (tmp_path / ".import-mine").mkdir()
    with staged_import(out, suite):
        [first] = (path for path in staged(parent) if path.name != ".import-mine")
        assert first != left
        with staged_import(out, suite):
            assert first.is_dir()
    assert [path.name for path in staged(parent)] == ([] if is_there else [".import-mine"])
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == [
        "dataset.yaml",
        "manifest.json",
    ]
