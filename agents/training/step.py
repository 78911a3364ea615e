"""One training step: the training state and its update, a function of (config, data, step)."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...console.signals import signals
from ...datasets.arrays.sampler import Sampler, TaskArrays, WindowBatch
from ...datasets.quality.weights import episode_weights
from ...envs.task import Task
from ...errors import TutelageError
from ...files.memory_limits import process_bytes
from ..policy.checkpoint import LoadedPolicy
from ..policy.devices import choose_device, free_bytes
from ..policy.encoding import Encoding
from ..policy.fine_tuning import extended, freeze, grown, inherited_matrices
from ..policy.images.pretrained import load_pretrained
from ..policy.policy import LEAST_WEIGHT, Policy, PolicyConfig
from .action_heads import HeadChoice
from .config import TrainConfig
from .distributed import ALONE, Processes
from .optimizer import Optimizer


@dataclass
class TrainState:
    """Everything that changes while training."""

    policy: Policy
    average: Policy
    optimizer: Optimizer
    step: int = 0
    best: float = -1.0
    select: dict[str, float] = field(default_factory=dict)
    selected: int = 0
    """Step of the last evaluation on select seeds; below `step` if one is due."""
    memoryless_tasks: frozenset[str] = frozenset()
    """Tasks that the averaged weights play without memory, chosen by that evaluation."""
    heads: Mapping[str, str] = field(default_factory=dict)
    """How the continuous actions of each task are made, and why."""
    saved: int = -1
    """Step of the newest state on disk."""
    whole: threading.RLock = field(default_factory=threading.RLock)  # type: ignore[valid-type]
    """Lock held during an update and during a save, so that a saved state is never half a step."""

    def facts(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "best": self.best,
            "select": self.select,
            "selected": self.selected,
            "memoryless_tasks": sorted(self.memoryless_tasks),
        }

    def tensors(self) -> list[Tensor]:
        """Return all tensors of the state, in a fixed order."""
        modules = [*self.policy.state_dict().values(), *self.average.state_dict().values()]
        return [*modules, *self.optimizer.state.values()]

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Restore the facts of a state whose tensors are in place already."""
        self.step, self.best, self.select = facts["step"], facts["best"], facts["select"]
        self.selected, self.memoryless_tasks = facts["selected"], frozenset(facts["memoryless_tasks"])
        self.average.memoryless_tasks = self.memoryless_tasks


def begin(
    columns: Mapping[str, TaskArrays],
    config: TrainConfig,
    parent: LoadedPolicy | None = None,
    extra_tasks: Iterable[Task] = (),
    processes: int = 1,
) -> TrainState:
    """Fit the encoding to the data, and create the policy, its average and its optimizer.

    `extra_tasks` are tasks without data (see `Encoding.fit`). A `parent` gives its weights and its encoding,
    to which tasks that it lacks are added. Raises TutelageError when it has another size, window or action
    head, when no task can have a flow head that is asked for, or when memory does not suffice for that many
    `processes` on this machine.
    """
    device = choose_device(config.device)
    _expect_memory(config, device, processes)
    torch.manual_seed(config.seed)
    shape = PolicyConfig(
        config.size,
        config.window,
        config.dropout,
        config.history_dropout,
        config.augmentation,
        config.features,
    )
    choice = HeadChoice(config)
    if parent is None:
        policy = Policy(shape, Encoding.fit(columns, extra_tasks, choice))
        if (network := policy.tokens.features) is not None:
            load_pretrained(network, config.features)
    else:
        encoding = extended(parent.policy.encoding, parent.suite, columns, extra_tasks, choice)
        encoding = choice.kept(encoding, columns, len(parent.policy.encoding.interfaces))
        policy = grown(parent.policy, shape, encoding)
        freeze(policy, parent.policy, config.freeze)
    if policy.tokens.features is not None and not config.train_features:
        policy.tokens.features.requires_grad_(False)
    choice.expect_flow(policy.encoding, columns)
    policy.to(device)
    policy.recomputes = config.checkpoint_activations
    average = copy.deepcopy(policy).eval()
    adapted = inherited_matrices(policy, parent.policy) if parent is not None and config.adapters else []
    rates = config.learning_rate, config.table_learning_rate, config.weight_decay
    optimizer = Optimizer(policy, *rates, adapted, config.adapters if adapted else 0)
    return TrainState(policy, average, optimizer, heads=choice.reasons)


def make_sampler(
    columns: Mapping[str, TaskArrays],
    config: TrainConfig,
    weights: Mapping[str, np.ndarray] | None = None,
    emphasis: Mapping[str, float] | None = None,
) -> Sampler:
    """Return the sampler of batches of windows, by episode weights and the configuration's balance.

    `weights` map task id → `[E]`; if not given, they follow from `config.weights`.
    `emphasis` multiplies the shares of tasks.
    """
    by_episode = episode_weights(columns, config.weights) if weights is None else dict(weights)
    steps = {task: float(np.diff(arrays.starts) @ by_episode[task]) for task, arrays in columns.items()}
    shares = {task: count**config.balance * (emphasis or {}).get(task, 1.0) for task, count in steps.items()}
    return Sampler(
        columns, config.window, max(config.batch_steps, len(columns)), by_episode, config.seed, shares
    )


def training_step(
    run: TrainState, batch: Mapping[str, WindowBatch], config: TrainConfig
) -> tuple[float, dict[str, float]]:
    """Do one training step on a whole batch; returns the loss and the loss by task, and advances `run.step`.

    Dropout draws from torch's global generator, seeded here from (seed, step): no state is carried over.
    """
    return _step(run, config, lambda: _backward(run, batch, config))


def divided_step(
    run: TrainState, sampler: Sampler, config: TrainConfig, processes: Processes = ALONE
) -> tuple[float, dict[str, float]]:
    """Do one training step on the sampler's batch `run.step`, divided among processes and `accumulate` parts.

    Returns what `training_step` does. The weights are those of an undivided batch, but for rounding; dropout
    draws from a generator seeded by (seed, step, part), so it depends on the number of parts alone.
    """
    count = processes.count * config.accumulate
    if count == 1:
        with signals.let_in():
            batch = sampler.part(run.step, 0, 1)
        return training_step(run, batch, config)
    mine = range(processes.rank * config.accumulate, (processes.rank + 1) * config.accumulate)
    return _step(run, config, lambda: _backward_parts(run, sampler, config, processes, mine, count))


def _step(
    run: TrainState, config: TrainConfig, backward: Callable[[], tuple[float, dict[str, float]]]
) -> tuple[float, dict[str, float]]:
    """Compute gradients by `backward`, which returns loss and loss by task, and apply them."""
    run.policy.train()
    run.policy.zero_grad(set_to_none=True)
    with signals.let_in():  # no saved state changes here, so a stop may interrupt
        loss, metrics = backward()
    with run.whole:
        run.optimizer.step(schedule(run.step, config))
        decay = min(config.ema, (run.step + 1) / (run.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(run.average.parameters()), list(run.policy.parameters()), 1 - decay)
        run.step += 1
    return loss, metrics


def _backward(
    run: TrainState, batch: Mapping[str, WindowBatch], config: TrainConfig
) -> tuple[float, dict[str, float]]:
    _seed(config.seed, run.step)
    with _precision(config, run.policy.device):
        loss, metrics = run.policy.loss(batch)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach()), metrics


def _backward_parts(
    run: TrainState,
    sampler: Sampler,
    config: TrainConfig,
    processes: Processes,
    mine: Iterable[int],
    count: int,
) -> tuple[float, dict[str, float]]:
    """Add up the gradients of the loss's sum over all parts, of which `mine` are computed here, and divide.

    The loss is a weighted mean over the batch, whose weight is known only after all forward passes.
    """
    policy = run.policy
    index = {task: row for row, task in enumerate(policy.tasks)}
    # by task: sum of losses, sum of weights, number of parts that have it
    sums = torch.zeros(len(index), 3)
    for number in mine:
        if not (batch := sampler.part(run.step, number, count)):
            continue
        _seed(config.seed, run.step, number)
        with _precision(config, policy.device):
            total, _, by_task = policy.loss_sums(batch)
        total.backward()  # type: ignore[no-untyped-call]
        for task, (part, weight) in by_task.items():
            sums[index[task]] += torch.tensor([part, weight, 1.0])
    sums = sums.to(policy.device)
    trained = [weight for weight in policy.parameters() if weight.requires_grad]
    processes.add_up(trained, sums)
    total_loss, total_weight, _ = sums.sum(0).tolist()
    divisor = max(total_weight, LEAST_WEIGHT)
    torch._foreach_div_([weight.grad for weight in trained if weight.grad is not None], divisor)
    metrics = {
        task: loss / max(weight, LEAST_WEIGHT)
        for task, (loss, weight, parts) in zip(index, sums.tolist(), strict=True)
        if parts
    }
    return total_loss / divisor, metrics


def _seed(*path: int) -> None:
    """Seed torch's global generator by (seed, step) or (seed, step, part)."""
    torch.manual_seed(int(np.random.SeedSequence(path).generate_state(1, np.uint64)[0] >> 1))


def schedule(step: int, config: TrainConfig) -> float:
    """Return the learning rate's factor: linear warmup, constant, linear cooldown to zero.

    The cooldown is a share of `config.steps`: a run resumed with more steps continues at the rate it would
    have had with that number from the start.
    """
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    return rise * min(1.0, (config.steps - step) / (config.steps * config.cooldown))


def _expect_memory(config: TrainConfig, device: torch.device, processes: int) -> None:
    """Raise TutelageError for a policy whose blocks alone need more memory in training than a process has.

    A block has 12 width² weights of 4 bytes, stored five times: policy, average, gradient, two moments; a
    sixth time where processes add up gradients. On the processor, processes share the machine's memory.
    """
    shape = PolicyConfig(config.size, config.window)
    copies = 5 if processes == 1 else 6
    needed = 4 * copies * 12 * shape.width**2 * (shape.size + shape.memory_layers)
    available, owner = free_bytes(device), f"device {device.type}"
    if available is None:
        available, owner = process_bytes(), "this machine"
        owner += f" for each of {processes} processes" if processes > 1 else ""
    if needed > available:
        raise TutelageError(
            f"expected a policy that fits the memory of {owner} ({available / 1e9:.0f} GB), got size "
            f"{config.size}, which needs {needed / 1e9:,.0f} GB to be trained; lower --size "
            "(sharding weights over processes, FSDP2, is not built in)"
        )


def _precision(config: TrainConfig, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which products are computed, in bfloat16 if the settings say so."""
    if _uses_bfloat16(config, device):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _uses_bfloat16(config: TrainConfig, device: torch.device) -> bool:
    if config.dtype == "auto" and device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if config.dtype == "auto" and device.type == "cpu":
        return bool(
            torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.cpu._is_avx512_bf16_supported()
        )
    return config.dtype == "bfloat16"
