"""Checks of an exported episode before it is rebuilt: names, types, lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...console.wording import counted
from ...errors import TutelageError
from ...files.bounded_files import parse_json

_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("episode", "suite", "task", "env", "demonstrator", "kind", "started"), (str,)),
    **dict.fromkeys(("study", "consent", "notes", "kwargs", "versions", "casts", "digest"), (str,)),
    **dict.fromkeys(("terminated", "truncated", "stored"), (bool,)),
    "success": (bool, type(None)),  # None: the task has no success rule
    "seed": (int,),
}


def check_facts(facts: Any, where: str) -> None:
    """Raise TutelageError unless all facts of an episode exist, with their types."""
    if not isinstance(facts, Mapping):
        raise TutelageError(f"{where}: expected the facts of an episode, got something else")
    for name, types in _TYPES.items():
        if type(facts.get(name)) not in types:
            got = type(facts.get(name)).__name__
            raise TutelageError(f"{where}: expected {name} as {types[0].__name__}, got {got}")
    if not -(2**63) <= facts["seed"] < 2**63:
        raise TutelageError(f"{where}: expected a seed of 64 bits, got another")
    if len(facts["digest"]) != 32 or {*facts["digest"]} - {*"0123456789abcdef"}:
        raise TutelageError(f"{where}: expected a digest of 32 hexadecimal digits, got something else")
    for name in ("kwargs", "versions", "casts"):
        if not isinstance(parse_json(facts[name], f"{where}: {name}"), dict):
            raise TutelageError(f"{where}: expected {name} as a JSON object, got something else")
    if "infos" in facts:
        _check_infos(facts["infos"], f"{where}: infos")
    if type(facts.get("steps_per_second")) not in (float, int, type(None)):
        raise TutelageError(f"{where}: expected steps_per_second as a number, got something else")


def _check_infos(text: Any, where: str) -> None:
    infos = parse_json(text, where) if isinstance(text, str) else None
    lists = infos.values() if isinstance(infos, dict) else [None]
    for numbers in lists:
        if not isinstance(numbers, list) or any(
            type(number) not in (int, float, type(None)) for number in numbers
        ):
            raise TutelageError(f"{where}: expected lists of numbers as a JSON object, got something else")


def check_lengths(
    steps: Mapping[str, np.ndarray], observations: Mapping[str, np.ndarray], where: str
) -> None:
    """Raise TutelageError unless every step array has length T, and every observation leaf T + 1."""
    count = len(steps["rewards"])
    for name, array in steps.items():
        if array.dtype.kind not in "biuf" or array.ndim != 1 + (name == "actions") or len(array) != count:
            raise TutelageError(
                f"{where}: expected {counted(count, 'number')} as {name}, got {list(array.shape)}"
            )
        if name in ("times_ms", "controllers", "frames") and array.dtype.kind == "f":
            raise TutelageError(f"{where}: expected whole numbers as {name}, got {array.dtype}")
    if not count or not observations:
        raise TutelageError(f"{where}: expected steps and observations, got none")
    for path, array in observations.items():
        if not array.ndim or len(array) != count + 1:
            raise TutelageError(
                f"{where}: expected {counted(count + 1, 'observation')} at {path!r}, got another number"
            )
