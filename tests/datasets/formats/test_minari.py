"""Minari opens what we export with every array equal, and what we read back has lost nothing."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from tutelage.datasets.formats.exchange import export_store, import_store
from tutelage.datasets.formats.facts import join_actions, nest, split_actions, unnest
from tutelage.datasets.formats.minari.exporter import ExportResult, export_minari, import_minari
from tutelage.datasets.replay import Environments, replay_proven
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

minari = pytest.importorskip("minari")
gymnasium.register(
    "AntMaze_Walk-v4", "tutelage.tests.support.toy_info:Visits"
)  # its family's rule reads info.success

SUITE = suite_from(
    {
        "suite": "mixed",
        "tasks": [
            {"id": "red-ball", "env": "BabyAI-GoToRedBallGrey-v0"},
            {"id": "words", "env": "toys/Words-v0", "kwargs": {"length": 9}},
            {"id": "unrepeatable", "env": "toys/Unrepeatable-v0", "success": "terminated"},
            {"id": "camera", "env": "toys/Camera-v0", "max_steps": 7},
            {"id": "taxi", "env": "tutelage/Taxi-v0"},
            {"id": "pendulum", "env": "Pendulum-v1"},
            {"id": "lake", "env": "FrozenLake-v1", "kwargs": {"map_name": "8x8"}},
        ],
    }
)
DATASETS = {task.id: f"mixed/{task.id}-v0" for task in SUITE}


@pytest.fixture(scope="module")
def filled(fill: Callable[..., Store]) -> Store:
    return fill(SUITE, 3, 4)


@pytest.fixture(scope="module")
def exported(filled: Store, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """Give what came of an export of everything, which nobody may change."""
    return export_minari(filled, "mixed-v0", tmp_path_factory.mktemp("exported"))


@pytest.fixture
def opened(exported: ExportResult, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let minari look for datasets where that export is; returns the folder."""
    folder = exported.paths[0].parents[1]
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, dict):
        return set(mine) == set(theirs) and all(same(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, tuple):
        return len(mine) == len(theirs) and all(same(a, b) for a, b in zip(mine, theirs, strict=True))
    if isinstance(mine, list):
        return mine == list(theirs)
    return bool(mine.dtype == theirs.dtype and np.array_equal(mine, theirs))


@pytest.mark.slow
@pytest.mark.parametrize("task", [task.id for task in SUITE])
@pytest.mark.usefixtures("opened")
def test_minari_opens_ours_with_every_array_equal(task: str, filled: Store) -> None:
    dataset = minari.load_dataset(DATASETS[task])
    metadata = list(dataset.storage.get_episode_metadata(dataset.episode_indices))
    with Environments(SUITE) as environments:
        space, actions = environments[task].observation_space, environments[task].action_space
        for number, one in enumerate(filled.trajectories(task=task)):
            episode, again = dataset[number], replay_proven(one, environments)
            assert same(nest(space, again.observations), episode.observations)
            assert same(nest(actions, split_actions(actions, one.actions)), episode.actions)
            assert np.array_equal(episode.rewards, one.rewards)
            assert episode.terminations.tolist() == [False] * (len(one) - 1) + [one.terminated]
            assert episode.truncations.tolist() == [False] * (len(one) - 1) + [one.truncated]
            for name in ("times_ms", "controllers", "frames"):
                assert np.array_equal(episode.infos[name][1:], getattr(one, name))
                assert len(episode.infos[name]) == len(one) + 1
            for name in ("demonstrator", "kind", "success", "seed", "started", "study", "consent", "notes"):
                assert metadata[number][name] == getattr(one, name)
    assert dataset.total_steps == sum(len(one) for one in filled.trajectories(task=task))
    assert dataset.env_spec.id == SUITE[task].env


def test_minari_lists_ours_and_makes_the_environment_again(exported: ExportResult, opened: Path) -> None:
    assert set(minari.list_local_datasets()) == set(DATASETS.values())
    assert exported.paths == [opened / name for name in DATASETS.values()]
    assert minari.load_dataset(DATASETS["lake"]).recover_environment().unwrapped.desc.shape == (8, 8)
    assert minari.load_dataset(DATASETS["words"]).env_spec.kwargs["length"] == 9
    assert isinstance(
        minari.load_dataset(DATASETS["red-ball"]).observation_space["mission"], gymnasium.spaces.Text
    )


def test_what_comes_back_has_lost_nothing(filled: Store, opened: Path, tmp_path: Path, equal: Any) -> None:
    back = import_minari(opened, tmp_path / "back")
    mine = {one.episode: one for one in filled.trajectories()}
    theirs = {one.episode: one for one in back.store.trajectories()}
    assert mine.keys() == theirs.keys()
    assert all(equal(mine[episode], theirs[episode]) for episode in mine)
    assert back.store.suite == SUITE
    assert back.store.verify() == []


def test_actions_finer_than_the_spaces_dtype_come_back_too(
    tmp_path: Path, root: Path, demonstrate: Callable[..., Any], equal: Any
) -> None:
    store = Store.create(tmp_path / "store", SUITE)
    trajectory, _ = demonstrate(TaskEnv(SUITE["pendulum"]), 1, suite="mixed")
    finer = replace(trajectory, actions=trajectory.actions + 1e-12)  # float32 does not see it
    store.append([finer])
    export_minari(store, "fine-v0", root)
    (back,) = import_minari(root, tmp_path / "back").store.trajectories()
    assert equal(back, finer)


def test_importing_twice_adds_nothing(filled: Store, opened: Path, tmp_path: Path) -> None:
    import_minari(opened, tmp_path / "back")
    again = import_minari(opened / "mixed" / "taxi-v0", tmp_path / "back")
    assert len(again.store) == len(filled)
    assert again.report == ["mixed/taxi-v0: 0 episodes added, 2 were there already."]


@pytest.mark.slow
def test_what_the_format_cannot_hold_is_said(filled: Store, root: Path) -> None:
    report = " ".join(export_store(filled, "minari", root))
    for phrase in (
        "7 tasks became",
        "BabyAIMissionSpace of 'mission'",
        "camera had 7 steps",
        "under 'tutelage'",
        "(0, -1, -1)",
    ):
        assert phrase in report


def test_a_store_of_one_task_takes_the_id_as_it_is(
    tmp_path: Path, root: Path, demonstrate: Callable[..., Any]
) -> None:
    store = Store.create(tmp_path / "store", SUITE)
    store.append([demonstrate(TaskEnv(SUITE["taxi"]), 1, suite="mixed")[0]])
    assert export_minari(store, "crowd/taxi-v3").paths == [root / "crowd" / "taxi-v3"]
    assert minari.load_dataset("crowd/taxi-v3").total_episodes == 1


def test_an_export_never_overwrites_and_leaves_nothing_half_done(
    filled: Store, opened: Path, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(TutelageError, match="expected nothing at"):
        export_minari(filled, "mixed-v0", opened)
    broken = Store.create(tmp_path / "broken", SUITE)
    broken.append([replace(one, digest=bytes(16)) for one in filled.trajectories(task="taxi")])
    with pytest.raises(TutelageError, match="to replay as recorded"):
        export_minari(broken, "second-v0", root)
    assert not list(root.glob("**/*.tmp"))
    assert not (root / "second-v0").exists()


def test_changed_data_are_found_on_the_way_back(opened: Path, root: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    shutil.copytree(opened / "mixed" / "taxi-v0", root / "mixed" / "taxi-v0")
    with h5py.File(root / "mixed" / "taxi-v0" / "data" / "main_data.hdf5", "a") as file:
        file["episode_0"]["rewards"][3] += 1
    with pytest.raises(TutelageError, match="its data were changed"):
        import_minari(root / "mixed" / "taxi-v0", tmp_path / "back")


def foreign(
    name: str,
    root: Path,
    seeds: list[int | None],
    env: str = "CartPole-v1",
    kept_infos: Sequence[str] = (),
    **declared: Any,
) -> Any:
    """Make a dataset as others do, with Minari's own buffers, and with some of what info said."""
    environment = gymnasium.make(env)
    buffers = []
    for seed in seeds:
        observation, _ = environment.reset(seed=seed)
        environment.action_space.seed(0)
        seen, actions, rewards, ends = [observation], [], [], []
        infos: list[dict[str, Any]] = [{}]
        for _ in range(15):
            actions.append(environment.action_space.sample())
            observation, reward, terminated, truncated, info = environment.step(actions[-1])
            infos.append(info)
            seen.append(observation)
            rewards.append(reward)
            ends.append((terminated, truncated))
            if terminated or truncated:
                break
        buffers.append(
            minari.data_collector.EpisodeBuffer(
                seed=seed,
                observations=np.array(seen),
                actions=np.array(actions),
                rewards=rewards,
                terminations=[one for one, _ in ends],
                truncations=[one for _, one in ends],
                infos={name: [info.get(name, False) for info in infos] for name in kept_infos},
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return minari.create_dataset_from_buffers(name, buffers, env=environment, **declared)


def read(name: str, root: Path, out: Path) -> tuple[list[Trajectory], str]:
    done = import_minari(root / name, out)
    assert done.store.verify() == []
    return list(done.store.trajectories()), " ".join(done.report)


def test_a_foreign_dataset_with_seeds_is_proven_by_replay(root: Path, tmp_path: Path) -> None:
    dataset = foreign("cartpole/human-v0", root, [5, 6])
    episodes, report = read("cartpole/human-v0", root, tmp_path / "back")
    assert [one.seed for one in episodes] == [5, 6]
    assert all(one.observations is None and one.kind == "person" for one in episodes)
    assert all(np.array_equal(one.actions[:, 0], dataset[at].actions) for at, one in enumerate(episodes))
    assert "neither when nor by whom" in report
    assert "stored" not in report


def test_a_foreign_dataset_that_is_not_what_it_declares_is_taken_in_with_the_fact(
    root: Path, tmp_path: Path
) -> None:
    declared = gymnasium.spaces.Box(-5, 5, (4,), np.int8)
    foreign("cartpole/human-v0", root, [5], observation_space=declared)
    [episode], report = read("cartpole/human-v0", root, tmp_path / "back")
    assert episode.casts[""].startswith("declared int8 [4], got float32 [4] from")
    assert "episodes that a cast to the declared dtypes changed: 1;" in report


def test_a_foreign_dataset_without_seeds_keeps_its_observations(root: Path, tmp_path: Path) -> None:
    dataset = foreign("pendulum/expert-v0", root, [None, None], "Pendulum-v1")
    episodes, report = read("pendulum/expert-v0", root, tmp_path / "back")
    for at, one in enumerate(episodes):
        assert one.observations is not None
        assert np.array_equal(one.observations[""], dataset[at].observations)
        assert (one.kind, one.notes) == ("expert", "seed unknown")
    assert "2 episodes without a seed" in report
    assert "2 episodes, so their observations are stored" in report


@pytest.mark.parametrize(("kept_infos", "proves"), [(("success",), True), ((), False)])
def test_a_foreign_dataset_says_whether_it_holds_what_its_success_rule_reads(
    kept_infos: tuple[str, ...], proves: bool, root: Path, tmp_path: Path
) -> None:
    foreign("walks/human-v0", root, [5, 6, None], "AntMaze_Walk-v4", kept_infos)
    episodes, report = read("walks/human-v0", root, tmp_path / "back")
    assert all((episode.success is not None) is proves for episode in episodes)
    assert [set(episode.infos) for episode in episodes] == [{"info.success"} if proves else set()] * 3
    assert [episode.observations is None for episode in episodes] == [proves, proves, False]
    assert ("whether these succeeded is unknown" in report) is not proves


def test_a_folder_without_datasets_is_said(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match=r"found no data/metadata\.json"):
        import_minari(tmp_path, tmp_path / "back")
    with pytest.raises(TutelageError, match="did you mean 'minari'"):
        import_store(tmp_path, "minary", tmp_path / "back")


def test_a_bad_id_or_an_empty_store_is_said(filled: Store, root: Path, tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="expected a Minari dataset id"):
        export_minari(filled, "no version!", root)
    with pytest.raises(TutelageError, match="record some"):
        export_minari(Store.create(tmp_path / "empty", SUITE), "x-v0", root)


@pytest.mark.parametrize("task", ["words", "camera", "taxi", "pendulum"])
def test_leaves_and_actions_go_into_spaces_and_out_again(task: str, demonstrate: Callable[..., Any]) -> None:
    environment = TaskEnv(SUITE[task])
    one, seen = demonstrate(environment, 1, suite="mixed")
    back = unnest(environment.observation_space, nest(environment.observation_space, seen))
    assert list(back) == list(seen)
    assert all(np.array_equal(back[path], seen[path]) for path in seen)
    assert np.array_equal(join_actions(split_actions(environment.action_space, one.actions)), one.actions)
