"""Import LeRobot datasets: those that tutelage exported, and those of others (`recordings`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ....console.wording import counted
from ....envs.spaces import is_text, leaves
from ....envs.task_env import TaskEnv
from ....errors import TutelageError
from ....files.bounded_files import parse_json
from ...parquet.bounded_parquet import read_table
from ...replay import Environments
from ...schema import unpack
from ...store import Progress, Store
from ..all_or_none import staged_import
from ..export_marker import MARKERS, ExportMarker
from ..minari.exporter import ImportResult
from ..reading_back import (
    ReadEpisode,
    append_new,
    common_suite,
    count_sentence,
    first_change,
    read_all,
    refuse_changed_files,
)
from .dataset_info import IMAGE_SIZE, DatasetInfo, describe_import, recorded_suite
from .reader import EPISODES, frames_of, joined, read_frames, rows_of
from .recordings import recorded_episodes
from .schema import DATA_PATH, Feature, array_of, feature_name, features_of

_MARKER = MARKERS["lerobot"]


def import_lerobot(
    source: Path,
    out: Path,
    progress: Progress | None = None,
    *,
    keep_changed: bool = False,
    image_size: int | None = None,
) -> ImportResult:
    """Read every LeRobot dataset at or under `source` into a store at `out`: all of them, or nothing.

    Episodes that the store already holds are left out. Of datasets that `export_lerobot` wrote, changed
    episodes are refused (see `ReadEpisode.read_back` for `keep_changed`). Those of others name no
    environment: their tasks have recordings only (`envs.recorded`), with pictures of at most `image_size`
    pixels a side.
    """
    folders = sorted(path.parents[1] for path in Path(source).glob("**/meta/info.json"))
    if not folders:
        raise TutelageError(
            f"expected a LeRobot dataset at {source}, found no meta/info.json; check the path"
        )
    foreign = [folder for folder in folders if not (folder / _MARKER).is_file()]
    if foreign and len(foreign) < len(folders):
        raise TutelageError(
            f"expected datasets of one kind under {source}, got ours and others; import one by one"
        )
    if foreign:
        if keep_changed:
            raise TutelageError(f"expected no --changed with {source}, which tutelage did not export")
        return _import_recordings(foreign, Path(out), progress, image_size or IMAGE_SIZE)
    if image_size is not None:
        raise TutelageError(f"expected no --image-size with {source}, whose pictures are read as exported")
    markers = [ExportMarker.read(folder, "lerobot") for folder in folders]
    suite = common_suite(markers, source)
    report = []
    with staged_import(Path(out), suite) as (store, existing), Environments(suite) as environments:
        for folder, marker in zip(folders, markers, strict=True):
            environment = environments[marker.task]
            if not keep_changed:
                refuse_changed_files(folder, marker, partial(_first_change, folder, marker, environment))
            episodes = _written_episodes(folder, marker, environment)
            trajectories = read_all(episodes, environments, f"LeRobot dataset {folder}", keep_changed)
            counts = append_new(store, trajectories, existing, progress)
            report.append(count_sentence(str(folder), counts))
    return ImportResult(Store.open(out), report)


def _import_recordings(
    folders: list[Path], out: Path, progress: Progress | None, image_size: int
) -> ImportResult:
    datasets = [DatasetInfo.open(folder, image_size) for folder in folders]
    for dataset in datasets:
        if dataset.is_export:
            ExportMarker.read(dataset.folder, "lerobot")  # raises: the marker is missing
    suite, report = recorded_suite(datasets), []
    with staged_import(out, suite) as (store, existing):
        for dataset, task in zip(datasets, suite, strict=True):
            counts = append_new(store, recorded_episodes(dataset, task, suite.name), existing, progress)
            report += [count_sentence(str(dataset.folder), counts), *describe_import(dataset)]
    return ImportResult(Store.open(out), report)


def _first_change(folder: Path, marker: ExportMarker, environment: TaskEnv) -> str:
    return first_change(_written_episodes(folder, marker, environment))


def _written_episodes(folder: Path, marker: ExportMarker, environment: TaskEnv) -> Iterator[ReadEpisode]:
    """Read the episodes of one dataset unchanged; only from files that the export wrote."""
    episodes = pa.concat_tables(
        read_table(marker.path(folder, name), EPISODES)
        for name in sorted(marker.files)
        if name.startswith("meta/episodes/")
    )
    for name in EPISODES.names:
        if name != "tutelage/action_rows" and episodes[name].null_count:
            raise TutelageError(f"expected {name} of every episode in {folder}, got episodes without")
    if len(episodes) != marker.episodes:
        raise TutelageError(
            f"expected {counted(marker.episodes, 'episode')} in {folder}, got {len(episodes)}"
        )
    features = features_of(environment.observation_space, environment.action_space)
    path, table = "", pa.table({})
    for row in episodes.sort_by("episode_index").to_pylist():
        place = {name: row[f"data/{name}"] for name in ("chunk_index", "file_index")}
        if path != (needed := DATA_PATH.format(**place)):
            if needed not in marker.files:
                raise TutelageError(f"expected the data of every episode in {folder}, found no {needed}")
            path, table = needed, read_frames(marker.path(folder, needed), features)
        frames = frames_of(row, table, folder / needed)
        yield _written_episode(row, frames, environment, features)


def _written_episode(
    row: dict[str, Any], frames: pa.Table, environment: TaskEnv, features: dict[str, Feature]
) -> ReadEpisode:
    last = unpack(row["tutelage/last_observation"])
    observations = {}
    for leaf in leaves(environment.observation_space):
        name = feature_name(leaf)
        shape = () if is_text(leaf.space) else leaf.space.shape or ()
        observed = array_of(frames[name], features[name], shape)
        observations[leaf.path] = joined(observed, last.get(leaf.path), repr(leaf.path))
    length = row["length"]
    rows = row["tutelage/action_rows"]
    actions = array_of(frames["action"], features["action"], features["action"]["shape"])
    steps = {
        "actions": actions if rows is None else rows_of(rows, length),
        "rewards": frames["next.reward"].to_numpy(),
        "times_ms": frames["tutelage.time_ms"].to_numpy(),
        "controllers": frames["tutelage.controller"].to_numpy(),
        "frames": frames["tutelage.frame"].to_numpy(),
    }
    return ReadEpisode(parse_json(row["tutelage/facts"], "the facts of an episode"), steps, observations)
