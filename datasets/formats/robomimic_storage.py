"""Write robomimic's HDF5 files: functions that `Hdf5Process` calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py


def begin(path: Path, env_args: str) -> None:
    """Create a file without episodes; `env_args` is JSON from which robomimic rebuilds the environment."""
    with h5py.File(path, "x") as file:
        data = file.create_group("data")
        data.attrs["total"] = 0
        data.attrs["env_args"] = env_args


def add_demos(path: Path, first: int, demos: Sequence[Mapping[str, Any]]) -> None:
    """Append episodes as `demo_FIRST`, `demo_FIRST+1`, ..."""
    with h5py.File(path, "r+") as file:
        data = file["data"]
        for number, demo in enumerate(demos, first):
            _add_demo(data.create_group(f"demo_{number}"), demo)
            data.attrs["total"] += len(demo["actions"])


def _add_demo(group: Any, demo: Mapping[str, Any]) -> None:
    group.attrs["num_samples"] = len(demo["actions"])
    for name in ("actions", "rewards", "dones"):
        group.create_dataset(name, data=demo[name])
    for name in ("obs", "next_obs"):
        inside = group.create_group(name)
        for key, array in demo[name].items():
            inside.create_dataset(key, data=array)
    tutelage = group.create_group("tutelage")
    for key, array in demo["tutelage"].items():
        tutelage.create_dataset(key, data=array)
    # not as an attribute, which holds at most 64 KiB
    tutelage.create_dataset("facts", data=demo["facts"], dtype=h5py.string_dtype())
    texts = tutelage.create_group("texts")
    for key, sentences in demo["texts"].items():
        texts.create_dataset(key, data=sentences, dtype=h5py.string_dtype())
