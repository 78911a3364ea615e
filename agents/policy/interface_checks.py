"""Check that a task has the spaces a policy was trained on: another suite may reuse a task id."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from ...envs.spaces import JSONText, Leaf, leaves
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from .encoding import IOSpec, ObservationSpec, has_table
from .images.layout import image_layout

_BOXES = ("grid", "image", "vector")


def expect_fits(interface: IOSpec, environment: TaskEnv) -> None:
    """Raise TutelageError unless an environment has the observation and action spaces of an interface."""
    task = environment.task.id
    observed = leaves(environment.observation_space)
    # pages share one fixed layout, so any environment with a JSON leaf fits
    if interface.page is not None:
        if not any(isinstance(leaf.space, JSONText) for leaf in observed):
            raise _mismatch(task, "sees no page")
        return
    # leaf order is part of the format: tokens and weights follow it
    if [leaf.path for leaf in observed] != [leaf.path for leaf in interface.seen]:
        raise _mismatch(task, "sees other things")
    for leaf, spec in zip(observed, interface.seen, strict=True):
        # kind, shape and value counts decide which embedding reads the leaf
        if not _observation_fits(leaf, spec):
            raise _mismatch(task, f"sees {leaf.path or 'something'} of another kind or size")
    if not _actions_fit(interface, environment.action_space):
        raise _mismatch(task, "takes other actions")


def _observation_fits(leaf: Leaf, spec: ObservationSpec) -> bool:
    space = leaf.space
    if leaf.is_text or spec.kind == "text":
        return leaf.is_text and spec.kind == "text"
    if tuple(space.shape or ()) != spec.shape:
        return False
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and not has_table(space):
        return spec.kind == "vector"
    if isinstance(space, spaces.Discrete):
        return spec.kind == "discrete" and (spec.sizes, spec.low) == ((int(space.n),), (int(space.start),))
    if isinstance(space, spaces.MultiDiscrete):
        return spec.kind == "discrete" and spec.sizes == tuple(space.nvec.ravel().tolist())
    if spec.kind == "image" and spec.layout:
        return image_layout(space) == spec.image
    return spec.kind in _BOXES


def _actions_fit(interface: IOSpec, space: spaces.Space[Any]) -> bool:
    """Return whether the parts of actions match a space: one part for each number, in the space's order."""
    # (lowest value, number of values) of each number; of a Box, the kinds that its range may have led to
    options: list[tuple[float, int] | frozenset[str]] = []
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
            kinds = {"bins", "choice"} if np.issubdtype(inner.dtype, np.integer) else {"bins"}
            options += [frozenset(kinds)] * int(np.prod(inner.shape or (), dtype=np.int64))
    if len(options) != len(interface.parts):
        return False
    return all(
        part.kind in option
        if isinstance(option, frozenset)
        else (part.kind, part.low, part.size) == ("choice", *option)
        for part, option in zip(interface.parts, options, strict=True)
    )


def _mismatch(task: str, difference: str) -> TutelageError:
    return TutelageError(
        f"expected the task {task!r} that the policy was taught, got one of this name that {difference}; "
        f"evaluate it on the suite it was trained on"
    )
