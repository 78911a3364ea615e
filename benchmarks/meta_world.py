"""One policy for Meta-World's tasks, cloned from the package's scripted policies, from state.

Each scripted policy plays `--demonstrations` record seeds of its task; failed episodes teach nothing. One
network is trained on all tasks at once, told which one by its instruction, and is kept by select seeds. It
plays `--tested` test seeds of each task, beside the scripted policies and random actions. A task is solved
when it succeeds once within 500 steps. Intervals cover the draw of test seeds, `worst` is the worst
training seed.

Published, from images and with other training (not the same test): SmolVLA 57.3 %, pi0 47.9 % on MT50.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _figures import figure, tell
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor, PolicyActor
from tutelage.agents.evaluation.compare import select_success
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite, load_suite, suite_from
from tutelage.envs.task import RECORD
from tutelage.intervals import Interval, mean_rate, wilson


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s: two tasks, too short to say much")
    parser.add_argument("--tasks", type=int, choices=(10, 50), default=10, help="MT10 or MT50")
    parser.add_argument("--demonstrations", type=int, default=50, help="a task")
    parser.add_argument("--tested", type=int, default=10, help="test seeds a task")
    parser.add_argument("--seeds", type=int, default=3, help="training seeds")
    parser.add_argument("--steps", type=int, default=1500, help="training steps")
    parser.add_argument("--size", type=int, default=3, help="layers")
    parser.add_argument("--store", type=Path, help="keep the demonstrations in this store")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    suite = load_suite(f"metaworld-{options.tasks}")
    if options.quick:
        suite = suite_from({**suite.source, "tasks": suite.source["tasks"][:2]})
        options.demonstrations, options.tested, options.seeds = 8, 4, 1
        options.steps, options.size = 60, 1
    config = TrainConfig(
        size=options.size, steps=options.steps, evaluate_every=max(1, options.steps // 3), select_episodes=8
    )
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder), suite, config, options)
    tell("meta_world", figures, ("torch", "numpy", "mujoco", "metaworld"), options.out)


def measured(folder: Path, suite: Suite, config: TrainConfig, options: argparse.Namespace) -> dict[str, Any]:
    store = demonstrations(options.store or folder / "store", suite, options.demonstrations)
    success: dict[str, list[Interval]] = {"policy": []}
    seconds = []
    for seed in range(options.seeds):
        began = time.perf_counter()
        evaluation = select_success(suite, episodes=config.select_episodes, workers=1)
        settings = TrainConfig.from_dict({**vars(config), "seed": seed})
        kept = train([store], folder / f"run-{seed}", settings, evaluate=evaluation, progress=True)
        seconds.append(time.perf_counter() - began)
        policy = load(kept).policy
        success["policy"].append(solved(suite, PolicyActor(policy, name="policy"), options.tested))
        print(f"seed {seed}: {100 * success['policy'][-1].estimate:.1f} % solved", flush=True)
    for actor in (ExpertActor(), ChanceActor()):
        success[actor.name] = [solved(suite, actor, options.tested)]
    figures = {"tasks": figure(len(suite), "tasks"), "training": figure(float(np.mean(seconds)), "s")}
    for name, rates in success.items():
        for end in ("estimate", "low", "high"):
            suffix = "" if end == "estimate" else f"_{end}"
            mean = float(np.mean([getattr(rate, end) for rate in rates]))
            figures[f"success_{name}{suffix}"] = figure(100 * mean, "% solved")
    figures["success_policy_worst"] = figure(
        100 * min(rate.estimate for rate in success["policy"]), "% solved"
    )
    return figures


def demonstrations(path: Path, suite: Suite, count: int) -> Store:
    """Let each scripted policy play the first record seeds of its task."""
    store = Store.create(path, suite)
    for task in suite:
        missing = count - sum(1 for name in store.episodes()["task"].to_pylist() if name == task.id)
        if missing > 0:
            seeds = range(RECORD.start + count - missing, RECORD.start + count)
            played = rollout(ExpertActor(), task, list(seeds), suite_name=suite.name, batch=10)
            store.append(played)
            done = sum(bool(episode.success) for episode in played)
            print(f"{task.id}: {done} of {len(played)} demonstrations solved", flush=True)
    return store


def solved(suite: Suite, actor: Any, count: int) -> Interval:
    """Return the success of an actor on the first test seeds, in the mean over the tasks."""
    played = evaluate(suite, [actor], episodes=count).trajectories
    return mean_rate(
        [
            wilson(sum(bool(episode.success) for episode in played if episode.task == task.id), count)
            for task in suite
        ]
    )


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
