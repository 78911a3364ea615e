"""The LeRobot export holds against v3.0's written schema, and what we read back has lost nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tutelage.datasets.formats.exchange import export_store
from tutelage.datasets.formats.lerobot.exporter import export_lerobot
from tutelage.datasets.formats.lerobot.importer import import_lerobot
from tutelage.datasets.formats.lerobot.schema import array_of, column
from tutelage.datasets.replay import Environments, replay_proven
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

SUITE = suite_from(
    {
        "suite": "mixed",
        "tasks": [
            {"id": "red-ball", "env": "BabyAI-GoToRedBallGrey-v0"},
            {"id": "words", "env": "toys/Words-v0", "kwargs": {"length": 9}},
            {"id": "unrepeatable", "env": "toys/Unrepeatable-v0", "success": "terminated"},
            {"id": "camera", "env": "toys/Camera-v0", "max_steps": 7, "instruction": "look around"},
            {"id": "taxi", "env": "tutelage/Taxi-v0"},
            {"id": "cartpole", "env": "CartPole-v1", "pace": {"fps": 14.6, "idle": 0}},
        ],
    }
)
TASKS = [task.id for task in SUITE]

# written down from huggingface/lerobot, src/lerobot/datasets, codebase version v3.0
INFO = {
    "codebase_version": str,
    "robot_type": type(None),
    "total_episodes": int,
    "total_frames": int,
    "total_tasks": int,
    "chunks_size": int,
    "data_files_size_in_mb": int,
    "video_files_size_in_mb": int,
    "fps": int,
    "splits": dict,
    "data_path": str,
    "video_path": type(None),
    "features": dict,
}
DEFAULT_FEATURES = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
EPISODE_COLUMNS = {
    "episode_index": pa.int64(),
    "tasks": pa.list_(pa.string()),
    "length": pa.int64(),
    "dataset_from_index": pa.int64(),
    "dataset_to_index": pa.int64(),
    "data/chunk_index": pa.int64(),
    "data/file_index": pa.int64(),
    "meta/episodes/chunk_index": pa.int64(),
    "meta/episodes/file_index": pa.int64(),
}
STATISTICS = {"min", "max", "mean", "std", "count"}
QUANTILES = {"q01", "q10", "q50", "q90", "q99"}


@pytest.fixture(scope="module")
def filled(fill: Callable[..., Store]) -> Store:
    return fill(SUITE, 3, 4, 5)


@pytest.fixture(scope="module")
def exported(filled: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "lerobot"
    export_lerobot(filled, folder)
    return folder


def arrow_type(feature: dict[str, Any]) -> pa.DataType:
    """Say how a feature's column must look for LeRobot's readers to cast it."""
    if feature["dtype"] == "image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kind = pa.string() if feature["dtype"] == "string" else pa.from_numpy_dtype(np.dtype(feature["dtype"]))
    shape = feature["shape"]
    if shape == [1]:
        return kind
    if len(shape) == 1:
        return pa.list_(kind, shape[0])
    for _ in shape:
        kind = pa.list_(kind)
    return kind


@pytest.mark.parametrize("task", TASKS)
def test_info_and_data_hold_against_the_written_schema(task: str, exported: Path, filled: Store) -> None:
    info = json.loads((exported / task / "meta/info.json").read_text())
    assert {key: type(value) for key, value in info.items()} == INFO
    assert info["codebase_version"] == "v3.0"
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert info["splits"] == {"train": "0:3"}
    data = pq.read_table(exported / task / info["data_path"].format(chunk_index=0, file_index=0))
    features = info["features"]
    assert data.column_names == list(features)
    for name, feature in features.items():
        assert set(feature) == {"dtype", "shape", "names"}
        assert "/" not in name
        assert 1 <= len(feature["shape"]) <= 5
        assert data.schema.field(name).type.equals(arrow_type(feature)), name
    for name, dtype in DEFAULT_FEATURES.items():
        assert features[name] == {"dtype": dtype, "shape": [1], "names": None}
    assert len(data) == info["total_frames"] == sum(len(one) for one in filled.trajectories(task=task))
    assert data["index"].to_pylist() == list(range(len(data)))


@pytest.mark.parametrize("task", TASKS)
def test_episodes_and_tasks_hold_against_the_written_schema(task: str, exported: Path, filled: Store) -> None:
    info = json.loads((exported / task / "meta/info.json").read_text())
    episodes = pq.read_table(exported / task / "meta/episodes/chunk-000/file-000.parquet")
    for name, kind in EPISODE_COLUMNS.items():
        assert episodes.schema.field(name).type.equals(kind), name
    lengths = [len(one) for one in filled.trajectories(task=task)]
    assert episodes["length"].to_pylist() == lengths
    assert episodes["dataset_to_index"].to_pylist() == np.cumsum(lengths).tolist()
    assert episodes["dataset_from_index"].to_pylist() == (np.cumsum(lengths) - lengths).tolist()
    sentences = pq.read_table(exported / task / "meta/tasks.parquet")
    assert sentences.schema.field("task_index").type == pa.int64()
    pandas = json.loads(sentences.schema.metadata[b"pandas"])
    assert pandas["index_columns"] == ["task"]
    assert len(sentences) == info["total_tasks"]
    by_index = dict(zip(sentences["task_index"].to_pylist(), sentences["task"].to_pylist(), strict=True))
    data = pq.read_table(
        exported / task / "data/chunk-000/file-000.parquet", columns=["episode_index", "task_index"]
    )
    for episode, number in zip(*data.to_pydict().values(), strict=True):
        assert episodes["tasks"][episode].as_py() == [by_index[number]]


@pytest.mark.parametrize("task", TASKS)
def test_statistics_cover_every_number_and_are_right(task: str, exported: Path) -> None:
    info = json.loads((exported / task / "meta/info.json").read_text())
    stats = json.loads((exported / task / "meta/stats.json").read_text())
    numeric = {name for name, one in info["features"].items() if one["dtype"] != "string"}
    assert set(stats) == numeric
    assert all(set(one) == STATISTICS | QUANTILES for one in stats.values())
    data = pq.read_table(exported / task / "data/chunk-000/file-000.parquet")
    rewards = data["next.reward"].to_numpy()
    assert np.allclose(stats["next.reward"]["mean"], rewards.mean())
    assert np.allclose(stats["next.reward"]["q50"], np.percentile(rewards, 50))
    assert stats["next.reward"]["count"] == [len(rewards)]
    episodes = pq.read_table(exported / task / "meta/episodes/chunk-000/file-000.parquet")
    wanted = {f"stats/{name}/{what}" for name in numeric for what in STATISTICS}
    assert {name for name in episodes.column_names if name.startswith("stats/")} == wanted
    for name in numeric - {"observation.images.image"}:
        assert np.shape(stats[name]["mean"]) == tuple(info["features"][name]["shape"])


@pytest.mark.parametrize("task", TASKS)
def test_frames_hold_what_was_seen_and_done(task: str, exported: Path, filled: Store) -> None:
    data = pq.read_table(exported / task / "data/chunk-000/file-000.parquet")
    names = [name for name in data.column_names if name.startswith("observation.")]
    features = json.loads((exported / task / "meta/info.json").read_text())["features"]
    played = list(filled.trajectories(task=task))
    with Environments(SUITE) as environments:
        seen = [replay_proven(one, environments).observations for one in played]
    assert len(names) == len(seen[0])
    for name, path in zip(names, seen[0], strict=True):
        whole = np.concatenate([one[path][:-1] for one in seen])
        shape = () if features[name]["dtype"] == "string" else whole.shape[1:]
        assert np.array_equal(array_of(data[name], features[name], shape), whole)
    assert data["next.reward"].to_pylist() == np.concatenate([one.rewards for one in played]).tolist()
    ends = np.cumsum([len(one) for one in played]) - 1
    done = data["next.done"].to_numpy(zero_copy_only=False)
    assert done[ends].tolist() == [one.terminated or one.truncated for one in played]
    assert done.sum() == done[ends].sum()


def test_pictures_are_lossless_png_under_observation_images(exported: Path) -> None:
    data = pq.read_table(exported / "camera/data/chunk-000/file-000.parquet")
    assert "observation.images.image" in data.column_names
    assert data["observation.images.image"][0].as_py()["bytes"].startswith(b"\x89PNG")
    stats = json.loads((exported / "camera/meta/stats.json").read_text())["observation.images.image"]
    assert np.shape(stats["mean"]) == (3, 1, 1)
    assert 0.4 < np.mean(stats["mean"]) < 0.6


def test_timestamps_count_the_rate_and_the_measured_times_are_kept(exported: Path, filled: Store) -> None:
    data = pq.read_table(exported / "cartpole/data/chunk-000/file-000.parquet")
    assert json.loads((exported / "cartpole/meta/info.json").read_text())["fps"] == 15
    wanted = (data["frame_index"].to_numpy() / 15).astype(np.float32)
    assert np.array_equal(data["timestamp"].to_numpy(), wanted)
    times = np.concatenate([one.times_ms for one in filled.trajectories(task="cartpole")])
    assert np.array_equal(data["tutelage.time_ms"].to_numpy(), times)


def test_pandas_reads_the_tasks_as_lerobot_does(exported: Path) -> None:
    pandas = pytest.importorskip("pandas")
    tasks = pandas.read_parquet(exported / "camera/meta/tasks.parquet")
    assert tasks.index.name == "task"
    assert tasks.loc["look around"].task_index == 0


def test_what_comes_back_has_lost_nothing(filled: Store, exported: Path, tmp_path: Path, equal: Any) -> None:
    back = import_lerobot(exported, tmp_path / "back")
    mine = {one.episode: one for one in filled.trajectories()}
    theirs = {one.episode: one for one in back.store.trajectories()}
    assert mine.keys() == theirs.keys()
    assert all(equal(mine[episode], theirs[episode]) for episode in mine)
    assert back.store.suite == SUITE
    again = import_lerobot(exported / "taxi", tmp_path / "back")
    assert again.report[0].endswith("0 episodes added, 3 were there already.")


def test_a_store_of_one_task_is_one_dataset_and_finer_actions_survive(
    tmp_path: Path, demonstrate: Callable[..., Any], equal: Any
) -> None:
    store = Store.create(tmp_path / "store", SUITE)
    trajectory, _ = demonstrate(TaskEnv(SUITE["camera"]), 1, suite="mixed")
    finer = replace(trajectory, actions=trajectory.actions + 1e-12)  # float32 does not see it
    store.append([finer])
    export_lerobot(store, tmp_path / "out")
    (back,) = import_lerobot(tmp_path / "out", tmp_path / "back").store.trajectories()
    assert equal(back, finer)


def test_many_steps_spread_over_row_groups_come_back(
    tmp_path: Path, demonstrate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.datasets.formats.lerobot.exporter._STEPS_A_GROUP", 30)
    monkeypatch.setattr(
        "tutelage.datasets.formats.lerobot.exporter.DATA_FILE_MB", 0
    )  # a new file a row group
    store = Store.create(tmp_path / "store", SUITE)
    environment = TaskEnv(SUITE["taxi"])
    store.append([demonstrate(environment, seed, suite="mixed")[0] for seed in range(9)])
    export_lerobot(store, tmp_path / "out")
    assert len(list(tmp_path.glob("out/data/chunk-000/*.parquet"))) == 3
    back = import_lerobot(tmp_path / "out", tmp_path / "back").store
    assert {one.digest for one in back.trajectories()} == {one.digest for one in store.trajectories()}


def test_what_the_format_cannot_hold_is_said(filled: Store, tmp_path: Path) -> None:
    report = " ".join(export_store(filled, "lerobot", tmp_path / "out"))
    for said in (
        "6 tasks became",
        "last observation of each episode",
        "no place for seeds",
        "taxi waits for the player",
        "cartpole had 14.6, written as 15",
        "mission of red-ball",
    ):
        assert said in report


def test_changed_data_are_found_and_a_missing_marker_is_refused(
    exported: Path, filled: Store, tmp_path: Path
) -> None:
    exported = Path(shutil.copytree(exported, tmp_path / "exported"))
    path = exported / "taxi/data/chunk-000/file-000.parquet"
    data = pq.read_table(path)
    at = data.column_names.index("next.reward")
    pq.write_table(data.set_column(at, "next.reward", pa.array(data["next.reward"].to_numpy() + 1)), path)
    with pytest.raises(TutelageError, match="its data were changed"):
        import_lerobot(exported / "taxi", tmp_path / "back")
    (exported / "taxi/meta/tutelage.json").unlink()
    with pytest.raises(TutelageError, match=r"meta/tutelage\.json"):
        import_lerobot(exported / "taxi", tmp_path / "back")
    with pytest.raises(TutelageError, match="got ours and others"):
        import_lerobot(exported, tmp_path / "back")
    with pytest.raises(TutelageError, match=r"found no meta/info\.json"):
        import_lerobot(filled.path, tmp_path / "back")
    with pytest.raises(TutelageError, match="expected nothing at"):
        export_lerobot(filled, exported)


@pytest.mark.parametrize("shape", [[1], [4], [2, 3], [2, 3, 4], [1, 2, 1, 2, 3]])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool", "int8"])
def test_a_column_of_any_shape_and_dtype_reads_back(shape: list[int], dtype: str) -> None:
    feature = {"dtype": dtype, "shape": shape, "names": None}
    array = np.random.default_rng(0).integers(0, 2, (5, *shape)).astype(dtype)
    written = column(array, feature)
    assert written.type.equals(arrow_type(feature))
    back = array_of(pa.chunked_array([written[:2], written[2:]]), feature, shape)
    assert np.array_equal(back, array)
    assert back.dtype == array.dtype
