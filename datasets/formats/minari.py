"""Minari datasets: export a store, one dataset a task; read datasets of ours back without loss."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import shutil
import string
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from ...envs.admission import admit_all
from ...envs.errors import TutelageError
from ...envs.gymnasium_task import TaskEnvironment
from ...envs.spaces import is_text, leaves
from ...envs.suite import suite_from
from ...envs.task import Task
from ..durable import disk_errors
from ..replay import Environments, replay_proven, versions_of
from ..store import Progress, Store
from ..trajectory import Trajectory
from .facts import append_new, facts_of, join_actions, nest, rebuild, refuse_existing, split_actions, unnest
from .hdf5_inside import refuse_outside
from .minari_foreign import foreign_suite, foreign_trajectories

_TEXT = spaces.Text(max_length=4096, min_length=0, charset=string.printable)


@dataclass(frozen=True)
class Exported:
    """The folders that were written, and what the format cannot hold as it is, sentence by sentence."""

    paths: list[Path]
    report: list[str]


@dataclass(frozen=True)
class Imported:
    """The store that was written to, and what had to be decided on the way, sentence by sentence."""

    store: Store
    report: list[str]


def minari_module() -> Any:
    """Import Minari; raises TutelageError with the pip line when it is missing."""
    try:
        return importlib.import_module("minari")
    except ImportError as error:
        raise TutelageError(
            f"expected Minari for this, got: {error}; pip install 'tutelage[minari]'"
        ) from None


def export_minari(
    store: Store, dataset_id: str, root: Path | None = None, progress: Progress | None = None
) -> Exported:
    """Write a store as Minari datasets that `minari.load_dataset` opens with every array equal.

    A store of one task becomes the dataset `dataset_id` (such as `crowd/taxi-v0`), of several tasks one
    dataset each in the namespace of that name (`first-steps-v0` → `first-steps/goto-local-v0`). `root`
    is Minari's folder of datasets (default: where Minari itself looks; else set MINARI_DATASETS_PATH).
    Infos hold `times_ms`, `controllers`, `frames`; episode metadata the seed, demonstrator and the rest.
    """
    minari = minari_module()
    played = set(store.episodes()["task"].to_pylist())
    tasks = [task for task in store.suite if task.id in played]
    if not tasks:
        raise TutelageError(f"expected demonstrations in {store.path}, found none; record some")
    names = _dataset_ids(minari, dataset_id, tasks)
    # absolute: Minari puts a relative folder before its own paths once more
    folder = Path(root).resolve() if root is not None else minari.storage.get_dataset_path("")
    report = [
        "Minari's infos begin at the reset: times_ms, controllers and frames have a first entry "
        "(0, -1, -1) that belongs to no action.",
        "Minari has no place for suites, success rules and controls: each dataset's metadata carries them "
        "under 'tutelage', where other readers will not look.",
    ]
    if len(tasks) > 1:
        listed = ", ".join(names.values())
        report.insert(0, f"A Minari dataset has one environment: {len(tasks)} tasks became {listed}.")
    for name in names.values():
        refuse_existing(folder / name)
    for task in tasks:
        report += _export_task(minari, store, task, folder, names[task.id], progress)
    return Exported([folder / name for name in names.values()], report)


def import_minari(source: Path, out: Path, progress: Progress | None = None) -> Imported:
    """Read every Minari dataset at or under `source` into a store at `out`.

    Datasets that `export_minari` wrote come back whole; episodes that the store already holds are left
    out. Of others, observations are stored unless a replay of seed and actions proves them.
    """
    minari = minari_module()
    folders = sorted({path.parent for path in _metadata_files(Path(source))})
    if not folders:
        raise TutelageError(
            f"expected a Minari dataset at {source}, found no data/metadata.json; check the path"
        )
    datasets = [_open(minari, folder) for folder in folders]
    ours = [one for one in datasets if "tutelage" in one.storage.metadata]
    if ours and len(ours) < len(datasets):
        raise TutelageError(
            f"expected datasets of one kind under {source}, got ours and others; import one by one"
        )
    if ours:
        suite = admit_all(suite_from(ours[0].storage.metadata["tutelage"]["suite"], str(source)))
        store = Store.create(out, suite)
        report = [sentence for one in ours for sentence in _import_ours(one, store, progress)]
    else:
        store = Store.create(out, admit_all(foreign_suite(datasets)))
        report = []
        for one, task in zip(datasets, store.suite, strict=True):
            found = foreign_trajectories(one, task, store.suite, report)
            report.append(_count(one.id, append_new(store, _told(found, progress))))
    return Imported(store, report)


def _dataset_ids(minari: Any, dataset_id: str, tasks: list[Task]) -> dict[str, str]:
    try:
        space, name, version = minari.dataset.minari_dataset.parse_dataset_id(dataset_id)
    except (ValueError, TypeError):
        raise TutelageError(
            f"expected a Minari dataset id like first-steps-v0 or crowd/taxi-v0, got {dataset_id!r}"
        ) from None
    if len(tasks) == 1:
        return {tasks[0].id: dataset_id}
    prefix = f"{space}/{name}" if space else name
    return {task.id: f"{prefix}/{re.sub(r'[^-_a-zA-Z0-9]', '_', task.id)}-v{version}" for task in tasks}


def _export_task(
    minari: Any, store: Store, task: Task, root: Path, name: str, progress: Progress | None
) -> list[str]:
    """Write one dataset under a temporary name, then rename it."""
    final = root / name
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.tmp")
    report: list[str] = []
    with disk_errors(root), Environments(store.suite) as environments:
        try:
            (temporary / "data").mkdir(parents=True)
            storage = _new_storage(minari, store, environments[task.id], temporary / "data", name, report)
            metadata: list[dict[str, Any]] = []
            buffers = _buffers(minari, store, task, environments, metadata, progress)
            storage.update_episodes(buffers)
            storage.update_episode_metadata(metadata)
            _name_namespaces(root, final)
            temporary.rename(final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return report


def _new_storage(
    minari: Any, store: Store, environment: TaskEnvironment, folder: Path, name: str, report: list[str]
) -> Any:
    task = environment.task
    space = _storable(environment.observation_space, "", task, report)
    storage = minari.dataset.minari_storage.MinariStorage.new(
        folder,
        observation_space=space,
        action_space=environment.action_space,
        env_spec=_spec(environment, report),
        jpeg_encoding=False,  # Minari's own default loses image data
    )
    if task.max_steps:
        report.append(
            f"Minari keeps no limit but the environment's own: {task.id} had {task.max_steps} steps."
        )
    versions = versions_of(environment)
    storage.update_metadata(
        {
            "dataset_id": name,
            "minari_version": minari.__version__,
            "algorithm_name": "demonstrations recorded with tutelage",
            "description": f"Task {task.id} of suite {store.suite.name}, environment {task.env}",
            "requirements": [f"{k}=={v}" for k, v in versions.items() if k not in ("python", "tutelage")],
            "tutelage": {
                "suite": dict(store.suite.source),
                "task": task.id,
                "leaves": [leaf.path for leaf in leaves(environment.observation_space)],
            },
        }
    )
    return storage


def _spec(environment: TaskEnvironment, report: list[str]) -> Any:
    """Return the environment's specification if it can be written as JSON; a class becomes its name."""
    spec = environment.env.spec
    if spec is None:
        return None
    entry: Any = spec.entry_point
    if isinstance(entry, type):
        spec = dataclasses.replace(spec, entry_point=f"{entry.__module__}:{entry.__qualname__}")
    try:
        spec.to_json()
    except (TypeError, ValueError) as error:
        report.append(f"Minari cannot make {environment.task.env} again: {error}")
        return None
    return spec


def _storable(space: Space[Any], path: str, task: Task, report: list[str]) -> Space[Any]:
    """Replace text spaces that Minari cannot write (minigrid's missions) by Gymnasium's own Text."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict(
            {
                key: _storable(one, f"{path}/{key}" if path else key, task, report)
                for key, one in space.items()
            }
        )
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple(
            [_storable(one, f"{path}/{i}" if path else str(i), task, report) for i, one in enumerate(space)]
        )
    if is_text(space) and not isinstance(space, spaces.Text):
        report.append(
            f"Minari cannot write the space {type(space).__name__} of {path!r} in {task.id}: it became Text; "
            f"its sentences are all there."
        )
        return _TEXT
    return space


def _buffers(
    minari: Any,
    store: Store,
    task: Task,
    environments: Environments,
    metadata: list[dict[str, Any]],
    progress: Progress | None,
) -> Iterator[Any]:
    environment = environments[task.id]
    for one in store.trajectories(task=task.id):
        again = replay_proven(one, environments)
        flags = {
            name: np.append(np.zeros(len(one) - 1, bool), end)
            for name, end in (("terminations", one.terminated), ("truncations", one.truncated))
        }
        metadata.append({k: v for k, v in facts_of(one).items() if k != "seed"})
        actions = split_actions(environment.action_space, one.actions)
        infos = {
            "times_ms": np.insert(one.times_ms, 0, 0),
            "controllers": np.insert(one.controllers, 0, -1),
            "frames": np.insert(one.frames, 0, -1),
        }
        if not np.array_equal(join_actions(actions), one.actions):  # finer than the space's own dtype
            infos["action_rows"] = np.insert(one.actions, 0, np.nan, axis=0)
        if progress:
            progress(1)
        yield minari.data_collector.EpisodeBuffer(
            seed=one.seed,
            observations=nest(environment.observation_space, again.observations),
            actions=nest(environment.action_space, actions),
            rewards=list(one.rewards),
            terminations=list(flags["terminations"]),
            truncations=list(flags["truncations"]),
            infos=infos,
        )


def _name_namespaces(root: Path, final: Path) -> None:
    """Write the small file by which Minari knows that a folder is a namespace."""
    for folder in final.relative_to(root).parents:
        if folder != Path("."):
            path = root / folder / "namespace_metadata.json"
            if not path.exists():
                path.write_text(json.dumps({"description": None}), encoding="utf-8")


def _metadata_files(source: Path) -> Iterable[Path]:
    if (source / "metadata.json").is_file():
        return [source / "metadata.json"]
    return source.glob("**/data/metadata.json")


def _open(minari: Any, folder: Path) -> Any:
    refuse_outside(folder)
    try:
        return minari.MinariDataset(folder)
    except Exception as error:  # Minari raises whatever its readers raise
        raise TutelageError(
            f"expected a Minari dataset at {folder}, got {type(error).__name__}: {error}"
        ) from None


def _import_ours(dataset: Any, store: Store, progress: Progress | None) -> list[str]:
    return [_count(dataset.id, append_new(store, _told(_our_trajectories(dataset, store), progress)))]


def _our_trajectories(dataset: Any, store: Store) -> Iterator[Trajectory]:
    order = dataset.storage.metadata["tutelage"]["leaves"]
    with Environments(store.suite) as environments:
        described = dataset.storage.get_episode_metadata(dataset.episode_indices)
        for episode, metadata in zip(dataset.iterate_episodes(), described, strict=True):
            flat = unnest(dataset.observation_space, episode.observations)
            facts = {
                key: value.item() if hasattr(value, "item") else value for key, value in metadata.items()
            }
            steps = {name: episode.infos[name][1:] for name in ("times_ms", "controllers", "frames")}
            actions = join_actions(unnest(dataset.action_space, episode.actions))
            steps["actions"] = episode.infos["action_rows"][1:] if "action_rows" in episode.infos else actions
            steps["rewards"] = episode.rewards
            ordered = {path: flat[path] for path in order}
            yield rebuild(facts, steps, ordered, environments, f"Minari dataset {dataset.id}")


def _told(trajectories: Iterator[Trajectory], progress: Progress | None) -> Iterator[Trajectory]:
    for one in trajectories:
        yield one
        if progress:
            progress(1)


def _count(name: str, counts: tuple[int, int]) -> str:
    added, known = counts
    return f"{name}: {added} episodes added" + (f", {known} were there already." if known else ".")
