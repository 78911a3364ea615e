"""Training from a crowd of which 40 % do not care: do quality weights give back what careful people teach?

Twenty simulated people play two grid tasks: twelve carefully (three of them slowly), and eight who do not
care: three noisy (every second key is random), two lazy (two keys in five are random, and they walk away at
one step in twenty) and three hostile (random keys only). Hostile episodes are long, so three quarters of all
steps are careless ones. A small policy is trained with the same number of steps, from the same seeds, on the
careful people's episodes alone; on everybody's as they are (`none`: plain cloning); and on everybody's with
each of the other `--weights`. It is kept by select seeds and measured on test seeds.

`ratio` is success beside the careful people alone, in the mean over tasks and training seeds; `*_worst` is
that of the worst training seed. The interval (`*_low`, `*_high`) covers the draw of test seeds and not that
of training seeds. Also told: what the episodes of each profile weigh, and how long the judges take.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _figures import figure, tell
from tutelage.agents.evaluation.actors import PolicyActor
from tutelage.agents.evaluation.evaluate import best_of_select, evaluate
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.expertise_models import skills
from tutelage.datasets.arrays.sampler import load_columns
from tutelage.datasets.quality.weights import DemonstratorWeight
from tutelage.datasets.simulation.profiles import DemonstratorProfile, SimulatedDemonstrator
from tutelage.datasets.simulation.simulated_crowd import crowd, simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite, load_suite, suite_from
from tutelage.intervals import Interval, mean_rate, wilson

TASKS = ("goto-red-ball-grey", "goto-local")
CAREFUL = crowd({"careful": 9, "slow": 3})
CARELESS = [
    SimulatedDemonstrator(f"{profile.name}-{i + 1:02d}", profile)
    for profile, count in (
        (DemonstratorProfile("noisy", slip=0.5, reaction_ms=260.0), 3),
        (DemonstratorProfile("lazy", slip=0.4, give_up=0.05), 2),
        (DemonstratorProfile("hostile", against=1.0, reaction_ms=120.0), 3),
    )
    for i in range(count)
]
WAYS = ("careful", "none", "outcome", "expertise", "both")
"""On the careful people alone, or on everybody with these weights."""

BUDGET = 0.97


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s; too short a training to say much")
    parser.add_argument("--episodes", type=int, default=3000, help="demonstrations a task")
    parser.add_argument("--tested", type=int, default=1000, help="test seeds a task")
    parser.add_argument("--seeds", type=int, default=3, help="training seeds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: all cores")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = TrainConfig(size=2, steps=300, evaluate_every=100, threads=options.threads)
    ways = WAYS
    if options.quick:
        config = replace(config, size=1, steps=100, evaluate_every=100, batch_steps=320)
        options.episodes, options.tested, options.seeds, ways = 600, 128, 1, ("careful", "none", "both")
    with tempfile.TemporaryDirectory() as folder:
        figures = compared(Path(folder), config, ways, options)
    tell("quality", figures, ("torch", "numpy", "numba", "scipy"), options.out)


def compared(
    folder: Path, config: TrainConfig, ways: tuple[str, ...], options: argparse.Namespace
) -> dict[str, Any]:
    """Train in every way from every seed, and set each beside the careful people alone."""
    suite = two_tasks()
    everybody, careful = play(folder, suite, options.episodes)
    rates: dict[str, list[Interval]] = {way: [] for way in ways}
    weights: list[DemonstratorWeight] = []
    spent: list[float] = []
    for seed in range(options.seeds):
        for way in ways:
            store = careful if way == "careful" else everybody
            now = replace(config, seed=seed, weights="outcome" if way == "careful" else way)
            began = time.perf_counter()
            kept = train(
                [store],
                folder / f"{way}-{seed}",
                now,
                evaluate=lambda policy: best_of_select(policy, suite, 64),
                tell=weights.extend if way == "both" else None,
            )
            spent.append(time.perf_counter() - began)
            rates[way].append(tested(kept, suite, options.tested))
            print(f"seed {seed}, {way}: {100 * rates[way][-1].estimate:.1f} % solved", flush=True)
    return success(rates) | weighed(weights) | {"judging": judging(everybody, config, float(np.mean(spent)))}


def two_tasks() -> Suite:
    source = load_suite("first-steps").source
    return suite_from({**source, "tasks": [task for task in source["tasks"] if task["id"] in TASKS]})


def play(folder: Path, suite: Suite, episodes: int) -> tuple[Store, Store]:
    """Let everybody play; returns everybody's episodes, and the careful people's among them."""
    everybody = Store.create(folder / "everybody", suite)
    simulate(suite, everybody, dict.fromkeys(TASKS, episodes), demonstrators=[*CAREFUL, *CARELESS])
    careful = Store.create(folder / "careful", suite)
    careful.append(list(everybody.trajectories(demonstrators=[one.name for one in CAREFUL])))
    played = everybody.episodes()
    theirs = np.isin(played["demonstrator"].to_pylist(), [one.name for one in CARELESS])
    steps = played["steps"].to_numpy()
    share = steps[theirs].sum() / steps.sum()
    print(f"careless: {theirs.mean():.0%} of the episodes, {share:.0%} of the steps", flush=True)
    return everybody, careful


def tested(kept: Path, suite: Suite, count: int) -> Interval:
    """Return the success on the first test seeds, in the mean over the tasks."""
    played = evaluate(suite, [PolicyActor(load(kept).policy, name="policy")], episodes=count).trajectories
    return mean_rate(
        [wilson(sum(one.success for one in played if one.task == task.id), count) for task in suite]
    )


def success(rates: Mapping[str, list[Interval]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    alone = [one.estimate for one in rates["careful"]]
    for way, own in rates.items():
        mean, low, high = (
            float(np.mean([getattr(one, end) for one in own])) for end in ("estimate", "low", "high")
        )
        beside = None if way == "careful" else "the careful people alone"
        ratio = None if way == "careful" else mean / float(np.mean(alone))
        budget = BUDGET if way in ("expertise", "both") else None
        figures[f"success_{way}"] = figure(100 * mean, "% solved", beside, ratio, budget)
        figures[f"success_{way}_low"] = figure(100 * low, "% solved")
        figures[f"success_{way}_high"] = figure(100 * high, "% solved")
        if beside:
            worst = min(one.estimate / other for one, other in zip(own, alone, strict=True))
            figures[f"success_{way}_worst"] = figure(worst, "of the careful people alone")
    return figures


def weighed(weights: list[DemonstratorWeight]) -> dict[str, Any]:
    """Say what the episodes of each profile weigh, in the mean over people and training seeds."""
    profiles = dict.fromkeys(one.demonstrator.rpartition("-")[0] for one in weights)
    return {
        f"weight_{profile}": figure(
            float(np.mean([one.weight for one in weights if one.demonstrator.startswith(profile)])), "of 1"
        )
        for profile in profiles
    }


def judging(store: Store, config: TrainConfig, training: float) -> dict[str, Any]:
    """Time the judges by themselves; the ratio is to a whole training."""
    columns = load_columns([store], live=True)
    began = time.perf_counter()
    skills(columns, config)
    spent = time.perf_counter() - began
    return figure(spent, "s", "the whole training", spent / training)


if __name__ == "__main__":
    main()
