"""What undoes the edits of a store: for each one a sealed record, and the rows as they were before it.

`edits/0001.json` says what an edit did; `edits/0001.parquet` holds the rows that it changed or removed. What
was undone can be made again: `edits/redo-0001.json` and its rows take back the undoing. A record names no
person; the rows do, and `forget_in_edits` removes a person from all of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ...errors import TutelageError
from ...files.atomic_files import sync_folder, write_whole
from ...files.bounded_files import parse_json, read_bytes
from ...files.finite_json import json_text
from ...files.safe_tree import refuse_link, remove_tree
from ..arrays.array_cache import remove_columns
from ..manifest import DOCUMENT, Manifest, hash_file
from ..parquet.bounded_parquet import BoundedParquet
from ..pending import EDITS, PENDING, read_pending
from ..schema import SCHEMA, seal
from .annotations import Annotation, cleared, read_annotations, sweep_annotations

RECORD_VERSION = 2
_RECORD = re.compile(r"((?:redo-)?\d{4,9})\.json")
_REDO = "redo-"
_SEAL = b',"sha256":"'
Pair = tuple[Annotation, Annotation]


@dataclass(frozen=True)
class PartState:
    """Where rows stood: the last revision of a part, and the ids of its episodes in order."""

    revision: int
    order: list[str]


@dataclass(frozen=True)
class EditRecord:
    """One edit that was made.

    `changed` are the ids of the episodes that it changed or added; `places` the parts that it touched, by
    their stems, as they were; `annotations` what stood there before and after; `deleted` the ids that it
    noted as deleted, `restored` those that are no longer so; `document` the text of `dataset.yaml` before,
    "" where it did not change; `rows` the SHA-256 of the file with the rows before, "" where there are none.
    `is_undo` says that it was the undoing of an edit, of the same number.
    """

    number: int
    verb: str
    text: str
    time: str
    changed: list[str] = field(default_factory=list)
    places: Mapping[str, PartState] = field(default_factory=dict)
    annotations: Mapping[str, Pair] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    document: str = ""
    rows: str = ""
    is_undo: bool = False

    @property
    def name(self) -> str:
        """The name of its file in the store."""
        return f"{EDITS}/{_REDO * self.is_undo}{self.number:04d}.json"

    @property
    def rows_name(self) -> str:
        """The name of the file with the rows before, in the store."""
        return self.name.removesuffix("json") + "parquet"

    def encode(self) -> bytes:
        """Return the bytes of its file: JSON, with the SHA-256 of everything else as its last member."""
        pairs = {
            episode: [before.to_dict(), after.to_dict()]
            for episode, (before, after) in self.annotations.items()
        }
        document = {"version": RECORD_VERSION, **asdict(self), "annotations": pairs}
        body = json_text(document, is_compact=True).encode()
        return b'%s%s%s"}\n' % (body[:-1], _SEAL, hashlib.sha256(body).hexdigest().encode())

    @classmethod
    def decode(cls, data: bytes, where: Path) -> EditRecord:
        """Read what `encode` returned; raises TutelageError for any other byte."""
        body, _, seal_line = data.rpartition(_SEAL)
        body += b"}"
        if seal_line != b'%s"}\n' % hashlib.sha256(body).hexdigest().encode():
            raise _damaged(where)
        try:
            document = parse_json(body, str(where))
            if document.pop("version") != RECORD_VERSION:
                raise TutelageError(
                    f"expected an edit of version {RECORD_VERSION} in {where}, got one of another release: "
                    "undo it with that one, or give it up with "
                    f"`tutelage edit {where.parent.parent} compact --apply`"
                )
            document["places"] = {stem: PartState(**place) for stem, place in document["places"].items()}
            document["annotations"] = {
                episode: (Annotation.from_dict(before), Annotation.from_dict(after))
                for episode, (before, after) in document["annotations"].items()
            }
            return cls(**document)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _damaged(where) from None


def records(folder: Path) -> list[EditRecord]:
    """List the edits of a store that can be undone, oldest first; raises TutelageError for a damaged one."""
    return [record for record in all_records(folder) if not record.is_undo]


def redo_records(folder: Path) -> list[EditRecord]:
    """List what was undone and can be made again, the next one first; see `records`."""
    return [record for record in all_records(folder) if record.is_undo]


def all_records(folder: Path) -> list[EditRecord]:
    """List all records of a store by their numbers; raises TutelageError for a damaged one."""
    pending = read_pending(folder)
    stale = pending.stale(Manifest.read(folder).encode()) if pending else frozenset()
    read = []
    for name in record_names(folder):
        path = folder / EDITS / f"{name}.json"
        record = EditRecord.decode(read_bytes(path), path)
        if f"{EDITS}/{path.name}" not in stale:
            read.append(record)
    return read


def read_rows(folder: Path, record: EditRecord) -> pa.Table:
    """Read the rows before an edit, of SCHEMA; raises TutelageError when they are damaged or missing."""
    path = folder / record.rows_name
    if not record.rows:
        return SCHEMA.empty_table()
    if hash_file(path) != record.rows:
        raise _damaged(path)
    return _read(folder, record)


def _read(folder: Path, record: EditRecord) -> pa.Table:
    path = folder / record.rows_name
    file = BoundedParquet(path, f"{record.rows_name} of {folder}")
    file.expect(SCHEMA)
    return file.read()


def deleted_episodes(folder: Path, manifest: Manifest) -> frozenset[str]:
    """Return the episodes that were deleted from a store on purpose.

    Where the annotations cannot be read, those that edits deleted which can still be undone; none where these
    cannot be read either.
    """
    try:
        return read_annotations(folder, manifest).deleted
    except (TutelageError, OSError):
        pass
    deleted: set[str] = set()
    with contextlib.suppress(TutelageError, OSError):
        for record in records(folder):
            deleted = (deleted | set(record.deleted)) - set(record.restored)
        return frozenset(deleted)
    return frozenset()


def finish_pending(folder: Path, manifest: Manifest) -> None:
    """Finish or take back the edit that a crash interrupted; the caller holds the lock.

    The manifest says which: whatever it does not name is removed. A pending file that fits no manifest here
    is removed by itself.
    """
    if (folder / EDITS).is_symlink():
        return
    pending = read_pending(folder)
    data = manifest.encode()
    if pending is not None:
        for name in pending.stale(data) - manifest.parts.keys():
            (folder / name).unlink(missing_ok=True)
        if pending.has_happened(data):
            finish_document(folder, manifest)
            remove_columns(folder)
        sweep_annotations(folder, manifest)
        sync_folder(folder)
    (folder / PENDING).unlink(missing_ok=True)
    sweep_edits(folder)


def finish_document(folder: Path, manifest: Manifest) -> None:
    """Write the manifest's suite to `dataset.yaml` where another is there."""
    data = manifest.document.encode()
    if read_bytes(folder / DOCUMENT) != data:
        write_whole(folder / DOCUMENT, data)


def sweep_edits(folder: Path) -> None:
    """Remove what a crash left: files half written, and in the folder of edits what belongs to no record.

    The caller holds the lock.
    """
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)
    edits = folder / EDITS
    if edits.is_symlink() or not edits.is_dir():
        return
    kept = {f"{name}{suffix}" for name in record_names(folder) for suffix in (".json", ".parquet")}
    for path in edits.iterdir():
        if path.name not in kept and path.name != Path(PENDING).name and not path.is_dir():
            path.unlink(missing_ok=True)
    if not any(edits.iterdir()):
        edits.rmdir()


def forget_in_edits(folder: Path, demonstrator: str, episodes: Iterable[str]) -> int:
    """Remove a person from what undoes edits: rows, and annotations of their episodes or with their name.

    The caller holds the lock and has settled the store. `episodes` are those that the store holds under this
    name: their earlier rows go too, whatever name they had then. Returns how many rows were removed.
    """
    refuse_link(folder / EDITS)
    sweep_edits(folder)
    gone = set(episodes)
    try:
        made = all_records(folder)
        # after an interruption here, the record may not have the hash of its rows yet
        tables = [_read(folder, record) if record.rows else SCHEMA.empty_table() for record in made]
    except TutelageError:
        remove_tree(folder / EDITS)  # who is in there cannot be known
        return 0
    for rows in tables:
        gone |= set(rows.filter(pc.equal(rows["demonstrator"], demonstrator))["episode"].to_pylist())
    pairs = zip(made, tables, strict=True)
    removed = sum(_forget_in(folder, record, rows, gone, demonstrator) for record, rows in pairs)
    sync_folder(folder)
    return removed


def rows_of(folder: Path, demonstrator: str) -> int:
    """Count the rows of a person in what undoes edits; 0 where that is damaged."""
    try:
        tables = [read_rows(folder, record) for record in all_records(folder)]
    except TutelageError:
        return 0
    return sum(rows["demonstrator"].to_pylist().count(demonstrator) for rows in tables)


def count(folder: Path) -> int:
    """Count the edits that can be undone, damaged ones too."""
    return sum(not name.startswith(_REDO) for name in record_names(folder))


def redo_names(folder: Path) -> list[str]:
    """List the records of what was undone and can be made again, damaged ones too."""
    return [name for name in record_names(folder) if name.startswith(_REDO)]


def undo_bytes(folder: Path) -> int:
    """Count the bytes that undoing edits takes."""
    edits = folder / EDITS
    return sum(path.stat().st_size for path in edits.iterdir()) if edits.is_dir() else 0


def _forget_in(folder: Path, record: EditRecord, rows: pa.Table, gone: set[str], demonstrator: str) -> int:
    kept = rows.filter(pc.invert(pc.is_in(rows["episode"], pa.array(sorted(gone), pa.string()))))
    digest = ""
    if len(kept):
        data = seal(kept) if len(kept) < len(rows) else read_bytes(folder / record.rows_name)
        digest = hashlib.sha256(data).hexdigest()
        if len(kept) < len(rows):
            write_whole(folder / record.rows_name, data)
    words = (demonstrator,)
    annotations = {
        episode: (cleared(before, words), cleared(after, words))
        for episode, (before, after) in record.annotations.items()
        if episode not in gone
    }
    places = {
        stem: PartState(place.revision, [episode for episode in place.order if episode not in gone])
        for stem, place in record.places.items()
    }
    changed = [episode for episode in record.changed if episode not in gone]
    scrubbed = replace(
        record,
        changed=changed,
        places=places,
        annotations=annotations,
        deleted=[episode for episode in record.deleted if episode not in gone],
        restored=[episode for episode in record.restored if episode not in gone],
        rows=digest,
    )
    if scrubbed != record:
        write_whole(folder / record.name, scrubbed.encode())
    if not digest:
        (folder / record.rows_name).unlink(missing_ok=True)
    return len(rows) - len(kept)


def next_number(folder: Path) -> int:
    """Return the number of the next edit."""
    return max((int(name) for name in record_names(folder) if not name.startswith(_REDO)), default=0) + 1


def record_names(folder: Path) -> list[str]:
    """List the names of records without their suffixes, by their numbers."""
    edits = folder / EDITS
    if edits.is_symlink() or not edits.is_dir():
        return []
    matches = (_RECORD.fullmatch(path.name) for path in edits.iterdir())
    return sorted((match[1] for match in matches if match), key=lambda name: int(name.removeprefix(_REDO)))


def _damaged(where: Path) -> TutelageError:
    return TutelageError(
        f"expected {where} as it was written, got other bytes: it is damaged; the edits of this store can no "
        "longer be undone; remove what undoes them with "
        f"`tutelage edit {where.parent.parent} compact --apply`"
    )
