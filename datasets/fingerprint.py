"""Digests of a trajectory, one per group of fields: equal only if all fields of the group are equal.

Covers: any change of any field, bit for bit (floats by their bytes; -0.0 differs from 0.0, all NaN are
equal). Does not cover: forgery; an attacker who changes an episode can recompute its fingerprints.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..files.finite_json import exact_json
from .trajectory import Trajectory, plain_bytes

GROUPS: Mapping[str, tuple[str, ...]] = {
    "episode": ("episode",),
    "task": ("suite", "task", "env", "kwargs"),
    "seed": ("seed",),
    "demonstrator": ("demonstrator", "kind"),
    "actions": ("actions",),
    "rewards": ("rewards",),
    "times": ("times_ms", "started", "steps_per_second"),
    "controllers": ("controllers",),
    "frames": ("frames",),
    "outcome": ("terminated", "truncated", "success", "infos"),
    "observations": ("digest", "observations"),
    "versions": ("versions",),
    "casts": ("casts",),
    "study": ("study", "consent"),
    "notes": ("notes",),
}
"""Group → fields of `Trajectory`; together they cover all fields."""

_DIGEST_BYTES = 16
_JSON_FIELDS = ("kwargs", "versions", "casts")


def fingerprints(trajectory: Trajectory) -> dict[str, str]:
    """Return group → hexadecimal BLAKE2b of its fields."""
    return {group: _digest(trajectory, names) for group, names in GROUPS.items()}


def fingerprint(trajectory: Trajectory) -> str:
    """Return one hexadecimal BLAKE2b over all fields."""
    return _digest(trajectory, (name for names in GROUPS.values() for name in names))


def changed_groups(trajectory: Trajectory, recorded: Mapping[str, str]) -> list[str]:
    """List the groups whose fingerprints differ from the recorded ones."""
    current = fingerprints(trajectory)
    return [group for group in GROUPS if recorded.get(group) != current[group]]


def _digest(trajectory: Trajectory, names: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name in names:
        value = getattr(trajectory, name)
        if name in _JSON_FIELDS:
            value = exact_json(dict(value), is_sorted=True)
        for block in _blocks(value):
            digest.update(len(block).to_bytes(8, "little") + block)
    return digest.hexdigest()


def _blocks(value: Any) -> Iterable[bytes]:
    """Yield a value as blocks of bytes, its type first: different values have different blocks."""
    if isinstance(value, Mapping):
        yield b"mapping"
        for key, item in value.items():
            yield key.encode("utf-8", "surrogatepass")
            yield from _blocks(item)
    elif (
        isinstance(value, np.ndarray) and value.dtype.kind in "UO"
    ):  # the width of a text array is irrelevant
        yield f"texts {value.shape}".encode()
        yield from (str(text).encode("utf-8", "surrogatepass") for text in value.ravel())
    elif isinstance(value, np.ndarray):
        plain = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        yield f"array {plain.dtype.str} {value.shape}".encode()
        yield plain_bytes(plain)
    else:
        yield from _scalar(value.item() if isinstance(value, np.generic) else value)


def _scalar(value: str | bytes | bool | int | float | None) -> Iterable[bytes]:
    yield type(value).__name__.encode()
    if isinstance(value, str):
        yield value.encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, float):
        yield struct.pack("<d", math.nan if math.isnan(value) else value)
    else:
        yield repr(value).encode()
