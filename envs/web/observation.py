"""The elements of a page as plain data: in document order, as one JSON document of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import TutelageError
from ...files.bounded_files import parse_json
from ...files.finite_json import json_text

COLUMNS = (
    *("ref", "parent", "tag", "text", "value", "id", "classes"),
    *("left", "top", "width", "height", "bg", "fg", "flags"),
)
FOCUSED, TAMPERED, OWN_TEXT, BOOLEAN = 1, 2, 4, 8


@dataclass(frozen=True)
class Element:
    """One element of a page, or one line of text between elements (tag `t`, negative `ref`).

    `parent` is an index into the list, -1 for the root. `tag` is upper case, with the type of an input
    (`INPUT_text`); SVG tags are lower case. `text` is empty unless the element contains nothing but text.
    `value` is the content of a field, `true` or `false` for a check box, None for all else. The bounding box
    is in px of the page. `bg` and `fg` are 32-bit RGBA, red first; `fg` of a drawn shape is its fill.
    `flags`: FOCUSED, TAMPERED (clicked in this episode), OWN_TEXT (nothing but text in it), BOOLEAN (a check
    box).
    """

    ref: int
    parent: int
    tag: str
    text: str
    value: str | None
    id: str
    classes: str
    left: float
    top: float
    width: float
    height: float
    bg: int
    fg: int
    flags: int


def read_elements(document: str) -> tuple[Element, ...]:
    """Parse an observation's elements."""
    columns = read_columns(document)
    return tuple(Element(*row) for row in zip(*(columns[name] for name in COLUMNS), strict=True))


def read_columns(document: str) -> dict[str, list[Any]]:
    """Parse an observation's elements as one list per column, which is many times faster."""
    columns = parse_json(document, "a page's elements")
    if not isinstance(columns, dict) or columns.keys() != {*COLUMNS}:
        raise TutelageError(f"expected columns {', '.join(COLUMNS)} of a page's elements, got something else")
    size = len(columns["ref"]) if isinstance(columns["ref"], list) else 0
    for name, types in _TYPES.items():
        column = columns[name]
        if not isinstance(column, list) or len(column) != size or not {*map(type, column)} <= types:
            raise TutelageError(f"expected {name} of every one of a page's elements, got something else")
    if not all(-1 <= parent < index for index, parent in enumerate(columns["parent"])):
        raise TutelageError("expected every element of a page below one before it, got another")
    return columns


_TYPES = {
    **dict.fromkeys(("ref", "parent", "bg", "fg", "flags"), frozenset({int})),
    **dict.fromkeys(("tag", "text", "id", "classes"), frozenset({str})),
    "value": frozenset({str, type(None)}),
    **dict.fromkeys(("left", "top", "width", "height"), frozenset({int, float})),
}
"""Column of a document → allowed types of its items."""


def write_columns(columns: Mapping[str, Sequence[Any]]) -> str:
    """Write columns exactly as a page does; raises TutelageError if they are not COLUMNS.

    Integral numbers are written without a decimal point.
    """
    if set(columns) != set(COLUMNS):
        raise TutelageError(f"expected columns {', '.join(COLUMNS)}, got {', '.join(columns)}")
    plain = {name: [_plain(value) for value in columns[name]] for name in COLUMNS}
    return json_text(plain, is_compact=True, is_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    number = float(value)
    return int(number) if number.is_integer() else number
