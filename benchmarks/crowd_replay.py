"""The crowd's demonstrations of web tasks: how fast they are read, and do their moves end as theirs did?

The pages of 2017 were made from seeds that nobody wrote down. But in some tasks little is left to chance, so
that among the first seeds of today's pages one shows the same instruction and the same elements (tags and
texts, in order). There the moves of each demonstration are taken again, in a real Chromium:
`same_outcome` is the share that is rewarded as the crowd was (above 0 or not), `same_pages` the share in
which every page on the way reads as it did (tags, texts and values). Tasks that hide what decides (a number
to guess, an opponent's choices) are not among them. `--data` is the folder with the tables or the raw files;
`--quick` reads 116 raw files and looks through fewer seeds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from _figures import figure, tell
from tutelage.datasets.arrays.sampler import Sampler, load_columns
from tutelage.datasets.formats.miniwob.turk import import_miniwob_turk
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.spaces import row_to_action
from tutelage.envs.web.action_space import action_space
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.observation import read_columns

TASKS = {
    **dict.fromkeys(
        ("click-test", "click-test-2", "click-button-sequence", "focus-text", "focus-text-2"), 10
    ),
    **dict.fromkeys(("grid-coordinate", "identify-shape", "enter-text", "use-spinner"), 300),
    **dict.fromkeys(
        ("choose-date-easy", "choose-date-medium", "enter-date", "choose-date", "enter-time"), 3000
    ),
}
"""Tasks, and how many seeds are looked through."""
DATA = Path(os.environ.get("TUTELAGE_DATA", Path(__file__).parents[2] / "shared" / "data")) / "miniwob-turk"
ROUNDS = 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument("--data", type=Path, default=DATA, help="the crowd's tables or raw files")
    parser.add_argument("--most", type=int, default=400, help="demonstrations a task that are taken again")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    source = options.data / "raw" if options.quick and (options.data / "raw").is_dir() else options.data
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = imported(source, Path(folder), figures)
        total = [0, 0, 0]
        for task, seeds in TASKS.items():
            counts = taken_again(store, task, min(seeds, 200) if options.quick else seeds, options.most)
            if counts[0]:
                figures |= shares(task, *counts)
            total = [mine + more for mine, more in zip(total, counts, strict=True)]
        figures |= shares("all", *total)
    tell("crowd_replay", figures, ["numpy", "pyarrow", "miniwob", "torch"], options.out)


def imported(source: Path, folder: Path, figures: dict[str, Any]) -> Store:
    """Import everything, and measure that."""
    began = time.perf_counter()
    census = import_miniwob_turk(source, folder / "store").to_dict()
    spent = time.perf_counter() - began
    store = Store.open(folder / "store")
    size = sum(part.stat().st_size for part in store.parts())
    began = time.perf_counter()
    columns = load_columns([store], cache=True)
    replayed = time.perf_counter() - began
    sampler = Sampler(columns, window=16, steps_per_batch=1024)
    began = time.perf_counter()
    windows = sum(len(one.lengths) for step in range(ROUNDS) for one in sampler.batch(step).values())
    sampled = time.perf_counter() - began
    figures |= {
        "demonstrations": figure(census["kept"], f"of {census['found']} kept"),
        "import": figure(spent, "s"),
        "store": figure(size / 1e6, "MB"),
        "columns": figure(replayed, "s"),
        "windows": figure(windows / sampled, "windows/s"),
    }
    return store


def taken_again(store: Store, task: str, seeds: int, most: int) -> list[int]:
    """Take a task's demonstrations again on seeds that show their page: [how many, same end, same pages]."""
    wanted: dict[Any, list[Trajectory]] = defaultdict(list)
    for one in store.trajectories(task=task):
        wanted[reads(one.observations["instruction"][0], one.observations["elements"][0])].append(one)
    counts = [0, 0, 0]
    env = WebEnv(task, max_steps=200)
    for seed in range(seeds):
        seen, _ = env.reset(seed=seed)
        for one in wanted.pop(reads(seen["instruction"], seen["elements"]), ()):
            if counts[0] < most:
                end, pages = again(env, seed, one)
                counts = [counts[0] + 1, counts[1] + end, counts[2] + pages]
        if not wanted:
            break
    env.close()
    return counts


def reads(instruction: str, document: str) -> Any:
    """Return what a page says: its instruction, tags and texts."""
    columns = read_columns(document)
    return instruction, tuple(columns["tag"]), tuple(columns["text"])


def again(env: WebEnv, seed: int, one: Trajectory) -> tuple[bool, bool]:
    """Take a demonstration's moves on a seed; says whether the end is the same, and every page on the way."""
    env.reset(seed=seed)
    reward, same = 0.0, True
    for at, row in enumerate(one.actions):
        seen, reward, over, _, _ = env.step(row_to_action(action_space(), row))
        if over:
            same &= at == len(one) - 1
            break
        same &= holds(seen["elements"]) == holds(one.observations["elements"][at + 1]) or at == len(one) - 1
    return (reward > 0) == one.success, same


def holds(document: str) -> Any:
    columns = read_columns(document)
    return columns["tag"], columns["text"], columns["value"]


def shares(name: str, count: int, ends: int, pages: int) -> dict[str, Any]:
    """Name the figures of a task."""
    return {
        f"{name}_same_outcome": figure(100 * ends / max(count, 1), f"% of {count}"),
        f"{name}_same_pages": figure(100 * pages / max(count, 1), f"% of {count}"),
    }


if __name__ == "__main__":
    main()
