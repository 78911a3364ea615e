"""What is known of an episode beside its arrays, as plain metadata that other formats can carry."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from ...envs.errors import TutelageError
from ...envs.spaces import is_text, leaves
from ..fingerprint import fingerprints
from ..trajectory import Trajectory, text_array

PLAIN = (
    *("episode", "suite", "task", "env", "seed", "demonstrator", "kind", "started"),
    *("terminated", "truncated", "success", "study", "consent", "notes"),
)
"""Fields of a trajectory that are text, numbers and flags already."""


def facts_of(trajectory: Trajectory) -> dict[str, Any]:
    """Return an episode's facts as str, int, float and bool; `reading_back.rebuild` reads them back."""
    facts = {name: getattr(trajectory, name) for name in PLAIN}
    facts |= {
        name: json.dumps(dict(getattr(trajectory, name)), sort_keys=True) for name in ("kwargs", "versions")
    }
    facts |= {
        "digest": trajectory.digest.hex(),
        "stored": trajectory.observations is not None,
        "return": trajectory.total,
    }
    if trajectory.infos:
        facts["infos"] = json.dumps(
            {
                path: [None if np.isnan(number) else number for number in numbers.tolist()]
                for path, numbers in trajectory.infos.items()
            }
        )
    facts["fingerprints"] = json.dumps(fingerprints(trajectory))
    return facts | (
        {} if trajectory.steps_per_second is None else {"steps_per_second": trajectory.steps_per_second}
    )


def nest(space: Space[Any], flat: Mapping[str, np.ndarray], path: str = "") -> Any:
    """Put stacked leaves `[n, ...]` into the space's own dicts and tuples; text becomes a list of str."""
    if isinstance(space, spaces.Dict):
        return {key: nest(part, flat, f"{path}/{key}" if path else key) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(
            nest(part, flat, f"{path}/{i}" if path else str(i)) for i, part in enumerate(space.spaces)
        )
    return flat[path].tolist() if is_text(space) else flat[path]


def unnest(space: Space[Any], value: Any, path: str = "") -> dict[str, np.ndarray]:
    """Take stacked leaves `[n, ...]` out again, in the space's order and dtypes."""
    if isinstance(space, spaces.Dict | spaces.Tuple) and not _has_parts(space, value):
        raise TutelageError(f"expected the parts of {space} at {path or 'the root'!r}, got something else")
    if isinstance(space, spaces.Dict):
        parts: Sequence[tuple[str, Space[Any], Any]] = [(k, s, value[k]) for k, s in space.items()]
    elif isinstance(space, spaces.Tuple):
        parts = [(str(i), s, value[i]) for i, s in enumerate(space.spaces)]
    elif is_text(space):
        if not isinstance(value, list | tuple | np.ndarray):
            raise TutelageError(f"expected a list of texts at {path!r}, got something else")
        return {path: text_array([str(text) for text in value])}
    else:
        return {path: _in_shape(space, value, path)}
    return {
        leaf: array
        for key, part, stacked in parts
        for leaf, array in unnest(part, stacked, f"{path}/{key}" if path else key).items()
    }


def _has_parts(space: Space[Any], value: Any) -> bool:
    if isinstance(space, spaces.Dict):
        return isinstance(value, Mapping) and all(key in value for key in space.spaces)
    return isinstance(value, tuple | list) and len(value) == len(space)  # type: ignore[arg-type]


def _in_shape(space: Space[Any], value: Any, path: str) -> np.ndarray:
    """Return stacked numbers `[n, ...]` in a space's shape and dtype; raises TutelageError for others."""
    array = np.asarray(value)
    size = int(np.prod(space.shape or (), dtype=np.int64))
    if array.dtype.kind not in "biuf" or not array.ndim or array.size != len(array) * size:
        raise TutelageError(
            f"expected numbers [n, {', '.join(map(str, space.shape or ()))}] at {path or 'the root'!r}, "
            f"got {array.dtype} {list(array.shape)}"
        )
    with np.errstate(invalid="ignore"):
        return array.astype(space.dtype).reshape(len(array), *(space.shape or ()))


def split_actions(space: Space[Any], actions: np.ndarray) -> dict[str, np.ndarray]:
    """Split action rows `[T, k]` into the leaves of the action space, `[T, ...]` in their own dtypes."""
    flat, at = {}, 0
    for leaf in leaves(space):
        shape = leaf.space.shape or ()
        size = int(np.prod(shape, dtype=np.int64))
        block = actions[:, at : at + size].reshape(len(actions), *shape)
        flat[leaf.path], at = block.astype(leaf.space.dtype), at + size
    return flat


def join_actions(flat: Mapping[str, np.ndarray]) -> np.ndarray:
    """Join the leaves of actions into rows float64 `[T, k]`: the inverse of `split_actions`."""
    return np.concatenate([one.reshape(len(one), -1).astype(np.float64) for one in flat.values()], axis=1)


def refuse_existing(path: Path) -> None:
    """Raise TutelageError when something is already at `path`: an export never overwrites."""
    if os.path.lexists(path):
        raise TutelageError(f"expected nothing at {path}, found something; choose another name or remove it")
