"""What a page shows, in plain data: elements in document order, as one JSON document of columns."""

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

    `parent` is its place in the list, -1 for the root. `tag` is in capitals, with the kind of an input
    (`INPUT_text`); SVG's are in lower case. `text` is its own text, empty unless it holds nothing but text.
    `value` is what a field holds, `true` or `false` of a box to be ticked, None of all else. The box is in
    px of the page. `bg` and `fg` are RGBA in 32 bits, red first; `fg` of a drawn shape is what fills it.
    `flags`: FOCUSED, TAMPERED (clicked in this episode), OWN_TEXT (nothing but text in it), BOOLEAN.
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
    """Read an observation's elements."""
    columns = read_columns(document)
    return tuple(Element(*row) for row in zip(*(columns[name] for name in COLUMNS), strict=True))


def read_columns(document: str) -> dict[str, list[Any]]:
    """Read an observation's elements as one list a column, which is many times faster."""
    columns = parse_json(document, "a page's elements")
    if not isinstance(columns, dict) or columns.keys() != {*COLUMNS}:
        raise TutelageError(f"expected columns {', '.join(COLUMNS)} of a page's elements, got something else")
    size = len(columns["ref"]) if isinstance(columns["ref"], list) else 0
    for name, types in _TYPES.items():
        column = columns[name]
        if not isinstance(column, list) or len(column) != size or not {*map(type, column)} <= types:
            raise TutelageError(f"expected {name} of every one of a page's elements, got something else")
    if not all(-1 <= parent < place for place, parent in enumerate(columns["parent"])):
        raise TutelageError("expected every element of a page below one before it, got another")
    return columns


_TYPES = {
    **dict.fromkeys(("ref", "parent", "bg", "fg", "flags"), frozenset({int})),
    **dict.fromkeys(("tag", "text", "id", "classes"), frozenset({str})),
    "value": frozenset({str, type(None)}),
    **dict.fromkeys(("left", "top", "width", "height"), frozenset({int, float})),
}
"""What a column of a document holds."""


def write_columns(columns: Mapping[str, Sequence[Any]]) -> str:
    """Write columns as a page does, letter for letter; raises TutelageError for others than COLUMNS.

    A number without a fraction is written without a point.
    """
    if set(columns) != set(COLUMNS):
        raise TutelageError(f"expected columns {', '.join(COLUMNS)}, got {', '.join(columns)}")
    plain = {name: [_plain(one) for one in columns[name]] for name in COLUMNS}
    return json_text(plain, is_compact=True, is_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    number = float(value)
    return int(number) if number.is_integer() else number
