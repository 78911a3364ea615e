"""Writes LeRobot datasets as LeRobot does, v2.1 and v3.0, with pictures in columns or in videos."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FPS = 10
SENTENCES = ("pick up the cube", "open the drawer")
HEIGHT, WIDTH = 120, 160


def picture(episode: int, step: int) -> np.ndarray:
    """Draw a frame that tells its episode and step: a gray level, and a bar that moves."""
    frame = np.full((HEIGHT, WIDTH, 3), 40 + 60 * (episode % 3), np.uint8)
    frame[:, 10 * step : 10 * step + 10] = 255
    return frame


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        stream.options = {"crf": "5"}
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def state_of(episode: int, step: int) -> np.ndarray:
    return np.array([episode, step, step / 10], np.float32)


def write_dataset(
    folder: Path,
    version: str = "v3.0",
    camera: str = "video",
    lengths: tuple[int, ...] = (7, 5, 9),
    sentences: tuple[str, ...] = SENTENCES,
    more: dict[str, Any] | None = None,
) -> Path:
    """Write a dataset of a robot: its state, one camera, and an action that follows from the state.

    `more` are further features, name → (description, values `[frames]`).
    """
    (folder / "meta").mkdir(parents=True)
    total = sum(lengths)
    flat = {"names": None}
    features: dict[str, Any] = {
        "observation.state": {"dtype": "float32", "shape": [3], **flat},
        "action": {"dtype": "float32", "shape": [2], **flat},
        **{
            name: {"dtype": kind, "shape": [1], **flat}
            for name, kind in {
                "timestamp": "float32",
                "episode_index": "int64",
                "frame_index": "int64",
                "index": "int64",
                "task_index": "int64",
            }.items()
        },
        **{name: description for name, (description, _) in (more or {}).items()},
    }
    if camera:
        features["observation.images.top"] = {
            "dtype": camera,
            "shape": [HEIGHT, WIDTH, 3],
            "names": ["height", "width", "channels"],
        }
    info = {
        "codebase_version": version,
        "robot_type": "so100",
        "total_episodes": len(lengths),
        "total_frames": total,
        "total_tasks": len(sentences),
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(lengths)}"},
        "features": features,
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    pairs = [(episode, step) for episode, length in enumerate(lengths) for step in range(length)]
    columns: dict[str, Any] = {
        "observation.state": _lists([state_of(*pair) for pair in pairs]),
        "action": _lists([np.array([step / 10, episode - 1], np.float32) for episode, step in pairs]),
        "timestamp": pa.array([step / FPS for _, step in pairs], pa.float32()),
        "episode_index": pa.array([episode for episode, _ in pairs]),
        "frame_index": pa.array([step for _, step in pairs]),
        "index": pa.array(range(total)),
        "task_index": pa.array([episode % len(sentences) for episode, _ in pairs]),
        **{name: pa.array(values) for name, (_, values) in (more or {}).items()},
    }
    if camera == "image":
        columns["observation.images.top"] = pa.array(
            [{"bytes": _png(picture(*pair)), "path": None} for pair in pairs],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    table = pa.table(columns)
    ends = np.cumsum(lengths)
    if version == "v3.0":
        _write(table, folder / "data/chunk-000/file-000.parquet")
        _write(
            pa.table({"task_index": range(len(sentences)), "__index_level_0__": list(sentences)}),
            folder / "meta/tasks.parquet",
        )
        rows: dict[str, Any] = {"episode_index": range(len(lengths)), "length": list(lengths)}
        if camera == "video":
            place = "videos/observation.images.top"
            rows |= {f"{place}/{name}": [0] * len(lengths) for name in ("chunk_index", "file_index")}
            rows[f"{place}/from_timestamp"] = [
                (end - length) / FPS for end, length in zip(ends, lengths, strict=True)
            ]
            write_video(folder / f"{place}/chunk-000/file-000.mp4", [picture(*pair) for pair in pairs])
        _write(pa.table(rows), folder / "meta/episodes/chunk-000/file-000.parquet")
    else:
        lines = [json.dumps({"task_index": at, "task": text}) for at, text in enumerate(sentences)]
        (folder / "meta/tasks.jsonl").write_text("\n".join(lines) + "\n")
        for episode, (end, length) in enumerate(zip(ends, lengths, strict=True)):
            _write(
                table.slice(end - length, length), folder / f"data/chunk-000/episode_{episode:06d}.parquet"
            )
            if camera == "video":
                write_video(
                    folder / f"videos/chunk-000/observation.images.top/episode_{episode:06d}.mp4",
                    [picture(episode, step) for step in range(length)],
                )
    return folder


def _lists(rows: list[np.ndarray]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(rows)), len(rows[0]))


def _png(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
