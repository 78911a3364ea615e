"""Defaults for tasks of known families, from YAML tables: keys, pace, idle action, success rule."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import gymnasium

from ..errors import TutelageError
from ..files.bounded_files import parse_yaml, read_yaml
from .success import UNKNOWN

VARIABLE = "TUTELAGE_FAMILIES"
"""Environment variable with the path of the user's own table."""

LEFT_OUT = ("controls", "keys", "pace", "actions", "success", "blank_first_frame")
"""Keys of a task that an entry may provide."""

MOST_ENTRIES, LONGEST_PATTERN = 1000, 200


def shipped() -> list[dict[str, Any]]:
    """Return the package's own table."""
    return [dict(entry) for entry in _shipped()]


def tables() -> list[dict[str, Any]]:
    """Return the entries of the user's table, if there is one, followed by the package's."""
    path = os.environ.get(VARIABLE)
    if not path:
        return shipped()
    try:
        document = read_yaml(Path(path))
    except FileNotFoundError:
        raise TutelageError(
            f"expected the table of families that {VARIABLE} names at {path}, found none"
        ) from None
    if not isinstance(document, dict) or set(document) != {"families"}:
        raise TutelageError(f"{path}: expected one key, families, with a list of entries")
    return [*checked(document["families"], path), *shipped()]


def checked(entries: Any, where: str) -> list[dict[str, Any]]:
    """Return entries unchanged if each has patterns and known keys; the suite checks the values.

    Raises TutelageError with a message that begins with `where`.
    """
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
        raise TutelageError(f"{where}: expected a list of at most {MOST_ENTRIES:,} entries under families")
    for entry in entries:
        patterns = entry.get("env") if isinstance(entry, dict) else None
        if not isinstance(patterns, list) or not patterns or not all(map(_is_pattern, patterns)):
            raise TutelageError(
                f"{where}: expected `env` of every family to be a list of patterns of ids, such as [ALE/*]"
            )
        for key in entry:
            if key not in ("env", *LEFT_OUT):
                raise TutelageError(
                    f"{where}: unknown key {key!r} of a family; allowed: env, {', '.join(LEFT_OUT)}"
                )
    return entries


def completed(task: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a task of a suite document with missing keys filled in from the first matching entries.

    `controls`, `keys` and `pace` belong together: a task that gives one of them gets none of the others. A
    success rule about `truncated` refers to the environment's own time limit: a task with `max_steps` gets
    none.
    """
    env_id = str(task.get("env", "")).rpartition(":")[2]
    gives_play = any(key in task for key in _PLAY)
    task_document = dict(task)
    for entry in entries:
        if any(fnmatchcase(env_id, pattern) for pattern in entry["env"]):
            for key in LEFT_OUT:
                is_cut = key == "success" and "max_steps" in task and "truncated" in str(entry.get(key))
                if key in entry and not (gives_play and key in _PLAY) and not is_cut:
                    task_document.setdefault(key, entry[key])
    return task_document


def rule_of(env_id: str, max_steps: int | None = None) -> str:
    """Return the success rule from the registry for an id: its reward threshold, else `unknown`.

    The threshold refers to full episodes: with a tighter limit `max_steps` it may be out of reach.
    """
    spec = gymnasium.registry.get(env_id)
    threshold = None if spec is None else spec.reward_threshold
    if threshold is None or _is_cut(env_id, max_steps):
        return UNKNOWN
    return f"return >= {float(threshold):g}"


def known_rule(env_id: str, max_steps: int | None = None) -> str:
    """Return the success rule of a bare id: from its family, else from the registry, else `unknown`.

    The package that registers the id must have been imported.
    """
    task = {"env": env_id} | ({"max_steps": max_steps} if _is_cut(env_id, max_steps) else {})
    return str(completed(task, tables()).get("success", rule_of(env_id, max_steps)))


def action_names(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    """Return the environment's names of its Discrete actions, if it has Atari's `get_action_meanings`."""
    if not env.has_wrapper_attr("get_action_meanings"):
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names: Sequence[Any] = env.get_wrapper_attr("get_action_meanings")()
    return tuple(map(str, names))


_PLAY = ("controls", "keys", "pace")


def _is_cut(env_id: str, max_steps: int | None) -> bool:
    """Return whether `max_steps` is a tighter limit than the environment's own."""
    spec = gymnasium.registry.get(env_id)
    limit = None if spec is None else spec.max_episode_steps
    return max_steps is not None and (limit is None or max_steps < limit)


def _is_pattern(pattern: Any) -> bool:
    return isinstance(pattern, str) and 0 < len(pattern) <= LONGEST_PATTERN


@cache
def _shipped() -> list[dict[str, Any]]:
    text = resources.files(__package__).joinpath("families.yaml").read_text("utf-8")
    return checked(parse_yaml(text, "families.yaml")["families"], "families.yaml")
