"""Reading training windows, beside a bare numpy.memmap and Minari; replaying a store; its size on disk.

What is compared: 32-step windows of MiniGrid's 7x7x3 view, drawn at random, on one core, everything in the
page cache. The memmap side copies `array[i : i + 32]` into a batch buffer, images only (`memmap_view`: the
same from a plain array over the mapping, which spares numpy's slow memmap slices). Our side is
`Sampler.batch` over memory-mapped columns; `windows` gathers every column (image, direction, mission,
actions, weights), `windows_images` a task whose only leaf is the image. Our windows are whole pieces of
episodes, some shorter than 32, so steps are counted and divided by 32. Minari's side is `dataset[i]` and a
slice, its documented way to an episode. Rounds alternate; the median of the rounds is reported.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _figures import figure, tell
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.datasets.arrays.sampler import Sampler, TaskArrays, load_columns
from tutelage.datasets.formats.minari.exporter import export_minari
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv

WINDOW = 32
WINDOWS_A_BATCH = 256
EPISODE = 128


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.quick)
    tell("store", figures, ("numpy", "pyarrow", "minari", "minigrid", "gymnasium"), options.out)


def measure(folder: Path, quick: bool) -> dict[str, dict[str, Any]]:
    """Record a store with random keys, then measure it; returns the figures."""
    suite = suite_from({"suite": "bench", "tasks": [{"id": "empty", "env": "MiniGrid-Empty-16x16-v0"}]})
    store = Store.create(folder / "store", suite)
    episodes, stepping = record(suite, 64 if quick else 256)
    began = time.perf_counter()
    store.append(episodes)
    append_seconds = time.perf_counter() - began
    steps = sum(len(one) for one in episodes)
    size = sum(part.stat().st_size for part in store.parts())

    began = time.perf_counter()
    load_columns([store], cache=True)
    replaying = steps / (time.perf_counter() - began)
    columns = enlarged(load_columns([store], cache=True)["empty"], folder, 64 if quick else 16)

    read = reading(columns, store, folder, rounds=5 if quick else 15)
    bare, view, ours, images, minari = read.values()
    return {
        "memmap": figure(bare, "windows/s"),
        "memmap_view": figure(view, "windows/s"),
        "windows": figure(ours, "windows/s", "numpy.memmap", ours / bare, 0.5),
        "windows_images": figure(images, "windows/s", "numpy.memmap", images / bare, 0.5),
        "windows_over_view": figure(ours, "windows/s", "a plain array over the memmap", ours / view, None),
        "minari": figure(minari, "windows/s"),
        "windows_over_minari": figure(ours, "windows/s", "minari (HDF5)", ours / minari, 100),
        "replay": figure(replaying, "steps/s", "the bare environment", replaying / stepping, None),
        "append": figure(steps / append_seconds, "steps/s"),
        "size": figure(size / steps, "bytes/step"),
    }


def record(suite: Suite, count: int) -> tuple[list[Trajectory], float]:
    """Play `count` episodes of 128 random keys; returns them and the bare environment's steps/s."""
    task = suite["empty"]
    environment = TaskEnv(task)
    generator = np.random.default_rng(0)
    played = [play(environment, task, seed, generator) for seed in range(count)]
    bare = environment.env
    began = time.perf_counter()
    for one in played:
        bare.reset(seed=one.seed)
        for row in one.actions:
            bare.step(int(row[0]))
    return played, sum(len(one) for one in played) / (time.perf_counter() - began)


def play(environment: TaskEnv, task: Task, seed: int, generator: np.random.Generator) -> Trajectory:
    record = EpisodeRecord("seat", "random keys", "bench", task.id, task.env, seed, b"")
    episode = EpisodeProgress.begin(environment, record)
    time_ms = 0
    while not episode.done and len(episode.steps) < EPISODE:
        time_ms += int(generator.integers(150, 900))
        episode.take(np.array([generator.integers(0, 3)], np.float64), time_ms, 0, len(episode.steps))
    return episode.trajectory()


def enlarged(columns: TaskArrays, folder: Path, times: int) -> TaskArrays:
    """Repeat the columns until the images are far larger than the processor's caches, as files again."""
    folder = folder / "enlarged"
    folder.mkdir()

    def repeat(name: str, array: np.ndarray) -> np.ndarray:
        if array.dtype == object:
            return np.concatenate([array] * times)
        np.save(folder / f"{name}.npy", np.concatenate([array] * times))
        return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))

    lengths = np.tile(np.diff(columns.starts), times)
    return replace(
        columns,
        observations={path: repeat(path, array) for path, array in columns.observations.items()},
        actions=repeat("actions", columns.actions),
        controllers=repeat("controllers", columns.controllers),
        starts=np.concatenate(([0], np.cumsum(lengths))),
        success=np.tile(columns.success, times),
        demonstrator=columns.demonstrator * times,
        returns=np.tile(columns.returns, times),
    )


def reading(columns: TaskArrays, store: Store, folder: Path, rounds: int) -> dict[str, float]:
    """Return windows/s of memmap, its plain view, all columns, images alone and Minari: medians of rounds."""
    export_minari(store, "bench/empty-v0", folder / "minari")
    images = folder / "enlarged" / "image.npy"
    only = replace(columns, observations={"image": columns.observations["image"]})
    sides = {
        "memmap": bare_windows(np.load(images, mmap_mode="r")),
        "view": bare_windows(np.asarray(np.load(images, mmap_mode="r"))),
        "columns": batches(columns),
        "images": batches(only),
        "minari": minari_windows(folder / "minari" / "bench" / "empty-v0" / "data"),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            began = time.perf_counter()
            windows = side(number)
            if number:  # the first round warms the page cache
                times[name].append(windows / (time.perf_counter() - began))
    return {name: median(one) for name, one in times.items()}


def bare_windows(array: np.ndarray) -> Callable[[int], float]:
    buffer = np.empty((WINDOWS_A_BATCH, WINDOW, *array.shape[1:]), array.dtype)

    def run(number: int) -> float:
        generator = np.random.default_rng(number)
        for _ in range(20):
            for at, start in enumerate(generator.integers(0, len(array) - WINDOW, WINDOWS_A_BATCH).tolist()):
                buffer[at] = array[start : start + WINDOW]
        return 20 * WINDOWS_A_BATCH

    return run


def batches(columns: TaskArrays) -> Callable[[int], float]:
    sampler = Sampler({"empty": columns}, WINDOW, WINDOW * WINDOWS_A_BATCH, seed=0)

    def run(number: int) -> float:
        seen = sum(len(sampler.batch(20 * number + one)["empty"].rows) for one in range(20))
        return seen / WINDOW

    return run


def minari_windows(folder: Path) -> Callable[[int], float]:
    import minari

    dataset = minari.MinariDataset(folder)
    buffer = np.empty((WINDOWS_A_BATCH, WINDOW, 7, 7, 3), np.uint8)

    def run(number: int) -> float:
        generator = np.random.default_rng(number)
        for at in range(WINDOWS_A_BATCH // 4):
            image = dataset[int(generator.integers(len(dataset)))].observations["image"]
            start = int(generator.integers(0, max(1, len(image) - WINDOW)))
            piece = image[start : start + WINDOW]
            buffer[at, : len(piece)] = piece
        return WINDOWS_A_BATCH // 4

    return run


if __name__ == "__main__":
    main()
