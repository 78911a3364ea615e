"""LeRobot datasets of robots: every frame, instruction and action arrives, and policies learn from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tutelage as tt
import yaml
from tutelage.datasets.formats.exchange import count_episodes, import_store
from tutelage.datasets.formats.lerobot.dataset_info import DatasetInfo
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.tests.support.command_line import call as tutelage
from tutelage.tests.support.robot_dataset import FPS, SENTENCES, picture, state_of, write_dataset, write_video

FLAG = {"dtype": "bool", "shape": [1], "names": None}
NUMBER = {"dtype": "float32", "shape": [1], "names": None}


def imported(folder: Path, out: Path, **options: Any) -> list[Trajectory]:
    import_store(folder, "lerobot", out, **options)
    return list(Store.open(out).trajectories())


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize("camera", ["image", "video", ""])
def test_every_frame_arrives(version: str, camera: str, tmp_path: Path) -> None:
    episodes = imported(write_dataset(tmp_path / "robot", version, camera), tmp_path / "store")
    assert [len(episode) for episode in episodes] == [7, 5, 9]
    for number, episode in enumerate(episodes):
        steps = [*range(len(episode)), len(episode) - 1]  # the last observation stands twice
        observations = episode.observations
        assert observations is not None
        assert np.array_equal(observations["state"], [state_of(number, step) for step in steps])
        assert observations["instruction"].tolist() == [SENTENCES[number % 2]] * len(steps)
        actions = [[np.float32(step / 10), number - 1] for step in steps[:-1]]
        assert np.array_equal(episode.actions, np.array(actions, np.float32))
        assert episode.times_ms.tolist() == [round(1000 * step / FPS) for step in steps[:-1]]
        assert episode.demonstrator == "so100"
        assert (episode.terminated, episode.truncated, episode.success) == (False, True, None)
        if camera:
            shown = observations["images/top"]
            assert shown.shape == (len(steps), 72, 96, 3)
            reduced = np.stack([picture(number, step)[::5, ::5].astype(int) for step in steps])
            seen = shown[:, ::3, ::3].astype(int)
            # the moving bar is 6 of 96 columns wide: at most its two borders are mixed
            assert np.abs(seen - reduced).max(axis=(1, 2, 3)).max() < 120
            assert np.median(np.abs(seen - reduced)) <= 2


def test_pictures_have_the_size_that_is_asked_for(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "robot", camera="image")
    [first, *_] = imported(folder, tmp_path / "large", image_size=512)
    assert first.observations is not None
    assert np.array_equal(first.observations["images/top"][:7], [picture(0, step) for step in range(7)])
    [first, *_] = imported(folder, tmp_path / "small", image_size=32)
    assert first.observations is not None
    assert first.observations["images/top"].shape[1:] == (24, 32, 3)


def test_rewards_ends_and_success_are_taken_over(tmp_path: Path) -> None:
    ends = [False] * 6 + [True] + [False] * 4 + [True] + [False] * 9
    more = {
        "next.success": (FLAG, [index == 6 for index in range(21)]),
        "next.done": (FLAG, ends),
        "next.reward": (NUMBER, [index / 2 for index in range(21)]),
    }
    folder = write_dataset(tmp_path / "robot", camera="", sentences=("go",), more=more)
    episodes = imported(folder, tmp_path / "store")
    assert [episode.success for episode in episodes] == [True, False, False]
    assert [episode.terminated for episode in episodes] == [True, True, False]
    assert episodes[1].rewards.tolist() == [3.5, 4, 4.5, 5, 5.5]
    [task] = Store.open(tmp_path / "store").suite
    assert task.instruction == "go"
    assert Store.open(tmp_path / "store").verify() == []


def test_the_number_of_episodes_is_known_beforehand(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "robot", camera="")
    assert count_episodes(tmp_path, "lerobot") == 3
    spoil_info(folder, total_episodes="many")
    assert count_episodes(tmp_path, "lerobot") == 0


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2)])
def test_episodes_may_stand_in_a_video_in_any_order(order: tuple[int, ...], tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "robot", lengths=(5, 5, 5))
    [video] = folder.glob("videos/*/*/*.mp4")
    video.unlink()
    write_video(video, [picture(episode, step) for episode in order for step in range(5)])
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    name = "videos/observation.images.top/from_timestamp"
    begins = [order.index(episode) * 5 / FPS for episode in range(3)]
    pq.write_table(replace_column(name, begins)(pq.read_table(path)), path)
    for number, episode in enumerate(imported(folder, tmp_path / "store")):
        assert episode.observations is not None
        seen = episode.observations["images/top"][:5, ::3, ::3].astype(int)
        frames = np.stack([picture(number, step)[::5, ::5] for step in range(5)]).astype(int)
        assert np.median(np.abs(seen - frames)) <= 2
        assert np.abs(seen - frames).max() < 120


def test_frames_are_those_of_their_times(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "robot", lengths=(5,))
    [video] = folder.glob("videos/*/*/*.mp4")
    video.unlink()
    write_video(video, [picture(0, step) for step in range(10)])
    times = pa.array([2 * step / FPS for step in range(5)], pa.float32())
    spoil_frames(folder, replace_column("timestamp", times))
    [episode] = imported(folder, tmp_path / "store")
    assert episode.observations is not None
    seen = episode.observations["images/top"][:5, ::3, ::3].astype(int)
    frames = np.stack([picture(0, 2 * step)[::5, ::5] for step in range(5)]).astype(int)
    assert np.abs(seen - frames).max() < 120


def test_another_dataset_of_the_same_name_is_added(tmp_path: Path) -> None:
    first = write_dataset(tmp_path / "a/robot", camera="")
    second = write_dataset(tmp_path / "b/robot", camera="", lengths=(7, 4, 9))
    imported(first, tmp_path / "store")
    assert len(imported(second, tmp_path / "store")) == 6 - 2  # two episodes are the same in both


@pytest.mark.parametrize(
    ("shape", "names", "size"),
    [
        ([120, 160, 3], ["height", "width", "channels"], (72, 96)),
        ([3, 120, 160], ["channels", "height", "width"], (72, 96)),
        ([3, 120, 160], ["c", "h", "w"], (72, 96)),
        ([3, 120, 160], {"axes": ["rgb", "y", "x"]}, (72, 96)),
        ([3, 120, 160], None, (72, 96)),
        ([120, 160, 1], 5, (72, 96)),
        ([3, 160, 3], ["height", "width", "channels"], (2, 96)),
        ([3, 160, 3], ["channels", "height", "width"], (96, 2)),
    ],
)
def test_channels_stand_first_or_last(
    shape: list[int], names: Any, size: tuple[int, int], tmp_path: Path
) -> None:
    folder = write_dataset(tmp_path / "robot", camera="image")
    spoil_feature(folder, "observation.images.top", shape=shape, names=names)
    task = DatasetInfo.open(folder).task()
    assert task["kwargs"]["observation"]["images"]["top"]["shape"] == [*size, 3]


def test_numbers_in_lists_of_one_and_large_lists_are_read(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "robot", camera="")

    def wrapped(table: pa.Table) -> pa.Table:
        for name in ("timestamp", "episode_index", "task_index"):
            table = replace_column(name, [[value] for value in table[name].to_pylist()])(table)
        states = pa.array(table["observation.state"].to_pylist(), pa.large_list(pa.float32()))
        return replace_column("observation.state", states)(table)

    plain = imported(folder, tmp_path / "plain")
    spoil_frames(folder, wrapped)
    assert [episode.digest for episode in imported(folder, tmp_path / "store")] == [
        episode.digest for episode in plain
    ]


def test_whole_numbers_are_chosen_among_those_that_were_shown(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "robot", camera="", sentences=("go",))
    for name, dtype in (("observation.state", "bool"), ("action", "int64")):
        spoil_feature(folder, name, dtype=dtype)
    spoil_feature(folder, "action", shape=[1])
    spoil_frames(folder, replace_column("action", [step % 3 for step in range(21)]))
    spoil_frames(
        folder, replace_column("observation.state", [[True, False, step % 2 == 0] for step in range(21)])
    )
    store = tmp_path / "store"
    imported(folder, store)
    run = tt.train(store, tmp_path / "run", steps=2, size=1, batch_steps=32, threads=1)
    actor = tt.load_policy(run.path).actor("robot")
    actor.reset()
    assert actor.act({"state": np.array([1, 0, 1])}) in range(3)
    for to in ("minari", "lerobot"):
        tutelage("export", store, "--to", to, "-o", tmp_path / to)
        tutelage("import", to, tmp_path / to, "-o", tmp_path / f"back-{to}")


def test_a_second_import_adds_nothing(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "robot", camera="")
    imported(folder, tmp_path / "store")
    [sentence, *_] = import_store(folder, "lerobot", tmp_path / "store")
    assert "0 episodes added, 3 were there already" in str(sentence)


@pytest.mark.slow
def test_the_road_of_a_robot(tmp_path: Path) -> None:
    folder, store, run = tmp_path / "robot", tmp_path / "store", tmp_path / "run"
    write_dataset(folder, camera="image", lengths=(12,) * 8)
    told = " ".join(tutelage("import", "lerobot", folder, "-o", store, "--image-size", "32").split())
    assert "robot names no environment to act in" in told
    assert "observation.images.top 32x24" in told
    assert "has recordings only, to train on" in " ".join(
        json.loads(tutelage("inspect", store, "--workers", "1", "--json"))["absent"]
    )
    tutelage("train", store, "-o", run, "--steps", "2", "--size", "1", "--batch-steps", "64")
    pole = {"id": "pole", "env": "CartPole-v1", "max_steps": 20, "expert": "cartpole"}
    (tmp_path / "pole.yaml").write_text(yaml.safe_dump({"suite": "pole", "tasks": [pole]}))
    tutelage("simulate", tmp_path / "pole.yaml", "-n", "4", "-o", tmp_path / "pole", "--workers", "1")
    tutelage(
        "train",
        store,
        tmp_path / "pole",
        "-o",
        tmp_path / "both",
        "--steps",
        "2",
        "--size",
        "1",
        "--batch-steps",
        "32",
        "--select-episodes",
        "1",
    )
    evaluated = [
        "evaluate",
        tmp_path / "both",
        "-o",
        tmp_path / "some",
        "--episodes",
        "1",
        "--actor",
        "random",
    ]
    assert json.loads(tutelage(*evaluated, "--json"))["notes"][0] == (
        "task 'robot' has recordings only: nobody plays it"
    )
    assert "has recordings only; name the task's environment" in tutelage(
        "evaluate", run, "-o", tmp_path / "evaluation", status=2
    )
    document = yaml.safe_load(tutelage("edit", store, "suite"))
    file = tmp_path / "suite.yaml"
    file.write_text(yaml.safe_dump(document))
    assert "recordings only" in tutelage("tasks", file)
    assert "has recordings only" in tutelage("record", file, "-o", tmp_path / "r", "--no-browser", status=2)
    for to in ("minari", "lerobot", "csv", "npz", "robomimic", "rlds"):
        tutelage("export", store, "--to", to, "-o", tmp_path / to)
    back = tmp_path / "back"
    tutelage("import", "lerobot", tmp_path / "lerobot", "-o", back)
    assert [episode.digest for episode in Store.open(back).trajectories()] == [
        episode.digest for episode in Store.open(store).trajectories()
    ]


def test_a_policy_of_recordings_acts_in_a_loop_of_ones_own(tmp_path: Path) -> None:
    write_dataset(tmp_path / "robot", camera="", lengths=(12,) * 8, sentences=("go",))
    imported(tmp_path / "robot", tmp_path / "store")
    run = tt.train(tmp_path / "store", tmp_path / "run", steps=2, size=1, batch_steps=64, threads=1)
    actor = tt.load_policy(run.path).actor("robot")
    actor.reset()
    action = actor.act({"state": np.zeros(3, np.float32)})
    assert action.shape == (2,)
    assert action.dtype == np.float32


def spoil_info(folder: Path, **changes: Any) -> None:
    path = folder / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def spoil_feature(folder: Path, name: str, **changes: Any) -> None:
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    info["features"].setdefault(name, {}).update(changes)
    path.write_text(json.dumps(info))


def spoil_frames(folder: Path, change: Any) -> None:
    path = folder / "data/chunk-000/file-000.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def replace_column(name: str, values: Any) -> Any:
    return lambda table: table.set_column(table.column_names.index(name), name, pa.array(values))


def spoil_places(folder: Path, begins: list[float]) -> None:
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    name = "videos/observation.images.top/from_timestamp"
    pq.write_table(replace_column(name, begins)(pq.read_table(path)), path)


SPOILED = {
    "version": (lambda folder: spoil_info(folder, codebase_version="v1.6"), "of version v2.0, v2.1, v3.0"),
    "fps": (lambda folder: spoil_info(folder, fps="fast"), "expected frames a second as fps"),
    "no features": (lambda folder: spoil_info(folder, features=None), "expected features in"),
    "shape": (lambda folder: spoil_feature(folder, "observation.state", shape=[-3]), "expected a shape of"),
    "dtype": (lambda folder: spoil_feature(folder, "observation.state", dtype="zz"), "expected a dtype of"),
    "a path as a name": (
        lambda folder: spoil_feature(folder, "observation.images.../../x", dtype="video", shape=[8, 8, 3]),
        "expected names of features such as observation.state",
    ),
    "part of another": (
        lambda folder: spoil_feature(folder, "observation.state.left", dtype="float32", shape=[2]),
        "expected features that are no part of others",
    ),
    "another shape": (
        lambda folder: spoil_feature(folder, "action", shape=[5]),
        "expected lists of shape [5]",
    ),
    "no such column": (
        lambda folder: spoil_feature(folder, "observation.more", dtype="float32", shape=[2]),
        "expected a column 'observation.more'",
    ),
    "no data": (lambda folder: (folder / "data/chunk-000/file-000.parquet").unlink(), "expected files data/"),
    "apart": (
        lambda folder: spoil_frames(folder, replace_column("episode_index", [0, 1] * 10 + [0])),
        "expected the frames of episode 0 together",
    ),
    "no such task": (
        lambda folder: spoil_frames(folder, replace_column("task_index", [7] * 21)),
        "expected task 7 among the tasks",
    ),
    "actions that are none": (
        lambda folder: spoil_frames(folder, replace_column("action", [[float("nan"), 1.0]] * 21)),
        "expected finite numbers as actions in episode 0",
    ),
    "times that fall": (
        lambda folder: spoil_frames(
            folder, replace_column("timestamp", [-float(step) for step in range(21)])
        ),
        "expected times in seconds that rise",
    ),
    "a negative episode": (
        lambda folder: spoil_frames(folder, replace_column("episode_index", [-1] * 21)),
        "expected whole numbers as episode_index",
    ),
    "half an episode": (
        lambda folder: spoil_frames(folder, replace_column("episode_index", [0.5] * 21)),
        "expected whole numbers as episode_index",
    ),
    "a place that is none": (
        lambda folder: spoil_places(folder, [float("nan"), -5.0, 0.0]),
        "expected the place of episode 0 in the videos",
    ),
    "a dtype like a program": (
        lambda folder: spoil_feature(folder, "observation.state", dtype="(1,f4"),
        "expected a dtype of",
    ),
    "no times": (
        lambda folder: spoil_frames(folder, replace_column("timestamp", [float("inf")] * 21)),
        "expected finite numbers as timestamp",
    ),
    "no video": (
        lambda folder: next(folder.glob("videos/*/*/*.mp4")).unlink(),
        "expected a video at",
    ),
    "a spoiled video": (
        lambda folder: next(folder.glob("videos/*/*/*.mp4")).write_bytes(b"no video" * 100),
        "expected a video at",
    ),
    "a short video": (
        lambda folder: write_short(next(folder.glob("videos/*/*/*.mp4"))),
        "expected a frame at",
    ),
    "no tasks": (lambda folder: (folder / "meta/tasks.parquet").unlink(), "tasks.parquet"),
}


def write_short(path: Path) -> None:
    path.unlink()
    write_video(path, [picture(0, step) for step in range(3)])


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_dataset_is_one_line_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    spoil, words = SPOILED[name]
    spoil(write_dataset(tmp_path / "robot"))
    line = tutelage("import", "lerobot", tmp_path / "robot", "-o", tmp_path / "store", status=2)
    assert words in line
    assert "\n" not in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["robot"]
