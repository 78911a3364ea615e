"""Express typed text in the instruction's words where the meaning is equal, so that a policy can copy it."""

from __future__ import annotations

import re

_DATE = re.compile(r"\b(\d{1,2})/(\d{1,2})/(\d{4})\b")
_TIME = re.compile(r"\b(\d{1,2}):(\d{2})(?:\s*([AP])M)?(?!\w)")
_WANTED = re.compile(r"Select (.+) from the (?:scroll )?list\b")

_COLORS = {
    0xFF0000FF: "red",
    0x0000FFFF: "blue",
    0x808000FF: "olive",
    0x00FF00FF: "lime",
    0x000000FF: "black",
    0xFFFFFFFF: "white",
    0x808080FF: "grey",
    0x800080FF: "purple",
    0xFFA500FF: "orange",
    0xFFFF00FF: "yellow",
    0x00FFFFFF: "cyan",
    0xFFC0CBFF: "pink",
    0xFF00FFFF: "magenta",
}
"""The colors of the task click-color, by RGBA."""


def as_said(text: str, tag: str, instruction: str, solved: bool) -> str:
    """Return the instruction's words for a field's content, else the content.

    A date field holds 2016-06-15 where the instruction says 06/15/2016, a time field 16:04 for 4:04 PM. In a
    solved demonstration, the instruction's capitalization is used, since the page ignores case.
    """
    if tag == "INPUT_date":
        return next((match[0] for match in _DATE.finditer(instruction) if _as_date(match) == text), text)
    if tag == "INPUT_time":
        return next((match[0] for match in _TIME.finditer(instruction) if _as_time(match) == text), text)
    if solved and text and text not in instruction:
        index = instruction.lower().find(text.lower())
        return text if index < 0 else instruction[index : index + len(text)]
    return text


def with_its_color(instruction: str, clicked: int) -> str:
    """Insert the name of a color where the instruction showed a patch of it, which the recorder omitted.

    `clicked` is the RGBA, in 32 bits, of the box whose click was rewarded.
    """
    named = _COLORS.get(clicked)
    return instruction.replace("the  colored", f"the {named} colored") if named else instruction


def wanted_option(instruction: str) -> str:
    """Return the options to be selected from a list, separated by commas; "" if there are none."""
    match = _WANTED.match(instruction)
    return match[1] if match else ""


def _as_date(match: re.Match[str]) -> str:
    month, day, year = match.groups()
    return f"{year}-{int(month):02}-{int(day):02}"


def _as_time(match: re.Match[str]) -> str:
    hour, minute, half = match.groups()
    hours = int(hour) if half is None else int(hour) % 12 + (12 if half == "P" else 0)
    return f"{hours:02}:{minute}"
