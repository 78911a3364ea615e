"""Export as RLDS (github.com/google-research/rlds): TFRecord files with a description of their features.

Covers: the layout of TensorFlow Datasets, one Example per episode. Does not cover: float64, which is written
as float32, as TensorFlow Datasets does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...envs.spaces import Leaf, is_text
from ...envs.task import Task
from ...files.finite_json import json_text
from ..store import Progress, Store
from .export_registry import Export
from .facts import facts_of, is_rated, unrated_note
from .plain_export import ExportedEpisode, export_plain, flat_names, write_plain
from .tfrecord_file import example, record

VERSION = "1.0.0"
_FEATURES = "tensorflow_datasets.core.features."
_FLAGS = ("is_first", "is_last", "is_terminal")
_ABOUT = ("episode", "demonstrator", "kind", "seed", "success", "facts")


def export_rlds(store: Store, out: Path, progress: Progress | None = None) -> list[str]:
    """Write a store as RLDS episodes; return what the format cannot hold, one sentence per entry."""
    report = [
        "An RLDS step pairs an observation with the action that follows; the last step of an episode has an "
        "observation only, and zeros for action, reward and discount.",
        "RLDS holds float32: rewards and float64 observations are rounded to it.",
        "What is ours stands in episode_metadata: seed, demonstrator, kind, success, and facts as JSON.",
    ]
    return export_plain(store, "rlds", out, report, progress)


def write_rlds(store: Store, export: Export, progress: Progress | None = None) -> list[str]:
    """Write one task's files and their marker to `export.fresh`."""
    about = _ABOUT if is_rated(store, export.task) else tuple(name for name in _ABOUT if name != "success")
    return write_plain(store, export, progress, partial(_write, about))


def _write(
    metadata: Sequence[str],
    folder: Path,
    task: Task,
    all_leaves: tuple[Leaf, ...],
    episodes: Iterator[ExportedEpisode],
) -> list[str]:
    name = re.sub(r"[^a-z0-9]+", "_", task.id.lower()).strip("_") or "task"
    names = flat_names(leaf.path for leaf in all_leaves)
    bare = [leaf.path for leaf in all_leaves] == [""]
    count = size = width = 0
    with (folder / f"{name}-train.tfrecord-00000-of-00001").open("wb") as file:
        for exported in episodes:
            width = exported.trajectory.actions.shape[1]
            data = record(example(_example(exported, all_leaves, names, bare, metadata)))
            file.write(data)
            count, size = count + 1, size + len(data)
    split = {"name": "train", "shardLengths": [str(count)], "numBytes": str(size)}
    split["filepathTemplate"] = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    about = {"name": name, "version": VERSION, "fileFormat": "tfrecord", "splits": [split]}
    about["description"] = f"Task {task.id}, environment {task.env}"
    _write_json(folder / "dataset_info.json", about)
    _write_json(folder / "features.json", _features(all_leaves, names, bare, width, metadata))
    return [] if "success" in metadata else [unrated_note(task.id, "episode_metadata/success")]


def _example(
    exported: ExportedEpisode,
    all_leaves: tuple[Leaf, ...],
    names: Mapping[str, str],
    bare: bool,
    metadata: Sequence[str],
) -> dict[str, np.ndarray | list[bytes]]:
    """Return one episode's features, those of all T + 1 steps concatenated."""
    trajectory, steps = exported.trajectory, len(exported.trajectory) + 1
    number = np.arange(steps)
    last = np.zeros(1)
    features: dict[str, np.ndarray | list[bytes]] = {
        "steps/action": np.concatenate([trajectory.actions, np.zeros((1, trajectory.actions.shape[1]))]),
        "steps/reward": np.concatenate([trajectory.rewards, last]),
        "steps/discount": np.concatenate(
            [np.append(np.ones(len(trajectory) - 1), float(not trajectory.terminated)), last]
        ),
        "steps/is_first": number == 0,
        "steps/is_last": number == steps - 1,
        "steps/is_terminal": (number == steps - 1) & trajectory.terminated,
    }
    for leaf in all_leaves:
        array = exported.observations[leaf.path]
        key = "steps/observation" if bare else f"steps/observation/{names[leaf.path]}"
        features[key] = [str(text).encode() for text in array.tolist()] if is_text(leaf.space) else array
    facts = facts_of(trajectory)
    about = {**facts, "facts": json_text(facts, is_sorted=True)}
    for name in metadata:
        value = about[name]
        features[f"episode_metadata/{name}"] = (
            [value.encode()] if isinstance(value, str) else np.array([value], np.int64)
        )
    return features


def _features(
    all_leaves: tuple[Leaf, ...],
    names: Mapping[str, str],
    bare: bool,
    width: int,
    metadata: Sequence[str],
) -> dict[str, Any]:
    """Describe an episode's features for TensorFlow Datasets."""
    leaves = {names[leaf.path]: _leaf_feature(leaf) for leaf in all_leaves}
    steps = {
        "observation": leaves["observation"] if bare else _group_feature(leaves),
        "action": _tensor_feature([width], "float32"),
        "reward": _tensor_feature([], "float32"),
        "discount": _tensor_feature([], "float32"),
        **{name: _tensor_feature([], "bool") for name in _FLAGS},
    }
    numbers = {"seed": _tensor_feature([], "int64"), "success": _tensor_feature([], "bool")}
    about = {name: numbers.get(name, _text_feature()) for name in metadata}
    sequence = {"feature": _group_feature(steps), "length": "-1"}
    dataset = {"pythonClassName": f"{_FEATURES}dataset_feature.Dataset", "sequence": sequence}
    return _group_feature({"steps": dataset, "episode_metadata": _group_feature(about)})


def _leaf_feature(leaf: Leaf) -> dict[str, Any]:
    if is_text(leaf.space):
        return _text_feature()
    kind = np.dtype(leaf.space.dtype)
    return _tensor_feature(list(leaf.space.shape or ()), "float32" if kind == np.float64 else kind.name)


def _group_feature(features: Mapping[str, Any]) -> dict[str, Any]:
    kind = f"{_FEATURES}features_dict.FeaturesDict"
    return {"pythonClassName": kind, "featuresDict": {"features": dict(features)}}


def _tensor_feature(shape: list[int], dtype: str) -> dict[str, Any]:
    tensor = {"shape": {"dimensions": [str(size) for size in shape]}, "dtype": dtype, "encoding": "none"}
    return {"pythonClassName": f"{_FEATURES}tensor_feature.Tensor", "tensor": tensor}


def _text_feature() -> dict[str, Any]:
    return {"pythonClassName": f"{_FEATURES}text_feature.Text", "text": {}}


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json_text(document, indent=2), encoding="utf-8")
