"""The same demonstrations as Parquet tables: `episodes`, `steps`, `snaps` and `snaps_flight`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ....envs.errors import TutelageError
from .recording import PAGE_COLUMNS, Event, Page, Recording

TABLES = ("episodes.parquet", "steps.parquet", "snaps.parquet", "snaps_flight.parquet")
_STEPS = ("ep", "t", "type", "phase", "key", "char", "x", "y", "target", "snap", "post")
_BATCH = 1024


def count_tables(path: Path) -> int:
    """Count the demonstrations that `read_tables` will give."""
    return int(_open(path, TABLES[0]).metadata.num_rows)


def read_tables(path: Path) -> Iterator[Recording]:
    """Read every demonstration in the order of their numbers; little is in memory at a time.

    Raises TutelageError for a table that is missing, damaged or of another kind.
    """
    try:
        episodes = _open(path, TABLES[0]).read().to_pylist()
        steps = _Rows(path, TABLES[1], _STEPS)
        pages = [_Rows(path, name, ("ep", *PAGE_COLUMNS)) for name in TABLES[2:]]
        for episode in episodes:
            number = episode["ep"]
            shown = [row for rows in pages for row in rows.of(number)]
            yield _recording(path, episode, steps.of(number), shown)
    except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors are among them
        raise TutelageError(
            f"expected tables of demonstrations in {path}, got {type(error).__name__}: {error}"
        ) from None


class _Rows:
    """The rows of a table, read along once: they follow the episodes' numbers."""

    def __init__(self, path: Path, name: str, columns: Sequence[str]) -> None:
        file = _open(path, name)
        rows = (row for batch in file.iter_batches(_BATCH, columns=[*columns]) for row in batch.to_pylist())
        self._episodes = groupby(rows, key=lambda row: row["ep"])
        self._next = next(self._episodes, None)

    def of(self, episode: int) -> list[Mapping[str, Any]]:
        """Return the rows of an episode; episodes must be asked for in their order."""
        while self._next is not None and self._next[0] < episode:
            self._next = next(self._episodes, None)
        if self._next is None or self._next[0] != episode:
            return []
        return list(self._next[1])


def _open(path: Path, name: str) -> pq.ParquetFile:
    if not (path / name).is_file():
        raise TutelageError(f"expected {', '.join(TABLES)} in {path}, found no {name}; check the path")
    return pq.ParquetFile(path / name)


def _recording(
    path: Path,
    episode: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]],
    pages: Sequence[Mapping[str, Any]],
) -> Recording:
    live = [step for step in steps if not step["post"]]
    return Recording(
        source=f"{path}, ep {episode['ep']}",
        task=episode["task"],
        round=episode["round"],
        demonstrator=f"turk-{episode['assignment']}",
        instruction=episode["utterance"],
        reward=episode["raw_reward"],
        scaled=episode["reward"],
        pages=[Page(**{name: page[name] for name in PAGE_COLUMNS}) for page in pages],
        events=[_event(step) for step in live],
        rest=len(steps) - len(live),
    )


def _event(step: Mapping[str, Any]) -> Event:
    return Event(
        time=step["t"],
        kind=step["type"],
        phase=step["phase"],
        target=step["target"],
        page=step["snap"],
        **{name: step[name] or 0 for name in ("x", "y", "key", "char")},
    )
