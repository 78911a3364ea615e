"""Minari datasets: export a store, one dataset per task; import datasets, exported ones without loss."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from ....console.wording import counted
from ....envs.spaces import is_text, join_path, leaves
from ....envs.task import Task
from ....envs.task_env import TaskEnv
from ....errors import TutelageError
from ....files.atomic_files import disk_errors
from ....files.finite_json import json_text
from ....files.safe_tree import sync_tree
from ...replay import Environments, replay_proven
from ...store import Progress, Store
from ...trajectory import Trajectory
from ...versions import versions_of
from ..all_or_none import export_datasets, staged_import
from ..bounded_hdf5 import check_hdf5_files
from ..export_marker import MARKERS, ExportMarker, write_marker
from ..export_registry import Export
from ..facts import escaped, facts_of, join_actions, nest, split_actions
from ..hdf5_process import Hdf5Process
from ..reading_back import append_new, common_suite, count_sentence, read_all, refuse_changed_files
from .importer import foreign_suite, foreign_trajectories
from .limits import check_minari
from .storage import add_episodes, create, find_change, written_episodes

_BATCH_BYTES = 16 << 20
_TEXT = spaces.Text(max_length=4096, min_length=0, charset=string.printable)


@dataclass(frozen=True)
class ExportResult:
    """Folders that were written, and what the format cannot hold unchanged, one sentence per entry."""

    paths: list[Path]
    report: list[str]


@dataclass(frozen=True)
class ImportResult:
    """The store that was written, and the decisions made on import, one sentence per entry."""

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
) -> ExportResult:
    """Write a store as Minari datasets that `minari.load_dataset` opens with every array equal.

    A store of one task becomes the dataset `dataset_id` (such as `crowd/taxi-v0`); a store of several tasks
    becomes one dataset per task in the namespace of that name (`first-steps-v0` →
    `first-steps/goto-local-v0`). `root` is Minari's folder of datasets (default: Minari's own, which
    MINARI_DATASETS_PATH sets). Infos hold `times_ms`, `controllers`, `frames`; episode metadata holds the
    seed, demonstrator and the other facts.
    """
    minari = minari_module()
    task_ids = set(store.episodes()["task"].to_pylist())
    tasks = [task for task in store.suite if task.id in task_ids]
    if not tasks:
        raise TutelageError(f"expected demonstrations in {store.path}, found none; record some")
    names = _dataset_ids(minari, dataset_id, tasks)
    # absolute: Minari would prepend a relative folder to its own paths a second time
    folder = Path(root).resolve() if root is not None else minari.storage.get_dataset_path("")
    report = [
        "Minari's infos begin at the reset: times_ms, controllers and frames have a first entry "
        "(0, -1, -1) that belongs to no action.",
        "Minari has no place for suites, success rules and controls: each dataset's metadata carries them "
        "under 'tutelage', where other readers will not look.",
    ]
    if len(tasks) > 1:
        listed = ", ".join(names.values())
        report.insert(
            0, f"A Minari dataset has one environment: {counted(len(tasks), 'task')} became {listed}."
        )
    places = {task.id: (names[task.id], folder / names[task.id]) for task in tasks}
    report += export_datasets(
        store,
        "minari",
        places,
        progress,
        lambda created: _name_namespaces(folder, [path for _, path in places.values()], created),
    )
    return ExportResult([path for _, path in places.values()], report)


def import_minari(
    source: Path,
    out: Path,
    progress: Progress | None = None,
    *,
    keep_changed: bool = False,
    is_recorded: bool = False,
) -> ImportResult:
    """Read every Minari dataset at or under `source` into a store at `out`: all of them, or nothing.

    Datasets that `export_minari` wrote are recovered exactly, or refused (see `ReadEpisode.read_back` for
    `keep_changed`); episodes that the store already holds are left out. For other datasets, observations are
    stored unless a replay of seed and actions proves them; with `is_recorded`, their tasks have recordings
    only (`envs.recorded`).
    """
    minari = minari_module()
    folders = sorted({path.parent for path in _metadata_files(Path(source))})
    if not folders:
        raise TutelageError(
            f"expected a Minari dataset at {source}, found no data/metadata.json; check the path"
        )
    exported = [folder for folder in folders if (folder.parent / MARKERS["minari"]).exists()]
    if exported and len(exported) < len(folders):
        raise TutelageError(
            f"expected datasets of one kind under {source}, got ours and others; import one by one"
        )
    report: list[str] = []
    if exported:
        if is_recorded:
            raise TutelageError(f"expected no --recorded with {source}, whose tasks have environments")
        markers = [_checked_marker(folder, keep_changed) for folder in folders]
        with staged_import(Path(out), common_suite(markers, source)) as (store, existing):
            for folder in folders:
                report.append(
                    _import_exported(_open(minari, folder), store, existing, progress, keep_changed)
                )
    else:
        datasets = [_open(minari, folder) for folder in folders]
        for dataset in datasets:
            if "tutelage" in dataset.storage.metadata:
                ExportMarker.read(dataset.storage.data_path.parent, "minari")  # raises: the marker is missing
        suite = foreign_suite(datasets, Path(out), report, is_recorded=is_recorded)
        with staged_import(Path(out), suite) as (store, existing):
            for dataset, task in zip(datasets, store.suite, strict=True):
                episodes = foreign_trajectories(dataset, task, store.suite, report)
                counts = append_new(store, episodes, existing, progress)
                report.append(count_sentence(dataset.id, counts))
    return ImportResult(Store.open(out), report)


def write_minari(store: Store, export: Export, progress: Progress | None = None) -> list[str]:
    """Write one task's dataset and its marker to `export.fresh`; return what the format cannot hold."""
    minari_module()
    report: list[str] = []
    data = export.fresh / "data"
    with disk_errors(export.folder), Environments(store.suite) as environments:
        data.mkdir(parents=True)
        with Hdf5Process(export.fresh) as process:
            process.call(create, data, *_description(store, environments[export.task], export.name, report))
            episodes = 0
            for batch in _batches(store, store.suite[export.task], environments, progress):
                process.call(
                    add_episodes, data, [arguments for arguments, _ in batch], [facts for _, facts in batch]
                )
                episodes += len(batch)
        write_marker(export.fresh, "minari", export.token, export.task, episodes, store.suite.source)
        sync_tree(export.fresh)
    return report


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
    names = {task.id: f"{prefix}/{re.sub(r'[^-_a-zA-Z0-9]', '_', task.id)}-v{version}" for task in tasks}
    if len({name.lower() for name in names.values()}) < len(names):
        raise TutelageError("expected tasks whose ids differ in letters and digits, got two that do not")
    return names


def _description(store: Store, environment: TaskEnv, name: str, report: list[str]) -> tuple[Any, ...]:
    """Return the arguments of `storage.create`: spaces, the environment's specification, metadata."""
    minari, task = minari_module(), environment.task
    space = _storable_space(environment.observation_space, "", task, report)
    spec = _spec(environment, report)
    if task.max_steps:
        report.append(
            f"Minari keeps no limit but the environment's own: {task.id} had "
            f"{counted(task.max_steps, 'step')}."
        )
    versions = versions_of(environment)
    about = {
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
    odd = [leaf.path for leaf in (*leaves(space), *leaves(environment.action_space)) if "%" in leaf.path]
    if odd:
        report.append(
            f"Minari makes the keys of a Dict names of HDF5 groups: those of {task.id} are escaped, as in "
            f"{odd[0]!r}."
        )
    return escaped(space), escaped(environment.action_space), spec, about


def _spec(environment: TaskEnv, report: list[str]) -> Any:
    """Return the environment's specification if JSON can express it, else None; a class becomes its name."""
    task = environment.task
    spec = (environment.env.unwrapped if task.wrappers else environment.env).spec
    if spec is None:
        return None
    if task.wrappers:
        report.append(f"Minari makes {task.env} again without the wrappers of {task.id}: put them around it.")
    entry: Any = spec.entry_point
    if isinstance(entry, type):
        spec = dataclasses.replace(spec, entry_point=f"{entry.__module__}:{entry.__qualname__}")
    try:
        spec.to_json()
    except (TypeError, ValueError) as error:
        report.append(f"Minari cannot make {environment.task.env} again: {error}")
        return None
    return spec


def _storable_space(space: Space[Any], path: str, task: Task, report: list[str]) -> Space[Any]:
    """Replace text spaces that Minari cannot write (MiniGrid's missions) by Gymnasium's Text."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict(
            {key: _storable_space(part, join_path(path, key), task, report) for key, part in space.items()}
        )
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple(
            [_storable_space(part, join_path(path, i), task, report) for i, part in enumerate(space)]
        )
    if is_text(space) and not isinstance(space, spaces.Text):
        report.append(
            f"Minari cannot write the space {type(space).__name__} of {path!r} in {task.id}: it became Text; "
            f"its sentences are all there."
        )
        return _TEXT
    return space


def _batches(
    store: Store, task: Task, environments: Environments, progress: Progress | None
) -> Iterator[list[tuple[dict[str, Any], dict[str, Any]]]]:
    """Yield batches of pairs (arguments of `EpisodeBuffer`, metadata) of all episodes of a task."""
    waiting: list[tuple[dict[str, Any], dict[str, Any]]] = []
    size = 0
    for trajectory in store.trajectories(task=task.id):
        observations = replay_proven(trajectory, environments).observations
        waiting.append((_episode(trajectory, observations, environments[task.id]), _metadata(trajectory)))
        size += sum(array.nbytes for array in observations.values())
        if progress:
            progress(1)
        if size >= _BATCH_BYTES:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting


def _metadata(trajectory: Trajectory) -> dict[str, Any]:
    return {name: value for name, value in facts_of(trajectory).items() if name != "seed"}


def _episode(
    trajectory: Trajectory, observations: dict[str, np.ndarray], environment: TaskEnv
) -> dict[str, Any]:
    """Return the arguments of Minari's `EpisodeBuffer` for one episode."""
    flags = {
        name: list(np.append(np.zeros(len(trajectory) - 1, bool), end))
        for name, end in (("terminations", trajectory.terminated), ("truncations", trajectory.truncated))
    }
    actions = split_actions(environment.action_space, trajectory.actions)
    infos = {
        "times_ms": np.insert(trajectory.times_ms, 0, 0),
        "controllers": np.insert(trajectory.controllers, 0, -1),
        "frames": np.insert(trajectory.frames, 0, -1),
    }
    if join_actions(actions).tobytes() != trajectory.actions.tobytes():  # more precise than the space's dtype
        infos["action_rows"] = np.insert(trajectory.actions, 0, np.nan, axis=0)
    return {
        "seed": trajectory.seed,
        "observations": nest(environment.observation_space, observations),
        "actions": nest(environment.action_space, actions),
        "rewards": list(trajectory.rewards),
        "infos": infos,
        **flags,
    }


def _name_namespaces(root: Path, datasets: list[Path], created: list[Path]) -> None:
    """Write the metadata files by which Minari recognizes a folder as a namespace."""
    folders = {
        parent for dataset in datasets for parent in dataset.relative_to(root).parents if parent != Path(".")
    }
    for folder in sorted(folders):
        path = root / folder / "namespace_metadata.json"
        if not os.path.lexists(path):
            created.append(path)
            path.write_text(json_text({"description": None}), encoding="utf-8")


def _metadata_files(source: Path) -> Iterable[Path]:
    if (source / "metadata.json").is_file():
        return [source / "metadata.json"]
    return source.glob("**/data/metadata.json")


def _open(minari: Any, folder: Path) -> Any:
    check_minari(folder)
    try:
        return minari.MinariDataset(folder)
    except Exception as error:  # Minari may raise anything
        raise TutelageError(
            f"expected a Minari dataset at {folder}, got {type(error).__name__}: {error}"
        ) from None


def _checked_marker(folder: Path, keep_changed: bool) -> ExportMarker:
    """Read the marker of an export whose data are in `folder`; raises TutelageError for changed files."""
    check_hdf5_files(folder)  # before a child process or Minari opens one
    marker = ExportMarker.read(folder.parent, "minari")
    if not keep_changed:
        refuse_changed_files(folder.parent, marker, lambda: _find_change(folder))
    return marker


def _find_change(folder: Path) -> str:
    try:
        with Hdf5Process(folder) as process:  # a changed file may crash HDF5
            return str(process.call(find_change, folder))
    except (OSError, TutelageError):
        return ""


def _import_exported(
    dataset: Any, store: Store, existing: set[str], progress: Progress | None, keep_changed: bool
) -> str:
    marker = ExportMarker.read(dataset.storage.data_path.parent, "minari")
    with Environments(store.suite) as environments:
        written = written_episodes(dataset, marker)
        episodes = read_all(written, environments, f"Minari dataset {dataset.id}", keep_changed)
        return count_sentence(dataset.id, append_new(store, episodes, existing, progress))
