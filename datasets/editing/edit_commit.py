"""Atomic commit, undo and redo of a store change: rows, suite and annotations together.

Order of writes: new parts in a staging folder, `edits/pending.json` with their names, renames of the parts,
the manifest (the commit), removal of the old parts. Killed at any point, the store is in the state before or
after the change; see `pending`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from ...errors import TutelageError
from ...files.atomic_files import disk_errors, sync_folder, write_whole
from ...files.safe_tree import refuse_link
from ..arrays.array_cache import remove_columns
from ..manifest import Manifest, PartEntry, revision, stem
from ..pending import EDITS, PENDING, PendingChange
from ..schema import SCHEMA, seal
from ..store import Store
from ..store_lock import writing
from .annotations import Annotation, Annotations, sweep_annotations, write_annotations
from .edit_log import (
    EditRecord,
    PartState,
    count,
    finish_document,
    next_number,
    read_rows,
    record_names,
    records,
    redo_names,
    redo_records,
    sweep_edits,
)
from .row_spool import RowSpool

_EPISODES_A_PART = 512


@dataclass(frozen=True)
class StoreChange:
    """A change of a store, not made yet.

    Rows of the episodes in `drop` are removed; rows in `put` are added, or replace the row with their id.
    `document` is a new `dataset.yaml`. `deleted` episodes are recorded as deleted on purpose.
    """

    verb: str
    text: str
    drop: frozenset[str] = frozenset()
    put: pa.Table | None = None
    document: str = ""
    annotations: Mapping[str, Annotation] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()

    @property
    def rows(self) -> pa.Table:
        """The rows to put, of SCHEMA."""
        return SCHEMA.empty_table() if self.put is None else self.put

    @property
    def is_empty(self) -> bool:
        """Whether the change has no effect."""
        return not (self.drop or len(self.rows) or self.document or self.annotations)


def commit(store: Store, change: StoreChange) -> EditRecord:
    """Make a change, and store its undo data; both are on disk on return.

    Raises TutelageError when an episode no longer exists, or on a disk error: then nothing has changed.
    """
    folder = store.path
    refuse_link(folder / EDITS)
    with disk_errors(folder), writing(folder):
        manifest = store.settled()
        sweep_edits(folder)
        parts = _Parts(store, manifest)
        if missing := sorted(change.drop - parts.ids):
            raise TutelageError(
                f"expected episode {missing[0]} in {folder}, found none: the store has changed; try again"
            )
        before, put = store.annotations(is_locked=True), set(change.rows["episode"].to_pylist())
        after = replace(
            before.without(change.drop - put).changed(change.annotations),
            deleted=(before.deleted | change.deleted) - put,
        )
        touched = parts.rewrite(change.drop, change.rows)
        changed = replace(manifest, document=change.document or manifest.document)
        record = EditRecord(
            next_number(folder),
            change.verb,
            change.text,
            datetime.now(UTC).isoformat(timespec="seconds"),
            changed=sorted(put),
            places=parts.places(touched),
        )
        undone = [
            f"{EDITS}/{name}{suffix}" for name in redo_names(folder) for suffix in (".json", ".parquet")
        ]
        return _commit_recorded(
            store, parts, changed, (before, after), record, parts.rows_of(change.drop | put), undone
        )


def undo(store: Store) -> EditRecord:
    """Undo the latest edit, and return its record; later additions and annotations stay.

    Raises TutelageError when there is no edit to undo, or on a disk error: then nothing has changed.
    """
    return _reverse(store, is_redo=False)


def redo(store: Store) -> EditRecord:
    """Redo the edit that was undone last, and return its record; a new edit clears the redo records.

    Raises TutelageError when there is nothing to redo, or on a disk error: then nothing has changed.
    """
    return _reverse(store, is_redo=True)


def latest(folder: Path, *, is_redo: bool) -> EditRecord:
    """Return the record that `undo` or `redo` would use; raises TutelageError when there is none."""
    candidates = redo_records(folder)[:1] if is_redo else records(folder)[-1:]
    if not candidates:
        description = "an undone edit of {} to make again" if is_redo else "an edit of {} to undo"
        raise TutelageError(f"expected {description.format(folder)}, found none")
    return candidates[0]


def _reverse(store: Store, *, is_redo: bool) -> EditRecord:
    """Revert an edit (undo) or an undo (redo), and store the record that reverts this again."""
    folder = store.path
    refuse_link(folder / EDITS)
    with disk_errors(folder), writing(folder):
        manifest = store.settled()
        record = latest(folder, is_redo=is_redo)
        rows = read_rows(folder, record)
        parts = _Parts(store, manifest)
        restored = frozenset(rows["episode"].to_pylist())
        removed = (frozenset(record.changed) & parts.ids) - restored
        replaced = parts.rows_of(removed | (restored & parts.ids))
        touched = parts.rewrite(removed, rows, record.places)
        before = store.annotations(is_locked=True)
        deleted = (before.deleted - frozenset(record.deleted)) | (frozenset(record.restored) - restored)
        after = replace(before.changed(_annotations_before(before, record)), deleted=deleted).without(removed)
        changed = replace(manifest, document=record.document or manifest.document)
        counter = replace(
            record, is_undo=not record.is_undo, changed=sorted(restored), places=parts.places(touched)
        )
        stale = (record.name, record.rows_name)
        _commit_recorded(store, parts, changed, (before, after), counter, replaced, stale)
    return record


def _commit_recorded(
    store: Store,
    parts: _Parts,
    manifest: Manifest,
    annotations: tuple[Annotations, Annotations],
    record: EditRecord,
    replaced: pa.Table,
    stale: Sequence[str],
) -> EditRecord:
    """Make a change, and store what reverts it: a record, and the rows that it replaced or removed.

    `manifest` has the new suite; `annotations` are those before and after; `stale` files are removed with it.
    """
    before, after = annotations
    data = seal(replaced) if len(replaced) else b""
    record = replace(
        record,
        annotations=_changed_annotations(before, after),
        deleted=sorted(after.deleted - before.deleted),
        restored=sorted(before.deleted - after.deleted),
        document=parts.manifest.document if manifest.document != parts.manifest.document else "",
        rows=hashlib.sha256(data).hexdigest() if data else "",
    )
    (store.path / EDITS).mkdir(exist_ok=True)
    if data:  # first: without the record, the file is ignored
        write_whole(store.path / record.rows_name, data)
    _apply(store, parts, manifest, after, record, stale)
    return record


class _Parts:
    """The rewritten parts of a store: rows in memory, nothing on disk yet."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store, self.manifest = store, manifest
        self.order = {path.name: store.episode_ids(path.name) for path in store.parts()}
        self.ids = frozenset(episode for ids in self.order.values() for episode in ids)
        self.written: dict[str, pa.Table] = {}  # stem → rows; a part without rows is removed
        self.numbers = {stem(name): revision(name) for name in self.order}

    def rewrite(
        self, drop: frozenset[str], put: pa.Table, places: Mapping[str, PartState] | None = None
    ) -> list[str]:
        """Compute the new rows of the parts; return the names of the parts that change."""
        rows = {episode: index for index, episode in enumerate(put["episode"].to_pylist())}
        home_stem = {
            episode: name
            for name, place in (places or {}).items()
            for episode in place.order
            if episode in rows and episode not in self.ids
        }
        touched = [name for name, ids in self.order.items() if not (drop | rows.keys()).isdisjoint(ids)]
        stems = {stem(name): name for name in self.order}
        for place_stem in dict.fromkeys([*map(stem, touched), *home_stem.values()]):
            name = stems.get(place_stem)
            table = SCHEMA.empty_table() if name is None else self.store.part_rows(self.store.path / name)
            added_indices = [index for episode, index in rows.items() if home_stem.get(episode) == place_stem]
            added_indices += [rows[episode] for episode in self.order.get(name or "", ()) if episode in rows]
            kept_indices = [
                index
                for index, episode in enumerate(self.order.get(name or "", ()))
                if episode not in drop and episode not in rows
            ]
            joined = pa.concat_tables([_take(table, kept_indices), _take(put, added_indices)])
            order = (places or {}).get(place_stem)
            ids = [*(order.order if order else ()), *self.order.get(name or "", ())]
            rank = {episode: index for index, episode in reversed(list(enumerate(ids)))}
            joined_ids = joined["episode"].to_pylist()
            self.written[place_stem] = _take(
                joined, sorted(range(len(joined)), key=lambda index: rank[joined_ids[index]])
            )
            self.numbers[place_stem] = (
                max(self.numbers.get(place_stem, 0), order.revision if order else 0) + 1
            )
        new = [
            index for episode, index in rows.items() if episode not in self.ids and episode not in home_stem
        ]
        for first in range(0, len(new), _EPISODES_A_PART):
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}"
            self.written[name] = _take(put, new[first : first + _EPISODES_A_PART])
        return touched

    def places(self, names: Sequence[str]) -> dict[str, PartState]:
        """Return the current revision and row order of the given parts."""
        return {stem(name): PartState(revision(name), self.order[name]) for name in names}

    def rows_of(self, episodes: frozenset[str] | set[str]) -> pa.Table:
        """Return the current rows of the given episodes."""
        spool = RowSpool()
        for name, ids in self.order.items():
            if not episodes.isdisjoint(ids):
                table = self.store.part_rows(self.store.path / name)
                spool.add_rows(
                    table.filter(pc.is_in(table["episode"], pa.array(sorted(episodes), pa.string())))
                )
        return spool.table()

    def stage(self) -> tuple[dict[str, PartEntry], frozenset[str]]:
        """Write the new parts to the staging folder; return them by name, and the names that they replace."""
        folder, added = self.store.path, {}
        for name, rows in self.written.items():
            if not len(rows):
                continue
            data = seal(rows)
            digest = hashlib.sha256(data).hexdigest()
            part = f"part-{name}-r{self.numbers.get(name, 0)}-{digest[:16]}.parquet"
            write_whole(folder / EDITS / part, data)
            added[part] = PartEntry(digest, len(data), len(rows))
        return added, frozenset(name for name in self.order if stem(name) in self.written)


def _apply(
    store: Store,
    parts: _Parts,
    manifest: Manifest,
    annotations: Annotations,
    record: EditRecord,
    stale: Sequence[str],
) -> None:
    """Rename new files, write the manifest, remove old files; the caller holds the lock."""
    folder = store.path
    added, removed = parts.stage()
    changed = manifest.changed(added, removed)
    changed = replace(changed, removed=changed.removed - {stem(name) for name in added})
    if annotations != store.annotations(is_locked=True):
        changed = replace(changed, annotations=write_annotations(folder, annotations))
    pending = PendingChange(
        before=hashlib.sha256(parts.manifest.encode()).hexdigest(),
        after=hashlib.sha256(changed.encode()).hexdigest(),
        old=(*sorted(removed), *stale),
        new=(*sorted(added), record.name, record.rows_name),
    )
    pending.write(folder)
    write_whole(folder / record.name, record.encode())
    for name in added:
        (folder / EDITS / name).rename(folder / name)
    sync_folder(folder)
    changed.write(folder)
    finish_document(folder, changed)
    for name in pending.old:
        (folder / name).unlink(missing_ok=True)
    sweep_annotations(folder, changed)
    remove_columns(folder)
    (folder / PENDING).unlink()
    if not any((folder / EDITS).iterdir()):
        (folder / EDITS).rmdir()
    sync_folder(folder)


def _changed_annotations(before: Annotations, after: Annotations) -> dict[str, tuple[Annotation, Annotation]]:
    names = before.episodes.keys() | after.episodes.keys()
    return {name: (before[name], after[name]) for name in sorted(names) if before[name] != after[name]}


def _annotations_before(current: Annotations, record: EditRecord) -> dict[str, Annotation]:
    """Return the annotations before an edit; a field that was changed since the edit keeps its value."""
    return {
        episode: Annotation(
            **{
                name: getattr(
                    before if getattr(current[episode], name) == getattr(after, name) else current[episode],
                    name,
                )
                for name in ("note", "tags", "marked")
            }
        )
        for episode, (before, after) in record.annotations.items()
    }


def _take(table: pa.Table, indices: Sequence[int]) -> pa.Table:
    if indices and list(indices) == list(range(indices[0], indices[-1] + 1)):
        return table.slice(indices[0], len(indices))  # zero-copy: there may be many rows
    return table.take(pa.array(indices, pa.int64()))  # int64 also for empty indices


def compact(store: Store) -> int:
    """Remove everything that undoes edits; returns how many edits can no longer be undone."""
    folder = store.path
    with disk_errors(folder), writing(folder):
        store.settled()
        number = count(folder)
        # what was undone first, then the oldest: after a crash the latest can still be undone
        undone = set(redo_names(folder))
        for name in sorted(record_names(folder), key=lambda name: name not in undone):
            (folder / EDITS / f"{name}.json").unlink()
            (folder / EDITS / f"{name}.parquet").unlink(missing_ok=True)
        sweep_edits(folder)
        sync_folder(folder)
    return number
