"""The store: a folder of immutable Parquet parts, and `dataset.yaml`: schema version and suite."""

from __future__ import annotations

import contextlib
import hashlib
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from ..envs.errors import TutelageError
from ..envs.suite import Suite, suite_from
from ..envs.task import SeedRange
from .column_files import COLUMNS, remove_columns
from .durable import disk_errors, sync_folder, write_whole
from .schema import SUMMARY, VERSION, from_batch, seal, to_table
from .trajectory import Trajectory

Progress = Callable[[int], None]
"""Is told how many episodes have just been done."""

PART = re.compile(
    r"part-(?P<stem>\d{8}T\d{12}-[0-9a-f]{8})-r(?P<revision>\d+)-(?P<hash>[0-9a-f]{16})\.parquet"
)


class Store:
    """Demonstrations on disk. Parts are the truth; several processes may append at once.

    A part's name carries the first 16 digits of the SHA-256 of its bytes; whoever reads a part checks
    them first, so a damaged byte is found and named.
    """

    def __init__(self, path: Path, suite: Suite) -> None:
        self.path = path
        self.suite = suite
        self._sound: dict[str, str] = {}  # part name → SHA-256 of parts that were checked

    @classmethod
    def create(cls, path: str | Path, suite: Suite) -> Store:
        """Make a store for a suite, or open the one that is there.

        Raises TutelageError when that one holds another suite, or the disk refuses.
        """
        path = Path(path)
        if (path / "dataset.yaml").exists():
            store = cls.open(path)
            if store.suite.source != suite.source:
                raise TutelageError(_other_suite(path, store.suite, suite))
            return store
        document = yaml.safe_dump({"schema": VERSION, "suite": dict(suite.source)}, sort_keys=False)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            write_whole(path / "dataset.yaml", document.encode())
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store; raises TutelageError when there is none or it can't be read."""
        path = Path(path)
        try:
            document = yaml.safe_load((path / "dataset.yaml").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise TutelageError(
                f"expected a store at {path}, found no dataset.yaml there; check the path"
            ) from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise TutelageError(
                f"expected {path}/dataset.yaml to be YAML, got {' '.join(str(error).split())}"
            ) from None
        if not isinstance(document, dict) or document.get("schema") != VERSION:
            got = document.get("schema") if isinstance(document, dict) else document
            raise TutelageError(
                f"expected schema {VERSION} in {path}/dataset.yaml, got {got!r}; "
                f"read it with the version that wrote it"
            )
        return cls(path, suite_from(document.get("suite"), f"{path}/dataset.yaml"))

    def append(self, trajectories: Sequence[Trajectory]) -> Path:
        """Add episodes as one immutable part, on disk when this returns; gives the part's path.

        Raises TutelageError for an episode of another suite, and for a full disk: then nothing was
        added and nothing that was there is touched.
        """
        if not trajectories:
            raise TutelageError("expected at least one trajectory to append, got none")
        for one in trajectories:
            self._check_belongs(one)
        return self._add(to_table(trajectories))

    def append_rows(self, rows: pa.Table) -> int:
        """Add episodes that are rows of SCHEMA already, as `append` does; returns how many."""
        if len(rows):
            self._add(rows)
        return len(rows)

    def _add(self, rows: pa.Table) -> Path:
        stem = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}"
        with disk_errors(self.path), self._lock(exclusive=False):
            return self._write_part(stem, 0, rows)

    def parts(self) -> list[Path]:
        """List the parts, oldest first. A part that a newer revision replaced is not one."""
        newest: dict[str, tuple[int, Path]] = {}
        for path in sorted(self.path.glob("part-*.parquet")):
            if (match := PART.fullmatch(path.name)) is None:
                raise TutelageError(
                    f"expected parts named part-TIME-ID-rREVISION-HASH.parquet in {self.path}, "
                    f"got {path.name}; move it away or give it its old name back"
                )
            revision = int(match["revision"])
            if revision >= newest.get(match["stem"], (-1, path))[0]:
                newest[match["stem"]] = revision, path
        return [path for _, path in sorted(newest.values(), key=lambda one: one[1].name)]

    def part_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of every part by name; raises TutelageError naming a damaged one."""
        return {part.name: self._check_sound(part) for part in self.parts()}

    def sound_parts(self) -> list[Path]:
        """List the parts that can be read, leaving out damaged ones; `verify` names those."""
        sound = []
        for part in self.parts():
            with contextlib.suppress(TutelageError):
                self._file(part)
                sound.append(part)
        return sound

    def episodes(self, parts: Sequence[Path] | None = None) -> pa.Table:
        """Return one row an episode (of some parts), without the lists: the columns of `schema.SUMMARY`."""
        chosen = self.parts() if parts is None else parts
        tables = [self._file(part).read(SUMMARY.names).cast(SUMMARY) for part in chosen]
        return pa.concat_tables([SUMMARY.empty_table(), *tables])

    def __len__(self) -> int:
        return sum(self._file(part).metadata.num_rows for part in self.parts())

    def trajectories(
        self,
        task: str | None = None,
        kinds: Sequence[str] | None = None,
        demonstrators: Sequence[str] | None = None,
        seeds: SeedRange | None = None,
    ) -> Iterator[Trajectory]:
        """Read episodes in the order they were added, one row group in memory at a time."""
        for part in self.parts():
            file = self._file(part)
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, SUMMARY.names)
                chosen = select(table, task and [task], kinds, demonstrators, seeds)
                if chosen:
                    yield from self._rows(part, file, group, chosen)

    def verify(
        self, progress: Progress | None = None, *, workers: int = 1, replayed: bool = True
    ) -> list[str]:
        """List what is wrong: damaged parts, rows that contradict themselves, episodes that no longer replay.

        `replayed=False` leaves the replay out. An empty list means that all is well.
        """
        from .verification import verify

        return verify(self, progress, workers, replayed)

    def forget(self, demonstrator: str) -> int:
        """Remove every episode of a demonstrator from every part, and prove it; returns how many.

        Each part changes at once or not at all; after an interruption, call it again. What was
        computed from the parts (training columns, wherever they were cached) is removed too.
        """
        gone = self._remove("demonstrator", [demonstrator])
        left = sum(name == demonstrator for name in self.episodes()["demonstrator"].to_pylist())
        if left or (self.path / COLUMNS).exists():
            raise TutelageError(
                f"expected no episode of {demonstrator!r} in {self.path}, got {left}; try again"
            )
        return gone

    def take_back(self, episodes: Sequence[str]) -> int:
        """Remove episodes that another store holds; returns how many were here."""
        return self._remove("episode", episodes) if episodes else 0

    def read_rows(self, part: str, group: int, rows: Sequence[int] | None = None) -> Iterator[Trajectory]:
        """Read episodes of one row group of a part: those of `rows`, or all."""
        path = self.path / part
        return self._rows(path, self._file(path), group, rows)

    def groups(self) -> Iterator[tuple[str, int, pa.Table]]:
        """List (part name, row group, its SUMMARY rows): the units that workers read."""
        for part in self.parts():
            file = self._file(part)
            for group in range(file.num_row_groups):
                yield part.name, group, file.read_row_group(group, SUMMARY.names)

    def group_sizes(self, part: str) -> list[int]:
        """Return the number of episodes in each row group of a part: the units that workers read."""
        metadata = self._file(self.path / part).metadata
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def episode_ids(self, part: str) -> list[str]:
        """List the episodes of a part in order."""
        return list(self._file(self.path / part).read(["episode"])["episode"].to_pylist())

    def _rows(
        self, part: Path, file: pq.ParquetFile, group: int, chosen: Sequence[int] | None
    ) -> Iterator[Trajectory]:
        table = file.read_row_group(group)
        if chosen is not None and len(chosen) < len(table):
            table = table.take(chosen)
        for batch in table.combine_chunks().to_batches():
            try:
                yield from from_batch(batch)
            except (ValueError, KeyError, TypeError) as error:
                raise TutelageError(f"part {part.name} of {self.path}: {error}") from error

    def _file(self, part: Path) -> pq.ParquetFile:
        self._check_sound(part)
        file = pq.ParquetFile(part)
        if (file.schema_arrow.metadata or {}).get(b"tutelage.schema") != str(VERSION).encode():
            raise TutelageError(
                f"expected schema {VERSION} in part {part.name} of {self.path}, got another; update"
            )
        return file

    def _check_sound(self, part: Path) -> str:
        known = self._sound.get(part.name)
        if known is None:
            try:
                with part.open("rb") as file:
                    known = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise TutelageError(
                    f"expected to read part {part.name} of {self.path}, got {error}"
                ) from None
            match = PART.fullmatch(part.name)
            if match is None or match["hash"] != known[:16]:
                raise TutelageError(
                    f"expected part {part.name} of {self.path} to have the content its name promises, got "
                    f"SHA-256 {known[:16]}…: it is damaged; put a copy back, or move it away to use the rest"
                )
            self._sound[part.name] = known
        return known

    def _check_belongs(self, one: Trajectory) -> None:
        if one.suite != self.suite.name:
            raise TutelageError(
                f"expected episodes of suite {self.suite.name!r} in {self.path}, got one of {one.suite!r}; "
                f"append it to a store of its own"
            )
        task = self.suite[one.task]
        if (one.env, dict(one.kwargs)) != (task.env, dict(task.kwargs)):
            raise TutelageError(
                f"expected task {one.task!r} to be {task.env} with {dict(task.kwargs)}, "
                f"got {one.env} with {dict(one.kwargs)} in {one.episode}"
            )

    def _write_part(self, stem: str, revision: int, table: pa.Table) -> Path:
        data = seal(table)
        digest = hashlib.sha256(data).hexdigest()
        path = self.path / f"part-{stem}-r{revision}-{digest[:16]}.parquet"
        write_whole(path, data)
        self._sound[path.name] = digest
        return path

    def _remove(self, column: str, values: Sequence[str]) -> int:
        gone = 0
        with disk_errors(self.path), self._lock(exclusive=True):
            for part in self.parts():
                gone += self._rewrite_without(part, column, values)
            kept = {part.name for part in self.parts()}
            for stale in (*self.path.glob("part-*.parquet"), *self.path.glob(".*.tmp")):
                if stale.name not in kept:
                    stale.unlink()
            remove_columns(self.path)
            sync_folder(self.path)
        self._sound.clear()
        return gone

    def _rewrite_without(self, part: Path, column: str, values: Sequence[str]) -> int:
        table = self._file(part).read()
        theirs = pc.is_in(table[column], pa.array(list(values), pa.string()))
        count = int(pc.sum(theirs).as_py() or 0)
        if count == len(table):
            part.unlink()
        elif count:
            match = PART.fullmatch(part.name)
            assert match is not None
            kept = table.filter(pc.invert(theirs))
            self._write_part(
                match["stem"], int(match["revision"]) + 1, kept
            )  # from here on, `part` is no part
            part.unlink()
        return count

    @contextlib.contextmanager
    def _lock(self, exclusive: bool) -> Iterator[None]:
        """Let many append at once, but nobody while `forget` runs."""
        try:
            import fcntl
        except ImportError:  # Windows has no flock: there, forget while nobody records
            yield
            return
        with (self.path / ".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield


def select(
    table: pa.Table,
    tasks: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    demonstrators: Sequence[str] | None = None,
    seeds: SeedRange | None = None,
) -> list[int]:
    """Return the indices of the SUMMARY rows that pass every filter that is not None."""
    mask = pa.array([True] * len(table))
    for name, allowed in (("task", tasks), ("kind", kinds), ("demonstrator", demonstrators)):
        if allowed is not None:
            mask = pc.and_(mask, pc.is_in(table[name], pa.array(list(allowed), pa.string())))
    if seeds is not None:
        inside = pc.and_(pc.greater_equal(table["seed"], seeds.start), pc.less(table["seed"], seeds.stop))
        mask = pc.and_(mask, inside)
    return [at for at, ok in enumerate(mask.to_pylist()) if ok]


def _other_suite(path: Path, there: Suite, wanted: Suite) -> str:
    if there.name != wanted.name:
        return f"expected {path} to hold suite {wanted.name!r}, got {there.name!r}; choose another folder"
    for mine, theirs in zip(wanted, there, strict=False):
        if mine != theirs:
            what = f"task {theirs.id!r} differs"
            break
    else:
        what = f"it has {len(there)} tasks, not {len(wanted)}, or another evaluation"
    return (
        f"expected {path} to hold this very suite {wanted.name!r}, got another of that name ({what}); "
        f"choose another folder, or give the changed suite another name"
    )
