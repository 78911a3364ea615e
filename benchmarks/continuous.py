"""Continuous actions: bins beside a flow head, on the very same demonstrations.

Heuristics of the package and of Gymnasium play record seeds of Pendulum, LunarLander (continuous) and
BipedalWalker until `--demonstrations` episodes have succeeded; these teach a policy with bins and one with a
flow head, for each training seed, with equal settings otherwise. The averaged weights of the last step play
`--tested` test seeds; who plays without memory is decided on select seeds. Figures are mean returns with
bootstrap intervals over test seeds, those of all training seeds together, and the mean difference, paired by
test seed. `worst` and `best` are the mean returns of the worst and the best training seed.

Not covered: the draw of the demonstrations, which are the same for all training seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _figures import figure, tell
from gymnasium.envs.box2d.bipedal_walker import BipedalWalkerHeuristics
from gymnasium.envs.box2d.lunar_lander import heuristic
from tutelage.agents.evaluation.actors import Actor, ExpertActor, PolicyActor
from tutelage.agents.evaluation.compare import select_success
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task import RECORD, TEST, Task
from tutelage.envs.task_env import StepResult, TaskEnv
from tutelage.intervals import mean_interval, paired_mean

TASKS = {
    "pendulum": {"env": "Pendulum-v1", "success": "return >= -400", "expert": "pendulum"},
    "lunar-lander": {"env": "LunarLanderContinuous-v3", "success": "return >= 200"},
    "bipedal-walker": {"env": "BipedalWalker-v3", "success": "return >= 200"},
}
AT_ONCE = 20
"""Episodes that an expert plays at once."""


class HeuristicActor:
    """Let Gymnasium's heuristics play, whose episodes are the demonstrations."""

    name, kind = "heuristic", "expert"

    def begin(self, environments: Sequence[TaskEnv], task: Task, seeds: Sequence[int]) -> None:
        self._heuristics = [_heuristic(environment, task) for environment in environments]

    def act(self, steps: list[StepResult], alive: np.ndarray) -> np.ndarray:
        rows = [self._heuristics[i](steps[i].observation[""]) for i in np.flatnonzero(alive)]
        actions = np.zeros((len(steps), len(rows[0])))
        actions[alive] = rows
        return actions


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s: one task, too short to say much")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--demonstrations", nargs="+", type=int, default=[5, 20, 100], help="episodes")
    parser.add_argument("--tested", type=int, default=100, help="test seeds")
    parser.add_argument("--seeds", type=int, default=3, help="training seeds")
    parser.add_argument("--heads", nargs="+", default=["bins", "flow"], help="bins, flow or CHUNK:REPLAN")
    parser.add_argument("--set", nargs="*", default=[], help="settings of training, as NAME=VALUE")
    parser.add_argument("--threads", type=int, default=1, help="of training")
    parser.add_argument("--stores", type=Path, help="keep the demonstrations in this folder")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    settings: dict[str, Any] = {"steps": 1500, "select_episodes": 16, "workers": 1}
    if options.quick:
        options.tasks, options.demonstrations, options.tested, options.seeds = ["pendulum"], [5], 4, 1
        settings |= {"steps": 60, "size": 1, "batch_steps": 160, "select_episodes": 2}
    settings |= {name: json.loads(value) for name, value in (entry.split("=") for entry in options.set)}
    settings |= {"evaluate_every": settings["steps"], "threads": options.threads}
    torch.set_num_threads(options.threads)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.tasks:
            suite = suite_from({"suite": name, "tasks": [{"id": name, **TASKS[name]}]})
            for count in options.demonstrations:
                place = (options.stores or Path(folder)) / f"{name}-{count}"
                store = demonstrations(place, suite, count)
                figures |= compared(Path(folder), suite, store, settings, options, f"{name}_{count}")
            expert = returns(suite, _expert(suite), options.tested)
            figures |= _interval(f"{name}_expert", expert)
    tell("continuous", figures, ("torch", "numpy", "gymnasium", "box2d"), options.out)


def demonstrations(path: Path, suite: Suite, count: int) -> Store:
    """Let a heuristic play record seeds until `count` episodes have succeeded; only these are kept."""
    (task,) = suite
    store = Store.create(path, suite)
    first = RECORD.start
    while (missing := count - len(store)) > 0:
        seeds = list(range(first, first + min(AT_ONCE, missing)))
        played = rollout(_expert(suite), task, seeds, suite_name=suite.name)
        if succeeded := [episode for episode in played if episode.success]:
            store.append(succeeded)
        first = seeds[-1] + 1
    return store


def compared(
    folder: Path,
    suite: Suite,
    store: Store,
    settings: dict[str, Any],
    options: argparse.Namespace,
    key: str,
) -> dict[str, Any]:
    """Train every head on the same demonstrations, with every training seed, and let each play."""
    played: dict[str, list[np.ndarray]] = {}
    figures: dict[str, Any] = {}
    for head in options.heads:
        chosen: dict[str, Any] = {"action_head": head}
        if ":" in head:
            chunk, replan = map(int, head.split(":"))
            chosen = {"action_head": "flow", "chunk": chunk, "replan": replan}
        seconds = []
        for seed in range(options.seeds):
            config = TrainConfig.from_dict({**settings, **chosen, "seed": seed})
            begun = time.process_time()
            evaluation = select_success(suite, episodes=config.select_episodes, workers=1)
            out = folder / f"{key}-{head}-{seed}"
            policy = load(
                train([store], out, config, evaluate=evaluation, notice=_silent).parent / "last"
            ).policy
            policy.memoryless_tasks = load(out / "kept").policy.memoryless_tasks
            seconds.append(time.process_time() - begun)
            played.setdefault(head, []).append(returns(suite, PolicyActor(policy), options.tested))
            memory = "without memory" if policy.memoryless_tasks else "with memory"
            print(f"{key} {head} seed {seed}: {played[head][-1].mean():.1f} {memory}", flush=True)
        figures |= _interval(f"{key}_{head}", np.mean(played[head], axis=0))
        means = [values.mean() for values in played[head]]
        figures[f"{key}_{head}_worst"] = figure(float(min(means)), "return")
        figures[f"{key}_{head}_best"] = figure(float(max(means)), "return")
        figures[f"{key}_{head}_seconds"] = figure(float(np.mean(seconds)), "CPU s of training and selection")
    for head in options.heads[1:]:
        pair = (np.mean(played[name], axis=0) for name in (head, options.heads[0]))
        difference = paired_mean(*pair, np.random.default_rng(0))
        for end in ("estimate", "low", "high"):
            suffix = "" if end == "estimate" else f"_{end}"
            name = f"{key}_{head}_over_{options.heads[0]}{suffix}"
            figures[name] = figure(getattr(difference, end), "return")
    return figures


def returns(suite: Suite, actor: Actor, count: int) -> np.ndarray:
    """Return the return of each of `count` test seeds, `[count]`."""
    (task,) = suite
    played = rollout(actor, task, list(TEST.first(count)), suite_name=suite.name)
    return np.array([episode.rewards.sum() for episode in played])


def _expert(suite: Suite) -> Actor:
    (task,) = suite
    return ExpertActor() if task.expert else HeuristicActor()


def _heuristic(environment: TaskEnv, task: Task) -> Callable[[np.ndarray], np.ndarray]:
    if task.env.startswith("LunarLander"):
        return lambda observation: heuristic(environment.env, observation)
    return BipedalWalkerHeuristics().step_heuristic


def _interval(name: str, values: np.ndarray) -> dict[str, Any]:
    interval = mean_interval(values, np.random.default_rng(0))
    return {
        name: figure(interval.estimate, "return"),
        f"{name}_low": figure(interval.low, "return"),
        f"{name}_high": figure(interval.high, "return"),
    }


def _silent(_: str) -> None:
    """Leave out the notes of training."""


if __name__ == "__main__":
    main()
