"""A path into an environment's info dict, written `info.a['b c'][0]`, and how it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

import numpy as np

from ..errors import EnvironmentFailure, brief, nearest


@dataclass(frozen=True)
class InfoPath:
    """The keys that lead to a number or flag in info."""

    keys: tuple[str | int, ...]

    @property
    def text(self) -> str:
        """The path as written in a rule."""
        return "info" + "".join(f".{key}" if _is_name(key) else f"[{key!r}]" for key in self.keys)

    def read(self, info: Mapping[str, Any]) -> float:
        """Return the number at the path, 1 or 0 for a flag; NaN if it is absent or None.

        Raises EnvironmentFailure for any other value.
        """
        value: Any = info
        for key in self.keys:
            value = _part(value, key)
            if value is None:
                return float("nan")
        array = np.asarray(value) if isinstance(value, bool | int | float | np.generic | np.ndarray) else None
        if array is None or array.size != 1 or array.dtype.kind not in "biuf":
            raise EnvironmentFailure(
                f"expected {self.text} to be a number, true or false, got {brief(value)}; "
                "let the success rule read another place in info"
            )
        return float(array.reshape(()))

    def missing_key(self, info: Mapping[str, Any]) -> str:
        """Describe the first missing key: the keys present and the nearest one; "" if none is missing."""
        value: Any = info
        for key in self.keys:
            inner = _part(value, key)
            if inner is None:
                names = [str(name) for name in value] if isinstance(value, Mapping) else []
                keys_found = f"got keys {', '.join(names[:20])}" if names else "got none"
                return f"{keys_found}{nearest(str(key), names)}"
            value = inner
        return ""


def resembling(path: InfoPath, infos: Iterable[Mapping[str, Any]]) -> str:
    """Return `missing_key` of the first info that has a key similar to the missing one, else ""."""
    for info in infos:
        message = path.missing_key(info)
        if "did you mean" in message:
            return message
    return ""


def _is_name(key: str | int) -> bool:
    return isinstance(key, str) and key.isidentifier() and (key == "return" or not iskeyword(key))


def _part(value: Any, key: str | int) -> Any:
    """Return the item at a key of a mapping or an index of a sequence or array; None if absent."""
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) and isinstance(key, int):
        return value[key] if 0 <= key < len(value) else None
    return None
