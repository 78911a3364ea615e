"""Whether a task sees and does what a policy was taught with: another suite may have another of that name."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from ...envs.spaces import JSONText, Leaf, leaves
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from .encoding import IOSpec, ObservationSpec

_BOXES = ("grid", "image", "vector")


def expect_fits(interface: IOSpec, world: TaskEnv) -> None:
    """Raise TutelageError unless an environment's observations and actions are those of an interface."""
    task = world.task.id
    there = leaves(world.observation_space)
    if interface.page is not None:
        if not any(isinstance(leaf.space, JSONText) for leaf in there):
            raise _other(task, "sees no page")
        return
    if [leaf.path for leaf in there] != [leaf.path for leaf in interface.seen]:
        raise _other(task, "sees other things")
    for leaf, seen in zip(there, interface.seen, strict=True):
        if not _sees(leaf, seen):
            raise _other(task, f"sees {leaf.path or 'something'} of another kind or size")
    if not _does(interface, world.action_space):
        raise _other(task, "takes other actions")


def _sees(leaf: Leaf, seen: ObservationSpec) -> bool:
    space = leaf.space
    if leaf.is_text or seen.kind == "text":
        return leaf.is_text and seen.kind == "text"
    if tuple(space.shape or ()) != seen.shape:
        return False
    if isinstance(space, spaces.Discrete):
        return seen.kind == "discrete" and (seen.sizes, seen.low) == ((int(space.n),), (int(space.start),))
    if isinstance(space, spaces.MultiDiscrete):
        return seen.kind == "discrete" and seen.sizes == tuple(space.nvec.ravel().tolist())
    return seen.kind in _BOXES


def _does(interface: IOSpec, space: spaces.Space[Any]) -> bool:
    """Say whether the parts of an action are those of a space; a part for each number, in its own order."""
    options: list[tuple[float, int] | None] = []
    for leaf in leaves(space):
        inner = leaf.space
        if isinstance(inner, spaces.Discrete):
            options.append((float(inner.start), int(inner.n)))
        elif isinstance(inner, spaces.MultiDiscrete):
            lows = np.broadcast_to(inner.start, inner.nvec.shape).ravel().tolist()
            options += [(float(low), int(n)) for low, n in zip(lows, inner.nvec.ravel(), strict=True)]
        elif isinstance(inner, spaces.MultiBinary):
            options += [(0.0, 2)] * int(np.prod(inner.shape))
        else:
            options += [None] * int(np.prod(inner.shape or (), dtype=np.int64))
    if len(options) != len(interface.parts):
        return False
    return all(
        part.kind == "bins" if option is None else (part.kind, part.low, part.size) == ("choice", *option)
        for part, option in zip(interface.parts, options, strict=True)
    )


def _other(task: str, what: str) -> TutelageError:
    return TutelageError(
        f"expected the task {task!r} that the policy was taught, got one of this name that {what}; "
        f"evaluate it on the suite it was trained on"
    )
