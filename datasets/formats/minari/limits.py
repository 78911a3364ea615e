"""Check untrusted Minari datasets, before Minari opens them and while it reads.

Minari creates the environment that a dataset names if its spaces are missing: such datasets are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import TutelageError
from ....files.bounded_files import Limits, parse_json, read_json, too_large
from ...parquet.bounded_parquet import BoundedParquet
from ..bounded_hdf5 import check_hdf5_files

_SPACES = ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Text", "Dict", "Tuple")


def check_minari(folder: Path) -> None:
    """Check the folder `data` of a dataset: its metadata and every data file; raises TutelageError."""
    metadata = read_json(folder / "metadata.json")
    where = f"{folder / 'metadata.json'}"
    if not isinstance(metadata, dict):
        raise TutelageError(f"expected the metadata of a Minari dataset in {where}, got something else")
    for name in ("observation_space", "action_space"):
        if not isinstance(metadata.get(name), str):
            raise TutelageError(f"expected {name} as JSON in {where}, got none")
        _check_space(parse_json(metadata[name], f"{name} in {where}"), f"{name} in {where}")
    for name in ("total_episodes", "total_steps"):
        if type(metadata.get(name)) is not int or not 0 <= metadata[name] < 2**31:
            raise TutelageError(f"expected {name} as a count in {where}, got {metadata.get(name)!r:.40}")
    if not isinstance(metadata.get("dataset_id"), str):
        raise TutelageError(f"expected a dataset_id in {where}, got {metadata.get('dataset_id')!r:.40}")
    if metadata.get("data_format") not in ("hdf5", "arrow"):
        got = metadata.get("data_format")
        raise TutelageError(f"expected data_format hdf5 or arrow in {where}, got {got!r:.40}")
    if (section := metadata.get("tutelage")) is not None:
        _check_section(section, where)
    check_hdf5_files(folder)
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".parquet", ".json"):
            BoundedParquet(path).check() if path.suffix == ".parquet" else read_json(path)
        elif path.suffix in (".arrow", ".feather"):
            raise TutelageError(f"expected Parquet files in {folder}, got {path.name}; export it as hdf5")
    if metadata["data_format"] == "hdf5" and not (folder / "main_data.hdf5").exists():
        raise TutelageError(f"expected main_data.hdf5 in {folder}, found none; copy the dataset again")


def read_along(episodes: Iterator[Any], where: str) -> Iterator[Any]:
    """Yield the episodes that Minari reads; convert any exception of its readers to TutelageError."""
    while True:
        try:
            episode = next(episodes)
        except StopIteration:
            return
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise TutelageError(f"expected sound episodes in {where}, got {reason}") from None
        yield episode


def check_infos(infos: Any, where: str) -> None:
    """Raise TutelageError unless an exported episode's infos have times, controllers and frames."""
    for name in ("times_ms", "controllers", "frames"):
        array = infos.get(name) if isinstance(infos, dict) else None
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
            raise TutelageError(f"{where}: expected whole numbers as {name} in infos, got something else")


def _check_section(section: Any, where: str) -> None:
    if (
        not isinstance(section, dict)
        or not isinstance(section.get("leaves"), list)
        or not all(isinstance(path, str) for path in section["leaves"])
    ):
        raise TutelageError(f"expected a suite, a task and leaves as tutelage in {where}, got something else")


def _check_space(space: Any, where: str, depth: int = 16) -> None:
    """Check a space in Minari's JSON: its type, and that its bounds fit into the memory limit."""
    if not isinstance(space, dict) or space.get("type") not in _SPACES or not depth:
        raise TutelageError(f"expected a space ({', '.join(_SPACES)}) as {where}, got something else")
    subspaces = space.get("subspaces", {})
    for inner in subspaces.values() if isinstance(subspaces, dict) else subspaces:
        _check_space(inner, where, depth - 1)
    shape = space.get("shape", [])
    counted = space.get("n") if space["type"] == "MultiBinary" else shape
    sizes = counted if isinstance(counted, list) else [counted]
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise TutelageError(f"expected sizes as the shape of {where}, got something else")
    limit = Limits.current().allocation_bytes
    if 32 * math.prod(sizes) > limit:
        raise too_large(where, "bytes for the bounds of a space", limit)
