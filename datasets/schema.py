"""The Parquet schema of a store: one row an episode; trajectories ↔ rows."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..console.wording import counted
from ..errors import TutelageError
from ..files.bounded_archives import read_npz
from ..files.bounded_files import parse_json
from ..files.finite_json import exact_json
from .trajectory import Trajectory

VERSION = 2
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
        ("casts", pa.string()),  # JSON: what casts to the declared dtypes changed, {} for nothing
        ("seed", pa.int64()),
        ("demonstrator", pa.string()),
        ("kind", pa.string()),
        ("started", pa.string()),
        ("steps", pa.int32()),
        ("return", pa.float64()),
        ("success", pa.bool_()),  # null: the task has no success rule
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
        ("infos", pa.large_binary()),
    ],
    metadata={"tutelage.schema": str(VERSION)},
)
"""Plain columns; `observations` (null when replayed) and `infos` (null when the success rule reads none) are
NumPy .npz, see `pack`."""

# times and frame numbers rise evenly: their differences are tiny
_ENCODINGS = {
    "times_ms.list.element": "DELTA_BINARY_PACKED",
    "frames.list.element": "DELTA_BINARY_PACKED",
    "observations": "PLAIN",
    "infos": "PLAIN",
}
_DICTIONARY = [
    *(name for name in SUMMARY.names if SUMMARY.field(name).type == pa.string()),
    *(f"{name}.list.element" for name in ("actions", "rewards", "controllers")),
]

_MAY_BE_MISSING = ("steps_per_second", "success")

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
    check_summary(pa.Table.from_batches([batch]).select(SUMMARY.names))
    for name in _PER_STEP:
        if batch.column(name).null_count or batch.column(name).flatten().null_count:
            raise TutelageError(f"expected {name} for every step, got steps without")
    lists = {name: (batch.column(name).offsets, batch.column(name).values.to_numpy()) for name in _PER_STEP}
    summary = batch.select(SUMMARY.names).to_pylist()
    blobs, infos = batch.column("observations"), batch.column("infos")
    for at, row in enumerate(summary):
        steps = {
            name: values[offsets[at].as_py() : offsets[at + 1].as_py()].copy()
            for name, (offsets, values) in lists.items()
        }
        blob, where = blobs[at].as_buffer(), f"episode {row['episode']}"
        observations = None if blob is None else unpack(blob, where)
        yield _from_row(row, steps, observations, _numbers(infos[at].as_buffer(), where))


def check_summary(rows: pa.Table) -> pa.Table:
    """Return rows of SUMMARY as they are; raises TutelageError for other columns, or missing values."""
    for field in SUMMARY:
        if rows.schema.get_field_index(field.name) < 0 or rows[field.name].type != field.type:
            raise TutelageError(f"expected a column {field.name!r} of {field.type}, got none, or another")
        if rows[field.name].null_count and field.name not in _MAY_BE_MISSING:
            raise TutelageError(f"expected {field.name!r} of every episode, got episodes without")
    return rows


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


def unpack(data: Any, where: str = "stored observations") -> dict[str, np.ndarray]:
    """Read what `pack` wrote: leaf path → array; raises TutelageError, which begins with `where`."""
    found = {}
    archive = read_npz(data, where)
    for name, array in archive.items():
        kind, _, path = name.partition("/")
        if not array.ndim:
            raise TutelageError(f"expected one value a step at {path!r} of {where}, got one in all")
        if kind == "leaf":
            found[path] = array
        elif kind == "which":
            texts, ends = archive.get(f"texts/{path}"), archive.get(f"ends/{path}")
            found[path] = _texts(array, texts, ends, f"{path!r} of {where}")
    return found


def _texts(which: np.ndarray, texts: np.ndarray | None, ends: np.ndarray | None, where: str) -> np.ndarray:
    """Put texts in their places again: `which` [T] are indices, text i ends before byte `ends[i]`."""
    if texts is None or ends is None or {which.dtype.kind, ends.dtype.kind} - {"i", "u"}:
        raise TutelageError(f"expected texts and their places at {where}, got something else")
    bounds = [0, *ends.ravel().tolist()]
    if which.min(initial=0) < 0 or which.max(initial=-1) >= len(ends) or sorted(bounds) != bounds:
        raise TutelageError(f"expected places that texts are at, in {where}, got others")
    data = texts.tobytes()
    try:
        parts = [data[begin:end].decode("utf-8", "surrogatepass") for begin, end in pairwise(bounds)]
    except UnicodeDecodeError:
        raise TutelageError(f"expected UTF-8 texts at {where}, got other bytes") from None
    return np.array([*parts, None], object)[which]


def _to_row(one: Trajectory) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in (*_PLAIN, "digest", "success")},
        "kwargs": exact_json(dict(one.kwargs), is_sorted=True),
        "versions": exact_json(dict(one.versions), is_sorted=True),
        "casts": exact_json(dict(one.casts), is_sorted=True),
        "steps": len(one),
        "return": one.total,
        "seconds": one.seconds,
        "stored": one.observations is not None,
        "action_size": one.actions.shape[1],
        **{name: getattr(one, name).ravel() for name in _PER_STEP},
        "observations": None if one.observations is None else pack(one.observations),
        "infos": pack(one.infos) if one.infos else None,
    }


_PLAIN = (
    *("episode", "suite", "task", "env", "seed", "demonstrator", "kind", "started"),
    *("terminated", "truncated", "steps_per_second", "study", "consent", "notes"),
)


def _numbers(blob: Any, where: str) -> dict[str, np.ndarray]:
    """Read `Trajectory.infos`; raises TutelageError for anything but float64 `[T]`."""
    infos = {} if blob is None else unpack(blob, where)
    for path, array in infos.items():
        if array.dtype != np.float64 or array.ndim != 1:
            raise TutelageError(f"expected one number a step at {path!r} of {where}, got something else")
    return infos


def _mapping(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Read a JSON object out of a column; raises TutelageError for anything else."""
    document = parse_json(row[name], f"{name} of episode {row['episode']}")
    if not isinstance(document, dict):
        raise TutelageError(f"expected {name} of episode {row['episode']} to be a mapping, got another thing")
    return document


def _from_row(
    row: dict[str, Any],
    steps: dict[str, Any],
    observations: dict[str, np.ndarray] | None,
    infos: dict[str, np.ndarray],
) -> Trajectory:
    size = row["action_size"]
    if size < 0 or len(steps["actions"]) != row["steps"] * size:
        raise TutelageError(
            f"expected {row['steps']} actions of {counted(size, 'number')} in episode {row['episode']}, "
            f"got {len(steps['actions'])} numbers"
        )
    actions = steps.pop("actions").reshape(row["steps"], size)
    return Trajectory(
        **{name: row[name] for name in (*_PLAIN, "digest", "success")},
        **steps,
        actions=actions,
        kwargs=_mapping(row, "kwargs"),
        versions=_mapping(row, "versions"),
        casts=_mapping(row, "casts"),
        observations=observations,
        infos=infos,
    )
