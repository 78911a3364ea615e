"""What `--json` prints: one object a verb, on stdout alone, in one style for all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
"""Raised whenever a reader of an older version would misread a document."""


def print_json(verb: str, document: Mapping[str, Any]) -> None:
    """Print the document of a verb: `verb` and `schema` first, then its own keys.

    Paths become text; a number that is not finite becomes null, since JSON has none.
    """
    whole = {"verb": verb, "schema": SCHEMA, **document}
    print(json.dumps(_plain(whole), indent=2, allow_nan=False, default=str))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
