"""LeRobot v3.0 datasets by pyarrow alone: export a store, one dataset a task, and read ours back."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...envs.admission import admit_all
from ...envs.errors import TutelageError
from ...envs.gymnasium_task import TaskEnvironment
from ...envs.spaces import is_text, leaves
from ...envs.suite import suite_from
from ...envs.task import Task
from ..durable import disk_errors
from ..replay import Environments, Replay, replay_proven
from ..schema import pack, unpack
from ..store import Progress, Store
from ..trajectory import Trajectory
from .facts import append_new, facts_of, rebuild, refuse_existing
from .lerobot_schema import (
    CHUNK_SIZE,
    DATA_FILE_MB,
    DATA_PATH,
    EPISODES_PATH,
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
from .minari import Imported

NOMINAL_FPS = 10
"""The rate written for tasks that wait for the player."""

_STEPS_A_GROUP = 4096
_OURS = "meta/tutelage.json"


def export_lerobot(store: Store, out: Path, progress: Progress | None = None) -> list[str]:
    """Write a store as LeRobot v3.0 datasets: in `out`, or `out/TASK` where the store has several tasks.

    Returns what the format cannot hold as it is, sentence by sentence. Nothing that `import_lerobot`
    needs to give back every trajectory is lost.
    """
    played = set(store.episodes()["task"].to_pylist())
    tasks = [task for task in store.suite if task.id in played]
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
            0, f"A LeRobot dataset has one set of features: {len(tasks)} tasks became as many datasets."
        )
    for folder in folders.values():
        refuse_existing(folder)
    for task in tasks:
        report += _export_task(store, task, folders[task.id], progress)
    return report


def import_lerobot(source: Path, out: Path, progress: Progress | None = None) -> Imported:
    """Read every LeRobot dataset that `export_lerobot` wrote, at or under `source`, into a store at `out`.

    Episodes that the store already holds are left out. Raises TutelageError for other LeRobot
    datasets: they come from robots and name no Gymnasium environment that a policy could act in.
    """
    found = sorted(path.parents[1] for path in Path(source).glob("**/meta/info.json"))
    if not found:
        raise TutelageError(
            f"expected a LeRobot dataset at {source}, found no meta/info.json; check the path"
        )
    foreign = [folder for folder in found if not (folder / _OURS).is_file()]
    if foreign:
        raise TutelageError(
            f"expected a LeRobot dataset that tutelage exported, got {foreign[0]} without {_OURS}: it "
            f"names no Gymnasium environment to act in; convert it to Minari with its environment's id"
        )
    described = [json.loads((folder / _OURS).read_text(encoding="utf-8")) for folder in found]
    store = Store.create(out, admit_all(suite_from(described[0]["suite"], str(found[0] / _OURS))))
    report = []
    for folder, ours in zip(found, described, strict=True):
        added, known = append_new(store, _trajectories(folder, ours["task"], store, progress))
        report.append(
            f"{folder}: {added} episodes added" + (f", {known} were there already." if known else ".")
        )
    return Imported(store, report)


@dataclass
class _Writing:
    """One dataset while it is being written."""

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

    def add(self, one: Trajectory, again: Replay, actions: np.ndarray, sentence: str) -> None:
        """Write one episode's frames, and remember its row of meta/episodes."""
        arrays = self._frames(one, again, actions, self.sentences.setdefault(sentence, len(self.sentences)))
        columns = {name: column(array, self.features[name]) for name, array in arrays.items()}
        self.waiting.append(pa.table(columns))
        self.episodes.append(self._episode(one, again, arrays, sentence))
        self.frames += len(one)
        if sum(len(table) for table in self.waiting) >= _STEPS_A_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the waiting frames as a row group; begin a new file when this one is large."""
        if not self.waiting:
            return
        table = pa.concat_tables(self.waiting)
        path = self.folder / DATA_PATH.format(**_place(self.file_index))
        if self.writer is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self.writer.write_table(table)
        self.waiting = []
        if path.stat().st_size > DATA_FILE_MB << 20:
            self.close()
            self.file_index += 1

    def close(self) -> None:
        """Close the data file that is open, if any."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _frames(
        self, one: Trajectory, again: Replay, actions: np.ndarray, task: int
    ) -> dict[str, np.ndarray]:
        steps = len(one)
        last = np.arange(steps) == steps - 1
        number = np.arange(steps)
        return {
            **{self.names[path]: array[:-1] for path, array in again.observations.items()},
            "action": actions,
            "next.reward": one.rewards,
            "next.done": last & (one.terminated or one.truncated),
            "next.success": last & one.success,
            "tutelage.time_ms": one.times_ms,
            "tutelage.controller": one.controllers,
            "tutelage.frame": one.frames,
            "timestamp": number / self.fps,
            "frame_index": number,
            "episode_index": np.full(steps, len(self.episodes)),
            "index": self.frames + number,
            "task_index": np.full(steps, task),
        }

    def _episode(
        self, one: Trajectory, again: Replay, arrays: dict[str, np.ndarray], sentence: str
    ) -> dict[str, Any]:
        row: dict[str, Any] = {
            "episode_index": len(self.episodes),
            "tasks": [sentence],
            "length": len(one),
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + len(one),
            **{f"data/{name}": value for name, value in _place(self.file_index).items()},
            **{f"meta/episodes/{name}": value for name, value in _place(0).items()},
            "tutelage/facts": json.dumps(facts_of(one), sort_keys=True),
            "tutelage/last_observation": pack({k: v[-1:] for k, v in again.observations.items()}),
            "tutelage/action_rows": None,
        }
        if not np.array_equal(arrays["action"].astype(np.float64).reshape(one.actions.shape), one.actions):
            row["tutelage/action_rows"] = one.actions.ravel()  # finer than the space's own dtype
        for name, array in arrays.items():
            for what, value in (statistics(array, self.features[name], quantiles=False) or {}).items():
                row[f"stats/{name}/{what}"] = value.tolist()
        return row


def _export_task(store: Store, task: Task, folder: Path, progress: Progress | None) -> list[str]:
    """Write one dataset under a temporary name, then rename it."""
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    with disk_errors(folder), Environments(store.suite) as environments:
        environment = environments[task.id]
        writing, report = _begin(environment, temporary)
        try:
            for one in store.trajectories(task=task.id):
                again = replay_proven(one, environments)
                actions = one.actions.astype(action_dtype(environment.action_space))
                writing.add(one, again, actions, _sentence(environment, again))
                if progress:
                    progress(1)
            writing.flush()
            writing.close()
            _write_meta(writing, store, task)
            temporary.rename(folder)
        finally:
            writing.close()
            shutil.rmtree(temporary, ignore_errors=True)
    return report


def _begin(environment: TaskEnvironment, temporary: Path) -> tuple[_Writing, list[str]]:
    task = environment.task
    report = []
    fps = max(1, round(task.fps or NOMINAL_FPS))
    if task.fps is None:
        report.append(
            f"{task.id} waits for the player, and LeRobot wants a steady rate: timestamps count {fps} frames "
            f"a second; the measured times are in tutelage.time_ms."
        )
    elif fps != task.fps:
        report.append(f"LeRobot counts whole frames a second: {task.id} had {task.fps:g}, written as {fps}.")
    seen = leaves(environment.observation_space)
    texts = [leaf.path for leaf in seen if is_text(leaf.space)]
    if texts:
        report.append(
            f"LeRobot's policies read no text columns: {', '.join(texts)} of {task.id} is its task too."
        )
    names = {leaf.path: feature_name(leaf) for leaf in seen}
    features = features_of(environment.observation_space, environment.action_space)
    return _Writing(temporary, fps, features, names), report


def _sentence(environment: TaskEnvironment, again: Replay) -> str:
    """Return what LeRobot calls the task: the instruction of this episode, else the task's id."""
    texts = [
        str(again.observations[leaf.path][0])
        for leaf in leaves(environment.observation_space)
        if is_text(leaf.space)
    ]
    return environment.task.instruction or " ".join(texts) or environment.task.id


def _write_meta(writing: _Writing, store: Store, task: Task) -> None:
    folder = writing.folder
    path = folder / EPISODES_PATH.format(**_place(0))
    path.parent.mkdir(parents=True)
    pq.write_table(_episodes_table(writing.episodes), path, compression="snappy")
    pq.write_table(tasks_table(list(writing.sentences)), folder / TASKS_PATH)
    described = info(
        writing.features, writing.fps, len(writing.episodes), writing.frames, len(writing.sentences)
    )
    _write_json(folder / "meta/info.json", described)
    _write_json(folder / "meta/stats.json", _dataset_statistics(writing))
    _write_json(folder / _OURS, {"suite": dict(store.suite.source), "task": task.id})


def _episodes_table(rows: list[dict[str, Any]]) -> pa.Table:
    types = {
        "tutelage/last_observation": pa.binary(),
        "tutelage/action_rows": pa.list_(pa.float64()),
    }
    return pa.table({name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]})


def _dataset_statistics(writing: _Writing) -> dict[str, Any]:
    """Compute meta/stats.json over all data files, one feature in memory at a time."""
    files = sorted(writing.folder.glob("data/*/*.parquet"))
    found = {}
    for name, feature in writing.features.items():
        values = pa.chunked_array(
            [chunk for one in files for chunk in pq.read_table(one, columns=[name])[name].chunks]
        )
        one = statistics(array_of(values, feature, feature["shape"]), feature, quantiles=True)
        if one is not None:
            found[name] = {what: value.tolist() for what, value in one.items()}
    return found


def _place(file_index: int) -> dict[str, int]:
    return {"chunk_index": file_index // CHUNK_SIZE, "file_index": file_index % CHUNK_SIZE}


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=4, ensure_ascii=False), encoding="utf-8")


def _trajectories(folder: Path, task: str, store: Store, progress: Progress | None) -> Iterator[Trajectory]:
    """Read the trajectories of one dataset, episode by episode."""
    episodes = pa.concat_tables(
        pq.read_table(one) for one in sorted(folder.glob("meta/episodes/*/*.parquet"))
    )
    with Environments(store.suite) as environments:
        environment = environments[task]
        features = features_of(environment.observation_space, environment.action_space)
        held: tuple[Path | None, pa.Table] = (None, pa.table({}))
        for row in episodes.sort_by("episode_index").to_pylist():
            place = {name: row[f"data/{name}"] for name in ("chunk_index", "file_index")}
            path = folder / DATA_PATH.format(**place)
            if held[0] != path:
                held = path, pq.read_table(path)
            first = held[1]["index"][0].as_py()
            frames = held[1].slice(row["dataset_from_index"] - first, row["length"])
            yield _trajectory(row, frames, environment, features, environments, folder)
            if progress:
                progress(1)


def _trajectory(
    row: dict[str, Any],
    frames: pa.Table,
    environment: TaskEnvironment,
    features: dict[str, Feature],
    environments: Environments,
    folder: Path,
) -> Trajectory:
    last = unpack(row["tutelage/last_observation"])
    observations = {}
    for leaf in leaves(environment.observation_space):
        name = feature_name(leaf)
        shape = () if is_text(leaf.space) else leaf.space.shape or ()
        seen = array_of(frames[name], features[name], shape)
        observations[leaf.path] = np.concatenate([seen, last[leaf.path]])
    length = row["length"]
    rows = row["tutelage/action_rows"]
    actions = array_of(frames["action"], features["action"], features["action"]["shape"])
    steps = {
        "actions": actions if rows is None else np.array(rows).reshape(length, -1),
        "rewards": frames["next.reward"].to_numpy(),
        "times_ms": frames["tutelage.time_ms"].to_numpy(),
        "controllers": frames["tutelage.controller"].to_numpy(),
        "frames": frames["tutelage.frame"].to_numpy(),
    }
    return rebuild(
        json.loads(row["tutelage/facts"]), steps, observations, environments, f"LeRobot dataset {folder}"
    )
