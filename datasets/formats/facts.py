"""Metadata of an episode besides its arrays, as plain values that other formats can carry."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from gymnasium import Space, spaces

from ...envs.casts import change_of
from ...envs.spaces import escape_key, is_text, join_path, leaves
from ...errors import TutelageError
from ...files.finite_json import exact_json, json_text
from ..fingerprint import fingerprints
from ..store import Store
from ..trajectory import Trajectory, text_array

PLAIN = (
    *("episode", "suite", "task", "env", "seed", "demonstrator", "kind", "started"),
    *("terminated", "truncated", "success", "study", "consent", "notes"),
)
"""Fields of a trajectory that are plain text, numbers or flags."""


def facts_of(trajectory: Trajectory) -> dict[str, Any]:
    """Return an episode's facts as str, int, float and bool; the inverse of `ReadEpisode.rebuild`.

    Missing values (success without a rule, rate of steps, infos) are left out.
    """
    facts = {name: getattr(trajectory, name) for name in PLAIN if getattr(trajectory, name) is not None}
    facts |= {
        name: exact_json(dict(getattr(trajectory, name)), is_sorted=True)
        for name in ("kwargs", "versions", "casts")
    }
    facts |= {
        "digest": trajectory.digest.hex(),
        "stored": trajectory.observations is not None,
        "return": trajectory.total,
    }
    if trajectory.infos:
        facts["infos"] = json_text({path: numbers.tolist() for path, numbers in trajectory.infos.items()})
    facts["fingerprints"] = json_text(fingerprints(trajectory))
    return facts | (
        {} if trajectory.steps_per_second is None else {"steps_per_second": trajectory.steps_per_second}
    )


def is_rated(store: Store, task: str) -> bool:
    """Return whether the success of every episode of a task is known."""
    episodes = store.episodes()
    return not bool(episodes.filter(pc.equal(episodes["task"], task))["success"].null_count)


def unrated_note(task: str, name: str) -> str:
    """Return the note that an export of a task omits success, since an episode's is unknown."""
    return f"The success of episodes of {task} is not known: there is no {name}."


def nest(space: Space[Any], flat: Mapping[str, np.ndarray], path: str = "") -> Any:
    """Nest stacked leaves `[n, ...]` into dicts and tuples with escaped keys; text becomes a list of str."""
    if isinstance(space, spaces.Dict):
        return {escape_key(key): nest(part, flat, join_path(path, key)) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(nest(part, flat, join_path(path, i)) for i, part in enumerate(space.spaces))
    return flat[path].tolist() if is_text(space) else flat[path]


def escaped(space: Space[Any]) -> Space[Any]:
    """Return a space with escaped keys, for formats that use keys as names of groups."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({escape_key(key): escaped(part) for key, part in space.items()})
    return spaces.Tuple([escaped(part) for part in space]) if isinstance(space, spaces.Tuple) else space


def unnest(
    space: Space[Any],
    value: Any,
    path: str = "",
    *,
    is_escaped: bool = False,
    casts: dict[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """Flatten nested values to stacked leaves `[n, ...]`, in the space's order and dtypes.

    With `is_escaped`, the space's keys are escaped already. Values changed by a cast are recorded in `casts`.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple) and not _has_parts(space, value):
        raise TutelageError(f"expected the parts of {space} at {path or 'the root'!r}, got something else")
    if isinstance(space, spaces.Dict):
        parts: Sequence[tuple[Any, Space[Any], Any]] = [(k, s, value[k]) for k, s in space.items()]
    elif isinstance(space, spaces.Tuple):
        parts = [(i, s, value[i]) for i, s in enumerate(space.spaces)]
    elif is_text(space):
        if not isinstance(value, list | tuple | np.ndarray):
            raise TutelageError(f"expected a list of texts at {path!r}, got something else")
        return {path: text_array([str(text) for text in value])}
    else:
        return {path: _cast_leaf(space, value, path, casts)}
    flat: dict[str, np.ndarray] = {}
    for key, part, stacked in parts:
        inner = (f"{path}/{key}" if path else str(key)) if is_escaped else join_path(path, key)
        flat |= unnest(part, stacked, inner, is_escaped=is_escaped, casts=casts)
    return flat


def _has_parts(space: Space[Any], value: Any) -> bool:
    if isinstance(space, spaces.Dict):
        return isinstance(value, Mapping) and all(key in value for key in space.spaces)
    return isinstance(value, tuple | list) and len(value) == len(space)  # type: ignore[arg-type]


def _cast_leaf(space: Space[Any], value: Any, path: str, casts: dict[str, str] | None) -> np.ndarray:
    """Return stacked numbers `[n, ...]` in a space's shape and dtype; raises TutelageError if impossible."""
    array = np.asarray(value)
    size = int(np.prod(space.shape or (), dtype=np.int64))
    if array.dtype.kind not in "biuf" or not array.ndim or array.size != len(array) * size:
        raise TutelageError(
            f"expected numbers [n, {', '.join(map(str, space.shape or ()))}] at {path or 'the root'!r}, "
            f"got {array.dtype} {list(array.shape)}"
        )
    with np.errstate(invalid="ignore"):
        converted = array.astype(space.dtype)
    if casts is not None and (change := change_of(space, array, converted, array.shape[1:])):
        casts.setdefault(path, change)
    return converted.reshape(len(array), *(space.shape or ()))


def split_actions(space: Space[Any], actions: np.ndarray) -> dict[str, np.ndarray]:
    """Split action rows `[T, k]` into the leaves of the action space, `[T, ...]` in their own dtypes."""
    flat, offset = {}, 0
    for leaf in leaves(space):
        shape = leaf.space.shape or ()
        size = int(np.prod(shape, dtype=np.int64))
        block = actions[:, offset : offset + size].reshape(len(actions), *shape)
        flat[leaf.path], offset = block.astype(leaf.space.dtype), offset + size
    return flat


def join_actions(flat: Mapping[str, np.ndarray]) -> np.ndarray:
    """Join the leaves of actions into rows float64 `[T, k]`: the inverse of `split_actions`.

    Raises TutelageError for text.
    """
    if texts := [path for path, leaf in flat.items() if leaf.dtype.kind in "UO"]:
        raise TutelageError(f"expected numbers as actions, got text at {texts[0] or 'the root'!r}")
    return np.concatenate([leaf.reshape(len(leaf), -1).astype(np.float64) for leaf in flat.values()], axis=1)


def refuse_existing(path: Path) -> None:
    """Raise TutelageError when `path` exists: an export never overwrites."""
    if os.path.lexists(path):
        raise TutelageError(f"expected nothing at {path}, found something; choose another name or remove it")
