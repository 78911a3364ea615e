"""The episode list of the store browser: filtered, sorted and returned one page at a time."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...datasets.editing.annotate import annotate
from ...datasets.editing.annotations import Annotation, Annotations
from ...datasets.editing.selection import Selection
from ...datasets.manifest import Manifest
from ...datasets.store import Store
from ...datasets.trajectory import Trajectory
from ...errors import TutelageError

MOST_ROWS = 200
"""Largest number of episodes in one answer."""
ORDERS = {
    "oldest": (None, False),
    "newest": (None, True),
    "longest": ("steps", True),
    "shortest": ("steps", False),
    "highest": ("return", True),
    "lowest": ("return", False),
}
"""Sort orders of the list: the column (None: stored order) and whether it is descending."""
_SHOWN = ("episode", "task", "demonstrator", "kind", "seed", "steps", "success", "seconds", "started")
_DETAILS = (
    *(*_SHOWN, "env", "study", "consent", "notes"),
    *("terminated", "truncated", "steps_per_second", "stored"),
)


class EpisodeIndex:
    """The episodes of a store and their annotations, reloaded when the store changes. All methods block."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder)
        self._read: Manifest | None = None
        self._rows = pa.table({})
        self._indices: dict[str, int] = {}
        self._annotations = Annotations()
        self._lock = threading.Lock()

    def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the episodes that match a query, from `first` on, and the values of each filter.

        Raises TutelageError for an invalid condition.
        """
        rows, annotations = self._current()
        selection = Selection(
            tasks=_filter_values(query, "task"),
            demonstrators=_filter_values(query, "by"),
            tags=_filter_values(query, "tag"),
            success={"success": True, "failure": False}.get(query.get("outcome", "")),
            unrated=query.get("outcome") == "unrated",
            marked=True if query.get("marked") else None,
            text=query.get("text", "")[:400],
        )
        matches = self._sorted(rows, selection.rows(rows, annotations), query.get("order", "oldest"))
        first = _parse_number(query.get("first", "0"))
        tags = Counter(tag for annotation in annotations.episodes.values() for tag in annotation.tags)
        return {
            "store": self.store.path.name,
            "suite": self.store.suite.name,
            "all": len(rows),
            "total": len(matches),
            "marked": sum(annotation.marked for annotation in annotations.episodes.values()),
            "first": first,
            "rows": [_row(rows, annotations, index, _SHOWN) for index in matches[first : first + MOST_ROWS]],
            "tasks": sorted(set(rows["task"].to_pylist())),
            "people": sorted(set(rows["demonstrator"].to_pylist())),
            "tags": sorted(tags),
        }

    def details(self, episode: str) -> dict[str, Any] | None:
        """Return every stored field of an episode except its steps; None if it does not exist."""
        rows, annotations = self._current()
        index = self._indices.get(episode)
        return None if index is None else _row(rows, annotations, index, _DETAILS)

    def trajectory(self, episode: str) -> Trajectory | None:
        """Read an episode; None if it does not exist."""
        for part, group, rows in self.store.groups():
            if episode in (ids := rows["episode"].to_pylist()):
                return next(self.store.read_rows(part, group, [ids.index(episode)]))
        return None

    def annotate(self, episode: str, fields: Mapping[str, Any]) -> Annotation:
        """Change an episode's note, tags or mark; on disk when this returns."""
        return annotate(self.store, {episode: fields})[episode]

    def _current(self) -> tuple[pa.Table, Annotations]:
        """Return the SUMMARY rows and the annotations as they are on disk now."""
        with self._lock:
            manifest = self.store.manifest()
            if self._read is None or manifest.document != self._read.document:
                self.store = Store.open(self.store.path)
            if self._read is None or manifest.parts != self._read.parts:
                self._rows = self.store.episodes().combine_chunks()
                self._indices = {name: index for index, name in enumerate(self._rows["episode"].to_pylist())}
            if self._read is None or manifest.annotations != self._read.annotations:
                self._annotations = self.store.annotations()
            self._read = manifest
            return self._rows, self._annotations

    def _sorted(self, rows: pa.Table, indices: list[int], order: str) -> list[int]:
        if order not in ORDERS:
            raise TutelageError(f"expected an order of {', '.join(ORDERS)}, got {order[:40]!r}")
        column, is_down = ORDERS[order]
        if column is None:
            return indices[::-1] if is_down else indices
        values = rows[column].to_pylist()
        return sorted(indices, key=lambda index: _sort_value(values[index]), reverse=is_down)


def _row(rows: pa.Table, annotations: Annotations, index: int, names: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {name: _finite_or_none(rows[name][index].as_py()) for name in (*names, "return")}
    annotation = annotations[row["episode"]]
    return row | {"note": annotation.note, "tags": list(annotation.tags), "marked": annotation.marked}


def _filter_values(query: Mapping[str, str], name: str) -> tuple[str, ...]:
    return (query[name],) if query.get(name) else ()


def _parse_number(text: str) -> int:
    if not text.isdecimal() or len(text) > 12:
        raise TutelageError(f"expected a number, got {text[:40]!r}")
    return int(text)


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sort_value(value: float) -> float:
    return -math.inf if math.isnan(value) else value
