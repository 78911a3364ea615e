"""The Parquet schema of a store: one row an episode; trajectories ↔ rows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..envs.errors import TutelageError
from .trajectory import Trajectory

VERSION = 1
"""Raised whenever a reader of an older version would misread a row."""

_PER_STEP = {
    "actions": pa.float64(),  # T * action_size values, row after row
    "rewards": pa.float64(),
    "times_ms": pa.int32(),
    "controllers": pa.int8(),
    "frames": pa.int32(),
}

SUMMARY = pa.schema(
    [
        ("episode", pa.string()),
        ("suite", pa.string()),
        ("task", pa.string()),
        ("env", pa.string()),
        ("kwargs", pa.string()),  # JSON
        ("versions", pa.string()),  # JSON
        ("seed", pa.int64()),
        ("demonstrator", pa.string()),
        ("kind", pa.string()),
        ("started", pa.string()),
        ("steps", pa.int32()),
        ("return", pa.float64()),
        ("success", pa.bool_()),
        ("seconds", pa.float64()),
        ("terminated", pa.bool_()),
        ("truncated", pa.bool_()),
        ("steps_per_second", pa.float64()),
        ("study", pa.string()),
        ("consent", pa.string()),
        ("notes", pa.string()),
        ("digest", pa.binary(16)),
        ("stored", pa.bool_()),  # observations are stored; false: replay proved that they come back
        ("action_size", pa.int32()),
    ]
)
"""What `Store.episodes` gives."""

SCHEMA = pa.schema(
    [
        *SUMMARY,
        *((name, pa.list_(kind)) for name, kind in _PER_STEP.items()),
        ("observations", pa.large_binary()),
    ],
    metadata={"tutelage.schema": str(VERSION)},
)
"""Plain columns; `observations` is a NumPy .npz (null when replayed), see `pack`."""

# times and frame numbers rise evenly: their differences are tiny
_ENCODINGS = {
    "times_ms.list.element": "DELTA_BINARY_PACKED",
    "frames.list.element": "DELTA_BINARY_PACKED",
    "observations": "PLAIN",
}
_DICTIONARY = [
    *(name for name in SUMMARY.names if SUMMARY.field(name).type == pa.string()),
    *(f"{name}.list.element" for name in ("actions", "rewards", "controllers")),
]

ROW_GROUP = 2048
"""Episodes in a row group, at most; fewer when observations are stored."""
_GROUP_BYTES = 64 << 20


def to_table(trajectories: Sequence[Trajectory]) -> pa.Table:
    """Write trajectories as rows of SCHEMA."""
    rows = [_to_row(one) for one in trajectories]
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def seal(table: pa.Table) -> bytes:
    """Write a table as the bytes of a Parquet file."""
    rows = max(1, len(table))
    each = max(1, table.nbytes // rows)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.cast(SCHEMA),
        sink,
        compression="zstd",
        compression_level=9,
        use_dictionary=_DICTIONARY,
        column_encoding=_ENCODINGS,
        row_group_size=max(1, min(ROW_GROUP, _GROUP_BYTES // each)),
        write_page_checksum=True,
    )
    return bytes(sink.getvalue())


def from_batch(batch: pa.RecordBatch) -> Iterator[Trajectory]:
    """Read the trajectories of a batch of rows, in order; raises TutelageError for a row that is not one."""
    lists = {name: (batch.column(name).offsets, batch.column(name).values.to_numpy()) for name in _PER_STEP}
    summary = batch.select(SUMMARY.names).to_pylist()
    blobs = batch.column("observations")
    for at, row in enumerate(summary):
        steps = {
            name: values[offsets[at].as_py() : offsets[at + 1].as_py()].copy()
            for name, (offsets, values) in lists.items()
        }
        blob = blobs[at].as_buffer()
        yield _from_row(row, steps, None if blob is None else unpack(blob))


def pack(observations: Mapping[str, np.ndarray]) -> bytes:
    """Write stacked observations as .npz bytes, without loss and without pickle; a long text only once."""
    members: dict[str, np.ndarray] = {}
    for path, array in observations.items():
        # the prefix keeps leaf paths away from savez's own argument names, and the bare leaf nameable
        if array.dtype == object:
            places: dict[str, int] = {}
            members[f"which/{path}"] = np.array([places.setdefault(one, len(places)) for one in array])
            texts = [one.encode("utf-8", "surrogatepass") for one in places]
            members[f"ends/{path}"] = np.cumsum([len(one) for one in texts])
            members[f"texts/{path}"] = np.frombuffer(b"".join(texts), np.uint8)
        else:
            members[f"leaf/{path}"] = array
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **members)
    return buffer.getvalue()


def unpack(data: Any) -> dict[str, np.ndarray]:
    """Read what `pack` wrote: leaf path → array."""
    found = {}
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        for name in archive.files:
            kind, _, path = name.partition("/")
            if kind == "leaf":
                found[path] = archive[name]
            elif kind == "which":
                texts, ends = archive[f"texts/{path}"].tobytes(), archive[f"ends/{path}"]
                parts = [texts[begin:end] for begin, end in pairwise((0, *ends))]
                found[path] = np.array([one.decode("utf-8", "surrogatepass") for one in parts], object)[
                    archive[name]
                ]
    return found


def _to_row(one: Trajectory) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in (*_PLAIN, "digest", "success")},
        "kwargs": json.dumps(dict(one.kwargs), sort_keys=True),
        "versions": json.dumps(dict(one.versions), sort_keys=True),
        "steps": len(one),
        "return": one.total,
        "seconds": one.seconds,
        "stored": one.observations is not None,
        "action_size": one.actions.shape[1],
        **{name: getattr(one, name).ravel() for name in _PER_STEP},
        "observations": None if one.observations is None else pack(one.observations),
    }


_PLAIN = (
    *("episode", "suite", "task", "env", "seed", "demonstrator", "kind", "started"),
    *("terminated", "truncated", "steps_per_second", "study", "consent", "notes"),
)


def _from_row(
    row: dict[str, Any], steps: dict[str, Any], observations: dict[str, np.ndarray] | None
) -> Trajectory:
    size = row["action_size"]
    if size < 0 or len(steps["actions"]) != row["steps"] * size:
        raise TutelageError(
            f"expected {row['steps']} actions of {size} numbers in episode {row['episode']}, "
            f"got {len(steps['actions'])} numbers"
        )
    actions = steps.pop("actions").reshape(row["steps"], size)
    return Trajectory(
        **{name: row[name] for name in (*_PLAIN, "digest", "success")},
        **steps,
        actions=actions,
        kwargs=json.loads(row["kwargs"]),
        versions=json.loads(row["versions"]),
        observations=observations,
    )
