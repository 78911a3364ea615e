"""What the page that looks through a store lists: the episodes that fit, a page of them at a time."""

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
"""Episodes in one answer, at most."""
ORDERS = {
    "oldest": (None, False),
    "newest": (None, True),
    "longest": ("steps", True),
    "shortest": ("steps", False),
    "highest": ("return", True),
    "lowest": ("return", False),
}
"""The orders of the list: the column that decides (None: as stored), and whether the largest comes first."""
_SHOWN = ("episode", "task", "demonstrator", "kind", "seed", "steps", "success", "seconds", "started")
_DETAILS = (
    *(*_SHOWN, "env", "study", "consent", "notes"),
    *("terminated", "truncated", "steps_per_second", "stored"),
)


class EpisodeIndex:
    """The episodes of a store and their annotations, read again when the store changes. All of it blocks."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder)
        self._read: Manifest | None = None
        self._rows = pa.table({})
        self._places: dict[str, int] = {}
        self._annotations = Annotations()
        self._lock = threading.Lock()

    def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the episodes that fit a query, from `first` on, and what there is to choose from.

        Raises TutelageError for a condition that is none.
        """
        rows, annotations = self._current()
        selection = Selection(
            tasks=_given(query, "task"),
            demonstrators=_given(query, "by"),
            tags=_given(query, "tag"),
            success={"success": True, "failure": False}.get(query.get("outcome", "")),
            unrated=query.get("outcome") == "unrated",
            marked=True if query.get("marked") else None,
            text=query.get("text", "")[:400],
        )
        meant = self._sorted(rows, selection.rows(rows, annotations), query.get("order", "oldest"))
        first = _number(query.get("first", "0"))
        tags = Counter(tag for annotation in annotations.episodes.values() for tag in annotation.tags)
        return {
            "store": self.store.path.name,
            "suite": self.store.suite.name,
            "all": len(rows),
            "total": len(meant),
            "marked": sum(annotation.marked for annotation in annotations.episodes.values()),
            "first": first,
            "rows": [_row(rows, annotations, at, _SHOWN) for at in meant[first : first + MOST_ROWS]],
            "tasks": sorted(set(rows["task"].to_pylist())),
            "people": sorted(set(rows["demonstrator"].to_pylist())),
            "tags": sorted(tags),
        }

    def details(self, episode: str) -> dict[str, Any] | None:
        """Return all that the store says of an episode, without its steps; None where there is none."""
        rows, annotations = self._current()
        at = self._places.get(episode)
        return None if at is None else _row(rows, annotations, at, _DETAILS)

    def trajectory(self, episode: str) -> Trajectory | None:
        """Read an episode; None where there is none."""
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
                self._places = {name: at for at, name in enumerate(self._rows["episode"].to_pylist())}
            if self._read is None or manifest.annotations != self._read.annotations:
                self._annotations = self.store.annotations()
            self._read = manifest
            return self._rows, self._annotations

    def _sorted(self, rows: pa.Table, meant: list[int], order: str) -> list[int]:
        if order not in ORDERS:
            raise TutelageError(f"expected an order of {', '.join(ORDERS)}, got {order[:40]!r}")
        column, is_down = ORDERS[order]
        if column is None:
            return meant[::-1] if is_down else meant
        values = rows[column].to_pylist()
        return sorted(meant, key=lambda at: _rank(values[at]), reverse=is_down)


def _row(rows: pa.Table, annotations: Annotations, at: int, names: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {name: _finite(rows[name][at].as_py()) for name in (*names, "return")}
    annotation = annotations[row["episode"]]
    return row | {"note": annotation.note, "tags": list(annotation.tags), "marked": annotation.marked}


def _given(query: Mapping[str, str], name: str) -> tuple[str, ...]:
    return (query[name],) if query.get(name) else ()


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 12:
        raise TutelageError(f"expected a number, got {text[:40]!r}")
    return int(text)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rank(value: float) -> float:
    return -math.inf if math.isnan(value) else value
