"""Rows of a store on their way through an edit: in a file that has no name, not in memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable

import pyarrow as pa

from .schema import SCHEMA, to_table
from .trajectory import Trajectory

_EPISODES = 64
"""Episodes that are held in memory before they are written."""


class RowSpool:
    """Takes episodes and rows one after another; `table` gives all, read from disk as they are used."""

    def __init__(self) -> None:
        handle, self._path = tempfile.mkstemp(prefix="tutelage-rows-")
        os.close(handle)
        self._remove = weakref.finalize(self, os.unlink, self._path)  # also where no table is asked for
        self._sink = pa.OSFile(self._path, "wb")
        self._writer = pa.ipc.new_file(self._sink, SCHEMA)
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
        self._writer.write_table(rows.cast(SCHEMA))
        self._count += len(rows)

    def table(self) -> pa.Table:
        """Return all rows, and take no more; the file goes with the last use of the table."""
        self._flush()
        self._writer.close()
        self._sink.close()
        try:
            return pa.ipc.open_file(pa.memory_map(self._path)).read_all()
        finally:
            self._remove()

    def _flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._writer.write_table(to_table(waiting).cast(SCHEMA))
