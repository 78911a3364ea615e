"""An evaluation on disk: rows, episodes, and a sealed manifest with the hash of each; checked when read."""

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
    """What `read_evaluation` found: rows (see `rows.SCHEMA`), the store of episodes, and the manifest."""

    rows: pa.Table
    store: Store
    manifest: Mapping[str, Any]


class NewEvaluation:
    """An evaluation that is written beside the one in a folder, and takes its place when it has ended.

    What is there is on disk after each `add`: episodes, rows and a manifest, sealed as those of an evaluation
    that has ended. `there` holds the episodes that an earlier try of the very same evaluation (equal
    `identity`) left: one that was stopped, or has ended with failures. Without an `identity` nothing is gone
    on with. Raises TutelageError, and leaves the old one as it was, when people's episodes are in that one,
    or the disk refuses.
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
            shutil.rmtree(out / _OLD, ignore_errors=True)  # of an evaluation that was killed at its very end
            if not self._goes_on(self._new):
                shutil.rmtree(self._new, ignore_errors=True)
                self._take_over()
        self.store = Store.create(self._new / EPISODES, suite)
        self.there = [*self.store.trajectories()]
        self._written: pa.Table = SCHEMA.empty_table()

    def __enter__(self) -> NewEvaluation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._identity or not (self._new / MANIFEST).exists():  # nothing that could be gone on with
            shutil.rmtree(self._new, ignore_errors=True)
        if self._is_first and self._out.is_dir() and not any(self._out.iterdir()):
            self._out.rmdir()

    def add(self, episodes: Sequence[Trajectory], rows: pa.Table) -> None:
        """Write episodes and rows down: those of the episodes, and of what could not be played."""
        if episodes:
            self.store.append(episodes)
        self._written = pa.concat_tables([self._written, rows])
        self._write(self._written, {"complete": False})

    def finish(self, rows: pa.Table, facts: Mapping[str, Any]) -> None:
        """Write all rows and the manifest, and put everything in its place."""
        self._write(rows, {"complete": True, **facts})
        with signals.held(), disk_errors(self._out):
            # readers require the manifest: none can mix the rows of one evaluation with episodes of another
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

    def _goes_on(self, folder: Path) -> bool:
        """Say whether a folder holds this very evaluation, begun and not ended."""
        if not self._identity:
            return False
        try:
            manifest = read_sealed(folder / MANIFEST, VERSION, "evaluation")
            Store.open(folder / EPISODES).part_hashes()
        except (FileNotFoundError, TutelageError):  # damaged: it is done again
            return False
        return manifest.get("identity") == self._identity

    def _take_over(self) -> None:
        """Go on from the evaluation in the folder, if it is this very one and ended with failures."""
        if not self._goes_on(self._out):
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
            here = self._out / name
            copy.mkdir(exist_ok=True)
            shutil.copytree(here, copy / name) if here.is_dir() else shutil.copy2(here, copy / name)
        copy.replace(self._new)


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
