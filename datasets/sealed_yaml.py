"""YAML documents that carry the SHA-256 of their content, and that of their bytes in the last line."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import TutelageError
from ..files.bounded_files import Limits, decode_text, parse_yaml, read_bytes
from ..files.finite_json import exact_json

_BYTES = "file_sha256"
"""Key of the last line. Without it, as in older files, a digit may change that leaves a number the same."""


def sealed(document: Mapping[str, Any]) -> bytes:
    """Encode a document as YAML with its seal."""
    text = yaml.safe_dump({**document, "seal": seal_of(document)}, sort_keys=False)
    return with_hash(text, _BYTES).encode()


def read_sealed(path: Path, version: int, what: str) -> dict[str, Any]:
    """Read a sealed document, including its `seal`.

    Raises FileNotFoundError if it is missing, TutelageError if any byte was changed or it has another
    `version` (`what` names the kind of document in the message).
    """
    data = read_bytes(path, Limits.current().text_bytes)
    document = parse_yaml(decode_text(data, path), str(path))
    if not isinstance(document, dict) or "seal" not in document:
        raise damaged(path)
    if _BYTES in document:
        del document[_BYTES]
        if not has_its_hash(data, _BYTES):
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


def with_hash(text: str, key: str) -> str:
    """Append a last line to YAML: the SHA-256 of all before it, under a key."""
    return f"{text}{key}: {hashlib.sha256(text.encode()).hexdigest()}\n"


def has_its_hash(data: bytes, key: str) -> bool:
    """Return whether the last line of a file is that of `with_hash`, and every byte before it the same."""
    body, mark, digest = data.rpartition(f"{key}: ".encode())
    return bool(mark) and digest == hashlib.sha256(body).hexdigest().encode() + b"\n"


def damaged(path: Path) -> TutelageError:
    """Return the error for a file whose bytes differ from those written."""
    return TutelageError(
        f"expected {path} as it was saved, got other bytes (its SHA-256 differs); copy it again"
    )
