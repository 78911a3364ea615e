"""Export a store as LeRobot v3.0 datasets, one per task, with pyarrow alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ....console.wording import counted
from ....envs.spaces import is_text, leaves
from ....envs.task_env import TaskEnv
from ....errors import TutelageError
from ....files.atomic_files import disk_errors
from ....files.finite_json import json_text
from ....files.safe_tree import sync_tree
from ...proof import ReplayResult
from ...replay import Environments, replay_proven
from ...schema import pack
from ...store import Progress, Store
from ...trajectory import Trajectory
from ..all_or_none import export_datasets
from ..export_marker import write_marker
from ..export_registry import Export
from ..facts import facts_of, is_rated, unrated_note
from .schema import (
    CHUNK_SIZE,
    DATA_FILE_MB,
    DATA_PATH,
    EPISODES_PATH,
    SUCCESS,
    TASKS_PATH,
    Feature,
    action_dtype,
    array_of,
    column,
    feature_name,
    features_of,
    info,
    statistics,
    tasks_table,
)

NOMINAL_FPS = 10
"""Frames per second written for tasks that wait for the player."""

_STEPS_A_GROUP = 4096


def export_lerobot(store: Store, out: Path, progress: Progress | None = None) -> list[str]:
    """Write a store as LeRobot v3.0 datasets: in `out`, or `out/TASK` where the store has several tasks.

    Returns what the format cannot hold unchanged, one sentence per entry. `import_lerobot` recovers every
    trajectory.
    """
    task_ids = set(store.episodes()["task"].to_pylist())
    tasks = [task for task in store.suite if task.id in task_ids]
    if not tasks:
        raise TutelageError(f"expected demonstrations in {store.path}, found none; record some")
    folders = {task.id: out if len(tasks) == 1 else out / task.id for task in tasks}
    report = [
        "A LeRobot frame pairs an observation with the action that follows it: the last observation of each "
        "episode, which nobody acted on, stands in meta/episodes under tutelage/last_observation.",
        "LeRobot has no place for seeds, demonstrators, versions and digests: meta/episodes carries them "
        "under tutelage/facts, and meta/tutelage.json carries the suite.",
    ]
    if len(tasks) > 1:
        report.insert(
            0,
            f"A LeRobot dataset has one set of features: {counted(len(tasks), 'task')} became as "
            "many datasets.",
        )
    places = {task.id: (task.id, folders[task.id]) for task in tasks}
    return report + export_datasets(store, "lerobot", places, progress)


@dataclass
class _Writing:
    """State of one dataset while it is being written."""

    folder: Path
    fps: int
    features: dict[str, Feature]
    names: dict[str, str]  # leaf path → feature
    sentences: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    file_index: int = 0
    waiting: list[pa.Table] = field(default_factory=list)
    episodes: list[dict[str, Any]] = field(default_factory=list)
    writer: pq.ParquetWriter | None = None

    def add(self, trajectory: Trajectory, result: ReplayResult, actions: np.ndarray, sentence: str) -> None:
        """Write one episode's frames, and append its row of meta/episodes."""
        arrays = self._frames(
            trajectory, result, actions, self.sentences.setdefault(sentence, len(self.sentences))
        )
        columns = {name: column(array, self.features[name]) for name, array in arrays.items()}
        self.waiting.append(pa.table(columns))
        self.episodes.append(self._episode(trajectory, result, arrays, sentence))
        self.frames += len(trajectory)
        if sum(len(table) for table in self.waiting) >= _STEPS_A_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the pending frames as a row group; begin a new file when this one is large."""
        if not self.waiting:
            return
        table = pa.concat_tables(self.waiting)
        path = self.folder / DATA_PATH.format(**_file_location(self.file_index))
        if self.writer is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self.writer.write_table(table)
        self.waiting = []
        if path.stat().st_size > DATA_FILE_MB << 20:
            self.close()
            self.file_index += 1

    def close(self) -> None:
        """Close the open data file, if any."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _frames(
        self, trajectory: Trajectory, result: ReplayResult, actions: np.ndarray, task: int
    ) -> dict[str, np.ndarray]:
        steps = len(trajectory)
        last = np.arange(steps) == steps - 1
        number = np.arange(steps)
        return {
            **{self.names[path]: array[:-1] for path, array in result.observations.items()},
            "action": actions,
            "next.reward": trajectory.rewards,
            "next.done": last & (trajectory.terminated or trajectory.truncated),
            "tutelage.time_ms": trajectory.times_ms,
            "tutelage.controller": trajectory.controllers,
            "tutelage.frame": trajectory.frames,
            **({SUCCESS: last & bool(trajectory.success)} if SUCCESS in self.features else {}),
            "timestamp": number / self.fps,
            "frame_index": number,
            "episode_index": np.full(steps, len(self.episodes)),
            "index": self.frames + number,
            "task_index": np.full(steps, task),
        }

    def _episode(
        self, trajectory: Trajectory, result: ReplayResult, arrays: dict[str, np.ndarray], sentence: str
    ) -> dict[str, Any]:
        row: dict[str, Any] = {
            "episode_index": len(self.episodes),
            "tasks": [sentence],
            "length": len(trajectory),
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + len(trajectory),
            **{f"data/{name}": value for name, value in _file_location(self.file_index).items()},
            **{f"meta/episodes/{name}": value for name, value in _file_location(0).items()},
            "tutelage/facts": json_text(facts_of(trajectory), is_sorted=True),
            "tutelage/last_observation": pack({k: v[-1:] for k, v in result.observations.items()}),
            "tutelage/action_rows": None,
        }
        written = arrays["action"].astype(np.float64).reshape(trajectory.actions.shape)
        if written.tobytes() != trajectory.actions.tobytes():
            row["tutelage/action_rows"] = trajectory.actions.ravel()  # more precise than the space's dtype
        for name, array in arrays.items():
            for statistic, value in (statistics(array, self.features[name], quantiles=False) or {}).items():
                row[f"stats/{name}/{statistic}"] = value.tolist()
        return row


def write_lerobot(store: Store, export: Export, progress: Progress | None = None) -> list[str]:
    """Write one task's dataset and its marker to `export.fresh`; return what the format cannot hold."""
    with disk_errors(export.folder), Environments(store.suite) as environments:
        environment = environments[export.task]
        rated = is_rated(store, export.task)
        writing, report = _begin(environment, export.fresh, rated)
        try:
            for trajectory in store.trajectories(task=export.task):
                result = replay_proven(trajectory, environments)
                actions = trajectory.actions.astype(action_dtype(environment.action_space))
                writing.add(trajectory, result, actions, _sentence(environment, result))
                if progress:
                    progress(1)
            writing.flush()
        finally:
            writing.close()
        _write_meta(writing)
        count = len(writing.episodes)
        write_marker(export.fresh, "lerobot", export.token, export.task, count, store.suite.source)
        sync_tree(export.fresh)
    return report


def _begin(environment: TaskEnv, temporary: Path, rated: bool) -> tuple[_Writing, list[str]]:
    task = environment.task
    report = [] if rated else [unrated_note(task.id, SUCCESS)]
    fps = max(1, round(task.fps or NOMINAL_FPS))
    if task.fps is None:
        report.append(
            f"{task.id} waits for the player, and LeRobot wants a steady rate: timestamps count {fps} frames "
            f"a second; the measured times are in tutelage.time_ms."
        )
    elif fps != task.fps:
        report.append(f"LeRobot counts whole frames a second: {task.id} had {task.fps:g}, written as {fps}.")
    observation_leaves = leaves(environment.observation_space)
    texts = [leaf.path for leaf in observation_leaves if is_text(leaf.space)]
    if texts:
        report.append(
            f"LeRobot's policies read no text columns: {', '.join(texts)} of {task.id} is its task too."
        )
    names = {leaf.path: feature_name(leaf) for leaf in observation_leaves}
    features = features_of(environment.observation_space, environment.action_space, is_rated=rated)
    return _Writing(temporary, fps, features, names), report


def _sentence(environment: TaskEnv, result: ReplayResult) -> str:
    """Return LeRobot's task text: the instruction of this episode, else the task's id."""
    texts = [
        str(result.observations[leaf.path][0])
        for leaf in leaves(environment.observation_space)
        if is_text(leaf.space)
    ]
    return environment.task.instruction or " ".join(texts) or environment.task.id


def _write_meta(writing: _Writing) -> None:
    folder = writing.folder
    path = folder / EPISODES_PATH.format(**_file_location(0))
    path.parent.mkdir(parents=True)
    pq.write_table(_episodes_table(writing.episodes), path, compression="snappy")
    pq.write_table(tasks_table(list(writing.sentences)), folder / TASKS_PATH)
    described = info(
        writing.features, writing.fps, len(writing.episodes), writing.frames, len(writing.sentences)
    )
    _write_json(folder / "meta/info.json", described)
    _write_json(folder / "meta/stats.json", _dataset_statistics(writing))


def _episodes_table(rows: list[dict[str, Any]]) -> pa.Table:
    types = {
        "tutelage/last_observation": pa.binary(),
        "tutelage/action_rows": pa.list_(pa.float64()),
    }
    return pa.table({name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]})


def _dataset_statistics(writing: _Writing) -> dict[str, Any]:
    """Compute meta/stats.json over all data files, one feature in memory at a time."""
    files = sorted(writing.folder.glob("data/*/*.parquet"))
    document = {}
    for name, feature in writing.features.items():
        values = pa.chunked_array(
            [chunk for file in files for chunk in pq.read_table(file, columns=[name])[name].chunks]
        )
        summary = statistics(array_of(values, feature, feature["shape"]), feature, quantiles=True)
        if summary is not None:
            document[name] = {statistic: value.tolist() for statistic, value in summary.items()}
    return document


def _file_location(file_index: int) -> dict[str, int]:
    return {"chunk_index": file_index // CHUNK_SIZE, "file_index": file_index % CHUNK_SIZE}


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json_text(document, indent=4, is_ascii=False), encoding="utf-8")
