"""Validate a checkpoint's description before allocating anything of the size that it states."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from ...errors import TutelageError
from ..training.config import MOST_CHUNK
from .action_parts import POINTING, ActionPart
from .encoding import GRID_SIDE, Encoding, IOSpec, ObservationSpec
from .images.layout import LAYOUTS
from .policy import Policy, PolicyConfig
from .web.page_actions import page_parts

_KEYS = {
    "weights": str,
    "policy": dict,
    "memoryless_tasks": list,
    "lineage": dict,
    "suite": dict,
    "encoding": dict,
}
_INTERFACES = TypeAdapter(tuple[IOSpec, ...])
_PIXELS = 1 << 24
"""Most numbers in one leaf of an observation."""


def expect_description(document: Mapping[str, Any], where: str) -> None:
    """Raise TutelageError unless a description has every field of a policy, each of the right type."""
    for name, kind in _KEYS.items():
        if not isinstance(document.get(name), kind):
            raise _bad_field(where, name)
    lineage = document["lineage"]
    # optional fields, but of the right type where they are present; bool is an int in Python
    step, select = lineage.get("step", 0), lineage.get("select", {})
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < 2**62:
        raise _bad_field(where, "lineage.step")
    if not isinstance(select, dict) or not all(map(_is_finite, select.values())):
        raise _bad_field(where, "lineage.select")
    if not isinstance(lineage.get("parts", {}), dict):
        raise _bad_field(where, "lineage.parts")
    if not all(isinstance(task, str) for task in document["memoryless_tasks"]):
        raise _bad_field(where, "memoryless_tasks")
    tasks = document["encoding"].get("tasks")
    if not isinstance(tasks, dict) or not all(isinstance(name, str) for name in tasks):
        raise _bad_field(where, "encoding.tasks")


def rebuilt(document: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> Policy:
    """Build the policy of a description with the given weights; it is never larger than they are.

    Raises TutelageError when the two do not fit, or a weight is not finite.
    """
    config = config_of(document["policy"], where)
    encoding = encoding_of(document["encoding"], where)
    _expect_same_size(config, encoding, tensors, where)
    try:
        with torch.device("meta"):  # shapes only, no memory
            policy = Policy(config, encoding)
    except (RuntimeError, ValueError, OverflowError, TypeError, IndexError) as error:
        raise _bad_weights(where, str(error)) from None
    except TutelageError as error:  # a network for images whose package is missing here
        raise TutelageError(f"{where}: {error}") from None
    for name, weight in policy.state_dict().items():
        if name not in tensors:
            raise _bad_weights(where, f"none called {name}")
        if tensors[name].shape != weight.shape or tensors[name].dtype != weight.dtype:
            raise _bad_weights(where, f"another shape or type of {name}")
        if not bool(torch.isfinite(tensors[name]).all()):
            raise _bad_weights(where, f"a number in {name} that is not finite")
    # no tensor may be left over either
    if more := sorted(set(tensors) - set(policy.state_dict())):
        raise _bad_weights(where, f"one more, {more[0]}")
    # every shape matches a tensor of the file: allocation is bounded by its size
    policy.to_empty(device="cpu")
    policy.load_state_dict(dict(tensors))
    policy.eval()
    policy.memoryless_tasks = frozenset(document["memoryless_tasks"])
    return policy


def config_of(settings: Mapping[str, Any], where: str) -> PolicyConfig:
    """Read the size of a policy; raises TutelageError for missing, unknown or invalid values."""
    try:
        return PolicyConfig(**settings)
    except TypeError:
        raise _bad_field(where, "policy") from None
    except TutelageError as error:
        raise TutelageError(f"{where}: {error}") from None


def encoding_of(description: Mapping[str, Any], where: str) -> Encoding:
    """Read an encoding; raises TutelageError for missing and invalid values."""
    try:
        interfaces = _INTERFACES.validate_python(description.get("interfaces"))
    except (ValidationError, RecursionError) as error:
        place = error.errors()[0]["loc"] if isinstance(error, ValidationError) else ()
        raise _bad_field(where, ".".join(["encoding.interfaces", *map(str, place)])) from None
    for index, interface in enumerate(interfaces):
        if not interface.parts or not interface.seen:
            raise _bad_field(where, f"encoding.interfaces.{index}")
        # a page has one fixed layout; all other leaves are checked one by one
        sound = _is_page(interface) if _has_page(interface) else _is_plain(interface)
        if not sound:
            raise _bad_field(where, f"encoding.interfaces.{index}")
    tasks = {name: _task(name, task, len(interfaces), where) for name, task in description["tasks"].items()}
    if not tasks:
        raise _bad_field(where, "encoding.tasks")
    return Encoding(interfaces, tasks)


def _task(name: str, entry: Any, interfaces: int, where: str) -> tuple[int, str]:
    """Return the index of a task's interface and its instruction."""
    index, words = (
        entry.get(key) if isinstance(entry, dict) else None for key in ("interface", "instruction")
    )
    if isinstance(index, bool) or not isinstance(index, int) or not isinstance(words, str):
        raise _bad_field(where, f"encoding.tasks.{name}")
    if not 0 <= index < interfaces:
        raise _bad_field(where, f"encoding.tasks.{name}")
    return index, words


def _has_page(interface: IOSpec) -> bool:
    return any(leaf.kind == "page" for leaf in interface.seen)


def _is_page(interface: IOSpec) -> bool:
    names = next((part.names for part in interface.parts if part.names), ())
    return interface == IOSpec((ObservationSpec("elements", "page"),), page_parts(names))


def _is_plain(interface: IOSpec) -> bool:
    paths = [leaf.path for leaf in interface.seen]
    are_specs_valid = all(map(_is_spec, interface.seen)) and len(set(paths)) == len(paths)
    return are_specs_valid and all(map(_is_part, interface.parts)) and _is_flow(interface)


def _is_flow(interface: IOSpec) -> bool:
    """Return whether an interface has no flow head, or the settings of a sound one."""
    if (flow := interface.flow) is None:
        return True
    is_sized = 1 <= flow.chunk <= MOST_CHUNK and 0 <= flow.replan <= flow.chunk
    has_ranges = len(flow.ranges) == len(interface.parts) and all(map(_is_increasing, flow.ranges))
    return is_sized and has_ranges and all(part.kind == "bins" for part in interface.parts)


def _is_part(part: ActionPart) -> bool:
    if part.verbs or part.names or part.after or not _is_finite(part.low) or not _is_finite(part.high):
        return False
    if part.kind == "choice":
        # a bound on the arithmetic below; `_expect_same_size` compares sizes with the file
        return 1 <= part.size < 2**40
    return part.kind == "bins" and 2 <= part.size < 2**40 and part.high > part.low


def _is_spec(leaf: ObservationSpec) -> bool:
    """Return whether a leaf's fields fit its kind, see `encoding.ObservationSpec`."""
    if leaf.kind == "text":
        return True
    if any(side < 0 for side in leaf.shape) or math.prod(leaf.shape) > _PIXELS:
        return False
    count = math.prod(leaf.shape)
    if leaf.kind == "discrete":
        return len(leaf.sizes) == len(leaf.low) == count > 0 and all(1 <= size < 2**40 for size in leaf.sizes)
    if leaf.kind == "vector":
        return len(leaf.edges) == count > 0 and all(map(_is_increasing, leaf.edges))
    if not 2 <= len(leaf.shape) <= 4 or count == 0:
        return False
    if leaf.kind == "image":
        return leaf.patch >= 1 and (_is_laid_out(leaf) if leaf.layout else len(leaf.shape) == 3)
    if len(leaf.shape) > 3:
        return False
    # grids `[H, W]` have one channel, `[H, W, C]` have C
    channels = math.prod(leaf.shape[2:])
    small = leaf.kind == "grid" and max(leaf.shape[:2]) <= GRID_SIDE
    return small and bool(leaf.common) and all(len(value) == channels for value in leaf.common)


def _is_laid_out(leaf: ObservationSpec) -> bool:
    """Return whether an image has axes that its shape has too, and values of black and white."""
    is_known = leaf.layout in LAYOUTS and len(leaf.layout) == len(leaf.shape)
    return is_known and leaf.spans in (((0.0, 1.0),), ((0.0, 255.0),))


def _is_increasing(edges: tuple[float, ...]) -> bool:
    return bool(edges) and all(map(_is_finite, edges)) and all(low < high for low, high in pairwise(edges))


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _expect_same_size(
    config: PolicyConfig, encoding: Encoding, tensors: Mapping[str, Tensor], where: str
) -> None:
    """Raise TutelageError before anything is built that is larger than the weights in the file."""
    pointing = sum(part.kind in POINTING for interface in encoding.interfaces for part in interface.parts)
    flows = [interface for interface in encoding.interfaces if interface.flow]
    leaves = sum(leaf.kind != "text" for interface in encoding.interfaces for leaf in interface.seen)
    # each layer, pointer, flow head and leaf has at least one tensor
    layers = config.size + config.memory_layers
    if layers + pointing + len(flows) + leaves > len(tensors):
        raise _bad_weights(where, f"{len(tensors)} of them, too few")
    options = tensors.get("decoder.options.weight")
    total = sum(sum(interface.option_counts) for interface in encoding.interfaces)
    if options is None or options.ndim != 2 or len(options) != total:
        raise _bad_weights(where, f"not the {total} options of its actions")


def _bad_field(where: str, name: str) -> TutelageError:
    return TutelageError(f"{where}: expected {name} as `tutelage train` writes it, got another value")


def _bad_weights(where: str, problem: str) -> TutelageError:
    return TutelageError(f"expected weights that fit {where}, got {problem}")
