"""Escape untrusted text before it is shown, so that it has no effect beyond its characters.

Covers: terminal escapes, control and bidirectional characters, line breaks in single-line text, cells that a
spreadsheet would evaluate. HTML and SVG are escaped where they are written (Jinja2, `html.escape`).
"""

from __future__ import annotations

import re

# C0 and C1 controls, DEL, line and paragraph separators, bidirectional and invisible marks, lone surrogates
_ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_ACTING_IN_LINES = re.compile(_ACTING.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(value: object, *, lines: bool = False) -> str:
    """Return text with control and invisible characters escaped, as `\\x1b`; `lines` keeps line feeds."""
    return (_ACTING_IN_LINES if lines else _ACTING).sub(_escape, str(value))


def markdown_cell(value: object) -> str:
    """Return text for a Markdown table or heading: no markup, no HTML, one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~$])", r"\\\1", printable(value))


def csv_cell(value: object) -> object:
    """Return a cell that no spreadsheet evaluates: text that begins like a formula gets an apostrophe."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(match[0])
    return short or (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
