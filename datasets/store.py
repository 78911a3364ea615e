"""The store: a folder of immutable Parquet parts, `dataset.yaml` with the suite, and a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..console.wording import counted
from ..envs.admission import admit
from ..envs.suite import Suite, suite_from
from ..envs.task import SeedRange
from ..errors import TutelageError, brief
from ..files.atomic_files import disk_errors, sync_folder, write_whole
from ..files.bounded_files import Limits, too_large
from ..foreign_code.trust import Untrusted
from .arrays.array_cache import COLUMNS, remove_columns
from .arrays.array_profile import ArrayProfile
from .editing.annotations import Annotations, read_annotations, sweep_annotations, write_annotations
from .editing.edit_log import finish_pending, forget_in_edits
from .maintenance.leftovers import episode_ids, settle
from .manifest import (
    DAMAGED,
    DOCUMENT,
    MANIFEST,
    Manifest,
    PartEntry,
    check_document,
    check_parts,
    differences,
    hash_file,
    read_document,
    revision,
    stem,
)
from .parquet.bounded_parquet import BoundedParquet
from .pending import EDITS, PENDING, read_pending
from .replay import Environments
from .schema import SCHEMA, SUMMARY, VERSION, check_summary, from_batch, seal, to_table
from .store_lock import reading, writing
from .store_suite import begin, check_belongs, other_suite
from .trajectory import Trajectory
from .verification import check_episodes
from .workers.parallel import spread

Value = TypeVar("Value")
Progress = Callable[[int], None]
"""Is told how many episodes have just been done."""


class Store:
    """Demonstrations on disk: the manifest says which parts there are. Several processes may append at once.

    Listing the parts compares the folder with the manifest, and reading a part hashes it first: a missing,
    foreign, doubled or damaged part raises TutelageError that names it. What is read at once is of one
    manifest, also where another process removes episodes meanwhile.
    """

    def __init__(self, path: Path, suite: Suite) -> None:
        self.path = path
        self.suite = suite
        self._sound: dict[str, str] = {}  # part name → SHA-256 of parts that were checked
        self._counted: set[str] = set()  # names of parts that have as many episodes as the manifest says
        self._unique: Manifest | None = None  # whose parts were found to share no episode
        self._latest: tuple[tuple[int, int, int], Manifest] | None = None  # as read, and from which file

    @classmethod
    def create(cls, path: str | Path, suite: Suite) -> Self:
        """Make a store for a suite, or open the one that is there, finishing what a crash interrupted.

        Raises TutelageError when that one holds another suite or is not sound, or the disk refuses.
        """
        path = Path(path)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            with writing(path):
                if not (path / DOCUMENT).exists():
                    begin(path, suite)
                store = cls._open(path, is_locked=True)
                if store.suite.source != suite.source:
                    raise TutelageError(other_suite(path, store.suite, suite))
                store.settled()
        return store

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a store; raises TutelageError when there is none, or suite or manifest are not as written."""
        return cls._open(Path(path), is_locked=False)

    @classmethod
    def _open(cls, path: Path, is_locked: bool) -> Self:
        data = read_document(path)
        source = check_document(data, path)
        if Manifest.read(path).document.encode() != data:
            source = check_document(_edited_document(path, is_locked), path)
        return cls(path, suite_from(source, f"{path}/{DOCUMENT}"))

    def append(self, trajectories: Sequence[Trajectory]) -> Path:
        """Add episodes as one immutable part, on disk when this returns; gives the part's path.

        Raises TutelageError for an episode of another suite, and for a full disk: then nothing was
        added and nothing that was there is touched.
        """
        if not trajectories:
            raise TutelageError("expected at least one trajectory to append, got none")
        for trajectory in trajectories:
            check_belongs(self.path, self.suite, trajectory)
        return self._add(to_table(trajectories))

    def append_rows(self, rows: pa.Table) -> int:
        """Add episodes that are rows of SCHEMA already, as `append` does; returns how many."""
        if len(rows):
            self._add(rows)
        return len(rows)

    def _add(self, rows: pa.Table) -> Path:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}"
        data = seal(rows)
        with disk_errors(self.path), writing(self.path):
            before = self.manifest()
            manifest = self.settled()
            for adopted in sorted(manifest.parts.keys() - before.parts.keys()):
                # an earlier try of this very append may have come as far as its part
                theirs = pc.is_in(rows["episode"], pa.array(episode_ids(self.path / adopted), pa.string()))
                if pc.all(theirs).as_py():
                    return self.path / adopted
                rows = rows.filter(pc.invert(theirs))
                data = seal(rows)
            part, entry = self.write_part(name, 0, data, len(rows))
            try:
                manifest.changed({part.name: entry}).write(self.path)
            except OSError:
                part.unlink(missing_ok=True)
                raise
            return part

    def parts(self) -> list[Path]:
        """List the parts, oldest first; raises TutelageError when the folder holds other ones."""
        return [self.path / name for name in sorted(self._checked().parts)]

    def part_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of every part by name; raises TutelageError naming a damaged one."""
        return self._of_one_manifest(
            lambda manifest: {name: self._check_sound(name) for name in sorted(manifest.parts)}
        )

    def differences(self) -> list[str]:
        """Say which part files are missing, cut short or foreign, one line each, without reading any."""
        with reading(self.path):
            return differences(self.path, self.manifest())

    def sound_parts(self) -> list[Path]:
        """List the parts that can be read, leaving out missing and damaged ones; `verify` names those."""
        sound = []
        for name in sorted(self.manifest().parts):
            with contextlib.suppress(TutelageError):
                self._file(self.path / name)
                sound.append(self.path / name)
        return sound

    def listed(self) -> dict[str, int]:
        """Return how many episodes each part should hold, by name, whether or not it is there."""
        parts = self.manifest().parts
        return {name: parts[name].episodes for name in sorted(parts)}

    def episodes(self, parts: Sequence[Path] | None = None) -> pa.Table:
        """Return one row an episode (of some parts), without the lists: the columns of `schema.SUMMARY`."""
        if parts is None:
            return self._of_one_manifest(lambda manifest: self.episodes(self._paths(manifest)))
        limit, total = Limits.current().expanded_bytes, 0
        tables = [SUMMARY.empty_table()]
        for part in parts:
            tables.append(check_summary(self._file(part).read(SUMMARY.names)))
            total += tables[-1].nbytes
            if total > limit:
                raise too_large(self.path, "bytes in the summaries of its episodes", limit)
        return pa.concat_tables(tables)

    def __len__(self) -> int:
        return self._of_one_manifest(
            lambda manifest: sum(entry.episodes for entry in manifest.parts.values())
        )

    def trajectories(
        self,
        task: str | None = None,
        kinds: Sequence[str] | None = None,
        demonstrators: Sequence[str] | None = None,
        seeds: SeedRange | None = None,
    ) -> Iterator[Trajectory]:
        """Read episodes in the order they were added, one row group in memory at a time."""
        for part in self._unique_parts():
            file = self._file(part)
            for group in range(file.num_row_groups):
                table = self._summary(part, file, group)
                chosen = select(table, task and [task], kinds, demonstrators, seeds)
                if chosen:
                    yield from self._rows(part, file, group, chosen)

    def annotations(self, *, is_locked: bool = False) -> Annotations:
        """Read the notes, tags and marks on episodes; raises TutelageError when they are missing or damaged.

        A caller that holds the store's lock says so.
        """
        try:
            return read_annotations(self.path, self.manifest())
        except FileNotFoundError:
            pass
        # or a writer has put others in their place meanwhile
        with contextlib.nullcontext() if is_locked else reading(self.path):
            manifest = self.manifest()
            try:
                return read_annotations(self.path, manifest)
            except FileNotFoundError:
                raise TutelageError(
                    f"expected the annotations that the manifest of {self.path} names, found none; "
                    f"mend it with `tutelage repair {self.path}`"
                ) from None

    def taken_ids(self) -> set[str]:
        """Return the ids of the episodes here, and of those that were deleted on purpose.

        None of them is appended by a recorder (again), whatever its journal still says. Raises TutelageError
        where parts or annotations are damaged.
        """
        held = self.episodes()["episode"].to_pylist()  # first: what is deleted meanwhile is in one of the two
        return {*held, *self.annotations().deleted}

    def verify(
        self,
        progress: Progress | None = None,
        *,
        workers: int = 1,
        replayed: bool = True,
        profile: ArrayProfile | None = None,
    ) -> list[str]:
        """List what is wrong: damaged parts, rows that contradict themselves, episodes that no longer replay.

        Problems come in the order of the parts; an empty list means that all is well. `replayed=False` leaves
        the replay out. The observations of episodes that replay are added to `profile`.
        """
        problems, units = self._sound_units()
        try:
            self.annotations()
        except TutelageError as error:
            problems.append(str(error))
        if replayed and units:
            self.admit_played(replayed=True)
        check = partial(check_group, self.path, replayed, profile is not None)
        for (wrong, part_profile), (_, _, count) in zip(spread(check, units, workers), units, strict=True):
            problems += wrong
            if profile is not None:
                profile.join(part_profile)
            if progress:
                progress(count)
        return problems + self._repeated(units)

    def admit_played(self, replayed: bool = False) -> None:
        """Raise Untrusted where making the environments of the episodes here would run untrusted code.

        With `replayed`, only tasks are asked about whose episodes hold no observations. See `envs.admission`.
        """
        rows = self.episodes(self.sound_parts())
        pairs = zip(rows["task"].to_pylist(), rows["stored"].to_pylist(), strict=True)
        played = {task for task, is_stored in pairs if not (replayed and is_stored)}
        for task in self.suite:
            if task.id in played:
                admit(task)

    def _sound_units(self) -> tuple[list[str], list[tuple[str, int, int]]]:
        """Check every part's bytes; return the problems, and (part, row group, rows) of what is sound."""
        problems = self.differences()
        units: list[tuple[str, int, int]] = []
        for part in self.listed():
            if any(part in problem for problem in problems):
                continue
            try:
                units += [(part, group, rows) for group, rows in enumerate(self.group_sizes(part))]
            except (TutelageError, OSError) as error:
                problems.append(str(error))
        return problems, units

    def _repeated(self, units: list[tuple[str, int, int]]) -> list[str]:
        """Name episodes that are there more than once: a part copied back beside its newer revision."""
        first_part: dict[str, str] = {}
        problems = []
        for part in dict.fromkeys(part for part, _, _ in units):
            for episode in self.episode_ids(part):
                if episode in first_part:
                    problems.append(
                        f"part {part}: episode {episode}: expected it once, found it in "
                        f"{first_part[episode]} too"
                    )
                first_part[episode] = part
        return problems

    def forget(self, demonstrator: str) -> int:
        """Remove every episode of a demonstrator from every part, and prove it; returns how many rows went.

        Each part changes at once or not at all; after an interruption, call it again. What was computed from
        the parts (training columns, wherever they were cached) and what undoes edits of these episodes is
        removed too.
        """
        removed = 0
        if (self.path / EDITS).exists():
            with disk_errors(self.path), writing(self.path):
                self.settled()
                held = self.episodes()
                episodes = held.filter(pc.equal(held["demonstrator"], demonstrator))["episode"].to_pylist()
                removed = forget_in_edits(self.path, demonstrator, episodes)
        removed += self.remove("demonstrator", [demonstrator], words=[demonstrator])
        shutil.rmtree(self.path / DAMAGED, ignore_errors=True)  # who is in there cannot be known
        left = sum(name == demonstrator for name in self.episodes()["demonstrator"].to_pylist())
        if left or (self.path / COLUMNS).exists():
            raise TutelageError(
                f"expected no episode of {demonstrator!r} in {self.path}, got {left}; try again"
            )
        return removed

    def take_back(self, episodes: Sequence[str]) -> int:
        """Remove episodes that another store holds; returns how many were here."""
        return self.remove("episode", episodes) if episodes else 0

    def remove(self, column: str, values: Sequence[str], words: Sequence[str] = ()) -> int:
        """Remove rows whose `column` is one of the values, and what was computed from them; returns how many.

        It happens at one moment: new revisions of parts are written first, then the manifest, which is the
        moment of change, and the old parts go last; after a crash, all of it has happened or nothing.
        Annotations of these episodes go too, and the notes and tags of others in which one of the `words`
        stands.
        """
        folder = self.path
        with disk_errors(folder), writing(folder):
            manifest = self.settled()
            added: dict[str, PartEntry] = {}
            removed: dict[str, int] = {}
            gone: set[str] = set()
            for part in self.parts():
                table = self.part_rows(part)
                theirs = pc.is_in(table[column], pa.array(list(values), pa.string()))
                if count := int(pc.sum(theirs).as_py() or 0):
                    removed[part.name] = count
                    gone.update(table.filter(theirs)["episode"].to_pylist())
                if 0 < count < len(table):
                    kept = table.filter(pc.invert(theirs))
                    number = revision(part.name) + 1
                    path, entry = self.write_part(stem(part.name), number, seal(kept), len(kept))
                    added[path.name] = entry
            before = self.annotations(is_locked=True)
            after = before.without(gone, words)
            changed = manifest.changed(added, frozenset(removed))
            if after != before:
                changed = replace(changed, annotations=write_annotations(folder, after))
            if changed != manifest:
                changed.write(folder)
            sweep_annotations(folder, changed)
            for stale in (*(folder / name for name in removed), *folder.glob(".*.tmp")):
                stale.unlink()
            remove_columns(folder)
            sync_folder(folder)
        return sum(removed.values())

    def read_rows(self, part: str, group: int, rows: Sequence[int] | None = None) -> Iterator[Trajectory]:
        """Read episodes of one row group of a part: those of `rows`, or all."""
        path = self.path / part
        return self._rows(path, self._file(path), group, rows)

    def groups(self) -> Iterator[tuple[str, int, pa.Table]]:
        """List (part name, row group, its SUMMARY rows): the units that workers read."""
        for part in self._unique_parts():
            file = self._file(part)
            for group in range(file.num_row_groups):
                yield part.name, group, self._summary(part, file, group)

    def group_sizes(self, part: str) -> list[int]:
        """Return the number of episodes in each row group of a part: the units that workers read."""
        metadata = self._file(self.path / part).metadata
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def part_rows(self, part: Path) -> pa.Table:
        """Read all rows of a part."""
        return self._file(part).read()

    def episode_ids(self, part: str) -> list[str]:
        """List the episodes of a part in order."""
        return list(self._file(self.path / part).read(["episode"])["episode"].to_pylist())

    def _summary(self, part: Path, file: BoundedParquet, group: int) -> pa.Table:
        """Read the SUMMARY rows of a row group; their steps are those that the lists have."""
        with self._listed(part):
            table = check_summary(file.read_row_group(group, SUMMARY.names))
        steps = table["steps"].to_numpy()
        if (steps < 1).any() or int(steps.sum(dtype=np.int64)) != file.values("rewards", group):
            raise TutelageError(
                f"expected part {part.name} of {self.path} to have a reward a step, got another number"
            )
        return table

    def _rows(
        self, part: Path, file: BoundedParquet, group: int, chosen: Sequence[int] | None
    ) -> Iterator[Trajectory]:
        with self._listed(part):
            table = file.read_row_group(group)
        if chosen is not None and len(chosen) < len(table):
            table = table.take(chosen)
        for batch in table.combine_chunks().to_batches():
            try:
                yield from from_batch(batch)
            except (ValueError, KeyError, TypeError) as error:
                raise TutelageError(f"part {part.name} of {self.path}: {error}") from error

    @contextlib.contextmanager
    def _listed(self, part: Path) -> Iterator[None]:
        """Say of an error in reading a part that a writer has replaced or removed it, where that is so."""
        try:
            yield
        except (TutelageError, OSError):
            if part.name in self.manifest().parts:
                raise
            raise TutelageError(
                f"expected a part that the manifest of {self.path} lists, got {part.name}: it was replaced "
                "or removed while it was read; try again"
            ) from None

    def _file(self, part: Path) -> BoundedParquet:
        with self._listed(part):
            return self._checked_file(part)

    def _checked_file(self, part: Path) -> BoundedParquet:
        self._check_sound(part.name)
        file = BoundedParquet(part, f"part {part.name} of {self.path}")
        got = (file.schema_arrow.metadata or {}).get(b"tutelage.schema", b"none").decode("ascii", "replace")
        if got != str(VERSION):
            raise TutelageError(
                f"expected schema {VERSION} in part {part.name} of {self.path}, got {brief(got)}: it was "
                "written by another release; read it with that one"
            )
        file.expect(SCHEMA)
        self._check_count(part, file)
        return file

    def _check_count(self, part: Path, file: BoundedParquet) -> None:
        if part.name in self._counted:
            return
        entry, rows = self.manifest().parts.get(part.name), file.metadata.num_rows
        if entry is not None and entry.episodes != rows:
            raise TutelageError(
                f"expected part {part.name} of {self.path} to have "
                f"{counted(entry.episodes, 'episode')}, as its "
                f"manifest says, got {rows}; mend it with `tutelage repair {self.path}`"
            )
        self._counted.add(part.name)

    def _check_sound(self, name: str) -> str:
        if (checked := self._sound.get(name)) is not None:
            return checked
        entry = self.manifest().parts.get(name)
        if entry is None:
            raise TutelageError(f"expected a part that the manifest of {self.path} lists, got {name}")
        digest = hash_file(self.path / name)
        if digest != entry.sha256 or not digest.startswith(Path(name).stem.rpartition("-")[2]):
            raise TutelageError(
                f"expected part {name} of {self.path} to have the content that was written, got "
                f"SHA-256 {digest[:16]}…: it is damaged; mend it with `tutelage repair {self.path}`"
            )
        self._sound[name] = digest
        return digest

    def _unique_parts(self) -> list[Path]:
        """List the parts; raises TutelageError when two of them share an episode."""
        return self._of_one_manifest(self._paths)

    def _paths(self, manifest: Manifest) -> list[Path]:
        return [self.path / name for name in sorted(manifest.parts)]

    def _of_one_manifest(self, read: Callable[[Manifest], Value]) -> Value:
        """Read all parts of a manifest; again under the shared lock, if a writer replaced some meanwhile."""
        before = self.manifest()
        try:
            return read(self._unique_manifest())
        except (TutelageError, OSError):
            if self.manifest() == before:
                raise
        with reading(self.path):
            return read(self._unique_manifest())

    def _checked(self) -> Manifest:
        """Return a manifest that the folder agrees with; raises TutelageError when there is none."""
        manifest = self.manifest()
        if differences(self.path, manifest):
            with reading(self.path):  # or a writer is between a part and the manifest now
                manifest = self.manifest()
                check_parts(self.path, manifest)
        return manifest

    def _unique_manifest(self) -> Manifest:
        """Return a manifest that the folder agrees with, and whose parts share no episode."""
        manifest = self._checked()
        if manifest is self._unique:
            return manifest
        columns = [self._file(self.path / name).read(["episode"])["episode"] for name in manifest.parts]
        ids = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
        if len(ids) != pc.count_distinct(ids).as_py():
            counts = pc.value_counts(ids)
            twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
            raise TutelageError(
                f"expected every episode of {self.path} once, got {twice[0]} more than once "
                f"({counted(len(twice), 'such episode')}); mend it with `tutelage repair {self.path}`"
            )
        self._unique = manifest
        return manifest

    def manifest(self) -> Manifest:
        """Return the manifest as it is on disk now, read again only when its file is another."""
        try:
            status = os.stat(self.path / MANIFEST)
            mark = status.st_ino, status.st_mtime_ns, status.st_size
        except OSError:
            return Manifest.read(self.path)  # which says what is wrong
        if self._latest is None or self._latest[0] != mark:
            self._latest = mark, Manifest.read(self.path)
        return self._latest[1]

    def settled(self) -> Manifest:
        """Finish what a crash interrupted, and see that nothing else is wrong. The caller holds the lock."""
        manifest = self.manifest()
        if (self.path / PENDING).exists():
            finish_pending(self.path, manifest)
        if differences(self.path, manifest):
            manifest = settle(self.path, manifest, self.suite)
            check_parts(self.path, manifest)
        return manifest

    def write_part(self, name: str, number: int, data: bytes, rows: int) -> tuple[Path, PartEntry]:
        """Write a part that the manifest does not list yet; the caller holds the lock, and lists it."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.path / f"part-{name}-r{number}-{digest[:16]}.parquet"
        write_whole(path, data)
        self._sound[path.name] = digest
        return path, PartEntry(digest, len(data), rows)


def _edited_document(path: Path, is_locked: bool) -> bytes:
    """Return the `dataset.yaml` that the manifest has, where an edit is between the two.

    Raises TutelageError where no edit explains the difference.
    """
    with contextlib.nullcontext() if is_locked else reading(path):  # a writer at work finishes first
        manifest, data = Manifest.read(path), read_document(path)
        pending = read_pending(path)
        if manifest.document.encode() == data or (pending and pending.has_happened(manifest.encode())):
            return manifest.document.encode()
    raise TutelageError(
        f"expected {path / DOCUMENT} to be the one that {MANIFEST} was written with, got another; "
        f"list what is wrong and mend it with `tutelage repair {path}`"
    )


def check_group(
    path: Path, replayed: bool, profiled: bool, unit: tuple[str, int, int]
) -> tuple[list[str], ArrayProfile]:
    """List what is wrong with the episodes of one unit, (part, row group, rows); profile them if asked."""
    part, group, _ = unit
    problems, profile = [], ArrayProfile()
    store = Store.open(path)
    try:
        with Environments(store.suite) as environments:
            for problem in check_episodes(
                store.read_rows(part, group),
                store.suite,
                environments if replayed else None,
                profile if profiled else None,
            ):
                problems.append(f"part {part}: {problem}")
    except Untrusted:
        raise
    except TutelageError as error:
        problems.append(str(error))
    return problems, profile


def select(
    table: pa.Table,
    tasks: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    demonstrators: Sequence[str] | None = None,
    seeds: SeedRange | None = None,
    success: bool | None = None,
) -> list[int]:
    """Return the indices of the SUMMARY rows that pass every filter that is not None."""
    mask = pa.array([True] * len(table), pa.bool_())  # of no rows, too
    for name, allowed in (("task", tasks), ("kind", kinds), ("demonstrator", demonstrators)):
        if allowed is not None:
            mask = pc.and_(mask, pc.is_in(table[name], pa.array(list(allowed), pa.string())))
    if success is not None:
        mask = pc.and_(mask, pc.fill_null(pc.equal(table["success"], success), False))
    if seeds is not None:
        inside = pc.and_(pc.greater_equal(table["seed"], seeds.start), pc.less(table["seed"], seeds.stop))
        mask = pc.and_(mask, inside)
    return [index for index, passes in enumerate(mask.to_pylist()) if passes]
