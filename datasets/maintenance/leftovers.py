"""Classify part files that the manifest does not list, and recover from interrupted writes."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...envs.suite import Suite
from ...errors import TutelageError
from ..manifest import PART, Manifest, PartEntry, hash_file, part_files, revision, stale_files, stem
from ..parquet.bounded_parquet import read_columns
from ..schema import VERSION


class LeftoverKind(enum.Enum):
    """Kind of a part file outside of the manifest."""

    PENDING = "an append was interrupted after this part and before the manifest"
    SUPERSEDED = "a newer revision of this part is in the manifest, or it was removed"
    UNFINISHED = "a removal was interrupted before the manifest"
    RENAMED = "it is a part of the manifest under another name"
    FOREIGN = "it is not of this store, or damaged, or its episodes are here already"


@dataclass(frozen=True)
class Leftover:
    """One part file outside of the manifest; `entry` is its manifest entry (when PENDING)."""

    name: str
    kind: LeftoverKind
    entry: PartEntry | None = None


def leftovers(folder: Path, manifest: Manifest, suite: Suite) -> list[Leftover]:
    """Classify the part files that the manifest does not list, newer revisions of a part first."""
    return list(LeftoverClassifier(folder, manifest, suite).leftovers())


def settle(folder: Path, manifest: Manifest, suite: Suite) -> Manifest:
    """Complete interrupted appends, remove leftovers of interrupted removals; return the new manifest.

    The caller holds the lock. Foreign files stay, for `tutelage repair`.
    """
    # crash leftovers are few; the manifest is written after each addition
    for leftover in leftovers(folder, manifest, suite):
        if leftover.kind is LeftoverKind.PENDING and leftover.entry is not None:
            manifest = manifest.changed({leftover.name: leftover.entry})
            manifest.write(folder)
        elif leftover.kind in (LeftoverKind.SUPERSEDED, LeftoverKind.UNFINISHED):
            (folder / leftover.name).unlink()
    return manifest


def part_entry(path: Path) -> PartEntry:
    """Return the manifest entry of a part; raises TutelageError unless its name and rows are valid."""
    digest = hash_file(path)
    match = PART.fullmatch(path.name)
    if match is None or match["hash"] != digest[:16]:
        raise TutelageError(
            f"expected part {path.name} to have the content its name promises, got {digest[:16]}…"
        )
    try:
        metadata = pq.read_metadata(path)
        version = (metadata.schema.to_arrow_schema().metadata or {}).get(b"tutelage.schema")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise TutelageError(f"expected part {path.name} to be Parquet, got: {error}") from None
    if version != str(VERSION).encode():
        raise TutelageError(f"expected schema {VERSION} in part {path.name}, got another; update")
    return PartEntry(digest, path.stat().st_size, metadata.num_rows)


def episode_ids(path: Path) -> list[str]:
    """List the episode ids of a valid part."""
    return list(read_columns(path, ["episode"])["episode"].to_pylist())


class LeftoverClassifier:
    """Classify part files outside of a manifest; earlier files of kind PENDING count as listed."""

    def __init__(self, folder: Path, manifest: Manifest, suite: Suite) -> None:
        self._folder, self._manifest, self._suite = folder, manifest, suite
        self._listed = {stem(name): name for name in manifest.parts}
        self._hashes = {entry.sha256 for entry in manifest.parts.values()}
        self._ids: set[str] | None = None

    def leftovers(self) -> Iterator[Leftover]:
        """Yield the classified files one by one."""
        stale = stale_files(self._folder, self._manifest)
        extra = part_files(self._folder).keys() - self._manifest.parts.keys() - stale
        for name in sorted(extra, key=lambda name: (stem(name), -revision(name), name)):
            leftover = self._classify(name)
            if leftover.kind is LeftoverKind.PENDING and leftover.entry is not None:
                self._manifest = self._manifest.changed({name: leftover.entry})
                self._listed[stem(name)] = name
                self._hashes.add(leftover.entry.sha256)
            yield leftover

    def _classify(self, name: str) -> Leftover:
        path, sibling = self._folder / name, self._listed.get(stem(name))
        if PART.fullmatch(name) is None or path.is_symlink() or not path.is_file():
            return Leftover(name, _foreign_or_renamed(self._folder, name, self._manifest))
        if stem(name) in self._manifest.removed:
            return Leftover(name, LeftoverKind.SUPERSEDED)
        if sibling is not None:
            return Leftover(name, _revision_kind(self._folder, name, sibling, self._manifest))
        try:
            entry = part_entry(path)
            ids = set(episode_ids(path))
        except (TutelageError, OSError, ValueError, pa.ArrowException):
            return Leftover(name, _foreign_or_renamed(self._folder, name, self._manifest))
        if entry.sha256 in self._hashes:
            return Leftover(name, _foreign_or_renamed(self._folder, name, self._manifest))
        if ids & self._present_ids() or not _matches_suite(path, self._suite) or len(ids) != entry.episodes:
            return Leftover(name, LeftoverKind.FOREIGN)
        self._present_ids().update(ids)
        return Leftover(name, LeftoverKind.PENDING, entry)

    def _present_ids(self) -> set[str]:
        """Return the episode ids of the intact listed parts; read on the first call."""
        if self._ids is None:
            self._ids = set()
            for name, entry in self._manifest.parts.items():
                path = self._folder / name
                if path.is_file() and hash_file(path) == entry.sha256:
                    self._ids.update(episode_ids(path))
        return self._ids


def _revision_kind(folder: Path, name: str, sibling: str, manifest: Manifest) -> LeftoverKind:
    """Classify a file whose stem is that of a listed part: older or newer revision, or another file."""
    listed = folder / sibling
    is_listed_sound = listed.is_file() and hash_file(listed) == manifest.parts[sibling].sha256
    if is_listed_sound and revision(name) < revision(sibling):
        return LeftoverKind.SUPERSEDED
    if is_listed_sound and revision(name) > revision(sibling):
        try:
            part_entry(folder / name)
            subset = set(episode_ids(folder / name)) <= set(episode_ids(listed))
        except (TutelageError, OSError, ValueError, pa.ArrowException):
            return LeftoverKind.FOREIGN
        return LeftoverKind.UNFINISHED if subset else LeftoverKind.FOREIGN
    return _foreign_or_renamed(folder, name, manifest)


def _foreign_or_renamed(folder: Path, name: str, manifest: Manifest) -> LeftoverKind:
    """Return RENAMED if a file has the content of a missing or damaged listed part, else FOREIGN."""
    try:
        digest = hash_file(folder / name)
    except TutelageError:
        return LeftoverKind.FOREIGN
    for listed_name, entry in manifest.parts.items():
        path = folder / listed_name
        if entry.sha256 == digest and not (path.is_file() and hash_file(path) == digest):
            return LeftoverKind.RENAMED
    return LeftoverKind.FOREIGN


def _matches_suite(path: Path, suite: Suite) -> bool:
    """Return whether all rows of a part belong to tasks of this suite."""
    rows = read_columns(path, ["suite", "task", "env"])
    envs = {task.id: task.env for task in suite}
    tasks = {(row["suite"], row["task"], row["env"]) for row in rows.to_pylist()}
    return all(name == suite.name and envs.get(task) == env for name, task, env in tasks)
