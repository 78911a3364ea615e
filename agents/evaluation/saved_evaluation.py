"""An evaluation on disk: rows, episodes, and a sealed manifest with the hash of each; checked when read."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from ...datasets.durable import disk_errors, sync_folder, write_whole
from ...datasets.sealed_yaml import damaged, read_sealed, sealed
from ...datasets.store import Store
from ...envs.errors import TutelageError
from ...envs.suite import Suite
from .rows import read_rows, write_rows

VERSION = 1
MANIFEST, ROWS, EPISODES = "evaluation.yaml", "rows.parquet", "episodes"
_NEW, _OLD = ".new", ".replaced"


@dataclass(frozen=True)
class SavedEvaluation:
    """What `read_evaluation` found: rows (see `rows.SCHEMA`), the store of episodes, and the manifest."""

    rows: pa.Table
    store: Store
    manifest: Mapping[str, Any]


class NewEvaluation:
    """An evaluation that is written beside the one in a folder, and takes its place when all is there.

    Raises TutelageError, and leaves the old one as it was, when people's episodes are in that one, or the
    disk refuses.
    """

    def __init__(self, out: Path, suite: Suite) -> None:
        self._out, self._new = out, out / _NEW
        self._is_first = not out.exists()
        if (out / EPISODES / "dataset.yaml").exists():
            kinds = set(Store.open(out / EPISODES).episodes()["kind"].to_pylist())
            if "person" in kinds:
                raise TutelageError(f"expected a folder without people's episodes, got {out}; choose another")
        with disk_errors(out):
            for name in (_NEW, _OLD):  # of an evaluation that was killed
                if (out / name).exists():
                    shutil.rmtree(out / name)
        self.store = Store.create(self._new / EPISODES, suite)

    def __enter__(self) -> NewEvaluation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._new, ignore_errors=True)
        if self._is_first and self._out.is_dir() and not any(self._out.iterdir()):
            self._out.rmdir()

    def finish(self, rows: pa.Table, facts: Mapping[str, Any]) -> None:
        """Write the rows and the manifest, and put everything in its place."""
        path = write_rows(self._new / ROWS, rows)
        document = {
            "version": VERSION,
            "suite": self.store.suite.name,
            "rows": len(rows),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "parts": self.store.part_hashes(),
            **facts,
        }
        with disk_errors(self._out):
            write_whole(self._new / MANIFEST, sealed(document))
            # readers require the manifest: none can mix the rows of one evaluation with episodes of another
            (self._out / MANIFEST).unlink(missing_ok=True)
            if (self._out / EPISODES).exists():
                (self._out / EPISODES).replace(self._out / _OLD)
            for name in (EPISODES, ROWS, MANIFEST):
                (self._new / name).replace(self._out / name)
            sync_folder(self._out)
        shutil.rmtree(self._out / _OLD, ignore_errors=True)


def read_evaluation(folder: Path) -> SavedEvaluation:
    """Read an evaluation after checking every byte of it.

    Raises TutelageError naming what is missing, was changed, or is not of this evaluation.
    """
    try:
        manifest = read_sealed(folder / MANIFEST, VERSION, "evaluation")
    except FileNotFoundError:
        raise TutelageError(
            f"expected an evaluation at {folder}, found no {MANIFEST} there; check the path, "
            f"or run `tutelage evaluate` (again, if it was stopped)"
        ) from None
    parts, sha256 = manifest.get("parts"), manifest.get("sha256")
    if not isinstance(parts, dict) or not isinstance(sha256, str):
        raise damaged(folder / MANIFEST)
    store = Store.open(folder / EPISODES)
    if manifest.get("suite") != store.suite.name:
        raise TutelageError(f"expected the suite of the evaluation in {store.path}, got {store.suite.name!r}")
    there = store.part_hashes()
    for name in sorted({*map(str, parts), *there}):
        if parts.get(name) != there.get(name):
            what = "is missing" if name not in there else "is not of this evaluation"
            raise TutelageError(
                f"expected the episodes of the evaluation in {store.path}, but {name} {what}; "
                f"copy them again, or run `tutelage evaluate` again"
            )
    return SavedEvaluation(read_rows(folder / ROWS, sha256), store, manifest)
