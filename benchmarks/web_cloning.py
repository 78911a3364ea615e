"""What cloning the crowd of the web tasks needs: success against who teaches, how many, and what else.

Every variation trains a policy of the same size and plays the same test seeds. For the same number of steps:

- `successes`: demonstrations that succeeded teach, as `tutelage train` has it;
- `all`: failures teach as well;
- `both`: outcome and expertise weigh what teaches (`--weights both`);
- `quarter`, `sixteenth`: so much of every task's successes.

For twice as many steps:

- `with_grid_world`: one network learns the web and the rooms of `babyai-small`, with as many steps of either
  in a batch as the others have; `alone` learns the web, `grid_world` the rooms.

`--data` is the folder with the recordings, `--out` keeps the figures after every variation, and those that
it has already are not trained again; `--only` names some. `--quick` shows that all runs, in under 50 s: its
figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _figures import figure, tell
from crowd_replay import DATA
from tutelage.agents.evaluation.actors import PolicyActor
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.policy.policy import Policy
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.formats.miniwob.turk import import_miniwob_turk
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite, load_suite, suite_from
from tutelage.intervals import Interval, mean_rate, wilson

WEB, GRID = load_suite("web"), load_suite("babyai-small")
CONFIG = TrainConfig(size=3, batch_steps=96, window=16, steps=600, evaluate_every=1_000_000, dtype="auto")
QUICK = replace(CONFIG, size=1, batch_steps=32, steps=5, workers=1)
SEEDS = 16
"""Test seeds of a web task; a grid task has sixteen times as many."""
ROOMS = 5000
"""Demonstrations of each grid task."""


@dataclass(frozen=True)
class Variation:
    """What teaches: a share of the web's successes or failures as well, and batches of the grid world.

    `longer` is by how much the steps are multiplied.
    """

    share: float = 1.0
    weights: str = "outcome"
    web_steps: int = CONFIG.batch_steps
    grid_steps: int = 0
    longer: int = 1


VARIATIONS = {
    "successes": Variation(),
    "all": Variation(weights="none"),
    "both": Variation(weights="both"),
    "quarter": Variation(share=1 / 4),
    "sixteenth": Variation(share=1 / 16),
    "alone": Variation(longer=2),
    "grid_world": Variation(web_steps=0, grid_steps=96, longer=2),
    "with_grid_world": Variation(grid_steps=96, longer=2),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument("--data", type=Path, default=DATA, help="the crowd's tables or raw files")
    parser.add_argument("--steps", type=int, default=CONFIG.steps, help="training steps of each")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="test seeds of a web task")
    parser.add_argument("--only", nargs="*", default=list(VARIATIONS), choices=VARIATIONS)
    parser.add_argument("--out", type=Path, help="keep the JSON object here")
    given = parser.parse_args()
    done = {}
    if given.out and given.out.exists():
        done = json.loads(given.out.read_text("utf-8"))["figures"]
    with tempfile.TemporaryDirectory() as folder:
        stores = Stores(Path(folder), given.data, given.quick)
        for name in given.only:
            if f"{name}_web" in done or f"{name}_rooms" in done:
                continue
            config = QUICK if given.quick else replace(CONFIG, steps=given.steps)
            played = some(WEB, 4) if given.quick else WEB
            done |= measured(name, stores, config, played, 1 if given.quick else given.seeds)
            tell("web_cloning", done, ("torch", "miniwob", "gymnasium"), given.out)


class Stores:
    """The crowd's demonstrations, parts of them, and those of the grid world, made when first wanted."""

    def __init__(self, folder: Path, data: Path, quick: bool) -> None:
        self._folder = folder
        self._data = data / "raw" if quick and (data / "raw").is_dir() else data
        self._rooms = 20 if quick else ROOMS

    def web(self, share: float) -> Store:
        """Return a share of each task's demonstrations: a random one, and part of any greater share."""
        if not (self._folder / "web").exists():
            import_miniwob_turk(self._data, self._folder / "web", WEB)
        whole = Store.open(self._folder / "web")
        if share == 1:
            return whole
        rows = whole.episodes()
        tasks = np.array(rows["task"].to_pylist())
        order = np.random.default_rng(0).permutation(len(tasks))
        chosen: set[str] = set()
        for task in np.unique(tasks):
            own = order[tasks[order] == task]
            chosen |= {rows["episode"][int(at)].as_py() for at in own[: max(1, round(share * len(own)))]}
        part = Store.create(self._folder / f"web-{share}", WEB)
        part.append([one for one in whole.trajectories() if one.episode in chosen])
        return part

    def grid(self) -> Store:
        """Return demonstrations of the grid world's crowd."""
        if (self._folder / "grid").exists():
            return Store.open(self._folder / "grid")
        store = Store.create(self._folder / "grid", GRID)
        simulate(GRID, store, {task.id: self._rooms for task in GRID}, workers=2)
        return store

    def run(self, name: str) -> Path:
        return self._folder / name


def some(suite: Suite, count: int) -> Suite:
    """Return the first tasks of a suite."""
    return suite_from({**suite.source, "tasks": suite.source["tasks"][:count]})


def measured(
    name: str, stores: Stores, config: TrainConfig, web: Suite, seeds: int
) -> dict[str, dict[str, Any]]:
    """Train a variation and let it play the test seeds."""
    one = VARIATIONS[name]
    taught = [stores.web(one.share)] if one.web_steps else []
    taught += [stores.grid()] if one.grid_steps else []
    config = replace(
        config,
        steps=one.longer * config.steps,
        batch_steps=one.web_steps + one.grid_steps,
        weights=one.weights,
    )
    worth = evened(*taught, config) if len(taught) > 1 else None
    policy = load(train(taught, stores.run(name), config, progress=True, emphasis=worth)).policy
    figures = {f"{name}_demonstrations": figure(sum(len(one) for one in taught), "episodes")}
    if one.web_steps:
        figures[f"{name}_web"] = shown(rates(web, policy, seeds, config.workers))
    if one.grid_steps:
        figures[f"{name}_rooms"] = shown(rates(GRID, policy, 16 * seeds, config.workers))
    return figures


def evened(web: Store, grid: Store, config: TrainConfig) -> dict[str, float]:
    """Return by how much the grid's tasks are to be emphasised, so that a batch holds as much of either."""
    shares = []
    for store in (web, grid):
        rows = store.episodes()
        tasks = np.array(rows["task"].to_pylist())
        steps = np.array(rows["steps"].to_pylist()) * np.array(rows["success"].to_pylist(), bool)
        shares.append(sum(float(steps[tasks == task].sum()) ** config.balance for task in np.unique(tasks)))
    return {task.id: shares[0] / shares[1] for task in GRID}


def rates(suite: Suite, policy: Policy, seeds: int, workers: int) -> list[Interval]:
    """Return success on test seeds, by task."""
    played = evaluate(suite, [PolicyActor(policy, "policy")], episodes=seeds, workers=workers).trajectories
    known = [task.id for task in suite if task.id in policy.tasks]
    return [wilson(sum(bool(one.success) for one in played if one.task == task), seeds) for task in known]


def shown(each: Sequence[Interval]) -> dict[str, Any]:
    mean = mean_rate(each)
    return figure(mean.estimate, f"of 1 [{mean.low:.3f}, {mean.high:.3f}]")


if __name__ == "__main__":
    main()
