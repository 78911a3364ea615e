"""Read the episodes of a LeRobot dataset of others, see `dataset_info`.

Does not cover: statistics, which are not needed, and features other than observations, the action, rewards,
ends and success.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ....envs.recorded import space_from
from ....envs.spaces import Leaf, action_to_row, is_text, leaves
from ....envs.task import Task
from ....errors import TutelageError
from ...batch_replay import are_valid
from ...parquet.bounded_parquet import BoundedParquet
from ...trajectory import Trajectory, text_array
from ..foreign_episode import ForeignEpisode
from .camera_files import VideoReader, decode_images
from .dataset_info import DatasetInfo
from .reader import read_frames
from .schema import array_of

_INDICES = ("episode_index", "task_index", "timestamp")
_VIDEO_PATHS = {
    2: "videos/chunk-{chunk:03d}/{key}/episode_{file:06d}.mp4",
    3: "videos/{key}/chunk-{chunk:03d}/file-{file:03d}.mp4",
}


def recorded_episodes(dataset: DatasetInfo, task: Task, suite: str) -> Iterator[Trajectory]:
    """Read every episode of a dataset, with observations in the task's spaces; raises TutelageError."""
    observation = space_from(task.kwargs["observation"])
    reader = _EpisodeReader(dataset, leaves(observation), space_from(task.kwargs["action"]))
    with contextlib.closing(reader.videos):
        for number, frames in _frames(dataset):
            trajectory = reader.read(number, frames).trajectory(task, suite)
            content = blake2b(trajectory.digest + trajectory.actions.tobytes(), digest_size=4).hexdigest()
            yield replace(trajectory, episode=f"{trajectory.episode}-{content}")


class _EpisodeReader:
    """Converts the frames of one episode after another."""

    def __init__(self, dataset: DatasetInfo, observed: Sequence[Leaf], action: Any) -> None:
        self._dataset, self._action = dataset, action
        names = {name.removeprefix("observation.").replace(".", "/"): name for name in dataset.features}
        self._places = [(names.get(leaf.path, ""), leaf) for leaf in observed]
        self.videos = _VideoFiles(dataset)

    def read(self, number: int, frames: pa.Table) -> ForeignEpisode:
        dataset, steps = self._dataset, len(frames)
        where = f"episode {number} of {dataset.folder}"
        times = _numbers(frames, "timestamp", where)
        if not (np.diff(times) >= 0).all() or np.ptp(times) >= 2**31 / 1000:
            raise TutelageError(f"expected times in seconds that rise in {where}, got others")
        observations = {}
        for name, leaf in self._places:
            array = self._observed(name, leaf, number, frames, times)
            observations[leaf.path] = np.concatenate([array, array[-1:]])
        shape = self._action.shape or ()
        values = array_of(frames["action"], dataset.action, shape).reshape(steps, *shape)
        actions = np.stack([action_to_row(self._action, action) for action in values])
        if not are_valid(actions, self._action):
            raise TutelageError(f"expected finite numbers as actions in {where}, got others")
        outcomes = {name: _numbers(frames, name, where) for name in dataset.outcomes}
        terminated = bool(outcomes["next.done"][-1]) if "next.done" in outcomes else False
        return ForeignEpisode(
            episode=f"{dataset.name}-{number}",
            number=number,
            demonstrator=dataset.robot,
            kind="person",
            observations=observations,
            actions=actions,
            rewards=outcomes.get("next.reward", np.zeros(steps)),
            terminated=terminated,
            truncated=not terminated,
            infos={"info.success": outcomes["next.success"]} if "next.success" in outcomes else {},
            times_ms=np.round((times - times[0]) * 1000).astype(np.int32),
        )

    def _observed(
        self, name: str, leaf: Leaf, number: int, frames: pa.Table, times: np.ndarray
    ) -> np.ndarray:
        """Return one leaf of an episode's observations `[T, ...]`; the one without a feature is the words."""
        dataset, shape = self._dataset, leaf.space.shape or ()
        if not name:
            indices = _numbers(frames, "task_index", str(dataset.folder))
            return text_array([self._sentence(int(index)) for index in indices])
        feature = dataset.features[name]
        if feature["dtype"] == "image":
            return decode_images(frames[name].to_pylist(), dataset.folder, (shape[0], shape[1]))
        if feature["dtype"] == "video":
            return self.videos.read(name, number, times, (shape[0], shape[1]))
        if is_text(leaf.space):
            return array_of(frames[name], feature, ())
        return array_of(frames[name], feature, shape).astype(leaf.space.dtype)

    def _sentence(self, index: int) -> str:
        if index not in self._dataset.sentences:
            raise TutelageError(f"expected task {index} among the tasks of {self._dataset.folder}, got none")
        return self._dataset.sentences[index]


def _frames(dataset: DatasetInfo) -> Iterator[tuple[int, pa.Table]]:
    """Yield each episode's number and its rows, in the order of the files."""
    columns = {name: feature for name, feature in dataset.features.items() if feature["dtype"] != "video"}
    columns["action"] = dataset.action
    columns |= {name: {"dtype": "number"} for name in (*dataset.outcomes, *_INDICES)}
    seen: set[int] = set()
    waiting: list[pa.Table] = []
    number = -1
    files = sorted((dataset.folder / "data").glob("chunk-*/*.parquet"))
    if not files:
        raise TutelageError(f"expected files data/chunk-*/*.parquet in {dataset.folder}, found none")
    for path in files:
        table = read_frames(path, columns)
        numbers = _numbers(table, "episode_index", str(path))
        if (numbers != np.floor(numbers)).any() or (numbers < 0).any():
            raise TutelageError(f"expected whole numbers as episode_index in {path}, got others")
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for begin, end in itertools.pairwise(cuts):
            if waiting and number != numbers[begin]:
                yield number, _whole(waiting, number, seen, dataset.folder)
                waiting = []
            number = int(numbers[begin])
            waiting.append(table.slice(begin, end - begin))
    if waiting:
        yield number, _whole(waiting, number, seen, dataset.folder)


def _whole(waiting: list[pa.Table], number: int, seen: set[int], folder: Path) -> pa.Table:
    """Join an episode's rows; raises TutelageError when its number was there before."""
    if number in seen:
        raise TutelageError(f"expected the frames of episode {number} together in {folder}, got them apart")
    seen.add(number)
    return pa.concat_tables(waiting)


def _numbers(table: pa.Table, name: str, where: str) -> np.ndarray:
    """Return a column of finite numbers, or of lists of one, as float64 `[n]`; raises TutelageError."""
    numbers = array_of(table[name], {"dtype": "float64", "shape": [1]}, ())
    if not np.isfinite(numbers).all():
        raise TutelageError(f"expected finite numbers as {name} in {where}, got others")
    return numbers


class _VideoFiles:
    """The open video files of a dataset, one a camera."""

    def __init__(self, dataset: DatasetInfo) -> None:
        self._dataset = dataset
        self._open: dict[str, tuple[Path, VideoReader]] = {}
        self._rows = _video_rows(dataset) if dataset.version == 3 else {}

    def read(self, key: str, episode: int, times: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return the frames of one camera at times of an episode, uint8 `[n, height, width, 3]`."""
        dataset = self._dataset
        if dataset.version == 3:
            chunk, file, begin = self._row(key, episode)
        else:
            chunk, file, begin = episode // dataset.chunk_size, episode, 0.0
        path = dataset.folder / _VIDEO_PATHS[dataset.version].format(chunk=chunk, key=key, file=file)
        opened, reader = self._open.get(key, (None, None))
        if opened != path:
            if reader is not None:
                reader.close()
                del self._open[key]
            reader = VideoReader(path, dataset.fps, size)
            self._open[key] = path, reader
        assert reader is not None
        return reader.read(begin + times)

    def close(self) -> None:
        for _, reader in self._open.values():
            reader.close()

    def _row(self, key: str, episode: int) -> tuple[int, int, float]:
        row = self._rows.get(episode, {})
        names = [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
        values = [row.get(name) for name in names]
        if not all(isinstance(value, int | float) and 0 <= value < 1e12 for value in values):
            raise TutelageError(
                f"expected the place of episode {episode} in the videos of {key} in meta/episodes of "
                f"{self._dataset.folder}, got none"
            )
        return int(row[names[0]]), int(row[names[1]]), float(row[names[2]])


def _video_rows(dataset: DatasetInfo) -> dict[int, dict[str, Any]]:
    """Read where each episode lies in the video files, from `meta/episodes`."""
    rows: dict[int, dict[str, Any]] = {}
    for path in sorted((dataset.folder / "meta/episodes").glob("chunk-*/*.parquet")):
        file = BoundedParquet(path)
        try:
            names = [name for name in file.schema_arrow.names if name.startswith("videos/")]
            index = file.schema_arrow.get_field_index("episode_index")
            if index < 0 or not pa.types.is_integer(file.schema_arrow.types[index]):
                raise TutelageError(f"expected whole numbers once as episode_index in {path}, got others")
            for row in file.read(["episode_index", *names]).to_pylist():
                rows[row["episode_index"]] = row
        finally:
            file.close()
    return rows
