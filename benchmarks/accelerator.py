"""An accelerator: how fast policies train on it, how near its peak, and whether it computes what a CPU does.

The peak: a product of two square matrices, in bfloat16 (on a processor in float32), timed in every round
between training steps. The share of it counts the matrix products of the blocks and the decoder alone (see
`Policy.count_flops`), over whole training steps (copying to the device, forward, backward, optimizer,
average), so it is a lower bound. All sizes train on batches of `--batch-steps`.

The agreement: loss and gradients of one batch of the demo's five tasks, without dropout, beside the
processor's in float32. `gradients_apart` is the largest difference of a number, as a share of the largest of
its tensor. `--quick`, and a machine without an accelerator, measure the processor itself.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _figures import figure, tell
from torch import Tensor
from training import played, timed
from tutelage.agents.policy.devices import DEVICES, choose_device
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.step import begin, make_sampler, training_step
from tutelage.datasets.arrays.sampler import TaskArrays

GOAL = 0.45
"""Share of the bfloat16 peak that sizes of 8 and more should reach."""
EPISODES = 256
"""Episodes that one policy plays at once."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument("--device", default="auto", choices=DEVICES)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 8, 16])
    parser.add_argument("--batch-steps", type=int, default=8192, help="environment steps in a batch")
    parser.add_argument("--seconds", type=float, default=30.0, help="of training for each size")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.batch_steps, options.seconds = [2], 640, 4.0
    device = choose_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"device: {name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        columns = played(Path(folder))
    figures: dict[str, Any] = {}
    for dtype in ("float32", "bfloat16"):
        figures |= agreement(columns, device, dtype)
    for size in options.sizes:
        figures |= speed(columns, device, size, options)
    tell("accelerator", figures, ("torch", "numpy"), options.out)


def agreement(columns: dict[str, TaskArrays], device: torch.device, dtype: str) -> dict[str, Any]:
    """Compare one batch's loss and gradients with the processor's in float32."""
    config = TrainConfig(dropout=0.0, history_dropout=0.0, batch_steps=640, dtype="float32", device="cpu")
    batch = make_sampler(columns, config).batch(0)
    losses, gradients = [], []
    for settings in (config, replace(config, dtype=dtype, device=device.type)):
        run = begin(columns, settings)
        loss, _ = training_step(run, batch, settings)
        losses.append(loss)
        gradients.append(
            {
                name: weight.grad.cpu()
                for name, weight in run.policy.named_parameters()
                if weight.grad is not None
            }
        )
    apart = max(difference(gradient, gradients[1][name]) for name, gradient in gradients[0].items())
    return {
        f"loss_apart_{dtype}": figure(1e6 * abs(losses[1] - losses[0]) / losses[0], "millionths"),
        f"gradients_apart_{dtype}": figure(1e6 * apart, "millionths"),
    }


def difference(reference: Tensor, tensor: Tensor) -> float:
    """Return the largest difference of two tensors, as a share of the reference's largest number."""
    largest = float(reference.abs().max())
    return float((reference - tensor).abs().max()) / largest if largest > 1e-8 else 0.0


def speed(
    columns: dict[str, TaskArrays], device: torch.device, size: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Time whole training steps and single steps of many episodes, with the peak between them."""
    config = TrainConfig(size=size, batch_steps=options.batch_steps, dtype="auto", device=device.type)
    run, sampler = begin(columns, config), make_sampler(columns, config)
    side, dtype = (2048, torch.float32) if device.type == "cpu" else (8192, torch.bfloat16)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    for _ in range(2):
        training_step(run, sampler.batch(run.step), config)
    rounds: list[tuple[float, float, float]] = []
    until = time.perf_counter() + options.seconds
    while time.perf_counter() < until or len(rounds) < 2:
        batch = sampler.batch(run.step)
        spent = timed(lambda batch=batch: finished(device, training_step, run, batch, config))
        flops = run.policy.count_flops(batch)
        peak = min(timed(lambda: finished(device, torch.mm, left, right)) for _ in range(3))
        rounds.append((options.batch_steps / spent, flops / spent, 2 * side**3 / peak))
    samples, rate, peak_rate = (median(column) for column in zip(*rounds, strict=True))
    share = median(flops / peak for _, flops, peak in rounds)
    return {
        f"training_size_{size}": figure(samples, "samples/s"),
        f"training_flops_size_{size}": figure(rate / 1e12, "TFLOP/s"),
        f"peak_size_{size}": figure(peak_rate / 1e12, "TFLOP/s"),
        f"share_size_{size}": figure(
            share, "of the peak", "this device's matrix product", share, GOAL if size >= 8 else None
        ),
        f"acting_size_{size}": figure(acting(run.average, columns), "steps/s"),
    }


def acting(policy: Any, columns: dict[str, TaskArrays]) -> float:
    """Return how many steps a second one policy chooses actions for, in episodes that it plays together."""
    task, arrays = next(iter(columns.items()))
    rows = np.arange(EPISODES) % len(arrays.actions)
    seen = {path: leaf[rows] for path, leaf in arrays.observations.items()}
    memory = policy.start(task, EPISODES)
    spent = []
    for _ in range(10):
        began = time.perf_counter()
        _, memory = policy.act(task, seen, memory)
        spent.append(time.perf_counter() - began)
    return EPISODES / median(spent)


def finished(device: torch.device, work: Any, *inputs: Any) -> None:
    """Do some work, and wait until the device has done it."""
    work(*inputs)
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


if __name__ == "__main__":
    main()
