"""Spool of an edit's rows: an anonymous file in the temporary folder.

The system removes the file when the process ends, for any reason.
"""

from __future__ import annotations

import mmap
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from ...files.atomic_files import disk_errors
from ..schema import SCHEMA, to_table
from ..trajectory import Trajectory

_EPISODES = 64
"""Episodes buffered in memory before they are written."""


class RowSpool:
    """Collect episodes and rows on disk; `table` returns all of them, memory-mapped.

    Every method raises TutelageError when the temporary folder is full.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir())
        with disk_errors(self._folder):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._file.close)  # also if `table` is never called
        self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), SCHEMA)
        self._waiting: list[Trajectory] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, trajectories: Iterable[Trajectory]) -> None:
        """Add episodes."""
        for trajectory in trajectories:
            self._waiting.append(trajectory)
            self._count += 1
            if len(self._waiting) == _EPISODES:
                self._flush()

    def add_rows(self, rows: pa.Table) -> None:
        """Add rows of SCHEMA."""
        self._flush()
        self._write(rows)
        self._count += len(rows)

    def table(self) -> pa.Table:
        """Return all rows, and close the spool; the file is freed with the last reference to the table."""
        self._flush()
        with disk_errors(self._folder), self._file:
            self._writer.close()
            self._file.flush()
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return pa.ipc.open_file(pa.py_buffer(mapped)).read_all()

    def _flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._write(to_table(waiting))

    def _write(self, rows: pa.Table) -> None:
        with disk_errors(self._folder):
            self._writer.write_table(rows.cast(SCHEMA))
