"""Fine-tuning: a trained policy takes on new tasks, with spaces of their own if need be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from contextlib import closing

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from ...datasets.arrays.task_arrays import TaskArrays
from ...envs.spaces import leaves
from ...envs.suite import Suite
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from ..training.config import TrainConfig
from .encoding import ChooseHead, Encoding, IOSpec
from .interface_checks import expect_fits
from .policy import Policy, PolicyConfig

_FROZEN: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "tokens": ("tokens.",),
    "encoder": ("tokens.", "encoder."),
    "all-but-head": ("tokens.", "encoder.", "memory."),
}
FREEZE = tuple(_FROZEN)
"""Parts of a parent's weights that are not trained, each with those before it: token embeddings, step
encoder, memory. What the parent did not have is always trained."""


def extended(
    encoding: Encoding,
    suite: Suite,
    columns: Mapping[str, TaskArrays],
    extra_tasks: Iterable[Task] = (),
    choose_head: ChooseHead | None = None,
) -> Encoding:
    """Return an encoding with the tasks of `columns` too; `suite` has the tasks that it was fitted to.

    A task whose spaces are those of an interface shares it, as it was fitted; the others get interfaces of
    their own, after the present ones. For `extra_tasks` and `choose_head` see `Encoding.fit`.
    """
    shared = {task: _interface_for(encoding, suite, arrays.task) for task, arrays in columns.items()}
    fresh = Encoding.fit(
        {task: columns[task] for task, index in shared.items() if index is None}, extra_tasks, choose_head
    )
    tasks = dict(encoding.tasks)
    for task, index in shared.items():
        if index is not None:
            tasks[task] = (index, columns[task].task.instruction)
    for task, (index, instruction) in fresh.tasks.items():
        tasks[task] = (len(encoding.interfaces) + index, instruction)
    if any(interface.page for interface in encoding.interfaces):
        for extra in extra_tasks:
            index = None if extra.id in tasks else _interface_for(encoding, suite, extra)
            if index is not None and encoding.interfaces[index].page:
                tasks[extra.id] = (index, extra.instruction)
    return Encoding((*encoding.interfaces, *fresh.interfaces), tasks)


def expect_same_shape(parent: PolicyConfig, config: PolicyConfig | TrainConfig) -> None:
    """Raise TutelageError for another size, window or network of features than the parent's."""
    for name in ("size", "window", "features"):
        before, now = getattr(parent, name), getattr(config, name)
        if before != now:
            raise TutelageError(
                f"expected a parent of {name} {now}, got one of {before}; use --{name} {before}"
            )


def grown(parent: Policy, config: PolicyConfig, encoding: Encoding) -> Policy:
    """Return a policy of an extended encoding with the parent's weights; rows and modules it lacks are fresh.

    Raises TutelageError for another size, window or network of features than the parent's.
    """
    expect_same_shape(parent.config, config)
    policy = Policy(config, encoding)
    inherited = parent.state_dict()
    with torch.no_grad():
        for name, weight in policy.state_dict().items():
            if name in inherited:  # of the option table, the rows of new interfaces come last
                weight[: len(inherited[name])].copy_(inherited[name])
    return policy


def freeze(policy: nn.Module, parent: nn.Module, what: str) -> None:
    """Leave out of training what `what` of FREEZE names, as far as the parent has it."""
    present = {name for name, _ in parent.named_parameters()}
    for name, weight in policy.named_parameters():
        if name in present and name.startswith(_FROZEN[what]):
            weight.requires_grad_(False)


def inherited_matrices(policy: nn.Module, parent: nn.Module) -> list[str]:
    """Return the names of the matrices of blocks that the parent has and that are trained."""
    present = {name for name, _ in parent.named_parameters()}
    return [
        name
        for name, weight in policy.named_parameters()
        if name in present and name.startswith(("encoder.", "memory.")) and weight.requires_grad
    ]


def _interface_for(encoding: Encoding, suite: Suite, task: Task) -> int | None:
    """Return the interface that a task shares with a task of `suite`; None if there is none."""
    try:
        environment = TaskEnv(task)
    except TutelageError:
        return None
    environments = {fitted.id: fitted.env for fitted in suite}
    former = encoding.tasks[task.id][0] if task.id in encoding.tasks else None
    is_elsewhere = environments.get(task.id, task.env) != task.env
    with closing(environment):
        is_named = all(leaf.path for leaf in leaves(environment.observation_space))
        # the one that the task had comes first
        for index, interface in sorted(enumerate(encoding.interfaces), key=lambda pair: pair[0] != former):
            fitted = {environments.get(name) for name, (at, _) in encoding.tasks.items() if at == index}
            # numbers without a name mean the same in the same environment only
            means_the_same = is_named or task.env in fitted or (index == former and not is_elsewhere)
            if means_the_same and _has_same_ranges(interface, environment):
                with contextlib.suppress(TutelageError):
                    expect_fits(interface, environment)
                    return index
    return None


def _has_same_ranges(interface: IOSpec, environment: TaskEnv) -> bool:
    """Say whether the bounded numbers of an action have the range that the bins of an interface divide."""
    boxes = [leaf.space for leaf in leaves(environment.action_space) if isinstance(leaf.space, spaces.Box)]
    bins = [part for part in interface.parts if part.kind == "bins"]
    if not bins:
        return True
    bounds = [
        (low, high) for box in boxes for low, high in zip(box.low.ravel(), box.high.ravel(), strict=True)
    ]
    return len(bounds) == len(bins) and all(
        (low, high) == (np.float64(part.low), np.float64(part.high)) or not np.isfinite([low, high]).all()
        for (low, high), part in zip(bounds, bins, strict=True)
    )
