"""One policy in our grid world and in minigrid's own environments: is the success the same?

A policy (the demo's, or with `--run` any other) plays the test seeds of its grid tasks twice: in our world,
where it was trained, and in the environment of the same level that minigrid registers. Seeds make other
worlds there, so the two rates are independent; `*_difference` is theirs minus ours with Newcombe's interval
(hybrid score, Statistics in Medicine 17, 1998), and the worlds are alike to the policy where it holds 0.
Without `--run`, a policy is trained first: as the demo trains, or for half a minute with `--quick`.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
from _figures import figure, tell
from tutelage.agents.evaluation.actors import PolicyActor
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.cli.demo import DEMO
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.registry import registry
from tutelage.envs.suite import Suite, load_suite, suite_from
from tutelage.intervals import Interval, wilson

TRAINED_ON = {"goto-red-ball-grey": 3000, "goto-local": 3000}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument("--run", type=Path, help="a checkpoint that was trained on levels of ours")
    parser.add_argument("--episodes", type=int, default=1000, help="seeds a task in each world")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    registry()
    with tempfile.TemporaryDirectory() as folder:
        policy = load(options.run or trained(Path(folder), options.quick)).policy
    here = ours(load_suite("first-steps"))
    count = 64 if options.quick else options.episodes
    actor = PolicyActor(policy, name="policy")
    figures: dict[str, Any] = {}
    rates = [rates_of(suite, actor, count) for suite in (here, theirs(here))]
    for task in here:
        mine, other = (rate[task.id] for rate in rates)
        low, high = newcombe(other, mine)
        figures |= {
            task.id: figure(100 * mine.estimate, "% success in our world"),
            f"{task.id}_minigrid": figure(100 * other.estimate, "% success in minigrid's"),
            f"{task.id}_difference": figure(100 * (other.estimate - mine.estimate), "points"),
            f"{task.id}_difference_low": figure(100 * low, "points"),
            f"{task.id}_difference_high": figure(100 * high, "points"),
        }
    tell("transfer", figures, ("minigrid", "gymnasium", "torch", "numba"), options.out)


def trained(folder: Path, quick: bool) -> Path:
    """Train a policy on the demo's two levels; returns its checkpoint."""
    suite = load_suite("first-steps")
    store = Store.create(folder / "store", suite)
    simulate(suite, store, {task: count // 5 if quick else count for task, count in TRAINED_ON.items()})
    config = replace(DEMO, steps=60 if quick else 400, evaluate_every=10_000)
    return train([store], folder / "run", config, progress=True)


def ours(suite: Suite) -> Suite:
    """Return the suite's tasks that are levels of ours and of minigrid's."""
    grids = [task for task in suite.source["tasks"] if task["env"].startswith("tutelage/")]
    named = [task for task in grids if peer(task["env"]) in gymnasium.registry]
    return suite_from({**suite.source, "tasks": named})


def theirs(suite: Suite) -> Suite:
    """Return the same tasks in minigrid's environments."""
    tasks = [{**task, "env": peer(task["env"]), "expert": "babyai"} for task in suite.source["tasks"]]
    return suite_from({**suite.source, "tasks": tasks})


def peer(name: str) -> str:
    return name.replace("tutelage/", "BabyAI-")


def rates_of(suite: Suite, actor: PolicyActor, count: int) -> dict[str, Interval]:
    played = evaluate(suite, [actor], episodes=count).trajectories
    return {
        task.id: wilson(sum(bool(one.success) for one in played if one.task == task.id), count)
        for task in suite
    }


def newcombe(first: Interval, second: Interval) -> tuple[float, float]:
    """Return the bounds of the difference of two independent rates, first minus second."""
    difference = first.estimate - second.estimate
    below = ((first.estimate - first.low) ** 2 + (second.high - second.estimate) ** 2) ** 0.5
    above = ((first.high - first.estimate) ** 2 + (second.estimate - second.low) ** 2) ** 0.5
    return difference - below, difference + above


if __name__ == "__main__":
    main()
