"""YAML documents that carry the SHA-256 of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import TutelageError
from ..files.bounded_files import parse_yaml, read_text
from ..files.finite_json import exact_json


def sealed(document: Mapping[str, Any]) -> bytes:
    """Encode a document as YAML with its seal."""
    return yaml.safe_dump({**document, "seal": seal_of(document)}, sort_keys=False).encode()


def read_sealed(path: Path, version: int, what: str) -> dict[str, Any]:
    """Read a sealed document, including its `seal`.

    Raises FileNotFoundError if it is missing, TutelageError if it was changed or has another `version`
    (`what` names the kind of document in the message).
    """
    document = parse_yaml(read_text(path), str(path))
    if not isinstance(document, dict) or "seal" not in document:
        raise damaged(path)
    seal = document.pop("seal")
    try:
        sound = seal == seal_of(document)
    except (TypeError, ValueError, RecursionError):  # keys of several types cannot be sorted
        raise damaged(path) from None
    if document.get("version") != version:
        got = document.get("version")
        raise TutelageError(f"expected {what} version {version} in {path}, got {got!r}; install its release")
    if not sound:
        raise damaged(path)
    return dict(document) | {"seal": seal}


def seal_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document, independent of its layout."""
    plain = exact_json(document, is_sorted=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()


def damaged(path: Path) -> TutelageError:
    """Return the error for a file whose bytes differ from those written."""
    return TutelageError(
        f"expected {path} as it was saved, got other bytes (its SHA-256 differs); copy it again"
    )
