"""Read the same demonstrations from Parquet tables: `episodes`, `steps`, `snaps` and `snaps_flight`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow.types import is_boolean, is_floating, is_integer, is_string

from ....errors import TutelageError
from ...parquet.bounded_parquet import BoundedParquet
from .recording import PAGE_COLUMNS, InputEvent, PageSnapshot, Recording, check_recording

TABLES = ("episodes.parquet", "steps.parquet", "snaps.parquet", "snaps_flight.parquet")
Columns = dict[str, Callable[[pa.DataType], bool]]
"""Column name → predicate of its type, or of its lists' value type."""

_EPISODES: Columns = {
    "ep": is_integer,
    **dict.fromkeys(("task", "round", "assignment", "utterance"), is_string),
    **dict.fromkeys(("raw_reward", "reward"), is_floating),
}
_STEPS: Columns = {
    **dict.fromkeys(("ep", "t", "phase", "target", "snap", "key", "char", "x", "y"), is_integer),
    "type": is_string,
    "post": is_boolean,
}
_MISSING = ("key", "char", "x", "y", "value")
"""Columns that may have nulls."""
_PAGES: Columns = {
    "ep": is_integer,
    **dict.fromkeys(("ref", "parent", "bg", "fg", "flags"), is_integer),
    **dict.fromkeys(("tag", "text", "value", "id", "classes"), is_string),
    **dict.fromkeys(("left", "top", "width", "height"), is_floating),
}
_BATCH = 1024


def count_tables(path: Path) -> int:
    """Return the number of demonstrations that `read_tables` yields."""
    return int(_open(path, TABLES[0]).metadata.num_rows)


def read_tables(path: Path) -> Iterator[Recording]:
    """Read every demonstration in the order of their numbers, streaming.

    Raises TutelageError for a table that is missing, damaged or of another kind.
    """
    try:
        episodes = _checked_rows(_open(path, TABLES[0]), _EPISODES)
        steps = _Rows(path, TABLES[1], _STEPS)
        pages = [_Rows(path, name, _PAGES) for name in TABLES[2:]]
        for episode in episodes:
            number = episode["ep"]
            page_rows = [row for rows in pages for row in rows.of(number)]
            yield _recording(path, episode, steps.of(number), page_rows)
    except TutelageError:
        raise
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are subclasses
        raise TutelageError(
            f"expected tables of demonstrations in {path}, got {type(error).__name__}: {error}"
        ) from None


class _Rows:
    """The rows of a table, read in one pass: they are sorted by episode number."""

    def __init__(self, path: Path, name: str, columns: Columns) -> None:
        file = _open(path, name)
        rows = _checked_rows(file, columns)
        self._episodes = groupby(rows, key=lambda row: row["ep"])
        self._next = next(self._episodes, None)

    def of(self, episode: int) -> list[Mapping[str, Any]]:
        """Return the rows of an episode; calls must be in ascending order of episodes."""
        while self._next is not None and self._next[0] < episode:
            self._next = next(self._episodes, None)
        if self._next is None or self._next[0] != episode:
            return []
        return list(self._next[1])


def _checked_rows(file: BoundedParquet, columns: Columns) -> Iterator[Mapping[str, Any]]:
    """Yield a table's rows; raises TutelageError for a column of another type, or a missing value."""
    for name, is_kind in columns.items():
        index = file.schema_arrow.get_field_index(name)
        kind = file.schema_arrow.field(index).type if index >= 0 else None
        if kind is not None and pa.types.is_list(kind) != (columns is _PAGES and name in PAGE_COLUMNS):
            kind = None
        if kind is None or not is_kind(kind.value_type if pa.types.is_list(kind) else kind):
            raise TutelageError(f"expected a column {name!r} of another type in {file.where}, got {kind}")
    for batch in file.iter_batches(_BATCH, [*columns]):
        for name in columns.keys() - {*_MISSING}:
            values = batch.column(name)
            inner = values.flatten() if pa.types.is_list(values.type) else values
            if values.null_count or inner.null_count:
                raise TutelageError(
                    f"expected every {name!r} in {file.where} to have a value, got one without"
                )
        yield from batch.to_pylist()


def _open(path: Path, name: str) -> BoundedParquet:
    if not (path / name).is_file():
        raise TutelageError(f"expected {', '.join(TABLES)} in {path}, found no {name}; check the path")
    return BoundedParquet(path / name)


def _recording(
    path: Path,
    episode: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]],
    pages: Sequence[Mapping[str, Any]],
) -> Recording:
    live = [step for step in steps if not step["post"]]
    recording = Recording(
        source=f"{path}, ep {episode['ep']}",
        task=episode["task"],
        round=episode["round"],
        demonstrator=f"turk-{episode['assignment']}",
        instruction=episode["utterance"],
        reward=episode["raw_reward"],
        scaled=episode["reward"],
        pages=[PageSnapshot(**{name: page[name] for name in PAGE_COLUMNS}) for page in pages],
        events=[_event(step) for step in live],
        rest=len(steps) - len(live),
    )
    check_recording(recording)
    return recording


def _event(step: Mapping[str, Any]) -> InputEvent:
    return InputEvent(
        time=step["t"],
        kind=step["type"],
        phase=step["phase"],
        target=step["target"],
        page=step["snap"],
        **{name: step[name] or 0 for name in ("x", "y", "key", "char")},
    )
