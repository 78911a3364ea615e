"""What may leave a study as files: its records as CSV, its demonstrations as they lie in the store.

Of people only the pseudonym leaves: never the ids of a panel, nor anything that leads to them (a seat's
secret, a completion code, the details that other rooms keep with an event).
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


def export_records(ledger: StudyDatabase, study: str) -> Iterator[bytes]:
    """Yield a ZIP archive of one CSV file a table. Blocks for the disk."""
    files = ((f"{name}.csv", _csv(ledger, study, columns)) for name, columns in _RECORDS.items())
    yield from _zip(files, zipfile.ZIP_DEFLATED)


def export_demonstrations(store: Store) -> Iterator[bytes]:
    """Yield a ZIP archive of a store: `tutelage` opens the folder that it unpacks to. Blocks for the disk."""
    manifest = store.manifest()
    listed = (part for part in store.parts() if part.name in manifest.parts)
    parts = ((f"{store.path.name}/{part.name}", _read(part)) for part in listed)
    head = {DOCUMENT: manifest.document.encode(), MANIFEST: manifest.encode()}
    files = ((f"{store.path.name}/{name}", iter([data])) for name, data in head.items())
    yield from _zip(itertools.chain(files, parts), zipfile.ZIP_STORED)


def _csv(ledger: StudyDatabase, study: str, columns: tuple[sql.Column[Any], ...]) -> Iterator[bytes]:
    """Read a table piece by piece, each in a transaction of its own: a slow download must hold up nobody."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([column.name for column in columns])
    query = _of(study, columns).order_by(columns[0]).limit(_ROWS)
    last: Any = None
    while True:
        rows = ledger.rows(query if last is None else query.where(columns[0] > last))
        writer.writerows([csv_cell(value) for value in row.values()] for row in rows)
        yield out.getvalue().encode()
        if len(rows) < _ROWS:
            return
        last = rows[-1][columns[0].name]
        out.seek(0)
        out.truncate()


def _of(study: str, columns: tuple[sql.Column[Any], ...]) -> sql.Select[Any]:
    query = sql.select(*columns)
    if columns[0].table is conduct:
        return query.join(people, people.c.person == conduct.c.person).where(people.c.study == study)
    return query.where(columns[0].table.c.study == study)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_BYTES):
            yield chunk


def _zip(files: Iterable[tuple[str, Iterable[bytes]]], compression: int) -> Iterator[bytes]:
    """Write an archive that is never whole in memory."""
    out = _StreamedFile()
    with zipfile.ZipFile(out, "w") as archive:
        for name, chunks in files:
            info = zipfile.ZipInfo(name, time.localtime()[:6])
            info.compress_type = compression
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as entry:
                for chunk in chunks:
                    entry.write(chunk)
                    yield out.take()
    yield out.take()


class _StreamedFile(io.RawIOBase):
    """A file that cannot be sought in, and that gives away what was written to it."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._held)
        self._held.clear()
        return taken
