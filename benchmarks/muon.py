"""Our Muon beside `torch.optim.Muon`: processor time of an update, and the loss after equal training.

Both update the same matrices of a policy of the demo's size from the same gradients, in turn in one process;
each ratio is of neighboring updates, and the figure is their median. Then both train the same policy on the
same batches of Taxi and GoToLocal, played by the simulated crowd; the loss is that of the averaged weights on
demonstrations of other seeds, its ratio the median over training seeds. torch's works in bfloat16, a matrix
at a time, and takes the stacked query-key-value matrix as one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _figures import figure, tell
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.optimizer import MOMENTUM, Optimizer
from tutelage.agents.training.step import TrainState, begin, make_sampler, training_step
from tutelage.cli.demo import DEMO
from tutelage.datasets.arrays.sampler import TaskArrays, load_columns
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import load_suite

EPISODES = {"taxi": 200, "goto-local": 200}
HELD_OUT = 20
"""Batches of demonstrations of other seeds that a loss is the mean of."""


class TorchMuon(Optimizer):
    """Our optimizer with the matrices left to `torch.optim.Muon`."""

    def __init__(self, policy: torch.nn.Module, rate: float, table_rate: float, decay: float) -> None:
        super().__init__(policy, rate, table_rate, decay)
        matrices = list(self._matrices.values())
        self._torch = torch.optim.Muon(matrices, rate, weight_decay=decay, momentum=MOMENTUM)

    def _muon(self, rate: float) -> None:
        for group in self._torch.param_groups:
            group["lr"] = rate
        self._torch.step()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        columns, held = (played(Path(folder) / str(skip), skip) for skip in (0, 100_000))
        figures = update_times(columns, 10 if options.quick else 40)
        config = replace(DEMO, size=1, batch_steps=320, dtype="float32", steps=20 if options.quick else 150)
        figures |= losses(columns, held, config, seeds=1 if options.quick else 3)
    tell("muon", figures, ("torch", "numpy"), options.out)


def played(folder: Path, skip: int) -> dict[str, TaskArrays]:
    """Let the simulated crowd play a little of two tasks, from a seed on."""
    suite = load_suite("first-steps")
    store = Store.create(folder, suite)
    simulate(suite, store, EPISODES, skip=skip)
    return load_columns([store], cache=True)


def update_times(columns: Mapping[str, TaskArrays], rounds: int) -> dict[str, Any]:
    """Time the update of the matrices alone, in turn, at the demo's size."""
    config = replace(DEMO, dtype="float32")
    run, sampler = begin(columns, config), make_sampler(columns, config)
    training_step(run, sampler.batch(0), config)  # and every weight has a gradient
    rates = config.learning_rate, config.table_learning_rate, config.weight_decay
    ours, reference = (kind(run.policy, *rates) for kind in (Optimizer, TorchMuon))
    pairs = []
    with torch.no_grad():
        for number in range(rounds + 2):
            pair = update_seconds(ours), update_seconds(reference)
            if number >= 2:
                pairs.append(pair)
    return {
        "update_ms": figure(
            1000 * median(mine for mine, _ in pairs),
            "ms",
            "torch.optim.Muon's time",
            median(other / mine for mine, other in pairs),
            1.0,
        ),
        "update_ms_torch": figure(1000 * median(other for _, other in pairs), "ms"),
    }


def update_seconds(optimizer: Optimizer) -> float:
    began = time.process_time()  # the machine may be shared
    optimizer._muon(1e-6)
    return time.process_time() - began


def losses(
    columns: Mapping[str, TaskArrays], held: Mapping[str, TaskArrays], config: TrainConfig, seeds: int
) -> dict[str, Any]:
    """Train with both on the same batches, and compare the losses on demonstrations of other seeds."""
    pairs = []
    for seed in range(seeds):
        seeded = replace(config, seed=seed)
        pair = [trained_loss(columns, held, seeded, kind) for kind in (Optimizer, TorchMuon)]
        print(f"seed {seed}: ours {pair[0]:.4f}, torch's {pair[1]:.4f}", flush=True)
        pairs.append(pair)
    ratio = median(other / mine for mine, other in pairs)
    return {
        "loss": figure(median(mine for mine, _ in pairs), "nats", "torch.optim.Muon's loss", ratio, 1.0),
        "loss_torch": figure(median(other for _, other in pairs), "nats"),
    }


def trained_loss(
    columns: Mapping[str, TaskArrays],
    held: Mapping[str, TaskArrays],
    config: TrainConfig,
    kind: type[Optimizer],
) -> float:
    run: TrainState = begin(columns, config)
    rates = config.learning_rate, config.table_learning_rate, config.weight_decay
    run.optimizer = kind(run.policy, *rates)
    sampler, others = make_sampler(columns, config), make_sampler(held, replace(config, seed=0))
    for _ in range(config.steps):
        training_step(run, sampler.batch(run.step), config)
    with torch.no_grad():
        values = [float(run.average.loss(others.batch(number))[0]) for number in range(HELD_OUT)]
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
