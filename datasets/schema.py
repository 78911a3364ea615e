"""The Parquet schema of a store, one row per episode; conversion between trajectories and rows."""

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
"""Row format version; incremented whenever an older reader would misread a row."""

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
"""Columns of `Store.episodes`."""

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

# times and frame numbers increase evenly: their differences are small
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
"""Most episodes in a row group; fewer when observations are stored."""
_GROUP_BYTES = 64 << 20


def to_table(trajectories: Sequence[Trajectory]) -> pa.Table:
    """Convert trajectories to rows of SCHEMA."""
    rows = [_to_row(trajectory) for trajectory in trajectories]
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def seal(table: pa.Table) -> bytes:
    """Encode a table as the bytes of a Parquet file."""
    rows = max(1, len(table))
    row_bytes = max(1, table.nbytes // rows)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.cast(SCHEMA),
        sink,
        compression="zstd",
        compression_level=9,
        use_dictionary=_DICTIONARY,
        column_encoding=_ENCODINGS,
        row_group_size=max(1, min(ROW_GROUP, _GROUP_BYTES // row_bytes)),
        write_page_checksum=True,
    )
    return bytes(sink.getvalue())


def from_batch(batch: pa.RecordBatch) -> Iterator[Trajectory]:
    """Convert a batch of rows to trajectories, in order; raises TutelageError for an invalid row."""
    check_summary(pa.Table.from_batches([batch]).select(SUMMARY.names))
    for name in _PER_STEP:
        if batch.column(name).null_count or batch.column(name).flatten().null_count:
            raise TutelageError(f"expected {name} for every step, got steps without")
    lists = {name: (batch.column(name).offsets, batch.column(name).values.to_numpy()) for name in _PER_STEP}
    summary = batch.select(SUMMARY.names).to_pylist()
    blobs, infos = batch.column("observations"), batch.column("infos")
    for index, row in enumerate(summary):
        steps = {
            name: values[offsets[index].as_py() : offsets[index + 1].as_py()].copy()
            for name, (offsets, values) in lists.items()
        }
        blob, where = blobs[index].as_buffer(), f"episode {row['episode']}"
        observations = None if blob is None else unpack(blob, where)
        yield _from_row(row, steps, observations, _unpack_infos(infos[index].as_buffer(), where))


def check_summary(rows: pa.Table) -> pa.Table:
    """Return rows of SUMMARY unchanged; raises TutelageError for other columns, or missing values."""
    for field in SUMMARY:
        if rows.schema.get_field_index(field.name) < 0 or rows[field.name].type != field.type:
            raise TutelageError(f"expected a column {field.name!r} of {field.type}, got none, or another")
        if rows[field.name].null_count and field.name not in _MAY_BE_MISSING:
            raise TutelageError(f"expected {field.name!r} of every episode, got episodes without")
    return rows


def pack(observations: Mapping[str, np.ndarray]) -> bytes:
    """Encode stacked observations as .npz bytes, lossless and without pickle; each long text only once."""
    members: dict[str, np.ndarray] = {}
    for path, array in observations.items():
        # the prefix avoids conflicts with savez's argument names, and gives the root leaf a name
        if array.dtype == object:
            codes: dict[str, int] = {}
            members[f"which/{path}"] = np.array([codes.setdefault(text, len(codes)) for text in array])
            texts = [text.encode("utf-8", "surrogatepass") for text in codes]
            members[f"ends/{path}"] = np.cumsum([len(text) for text in texts])
            members[f"texts/{path}"] = np.frombuffer(b"".join(texts), np.uint8)
        else:
            members[f"leaf/{path}"] = array
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **members)
    return buffer.getvalue()


def unpack(data: Any, where: str = "stored observations") -> dict[str, np.ndarray]:
    """Decode the bytes of `pack`: leaf path → array; raises TutelageError that names `where`."""
    arrays = {}
    archive = read_npz(data, where)
    for name, array in archive.items():
        kind, _, path = name.partition("/")
        if not array.ndim:
            raise TutelageError(f"expected one value a step at {path!r} of {where}, got one in all")
        if kind == "leaf":
            arrays[path] = array
        elif kind == "which":
            texts, ends = archive.get(f"texts/{path}"), archive.get(f"ends/{path}")
            arrays[path] = _decode_texts(array, texts, ends, f"{path!r} of {where}")
    return arrays


def _decode_texts(
    which: np.ndarray, texts: np.ndarray | None, ends: np.ndarray | None, where: str
) -> np.ndarray:
    """Decode texts: `which` `[T]` are indices of texts, text i ends before byte `ends[i]`."""
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


def _to_row(trajectory: Trajectory) -> dict[str, Any]:
    return {
        **{name: getattr(trajectory, name) for name in (*_PLAIN, "digest", "success")},
        "kwargs": exact_json(dict(trajectory.kwargs), is_sorted=True),
        "versions": exact_json(dict(trajectory.versions), is_sorted=True),
        "casts": exact_json(dict(trajectory.casts), is_sorted=True),
        "steps": len(trajectory),
        "return": trajectory.total,
        "seconds": trajectory.seconds,
        "stored": trajectory.observations is not None,
        "action_size": trajectory.actions.shape[1],
        **{name: getattr(trajectory, name).ravel() for name in _PER_STEP},
        "observations": None if trajectory.observations is None else pack(trajectory.observations),
        "infos": pack(trajectory.infos) if trajectory.infos else None,
    }


_PLAIN = (
    *("episode", "suite", "task", "env", "seed", "demonstrator", "kind", "started"),
    *("terminated", "truncated", "steps_per_second", "study", "consent", "notes"),
)


def _unpack_infos(blob: Any, where: str) -> dict[str, np.ndarray]:
    """Decode `Trajectory.infos`; raises TutelageError for anything but float64 `[T]`."""
    infos = {} if blob is None else unpack(blob, where)
    for path, array in infos.items():
        if array.dtype != np.float64 or array.ndim != 1:
            raise TutelageError(f"expected one number a step at {path!r} of {where}, got something else")
    return infos


def _parse_mapping(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Parse a JSON object from a column; raises TutelageError for anything else."""
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
        kwargs=_parse_mapping(row, "kwargs"),
        versions=_parse_mapping(row, "versions"),
        casts=_parse_mapping(row, "casts"),
        observations=observations,
        infos=infos,
    )
