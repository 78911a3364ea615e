"""Training speed: samples/s, GFLOP/s and their share of this machine's peak; beside `imitation`'s BC.

The share: one batch after another of the demo (suite first-steps, five tasks at once, the demo's size and
batch) goes through whole training steps (sampling, tokens, forward, backward, optimiser, average), in
float32. Between them a plain product of two 2048 x 2048 matrices is timed with the same threads: the peak.
Shares are medians over rounds, each beside its own round's peak. `step_share` counts every matrix product of
a step; `policy_share` leaves out those inside Muon, which make a step better and not bigger. Attention
scores, norms, token making and everything else that takes time counts as nothing in both.

Beside `imitation` 1.0.1: one task's demonstrations, batches of equal size, policies with equally many
parameters, each with its own loop from demonstrations in memory to the optimiser's step. imitation's is a
perceptron with two hidden layers on one flat observation; ours is a transformer that sees tokens and
remembers: a sample costs it its blocks' parameters once a token, three tokens on CartPole and a dozen on
GoToLocal. So the comparison is no race of equal arithmetic: small and large batches and policies are shown.
imitation pins gymnasium 0.29, so it lives in a virtual environment of its own, which `make bench` makes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _figures import figure, tell
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.step import begin, make_sampler, training_step
from tutelage.cli.demo import DEMO
from tutelage.datasets.arrays.sampler import TaskArrays, load_columns
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import load_suite

HERE = Path(__file__).parent
PEER = HERE.parent / ".venv" / "imitation" / "bin" / "python"
SIDE = 2048  # of the matrices whose product is the peak
EPISODES = {"goto-red-ball-grey": 150, "goto-local": 400, "cartpole": 12, "taxi": 80, "pendulum": 12}
COMPARED = (("cartpole", 2, 640), ("goto-local", 2, 640), ("cartpole", 1, 2048), ("goto-local", 1, 2048))
"""Task, size and batch; the first two are the defaults of `tutelage train`."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: all cores")
    parser.add_argument("--imitation", type=Path, default=PEER, help="a Python that has imitation 1.0.1")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        columns = played(Path(folder))
        figures = demo_speed(columns, seconds=5 if options.quick else 40)
        seconds = 1.5 if options.quick else 5.0
        for task, size, batch in COMPARED[::3] if options.quick else COMPARED:
            config = TrainConfig(size=size, batch_steps=batch, dtype="float32")
            figures |= beside_imitation(columns[task], config, Path(folder), options, seconds)
    tell("training", figures, ("torch", "numpy", "gymnasium", "minigrid"), options.out)


def played(folder: Path) -> dict[str, TaskArrays]:
    """Let the simulated crowd play a little of every task of the demo."""
    suite = load_suite("first-steps")
    store = Store.create(folder / "store", suite)
    simulate(suite, store, EPISODES)
    return load_columns([store], cache=True)


def demo_speed(columns: dict[str, TaskArrays], seconds: float) -> dict[str, Any]:
    """Time whole training steps at the demo's size, and the peak between them."""
    config = replace(DEMO, dtype="float32")
    run, sampler = begin(columns, config), make_sampler(columns, config)
    for _ in range(3):
        training_step(run, sampler.batch(run.step), config)
    left, right, out = (torch.randn(SIDE, SIDE) for _ in range(3))
    rounds: list[tuple[float, float, float, float]] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(rounds) < 3:
        samples = policy_flops = 0.0
        spent = 0.0
        first = run.step
        while spent < 1.0:  # so long that the pause for the peak does not matter
            began = time.perf_counter()
            batch = sampler.batch(run.step)
            training_step(run, batch, config)
            spent += time.perf_counter() - began
            samples += sum(len(one.actions) for one in batch.values())
            policy_flops += run.policy.count_flops(batch)
        all_flops = policy_flops + (run.step - first) * run.optimizer.count_flops()
        peak = median(timed(lambda: torch.mm(left, right, out=out)) for _ in range(4))
        peak_flops = 2 * SIDE**3 / peak
        rounds.append((samples / spent, policy_flops / spent, all_flops / spent, peak_flops))
    rate, policy, step, peak = (median(one) for one in zip(*rounds, strict=True))
    shares = [median(one[i] / one[3] for one in rounds) for i in (1, 2)]
    return {
        "samples": figure(rate, "samples/s"),
        "peak": figure(peak / 1e9, "GFLOP/s"),
        "policy_flops": figure(policy / 1e9, "GFLOP/s"),
        "step_flops": figure(step / 1e9, "GFLOP/s"),
        "policy_share": figure(shares[0], "of the peak", "this machine's matrix product", shares[0], None),
        "step_share": figure(shares[1], "of the peak", "this machine's matrix product", shares[1], 0.5),
    }


def beside_imitation(
    columns: TaskArrays, config: TrainConfig, folder: Path, options: argparse.Namespace, seconds: float
) -> dict[str, Any]:
    """Train on one task with both, in turn; imitation's side is left out where it is not installed."""
    one = {columns.task.id: columns}
    run, sampler = begin(one, config), make_sampler(one, config)
    parameters = sum(each.numel() for each in run.policy.parameters())
    key = f"{columns.task.id.replace('-', '_')}_size_{config.size}_batch_{config.batch_steps}"

    def ours() -> float:
        began, samples = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            batch = sampler.batch(run.step)
            training_step(run, batch, config)
            samples += len(batch[columns.task.id].actions)
        return samples / (time.perf_counter() - began)

    ours()
    if not options.imitation.exists():
        print(f"imitation is left out: expected it in {options.imitation}; `make bench` installs it there")
        return {key: figure(ours(), "samples/s")}
    leaf = columns.observations.get("image", columns.observations.get(""))
    assert leaf is not None
    data = folder / f"{key}.npz"
    np.savez(data, observations=leaf, actions=columns.actions[:, 0], starts=columns.starts)
    order = [str(options.imitation), str(HERE / "peers" / "imitation_bc.py"), str(data)]
    order += [str(one) for one in (config.batch_steps, parameters, options.threads, seconds)]
    pairs = []
    for _ in range(1 if options.quick else 3):
        before = ours()
        told = subprocess.run(order, capture_output=True, text=True, check=False)
        if told.returncode:
            raise SystemExit(f"imitation failed on {key}:\n{told.stderr[-2000:]}")
        theirs = json.loads(told.stdout.splitlines()[-1])
        pairs.append(((before + ours()) / 2, theirs["samples_per_second"]))
    ratio = median(mine / other for mine, other in pairs)
    beside = f"imitation 1.0.1, {theirs['parameters']:,} parameters to our {parameters:,}"
    return {
        key: figure(median(mine for mine, _ in pairs), "samples/s", beside, ratio, 1.0),
        f"{key}_imitation": figure(median(other for _, other in pairs), "samples/s"),
    }


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
