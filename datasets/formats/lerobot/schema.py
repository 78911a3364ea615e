"""Schema of LeRobot v3.0: names, features, Arrow columns, statistics and the tasks file.

Source: huggingface/lerobot, `src/lerobot/datasets` (utils.py, feature_utils.py, io_utils.py), codebase v3.0.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from gymnasium import Space, spaces
from PIL import Image

from ....envs.spaces import Leaf, action_size, is_text, leaves
from ....errors import TutelageError
from ....files.finite_json import json_text
from ...trajectory import text_array

CODEBASE = "v3.0"
CHUNK_SIZE = 1000
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = f"data/{FILE}"
EPISODES_PATH = f"meta/episodes/{FILE}"
TASKS_PATH = "meta/tasks.parquet"

Feature = dict[str, Any]

_INDICES: dict[str, Feature] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
SUCCESS = "next.success"
_FLAG: Feature = {"dtype": "bool", "shape": [1], "names": None}
_OUTCOMES: dict[str, Feature] = {
    "next.reward": {"dtype": "float64", "shape": [1], "names": None},
    "next.done": {"dtype": "bool", "shape": [1], "names": None},
    "tutelage.time_ms": {"dtype": "int32", "shape": [1], "names": None},
    "tutelage.controller": {"dtype": "int8", "shape": [1], "names": None},
    "tutelage.frame": {"dtype": "int32", "shape": [1], "names": None},
}


def features_of(observation: Space[Any], action: Space[Any], *, is_rated: bool = False) -> dict[str, Feature]:
    """Describe the columns of the data files: observations, the action, outcomes and indices.

    With `is_rated` (the success of every episode is known), `next.success` is included: a column of flags
    cannot express "unknown".
    """
    observations = {feature_name(leaf): _feature(leaf) for leaf in leaves(observation)}
    success = {SUCCESS: _FLAG} if is_rated else {}
    return {**observations, "action": _action_feature(action), **_OUTCOMES, **success, **_INDICES}


def feature_name(leaf: Leaf) -> str:
    """Name an observation leaf as LeRobot does: `observation.state`, `observation.images.x`, ...

    Names are unique: a dot within a key is escaped (see `spaces.join_path`), and so is a key "images" whose
    leaves are not images.
    """
    path = leaf.path.replace("/", ".") or ("image" if is_picture(leaf.space) else "state")
    if is_picture(leaf.space):
        return f"observation.images.{path}"
    return f"observation.{path.replace('images.', '%69mages.', 1) if path.startswith('images.') else path}"


def is_picture(space: Space[Any]) -> bool:
    """Return whether a leaf is a camera image, stored as PNG: uint8 `[H, W, 3]` of at least 32 x 32."""
    return (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) == 3
        and space.shape[2] == 3
        and min(space.shape[:2]) >= 32
    )


def action_dtype(action: Space[Any]) -> np.dtype[Any]:
    """Return the dtype of the action column: the space's own if it has one leaf, else float64."""
    parts = leaves(action)
    return np.dtype(parts[0].space.dtype if len(parts) == 1 else np.float64)


def column(array: np.ndarray, feature: Feature) -> pa.Array:
    """Convert `[n, ...]` to a column: plain values, fixed-size lists, nested lists, or PNG files."""
    if feature["dtype"] == "image":
        files = [{"bytes": _png(pixels), "path": None} for pixels in array]
        return pa.array(files, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    if feature["dtype"] == "string":
        return pa.array(array.tolist(), pa.string())
    shape = feature["shape"]
    nested = pa.array(array.reshape(-1).astype(feature["dtype"]))
    if shape == [1]:
        return nested
    if len(shape) == 1:
        return pa.FixedSizeListArray.from_arrays(nested, shape[0])
    for size in reversed(shape):
        nested = pa.ListArray.from_arrays(np.arange(0, len(nested) + 1, size, dtype=np.int32), nested)
    return nested


def array_of(values: pa.ChunkedArray, feature: Feature, shape: Sequence[int]) -> np.ndarray:
    """Convert a column to `[n, *shape]`: the inverse of `column`."""
    if feature["dtype"] == "image":
        pictures = [_picture(picture, feature["shape"]) for picture in values.to_pylist()]
        return np.stack(pictures)
    if feature["dtype"] == "string":
        return text_array(values.to_pylist())
    flat = values.combine_chunks()
    while isinstance(flat, pa.FixedSizeListArray | pa.ListArray | pa.LargeListArray):
        flat = flat.flatten()
    if flat.null_count or len(flat) != len(values) * int(np.prod(shape, dtype=np.int64)):
        raise TutelageError(f"expected lists of shape {list(shape)} in every frame, got others")
    return np.asarray(flat.to_numpy(zero_copy_only=False)).astype(feature["dtype"]).reshape(-1, *shape)


def statistics(array: np.ndarray, feature: Feature, quantiles: bool) -> dict[str, np.ndarray] | None:
    """Compute a feature's statistics over `[n, ...]`; None for text. Images: per channel, in [0, 1].

    Non-finite numbers are left out; a statistic without any finite number is NaN.
    """
    if feature["dtype"] == "string":
        return None
    values = np.asarray(array, np.float64)
    count = np.array([len(array)])
    if feature["dtype"] == "image":
        values = np.moveaxis(values / 255, -1, 1)
        summary = _summary(values.transpose(0, 2, 3, 1).reshape(-1, 3), quantiles)
        return {name: array.reshape(3, 1, 1) for name, array in summary.items()} | {"count": count}
    return _summary(values.reshape(len(values), *feature["shape"]), quantiles) | {"count": count}


def tasks_table(sentences: Sequence[str]) -> pa.Table:
    """Return tasks.parquet: `task_index`, and the sentences as the pandas index that readers expect."""
    table = pa.table({"task_index": pa.array(range(len(sentences)), pa.int64()), "task": list(sentences)})
    described = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
        {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object"},
    ]
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [{**entry, "metadata": None} for entry in described],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    return table.replace_schema_metadata({"pandas": json_text(pandas)})


def info(features: Mapping[str, Feature], fps: int, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    """Return meta/info.json."""
    return {
        "codebase_version": CODEBASE,
        "robot_type": None,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": CHUNK_SIZE,
        "data_files_size_in_mb": DATA_FILE_MB,
        "video_files_size_in_mb": VIDEO_FILE_MB,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH,
        "video_path": None,
        "features": dict(features),
    }


def _feature(leaf: Leaf) -> Feature:
    space = leaf.space
    if is_text(space):
        return {"dtype": "string", "shape": [1], "names": None}
    shape = list(space.shape or ()) or [1]
    if is_picture(space):
        return {"dtype": "image", "shape": shape, "names": ["height", "width", "channels"]}
    if len(shape) > 5:  # readers support at most 5 dimensions
        shape = [int(np.prod(shape))]
    return {"dtype": str(np.dtype(space.dtype)), "shape": shape, "names": None}


def _action_feature(action: Space[Any]) -> Feature:
    return {"dtype": str(action_dtype(action)), "shape": [action_size(action)], "names": None}


def _summary(values: np.ndarray, quantiles: bool) -> dict[str, np.ndarray]:
    if values.ndim > 1 and not np.isfinite(values).all():
        return _finite_summary(values, quantiles)
    summary = {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
    }
    if quantiles:
        levels = (1, 10, 50, 90, 99)
        summary |= dict(
            zip((f"q{level:02d}" for level in levels), np.percentile(values, levels, axis=0), strict=True)
        )
    return summary


def _finite_summary(values: np.ndarray, quantiles: bool) -> dict[str, np.ndarray]:
    """Summarize each number `[n, ...]` over the frames where it is finite."""
    shape, columns = values.shape[1:], values.reshape(len(values), -1).T
    parts = [column[np.isfinite(column)] for column in columns]
    summaries = [_summary(part if len(part) else np.array([np.nan]), quantiles) for part in parts]
    return {name: np.array([summary[name] for summary in summaries]).reshape(shape) for name in summaries[0]}


def _picture(value: Any, shape: Sequence[int]) -> np.ndarray:
    """Decode a PNG file of exactly this shape; raises TutelageError before anything larger is decoded."""
    try:
        with Image.open(io.BytesIO(value["bytes"]), formats=["PNG"]) as image:
            if [image.height, image.width, len(image.getbands())] == list(shape):
                return np.array(image)
            got = f"{image.width} x {image.height} pixels, {image.mode}"
    except (TypeError, KeyError, ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        got = str(error)
    raise TutelageError(f"expected a PNG picture of shape {list(shape)}, got {got}")


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
