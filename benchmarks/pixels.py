"""Cloning from pixels: learned convolutions beside patches, on the very same demonstrations.

Meta-World's MT10 from images of 64 x 64 pixels and the gripper's own 4 numbers, shown by the package's
scripted policies, one network for all ten tasks; and CarRacing from its images of 96 x 96 pixels, shown by a
driver that reads the track. Each encoder trains on the same stores with the same settings and seeds. On test
seeds, `success` is the share of solved tasks with Wilson's intervals, their mean over tasks and training
seeds; `score` the mean return of CarRacing's first `--frames` frames with a bootstrap's interval. `worst` is
the worst training seed. Demonstrations are recorded once and kept in `--stores`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _figures import figure, tell
from tutelage.agents.evaluation.actors import ExpertActor, PolicyActor
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite, load_suite, suite_from
from tutelage.envs.task import RECORD, Task
from tutelage.envs.task_env import StepResult, TaskEnv
from tutelage.intervals import Interval, mean_interval, mean_rate, wilson

ARM_STEPS = 250
PACKAGES = ("torch", "numpy", "gymnasium", "mujoco", "metaworld", "box2d")
AHEAD = (5, 16)
"""Points of the track, 3.7 units apart, that the driver steers to, and looks for bends up to."""


class Driver:
    """Drive CarRacing by the track's points: steer to one ahead, brake before bends."""

    name, kind = "driver", "expert"

    def plays(self, task: Task) -> bool:
        return task.env.startswith("CarRacing")

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        self._cars = [environment.env.unwrapped for environment in environments]

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        rows = np.full((len(steps), 3), np.nan)
        for index in np.flatnonzero(alive):
            rows[index] = driven(self._cars[index])
        return rows


def driven(env: Any) -> np.ndarray:
    """Return steering, gas and brake."""
    hull = env.car.hull
    points = np.array([point[2:] for point in env.track])
    nearest = int(np.argmin(((points - np.array(hull.position)) ** 2).sum(1)))
    ahead = points[(nearest + np.arange(AHEAD[1] + 1)) % len(points)]
    # angle of the target as the car sees it: its nose points along its own y axis
    target = ahead[AHEAD[0]] - np.array(hull.position)
    bearing = turned(np.arctan2(target[1], target[0]) - np.pi / 2 - hull.angle)
    headings = np.unwrap(np.arctan2(*np.diff(ahead, axis=0).T[::-1]))
    bend = float(np.abs(headings - headings[0]).max())
    speed, limit = float(np.hypot(*hull.linearVelocity)), max(28.0, 75.0 - 35.0 * bend)
    steering = float(np.clip(-2.0 * bearing, -1, 1))
    gas = 0.8 if speed < limit and abs(steering) < 0.9 else 0.0
    return np.array([steering, gas, 0.4 if speed > limit + 8 else 0.0])


def turned(angle: float) -> float:
    """Return an angle in [-pi, pi)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s: too short to say much")
    parser.add_argument("--only", choices=("arms", "car"), help="Meta-World or CarRacing alone")
    parser.add_argument("--tasks", type=int, default=10, help="of MT10")
    parser.add_argument("--demonstrations", type=int, default=20, help="a task of Meta-World")
    parser.add_argument("--laps", type=int, default=16, help="demonstrations of CarRacing")
    parser.add_argument("--frames", type=int, default=500, help="of an episode of CarRacing")
    parser.add_argument("--encoders", nargs="+", default=["none", "patches"], help="values of --features")
    parser.add_argument("--augmentation", default="shift", help="none, shift or shift+color")
    parser.add_argument("--tested", type=int, default=10, help="test seeds a task")
    parser.add_argument("--seeds", type=int, default=2, help="training seeds")
    parser.add_argument("--steps", type=int, default=600, help="training steps")
    parser.add_argument("--batch-steps", type=int, default=320, help="environment steps in a batch")
    parser.add_argument("--size", type=int, default=2, help="layers")
    parser.add_argument("--stores", type=Path, help="keep the demonstrations in this folder")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    if options.quick:
        options.tasks, options.demonstrations, options.laps, options.frames = 1, 3, 1, 60
        options.tested, options.seeds, options.steps, options.size, options.batch_steps = 2, 1, 8, 1, 64
    with tempfile.TemporaryDirectory() as folder:
        stores = options.stores or Path(folder)
        figures: dict[str, Any] = {}
        if options.only != "car":
            figures |= arms(stores / "arms", Path(folder), options)
        if options.only != "arms":
            figures |= car(stores / "car", Path(folder), options)
    tell("pixels", figures, PACKAGES, options.out)


def arms(path: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the success in Meta-World of each encoder, and of the scripted policies."""
    suite = arm_suite(options.tasks)
    store = demonstrations(path, suite, ExpertActor(), options.demonstrations, batch=4)

    def rate(actor: Any) -> Interval:
        played = evaluate(suite, [actor], episodes=options.tested).trajectories
        solved = [
            sum(bool(episode.success) for episode in played if episode.task == task.id) for task in suite
        ]
        for task, count in zip(suite, solved, strict=True):
            print(f"  {task.id}: {count} of {options.tested}", flush=True)
        return mean_rate([wilson(count, options.tested) for count in solved])

    figures = compared("arms", store, folder, options, rate, 100, "% solved")
    return figures | rows("arms_success_expert", [rate(ExpertActor())], 100, "% solved")


def car(path: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the score in CarRacing of each encoder, and of the driver."""
    task = {"id": "car", "env": "CarRacing-v3", "max_steps": options.frames, "success": "return >= 900"}
    suite = suite_from({"suite": "car", "tasks": [task]})
    store = demonstrations(path, suite, Driver(), options.laps, batch=1)

    def score(actor: Any) -> Interval:
        played = evaluate(suite, [actor], episodes=options.tested).trajectories
        returns = np.array([episode.total for episode in played])
        return mean_interval(returns, np.random.default_rng(0))

    figures = compared("car", store, folder, options, score, 1, "return")
    return figures | rows("car_score_driver", [score(Driver())], 1, "return")


def arm_suite(count: int) -> Suite:
    """Return the first tasks of MT10, seen by a camera; half of Meta-World's 500 steps are enough."""
    source = load_suite("metaworld-10").source
    seen = {"observation": "pixels"}
    tasks = [
        {**task, "kwargs": {**task["kwargs"], **seen}, "max_steps": ARM_STEPS}
        for task in source["tasks"][:count]
    ]
    return suite_from({**source, "suite": "metaworld-pixels", "tasks": tasks})


def demonstrations(path: Path, suite: Suite, actor: Any, count: int, batch: int) -> Store:
    """Let an actor play the first record seeds of each task, as far as they are not in the store yet."""
    store = Store.create(path, suite)
    for task in suite:
        missing = count - sum(1 for name in store.episodes()["task"].to_pylist() if name == task.id)
        if missing > 0:
            seeds = range(RECORD.start + count - missing, RECORD.start + count)
            played = rollout(actor, task, list(seeds), suite_name=suite.name, batch=batch)
            store.append(played)
            returns = np.mean([episode.total for episode in played])
            done = sum(bool(episode.success) for episode in played)
            print(f"{task.id}: {done} of {len(played)} solved, mean return {returns:.0f}", flush=True)
    return store


def compared(
    name: str, store: Store, folder: Path, options: argparse.Namespace, measure: Any, factor: float, unit: str
) -> dict[str, Any]:
    """Train every encoder with every seed on a store and measure it; returns the figures."""
    figures: dict[str, Any] = {
        f"{name}_steps": figure(int(np.sum(store.episodes()["steps"].to_numpy())), "steps shown")
    }
    for encoder in options.encoders:
        config = TrainConfig(
            size=options.size,
            steps=options.steps,
            batch_steps=options.batch_steps,
            features=encoder,
            augmentation=options.augmentation,
            weights="outcome" if name == "arms" else "none",
            workers=1,
            evaluate_every=10**6,
        )
        intervals, seconds = [], []
        for seed in range(options.seeds):
            began = time.perf_counter()
            settings = TrainConfig.from_dict({**vars(config), "seed": seed})
            kept = train([store], folder / f"{name}-{encoder}-{seed}", settings, progress=True)
            seconds.append(time.perf_counter() - began)
            label = "convolutions" if encoder == "none" else encoder
            intervals.append(measure(PolicyActor(load(kept).policy, name=label)))
            print(f"{name}, {label}, seed {seed}: {factor * intervals[-1].estimate:.1f} {unit}", flush=True)
        kind = f"{name}_{'success' if name == 'arms' else 'score'}_{label}"
        figures |= rows(kind, intervals, factor, unit)
        figures[f"{name}_training_{label}"] = figure(float(np.mean(seconds)), "s")
    return figures


def rows(name: str, intervals: Sequence[Interval], factor: float, unit: str) -> dict[str, Any]:
    """Return the mean over training seeds of an estimate and its bounds, and the worst."""
    figures = {
        f"{name}{suffix}": figure(factor * float(np.mean([getattr(row, end) for row in intervals])), unit)
        for end, suffix in (("estimate", ""), ("low", "_low"), ("high", "_high"))
    }
    worst = factor * min(row.estimate for row in intervals)
    return figures | ({f"{name}_worst": figure(worst, unit)} if len(intervals) > 1 else {})


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
