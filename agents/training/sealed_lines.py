"""JSON lines, each with a hash of itself and of all lines before it.

Covers: changed, missing, duplicated or moved lines, except lines missing from the end. An incomplete last
line, as a process killed while writing leaves it, is reported separately. Does not cover: an attacker who
recomputes the hashes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import TutelageError
from ...files.bounded_files import Limits, parse_json, read_bytes
from ...files.finite_json import json_text

_CHECKED = re.compile(r'(?P<body>\{.*), "check": "(?P<check>[0-9a-f]{16})"\}')


@dataclass(frozen=True)
class SealedLines:
    """Contents of a file of sealed lines: the records, their lines, and the hash of the last line.

    `torn` is True if an unfinished line follows the last one.
    """

    records: list[dict[str, Any]]
    lines: list[str]
    check: str = ""
    torn: bool = False


def seal_line(record: Mapping[str, Any], before: str) -> tuple[str, str]:
    """Return a non-empty record as a line without its line feed, and the hash in it.

    `before` is the hash of the line before it, "" for the first.
    """
    body = json_text(record)
    check = _check(body, before)
    return f'{body[:-1]}, "check": "{check}"}}', check


def seal_lines(records: list[dict[str, Any]]) -> str:
    """Return a whole file of sealed lines."""
    text, check = "", ""
    for record in records:
        line, check = seal_line(record, check)
        text += f"{line}\n"
    return text


def read_lines(path: Path, remedy: str) -> SealedLines:
    """Read a file of sealed lines; no lines if the file is missing.

    Raises TutelageError that names the file, the first damaged line and the `remedy`.
    """
    try:
        data = read_bytes(path, Limits.current().text_bytes)
    except FileNotFoundError:
        return SealedLines([], [])
    # invalid UTF-8 becomes a replacement character, so its line is reported like any changed line
    *lines, rest = data.decode("utf-8", "replace").split("\n")
    check = ""
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        match = _CHECKED.fullmatch(line)
        if match is None or _check(f"{match['body']}}}", check) != match["check"]:
            raise TutelageError(
                f"expected line {number} of {path} as it was written, got another one (its hash differs); "
                f"{remedy}"
            )
        check = match["check"]
        record = parse_json(f"{match['body']}}}", f"{path}, line {number}")
        assert isinstance(record, dict)  # it begins with a brace
        records.append(record)
    return SealedLines(records, lines, check, bool(rest))


def _check(body: str, before: str) -> str:
    return hashlib.sha256(f"{before}\n{body}".encode()).hexdigest()[:16]
