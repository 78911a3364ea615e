"""What `--json` prints: one object a verb, on stdout alone, in one style for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..files.finite_json import json_text

SCHEMA = 1
"""Raised whenever a reader of an older version would misread a document."""


def print_json(verb: str, document: Mapping[str, Any]) -> None:
    """Print the document of a verb: `verb` and `schema` first, then its own keys.

    Paths become text; a number that is not finite becomes null, since JSON has none.
    """
    whole = {"verb": verb, "schema": SCHEMA, **document}
    print(json_text(whole, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
