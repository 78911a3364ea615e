"""Exports of a study: its records as CSV, its demonstrations as stored.

People appear by pseudonym only: exports contain no panel ids, and nothing that leads to them (a seat's
secret, a completion code, the details of an event).
"""

from __future__ import annotations

import csv
import io
import itertools
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from ...console.printable import csv_cell
from ...datasets.manifest import DOCUMENT, MANIFEST
from ...datasets.store import Store
from ..storage.study_records import answers, devices, payments
from ..storage.study_tables import StudyDatabase, conduct, consents, events, people

_ROWS, _BYTES = 1000, 1 << 20
_RECORDS: dict[str, tuple[Any, ...]] = {
    "people": tuple(
        people.c[name]
        for name in ("person", "study", "source", "language", "stage", "outcome", "joined", "seen", "ended")
    ),
    "consents": tuple(consents.c[name] for name in ("id", "person", "consent", "language", "decision", "at")),
    "conduct": tuple(conduct.c),
    "payments": (
        *(payments.c[name] for name in ("id", "person", "kind", "number", "state")),
        payments.c.amount.label("minor_units"),
        *(payments.c[name] for name in ("currency", "reason", "at")),
    ),
    "answers": tuple(
        answers.c[name]
        for name in ("id", "person", "question", "attempt", "answer", "correct", "language", "at")
    ),
    "devices": tuple(
        devices.c[name] for name in ("id", "person", "device", "browser", "width", "height", "language", "at")
    ),
    "events": tuple(events.c[name] for name in ("id", "person", "what", "reason", "at")),
}
"""The files, and the columns of each; the first column is its table's key."""


def export_records(database: StudyDatabase, study: str) -> Iterator[bytes]:
    """Yield a ZIP archive with one CSV file per table. Blocks for the disk."""
    files = ((f"{name}.csv", _csv(database, study, columns)) for name, columns in _RECORDS.items())
    yield from _zip(files, zipfile.ZIP_DEFLATED)


def export_demonstrations(store: Store) -> Iterator[bytes]:
    """Yield a ZIP archive of a store; `tutelage` opens the unpacked folder. Blocks for the disk."""
    manifest = store.manifest()
    listed = (part for part in store.parts() if part.name in manifest.parts)
    parts = ((f"{store.path.name}/{part.name}", _read(part)) for part in listed)
    head = {DOCUMENT: manifest.document.encode(), MANIFEST: manifest.encode()}
    files = ((f"{store.path.name}/{name}", iter([data])) for name, data in head.items())
    yield from _zip(itertools.chain(files, parts), zipfile.ZIP_STORED)


def _csv(database: StudyDatabase, study: str, columns: tuple[sql.Column[Any], ...]) -> Iterator[bytes]:
    """Read a table in chunks, each in its own transaction: a slow download must not block others."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([column.name for column in columns])
    query = _study_query(study, columns).order_by(columns[0]).limit(_ROWS)
    last: Any = None
    while True:
        rows = database.rows(query if last is None else query.where(columns[0] > last))
        writer.writerows([csv_cell(value) for value in row.values()] for row in rows)
        yield buffer.getvalue().encode()
        if len(rows) < _ROWS:
            return
        last = rows[-1][columns[0].name]
        buffer.seek(0)
        buffer.truncate()


def _study_query(study: str, columns: tuple[sql.Column[Any], ...]) -> sql.Select[Any]:
    query = sql.select(*columns)
    if columns[0].table is conduct:
        return query.join(people, people.c.person == conduct.c.person).where(people.c.study == study)
    return query.where(columns[0].table.c.study == study)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_BYTES):
            yield chunk


def _zip(files: Iterable[tuple[str, Iterable[bytes]]], compression: int) -> Iterator[bytes]:
    """Write an archive in chunks, never whole in memory."""
    stream = _StreamedFile()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, chunks in files:
            info = zipfile.ZipInfo(name, time.localtime()[:6])
            info.compress_type = compression
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as entry:
                for chunk in chunks:
                    entry.write(chunk)
                    yield stream.take()
    yield stream.take()


class _StreamedFile(io.RawIOBase):
    """An unseekable file that hands over what was written to it."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._held)
        self._held.clear()
        return data
