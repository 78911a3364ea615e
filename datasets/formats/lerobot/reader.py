"""Read and check the tables of an exported LeRobot dataset: columns, positions, lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ....errors import TutelageError
from ...parquet.bounded_parquet import read_table
from .schema import Feature

EPISODES = pa.schema(
    [
        *((name, pa.int64()) for name in ("episode_index", "dataset_from_index", "length")),
        *((f"data/{name}", pa.int64()) for name in ("chunk_index", "file_index")),
        ("tutelage/facts", pa.string()),
        ("tutelage/last_observation", pa.binary()),
        ("tutelage/action_rows", pa.list_(pa.float64())),
    ]
)
"""Columns of meta/episodes that an import reads."""


def read_frames(path: Path, features: Mapping[str, Feature]) -> pa.Table:
    """Read a file of frames; raises TutelageError when a feature is missing, has nulls or another type."""
    try:
        table = read_table(path)
    except FileNotFoundError:
        raise TutelageError(f"expected frames at {path}, found none; copy the dataset again") from None
    for name, feature in features.items():
        if table.column_names.count(name) != 1:
            raise TutelageError(f"expected a column {name!r} in {path}, got none, or several")
        if table[name].null_count or not _fits(table[name].type, feature):
            raise TutelageError(
                f"expected {name!r} of every frame in {path} as {feature['dtype']}, got others"
            )
    if not len(table):
        raise TutelageError(f"expected frames in {path}, got none")
    return table


def frames_of(row: Mapping[str, Any], table: pa.Table, path: Path) -> pa.Table:
    """Return the frames of an episode; raises TutelageError when the file does not contain them."""
    begin = row["dataset_from_index"] - table["index"][0].as_py()
    if begin < 0 or row["length"] < 1 or begin + row["length"] > len(table):
        raise TutelageError(f"expected the frames of episode {row['episode_index']} in {path}, got too few")
    return table.slice(begin, row["length"])


def joined(observed: np.ndarray, last: np.ndarray | None, where: str) -> np.ndarray:
    """Append the last observation; raises TutelageError when its shape or dtype differs."""
    if (
        last is None
        or last.shape != (1, *observed.shape[1:])
        or (last.dtype.kind in "UO") != (observed.dtype.kind in "UO")
    ):
        raise TutelageError(f"expected one last observation at {where}, of the others' shape, got none")
    if observed.dtype.kind not in "UO" and last.dtype != observed.dtype:
        raise TutelageError(f"expected {observed.dtype} as the last observation at {where}, got {last.dtype}")
    return np.concatenate([observed, last])


def rows_of(rows: Sequence[float | None], length: int) -> np.ndarray:
    """Return action rows `[T, k]`; raises TutelageError when a row is incomplete."""
    if None in rows or not rows or len(rows) % length:
        raise TutelageError("expected whole rows of actions in every episode, got others")
    return np.array(rows, np.float64).reshape(length, -1)


def _fits(kind: pa.DataType, feature: Feature) -> bool:
    """Return whether a column's type fits a feature."""
    if feature["dtype"] == "image":
        return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
    if feature["dtype"] == "string":
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return bool(number)
