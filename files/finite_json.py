"""The one place where JSON is written: numbers that are not finite become null."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MISSING = "–"
"""What people read where a number is not finite."""


def json_text(
    value: Any,
    *,
    indent: int | None = None,
    is_compact: bool = False,
    is_sorted: bool = False,
    is_ascii: bool = True,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Write a value as JSON that every parser takes: NaN and infinities become null, NumPy types plain ones.

    `default` converts what JSON does not know, as `json.dumps` does; without it that raises TypeError.
    """

    def convert(unknown: Any) -> Any:
        return finite(_plain(unknown, default))

    options: dict[str, Any] = {
        "indent": indent,
        "separators": (",", ":") if is_compact else None,
        "sort_keys": is_sorted,
        "ensure_ascii": is_ascii,
        "default": convert,
        "allow_nan": False,
    }
    try:
        return json.dumps(value, **options)
    except ValueError:  # a number is not finite; only then is the whole value copied
        return json.dumps(finite(value), **options)


def exact_json(
    value: Any,
    *,
    indent: int | None = None,
    is_compact: bool = False,
    is_sorted: bool = False,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Write a value for a hash, or for a file that only `parse_json` reads back: NaN and infinities stay.

    Never for a page, a message, an output or a metrics file: other parsers refuse such JSON.
    """
    separators = (",", ":") if is_compact else None
    return json.dumps(value, indent=indent, separators=separators, sort_keys=is_sorted, default=default)


def finite(value: Any) -> Any:
    """Return plain data with None for every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value


def number_text(value: float | None, form: str) -> str:
    """Write a number in a format such as `.2f`; `MISSING` for None and for what is not finite."""
    return MISSING if value is None or not math.isfinite(value) else format(value, form)


def _plain(value: Any, default: Callable[[Any], Any] | None) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if default is not None:
        return default(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
