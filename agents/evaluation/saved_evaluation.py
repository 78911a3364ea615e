"""An evaluation on disk: rows, episodes and a sealed manifest with their hashes; checked when read."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from ...console.signals import signals
from ...datasets.sealed_yaml import damaged, read_sealed, sealed
from ...datasets.store import Store
from ...datasets.trajectory import Trajectory
from ...envs.suite import Suite
from ...errors import TutelageError
from ...files.atomic_files import disk_errors, sync_folder, write_whole
from .rows import SCHEMA, failures_of, read_rows, write_rows

VERSION = 2
MANIFEST, ROWS, EPISODES = "evaluation.yaml", "rows.parquet", "episodes"
_NEW, _OLD = ".new", ".replaced"


@dataclass(frozen=True)
class SavedEvaluation:
    """Result of `read_evaluation`: rows (see `rows.SCHEMA`), the store of episodes, and the manifest."""

    rows: pa.Table
    store: Store
    manifest: Mapping[str, Any]


class NewEvaluation:
    """Writes an evaluation next to the one in a folder, and replaces that one at the end.

    Episodes, rows and a sealed manifest are on disk after each `add`. `existing` holds the episodes of an
    earlier attempt at the same evaluation (equal `identity`) that was stopped or had failures; without an
    `identity` nothing is resumed. Raises TutelageError, and leaves the old evaluation unchanged, when it
    holds people's episodes or the disk fails.
    """

    def __init__(self, out: Path, suite: Suite, identity: str = "") -> None:
        self._out, self._new = out, out / _NEW
        self._is_first = not out.exists()
        self._identity = identity
        if (out / EPISODES / "dataset.yaml").exists():
            kinds = set(Store.open(out / EPISODES).episodes()["kind"].to_pylist())
            if "person" in kinds:
                raise TutelageError(f"expected a folder without people's episodes, got {out}; choose another")
        with disk_errors(out):
            shutil.rmtree(out / _OLD, ignore_errors=True)  # left by a process killed in `finish`
            if not self._is_resumable(self._new):
                shutil.rmtree(self._new, ignore_errors=True)
                self._adopt_failed()
        self.store = Store.create(self._new / EPISODES, suite)
        self.existing = [*self.store.trajectories()]
        self._written: pa.Table = SCHEMA.empty_table()

    def __enter__(self) -> NewEvaluation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._identity or not (self._new / MANIFEST).exists():  # nothing to resume
            shutil.rmtree(self._new, ignore_errors=True)
        if self._is_first and self._out.is_dir() and not any(self._out.iterdir()):
            self._out.rmdir()

    def add(self, episodes: Sequence[Trajectory], rows: pa.Table) -> None:
        """Write episodes, and rows: those of the episodes and of failed ones."""
        if episodes:
            self.store.append(episodes)
        self._written = pa.concat_tables([self._written, rows])
        self._write(self._written, {"complete": False})

    def finish(self, rows: pa.Table, facts: Mapping[str, Any]) -> None:
        """Write all rows and the manifest, and replace the old evaluation."""
        self._write(rows, {"complete": True, **facts})
        with signals.held(), disk_errors(self._out):
            # readers require the manifest, so none can mix rows of one evaluation with episodes of another
            (self._out / MANIFEST).unlink(missing_ok=True)
            if (self._out / EPISODES).exists():
                (self._out / EPISODES).replace(self._out / _OLD)
            for name in (EPISODES, ROWS, MANIFEST):
                (self._new / name).replace(self._out / name)
            sync_folder(self._out)
        shutil.rmtree(self._out / _OLD, ignore_errors=True)
        shutil.rmtree(self._new, ignore_errors=True)

    def _write(self, rows: pa.Table, facts: Mapping[str, Any]) -> None:
        path = write_rows(self._new / ROWS, rows)
        document = {
            "version": VERSION,
            "suite": self.store.suite.name,
            "identity": self._identity,
            "rows": len(rows),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "parts": self.store.part_hashes(),
            **facts,
        }
        with disk_errors(self._out):
            write_whole(self._new / MANIFEST, sealed(document))

    def _is_resumable(self, folder: Path) -> bool:
        """Return whether a folder holds an undamaged evaluation of the same identity."""
        if not self._identity:
            return False
        try:
            manifest = read_sealed(folder / MANIFEST, VERSION, "evaluation")
            Store.open(folder / EPISODES).part_hashes()
        except (FileNotFoundError, TutelageError):  # missing or damaged: start again
            return False
        return manifest.get("identity") == self._identity

    def _adopt_failed(self) -> None:
        """Copy the evaluation in the folder as a start, if it is the same one and had failures."""
        if not self._is_resumable(self._out):
            return
        try:
            rows = read_evaluation(self._out).rows
        except TutelageError:
            return
        if not failures_of(rows):
            return
        copy = self._out / f"{_NEW}.copy"
        shutil.rmtree(copy, ignore_errors=True)
        for name in (EPISODES, ROWS, MANIFEST):
            source = self._out / name
            copy.mkdir(exist_ok=True)
            shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy2(source, copy / name)
        copy.replace(self._new)


def read_evaluation(folder: Path) -> SavedEvaluation:
    """Read an evaluation after checking every byte of it.

    Raises TutelageError naming what is missing, changed, or part of another evaluation.
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
    present = store.part_hashes()
    for name in sorted({*map(str, parts), *present}):
        if parts.get(name) != present.get(name):
            problem = "is missing" if name not in present else "is not of this evaluation"
            raise TutelageError(
                f"expected the episodes of the evaluation in {store.path}, but {name} {problem}; "
                f"copy them again, or run `tutelage evaluate` again"
            )
    return SavedEvaluation(read_rows(folder / ROWS, sha256), store, manifest)
