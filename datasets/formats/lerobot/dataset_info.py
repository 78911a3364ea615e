"""What a LeRobot dataset of others says of itself: its features and instructions, and the task they make.

Source of the layout: huggingface/lerobot, `src/lerobot/datasets`, codebase v2.1 and v3.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ....envs.recorded import ENV_ID
from ....envs.suite import Suite, suite_from
from ....errors import TutelageError, brief
from ....files.bounded_files import parse_json, read_json, read_text
from ...parquet.bounded_parquet import read_table
from .camera_files import scaled_size
from .schema import Feature

IMAGE_SIZE = 96
"""Pixels of the longer side of pictures, unless said otherwise."""
OUTCOMES = ("next.reward", "next.done", "next.success")
INSTRUCTION = "instruction"
"""Observation leaf of the instruction, where a dataset has several."""
_VERSIONS = {"v2.0": 2, "v2.1": 2, "v3.0": 3}
_CAMERAS = ("image", "video")
_MOST_LETTERS = 10_000
_MOST_DIMENSIONS, _MOST_CHANNELS = 5, 4
_NUMBERS = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_NUMBERS += ("float16", "float32", "float64")
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset's `meta/info.json` and its instructions by `task_index`.

    `features`: name of an observation → LeRobot's description of it; `version` is 2 or 3.
    """

    folder: Path
    version: int
    fps: float
    robot: str
    chunk_size: int
    features: dict[str, Feature]
    action: Feature
    outcomes: tuple[str, ...]
    sentences: Mapping[int, str]
    image_size: int
    is_export: bool
    """Whether tutelage exported the dataset."""

    @classmethod
    def open(cls, folder: Path, image_size: int = IMAGE_SIZE) -> DatasetInfo:
        """Read and check what a dataset says of itself; raises TutelageError."""
        path = folder / "meta/info.json"
        info = read_json(path)
        features = info.get("features") if isinstance(info, dict) else None
        if not isinstance(features, dict):
            raise TutelageError(f"expected features in {path}, got {brief(features)}")
        version = _VERSIONS.get(str(info.get("codebase_version")))
        if version is None:
            raise TutelageError(
                f"expected a LeRobot dataset of version {', '.join(_VERSIONS)} at {folder}, got "
                f"{brief(info.get('codebase_version'))}; LeRobot's own scripts convert others"
            )
        fps = info.get("fps")
        if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < 1e6:
            raise TutelageError(f"expected frames a second as fps in {path}, got {brief(fps)}")
        observed = {name: part for name, part in features.items() if name.startswith("observation.")}
        for name, feature in {**observed, "action": features.get("action")}.items():
            _check_feature(name, feature, path)
        if not observed:
            raise TutelageError(f"expected features named observation.* in {path}, got none")
        chunk_size = info.get("chunks_size", 1000)
        return cls(
            folder=folder,
            version=version,
            fps=float(fps),
            robot=_robot(info.get("robot_type")),
            chunk_size=chunk_size if isinstance(chunk_size, int) and chunk_size > 0 else 1000,
            features=observed,
            action=features["action"],
            outcomes=tuple(name for name in OUTCOMES if name in features),
            sentences=_instructions(folder, version),
            image_size=image_size,
            is_export=any(name.startswith("tutelage.") for name in features),
        )

    @property
    def name(self) -> str:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.folder.resolve().name).strip("-.") or "recordings"

    @property
    def says_what_to_do(self) -> bool:
        """Whether episodes have different instructions, which are then observed."""
        return len(set(self.sentences.values())) > 1

    def task(self) -> dict[str, Any]:
        """Describe the task as a suite does."""
        observation: dict[str, Any] = {}
        for name, feature in self.features.items():
            *groups, last = name.removeprefix("observation.").split(".")
            place = observation
            for group in groups:
                place = place.setdefault(group, {})
            if last in place or "shape" in place:
                raise TutelageError(f"expected features that are no part of others, got {name!r}")
            place[last] = self._space(name, feature)
        if self.says_what_to_do:
            if INSTRUCTION in observation:
                raise TutelageError(f"expected no feature observation.{INSTRUCTION} beside several tasks")
            observation[INSTRUCTION] = {"text": max(map(len, self.sentences.values()))}
        task: dict[str, Any] = {
            "id": self.name,
            "env": ENV_ID,
            "kwargs": {"observation": observation, "action": self._space("action", self.action)},
            "success": "ever(info.success)" if "next.success" in self.outcomes else "unknown",
        }
        if len(sentences := set(self.sentences.values())) == 1:
            task["instruction"] = next(iter(sentences))
        return task

    def _space(self, name: str, feature: Feature) -> dict[str, Any]:
        kind = feature["dtype"]
        if kind in _CAMERAS:
            return {"shape": [*self.picture_size(feature), 3], "dtype": "uint8"}
        if kind == "string":
            return {"text": _MOST_LETTERS}
        shape = feature["shape"]
        return {"shape": shape} | ({} if kind == "float32" else {"dtype": kind})

    def picture_size(self, feature: Feature) -> tuple[int, int]:
        """Return height and width of a camera's scaled pictures; channels stand first or last."""
        first, _, last = shape = feature["shape"]
        names = feature.get("names")
        begins = str(names[0]).lower() if isinstance(names, list) and names else ""
        # where both may be a number of colors, the names decide
        is_first = first <= _MOST_CHANNELS and (last > _MOST_CHANNELS or begins.startswith(("c", "rgb")))
        height, width = shape[1:] if is_first else shape[:2]
        return scaled_size(height, width, self.image_size)


def count_lerobot(source: Path) -> int:
    """Return the number of episodes that LeRobot datasets say they have; 0 if one does not say it."""
    counts = []
    for path in Path(source).glob("**/meta/info.json"):
        try:
            info = read_json(path)
        except (TutelageError, FileNotFoundError):  # reported when it is read
            return 0
        counts.append(info.get("total_episodes") if isinstance(info, dict) else None)
    numbers = [count for count in counts if isinstance(count, int) and 0 < count < 1 << 40]
    return sum(numbers) if len(numbers) == len(counts) else 0


def recorded_suite(datasets: Sequence[DatasetInfo]) -> Suite:
    """Return a suite with one task a dataset, whose environment has recordings only."""
    tasks = [dataset.task() for dataset in datasets]
    name = tasks[0]["id"] if len(tasks) == 1 else "recordings"
    return suite_from({"suite": name, "tasks": tasks}, "the LeRobot datasets")


def describe_import(dataset: DatasetInfo) -> list[str]:
    """Say what an import makes of a dataset, a sentence an entry."""
    cameras = [name for name, feature in dataset.features.items() if feature["dtype"] in _CAMERAS]
    report = [
        f"{dataset.name} names no environment to act in: policies can be trained on it, and act in your own "
        "loop; name an environment in its suite to evaluate them here (docs/recordings.md).",
        f"{dataset.name} has no observation after the last action of an episode: the last one stands twice.",
    ]
    if cameras:
        sizes = {name: dataset.picture_size(dataset.features[name]) for name in cameras}
        shown = ", ".join(f"{name} {width}x{height}" for name, (height, width) in sizes.items())
        report.append(f"Pictures as a policy will see them: {shown}; --image-size is another size.")
    return report


def _check_feature(name: str, feature: Any, path: Path) -> None:
    """Raise TutelageError unless a feature has a plain name, a shape and a dtype that is read here."""
    if not _NAME.fullmatch(name):
        raise TutelageError(f"expected names of features such as observation.state in {path}, got {name!r}")
    described = feature if isinstance(feature, dict) else {}
    shape, dtype = described.get("shape"), described.get("dtype")
    dimensions = 3 if dtype in _CAMERAS else _MOST_DIMENSIONS
    if not isinstance(shape, list) or not 0 < len(shape) <= dimensions or not all(map(_is_size, shape)):
        raise TutelageError(f"expected a shape of {name!r} in {path}, got {brief(feature)}")
    is_known = dtype in (*_CAMERAS, "string") and name != "action"
    is_known = is_known or dtype in _NUMBERS
    if not is_known or (dtype in _CAMERAS and len(shape) != 3):
        raise TutelageError(f"expected a dtype of {name!r} in {path}, got {brief(feature)}")


def _robot(name: Any) -> str:
    """Return the robot's type, as the name of a demonstrator."""
    return name if isinstance(name, str) and name.isprintable() and name.strip() else "robot"


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 20


def _instructions(folder: Path, version: int) -> dict[int, str]:
    """Read the instructions by `task_index`."""
    path = folder / ("meta/tasks.parquet" if version == 3 else "meta/tasks.jsonl")
    try:
        pairs = _rows_of_parquet(path) if version == 3 else _rows_of_jsonl(path)
    except FileNotFoundError:
        raise TutelageError(f"expected instructions at {path}, found none; copy the dataset again") from None
    for index, text in pairs:
        if not isinstance(index, int) or not isinstance(text, str) or len(text) > _MOST_LETTERS:
            raise TutelageError(f"expected numbers and instructions of tasks in {path}, got {brief(text)}")
    return {index: " ".join(text.split()) for index, text in pairs}


def _rows_of_parquet(path: Path) -> list[tuple[Any, Any]]:
    table = read_table(path)
    texts = [
        field.name
        for field in table.schema
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    if len(texts) != 1 or table.column_names.count("task_index") != 1:
        raise TutelageError(f"expected task_index and a text in {path}, got {', '.join(table.column_names)}")
    return list(zip(table["task_index"].to_pylist(), table[texts[0]].to_pylist(), strict=True))


def _rows_of_jsonl(path: Path) -> list[tuple[Any, Any]]:
    rows = [parse_json(line, str(path)) for line in read_text(path).splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise TutelageError(f"expected a mapping a line in {path}, got others")
    return [(row.get("task_index"), row.get("task")) for row in rows]
