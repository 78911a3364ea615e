"""CSV, NumPy and robomimic exports are read by their own readers, and say what the store says."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorboard.compat.tensorflow_stub import errors, pywrap_tensorflow
from tutelage.cli.main import app
from tutelage.datasets.formats.plain_export import flat_names, safe_name
from tutelage.datasets.replay import Environments, replay_proven
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import CONTROLLERS, Trajectory
from tutelage.envs.suite import Suite
from typer.testing import CliRunner

Recorder = Callable[..., Trajectory]
HOSTILE = "=cmd|' /C calc'!A0"


@pytest.fixture
def crowd(tmp_path: Path, toys: Suite, record: Recorder) -> Store:
    """Give a store of three tasks: words and nested leaves, a vector, and pictures."""
    store = Store.create(tmp_path / "crowd", toys)
    store.append([record(seed=1), replace(record(seed=2, demonstrator=HOSTILE), notes="@SUM(1)")])
    store.append([record("cartpole", seed=3), record("camera", seed=4)])
    return store


def seen_in(store: Store, task: str) -> list[tuple[Trajectory, dict[str, np.ndarray]]]:
    with Environments(store.suite) as environments:
        return [
            (trajectory, replay_proven(trajectory, environments).observations)
            for trajectory in store.trajectories(task=task)
        ]


def export(store: Store, to: str, out: Path) -> list[str]:
    done = CliRunner().invoke(app, ["export", str(store.path), "--to", to, "-o", str(out), "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["verb"], document["to"]) == ("export", to)
    return list(document["report"])


def test_numpy_reads_every_array_as_it_was(crowd: Store, tmp_path: Path) -> None:
    export(crowd, "npz", tmp_path / "out")
    for task in ("words", "cartpole", "camera"):
        files = sorted((tmp_path / "out" / task / "episodes").iterdir())
        for path, (trajectory, seen) in zip(files, seen_in(crowd, task), strict=True):
            with np.load(path, allow_pickle=False) as archive:
                for name in ("actions", "rewards", "times_ms", "controllers", "frames"):
                    assert archive[name].dtype == getattr(trajectory, name).dtype
                    assert archive[name].tobytes() == getattr(trajectory, name).tobytes()
                assert archive["terminated"].tolist() == [False] * (len(trajectory) - 1) + [
                    trajectory.terminated
                ]
                assert archive["truncated"].tolist() == [False] * (len(trajectory) - 1) + [
                    trajectory.truncated
                ]
                facts = json.loads(bytes(archive["facts"]))
                assert (facts["seed"], facts["demonstrator"]) == (trajectory.seed, trajectory.demonstrator)
                for leaf, array in seen.items():
                    got = archive[f"observations/{safe_name(leaf)}"]
                    assert got.tolist() == array.tolist()
                    assert array.dtype.kind == "U" or got.dtype == array.dtype


def test_a_csv_reader_gets_every_number_back(crowd: Store, tmp_path: Path) -> None:
    report = export(crowd, "csv", tmp_path / "out")
    assert any("observation of camera is left out" in line for line in report)
    for task in ("words", "cartpole"):
        folder = tmp_path / "out" / task
        episodes = pandas.read_csv(folder / "episodes.csv")
        steps = pandas.read_csv(folder / "steps.csv", keep_default_na=False)
        for trajectory, seen in seen_in(crowd, task):
            (about,) = episodes[episodes["episode"] == trajectory.episode].to_dict("records")
            assert (about["seed"], about["success"], about["steps"]) == (
                trajectory.seed,
                trajectory.success,
                len(trajectory),
            )
            assert about["return"] == trajectory.total
            mine = steps[steps["episode"] == trajectory.episode]
            assert len(mine) == len(trajectory) + 1
            acted = mine.iloc[:-1]
            for at in range(trajectory.actions.shape[1]):
                assert acted[f"action[{at}]"].astype(float).tolist() == trajectory.actions[:, at].tolist()
            assert acted["reward"].astype(float).tolist() == trajectory.rewards.tolist()
            assert acted["time_ms"].astype(int).tolist() == trajectory.times_ms.tolist()
            assert acted["controller"].tolist() == [CONTROLLERS[at] for at in trajectory.controllers]
            if task == "cartpole":
                got = mine[[f"observation[{at}]" for at in range(4)]].to_numpy(np.float32)
                assert got.tobytes() == seen[""].tobytes()
            else:
                assert mine["observation.words"].tolist() == seen["words"].tolist()
                got = mine[[f"observation.pair/1[{at}]" for at in range(6)]].to_numpy(np.float32)
                assert got.tobytes() == seen["pair/1"].tobytes()


def test_no_cell_of_a_csv_is_computed(crowd: Store, tmp_path: Path) -> None:
    export(crowd, "csv", tmp_path / "out")
    with (tmp_path / "out" / "words" / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["demonstrator"] == f"'{HOSTILE}"
    assert rows[1]["notes"] == "'@SUM(1)"


def test_robomimics_layout_holds_what_was_seen_done_and_gained(crowd: Store, tmp_path: Path) -> None:
    export(crowd, "robomimic", tmp_path / "out")
    for task in ("words", "cartpole", "camera"):
        expected = seen_in(crowd, task)
        with h5py.File(tmp_path / "out" / task / "demo.hdf5") as file:
            data = file["data"]
            arguments = json.loads(data.attrs["env_args"])
            assert (arguments["env_name"], arguments["type"]) == (crowd.suite[task].env, 2)
            assert sorted(data) == [f"demo_{number}" for number in range(len(expected))]
            assert data.attrs["total"] == sum(len(trajectory) for trajectory, _ in expected)
            for number, (trajectory, seen) in enumerate(expected):
                demo = data[f"demo_{number}"]
                assert demo.attrs["num_samples"] == len(trajectory)
                assert demo["actions"][()].tobytes() == trajectory.actions.tobytes()
                assert demo["rewards"][()].tobytes() == trajectory.rewards.tobytes()
                assert demo["dones"][()].tolist()[-1] == int(trajectory.terminated or trajectory.truncated)
                numbers = {path: array for path, array in seen.items() if array.dtype.kind != "U"}
                assert set(demo["obs"]) == set(demo["next_obs"]) == set(flat_names(numbers).values())
                for path, name in flat_names(numbers).items():
                    assert demo["obs"][name].dtype == numbers[path].dtype
                    assert demo["obs"][name][()].tobytes() == numbers[path][:-1].tobytes()
                    assert demo["next_obs"][name][()].tobytes() == numbers[path][1:].tobytes()
                assert (
                    json.loads(demo["tutelage/facts"].asstr()[()])["demonstrator"] == trajectory.demonstrator
                )
                assert demo["tutelage/times_ms"][()].tolist() == trajectory.times_ms.tolist()
                if task == "words":
                    assert demo["tutelage/texts/words"].asstr()[()].tolist() == seen["words"].tolist()


def examples(path: Path) -> list[dict[str, Any]]:
    """Read a TFRecord file with TensorBoard's reader, which checks every CRC, and protobuf's own parser."""
    reader = pywrap_tensorflow.PyRecordReader_New(str(path))
    values = []
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return values
        message = Example.FromString(reader.record())
        lists = {name: feature.WhichOneof("kind") for name, feature in message.features.feature.items()}
        features = message.features.feature
        values.append({name: list(getattr(features[name], kind).value) for name, kind in lists.items()})


def _example_class() -> Any:
    """Build `tf.train.Example` from its published definition (tensorflow/core/example/*.proto)."""
    field, message = descriptor_pb2.FieldDescriptorProto, descriptor_pb2.DescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    kinds = {"BytesList": field.TYPE_BYTES, "FloatList": field.TYPE_FLOAT, "Int64List": field.TYPE_INT64}
    for name, kind in kinds.items():
        listed = field(name="value", number=1, label=field.LABEL_REPEATED, type=kind)
        file.message_type.append(message(name=name, field=[listed]))
    feature = message(name="Feature", oneof_decl=[descriptor_pb2.OneofDescriptorProto(name="kind")])
    for number, name in enumerate(kinds, 1):
        options = {"label": field.LABEL_OPTIONAL, "type": field.TYPE_MESSAGE, "oneof_index": 0}
        feature.field.append(field(name=name.lower(), number=number, type_name=f".t.{name}", **options))
    entry = message(name="FeatureEntry", options=descriptor_pb2.MessageOptions(map_entry=True))
    entry.field.append(field(name="key", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING))
    single = {"label": field.LABEL_OPTIONAL, "type": field.TYPE_MESSAGE}
    entry.field.append(field(name="value", number=2, type_name=".t.Feature", **single))
    features = message(name="Features", nested_type=[entry])
    many = {"label": field.LABEL_REPEATED, "type": field.TYPE_MESSAGE}
    features.field.append(field(name="feature", number=1, type_name=".t.Features.FeatureEntry", **many))
    whole = message(name="Example")
    whole.field.append(field(name="features", number=1, type_name=".t.Features", **single))
    file.message_type.extend([feature, features, whole])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


Example = _example_class()


def test_readers_of_tfrecord_get_every_episode_and_its_features_describe_it(
    crowd: Store, tmp_path: Path
) -> None:
    export(crowd, "rlds", tmp_path / "out")
    for task in ("words", "cartpole", "camera"):
        folder, expected = tmp_path / "out" / task, seen_in(crowd, task)
        about = json.loads((folder / "dataset_info.json").read_text())
        (split,) = about["splits"]
        path = folder / f"{about['name']}-train.tfrecord-00000-of-00001"
        assert (split["shardLengths"], split["numBytes"]) == ([str(len(expected))], str(path.stat().st_size))
        described = json.loads((folder / "features.json").read_text())["featuresDict"]["features"]
        steps = described["steps"]["sequence"]["feature"]["featuresDict"]["features"]
        for example, (trajectory, seen) in zip(examples(path), expected, strict=True):
            inside = {name.split("/")[1] for name in example if name.startswith("steps/")}
            assert inside == set(steps)
            assert example["episode_metadata/seed"] == [trajectory.seed]
            assert example["episode_metadata/demonstrator"] == [trajectory.demonstrator.encode()]
            assert example["steps/is_first"] == [1] + [0] * len(trajectory)
            assert example["steps/is_last"] == [0] * len(trajectory) + [1]
            assert example["steps/is_terminal"][-1] == trajectory.terminated
            acted = np.array(example["steps/action"]).reshape(len(trajectory) + 1, -1)[:-1]
            assert acted.tolist() == trajectory.actions.astype(np.float32).tolist()
            assert example["steps/reward"][:-1] == trajectory.rewards.astype(np.float32).tolist()
            for leaf, array in seen.items():
                key = f"steps/observation/{flat_names(seen)[leaf]}" if leaf else "steps/observation"
                plain = [text.encode() for text in array.tolist()] if array.dtype.kind == "U" else array
                assert example[key] == (plain if isinstance(plain, list) else plain.ravel().tolist())


@pytest.mark.parametrize("name", ["../../escape", "a//b", ".hidden", "C:\\x", "ends/..", "\n"])
def test_no_leaf_names_another_place(name: str) -> None:
    safe = safe_name(name)
    assert not any(part.startswith(".") for part in safe.split("/"))
    assert not set(safe) & set("\\:\n")


def test_leaves_keep_names_apart() -> None:
    names: dict[str, Any] = flat_names(["a/b", "a.b", "c/d", ""])
    assert names["c/d"] == "c.d"
    assert names[""] == "observation"
    assert len(set(names.values())) == 4
