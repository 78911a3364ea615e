"""The only place where JSON is written: non-finite numbers become null."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MISSING = "–"
"""Text shown to people instead of a non-finite number."""


def json_text(
    value: Any,
    *,
    indent: int | None = None,
    is_compact: bool = False,
    is_sorted: bool = False,
    is_ascii: bool = True,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Serialize a value to standard JSON: NaN and infinities become null, NumPy types plain ones.

    `default` converts unknown types, as in `json.dumps`; without it they raise TypeError.
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
    """Serialize a value for a hash, or for a file that only `parse_json` reads: NaN and infinities stay.

    Not for pages, messages, output or metrics files: other parsers reject such JSON.
    """
    separators = (",", ":") if is_compact else None
    return json.dumps(value, indent=indent, separators=separators, sort_keys=is_sorted, default=default)


def finite(value: Any) -> Any:
    """Return plain data with None for every non-finite number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value


def number_text(value: float | None, form: str) -> str:
    """Format a number, e.g. with `.2f`; `MISSING` for None and non-finite numbers."""
    return MISSING if value is None or not math.isfinite(value) else format(value, form)


def _plain(value: Any, default: Callable[[Any], Any] | None) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if default is not None:
        return default(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
