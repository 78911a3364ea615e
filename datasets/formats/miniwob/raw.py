"""Read the public repository's layout, `<round>/<task>/<task>_<assignment>_d<number>.json.gz`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import TutelageError
from ....files.bounded_archives import gunzip
from ....files.bounded_files import Limits, parse_json, read_bytes
from .recording import (
    BOOLEAN,
    FOCUSED,
    OWN_TEXT,
    PAGE_COLUMNS,
    TAMPERED,
    InputEvent,
    PageSnapshot,
    Recording,
    UnusableRecording,
    check_recording,
)

_NAME = re.compile(r"(?P<task>.+?)_(?P<assignment>[0-9A-Za-z]+)(?:_d\d+)?\.json(?:\.gz)?")
_COLOR = re.compile(r"rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?\)")
_BEYOND = "unreadable (beyond a limit; see --limits)"
_UNREADABLE = "unreadable (not as it was recorded)"
_WIDTH = 160  # width of the task area, in px; the recorded body is as wide as its window


def raw_files(path: Path) -> list[Path]:
    """List the demonstrations under a folder, without links and without files of stores."""
    files = [*path.glob("**/*.json.gz"), *path.glob("**/*.json")]
    return sorted(
        file
        for file in files
        if not (file.is_symlink() or file.parent.is_symlink() or (file.parent / "dataset.yaml").exists())
    )


def read_raw(file: Path) -> Recording | UnusableRecording:
    """Read one file; return UnusableRecording for a file that is not a demonstration."""
    task = file.parent.name
    if (match := _NAME.fullmatch(file.name)) is None:
        return UnusableRecording(str(file), task, "another kind of file")
    try:
        data = read_bytes(file, Limits.current().text_bytes)
        document = parse_json(gunzip(data, str(file)) if file.suffix == ".gz" else data, str(file))
        if not document["states"]:
            return UnusableRecording(str(file), task, "nothing recorded")
        recording = _recording(file, match["assignment"], document)
        check_recording(recording)
        return recording
    except (TutelageError, FileNotFoundError) as error:
        return UnusableRecording(str(file), task, _BEYOND if "--limits" in str(error) else _UNREADABLE)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        return UnusableRecording(str(file), task, f"unreadable ({type(error).__name__})")


def _recording(file: Path, assignment: str, document: Mapping[str, Any]) -> Recording:
    states = document["states"]
    root = states[0]["dom"]["ref"]
    live = [state for state in states if state["dom"]["ref"] == root]  # elements are renumbered after the end
    pages: list[PageSnapshot] = []
    page_indices: dict[str, int] = {}
    events = []
    for state in live:
        columns, target = _columns(state["dom"], real_size=file.parent.name.startswith("flight"))
        shown_values = [values for name, values in columns.items() if name != "ref"]
        elements = [ref for ref in columns["ref"] if ref > 0]  # text lines get new numbers on every page
        place = page_indices.setdefault(repr((shown_values, elements)), len(pages))
        if place == len(pages):
            pages.append(PageSnapshot(**columns))
        events.append(_event(state, target, place))
    utterance = document["utterance"]
    return Recording(
        source=str(file),
        task=file.parent.name,
        round=file.parent.parent.name,
        demonstrator=_pseudonym(assignment),
        instruction=utterance["utterance"] if isinstance(utterance, dict) else utterance,
        reward=_to_float32(document["rawReward"]),
        scaled=_to_float32(document["reward"]),
        pages=pages,
        events=events,
        rest=len(states) - len(live),
    )


def _pseudonym(assignment: str) -> str:
    """Return a person's pseudonym: a digest, since the assignment's id identifies them on a marketplace."""
    return "turk-" + hashlib.blake2b(assignment.encode(), digest_size=6).hexdigest()


def _event(state: Mapping[str, Any], target: int, page: int) -> InputEvent:
    action = state["action"] or {"type": "init", "timing": 0}
    numbers = {field: int(action.get(name) or 0) for field, name in _NUMBERS.items()}
    return InputEvent(int(state["time"]), action["type"], action["timing"], target, page, **numbers)


_NUMBERS = {"x": "x", "y": "y", "key": "keyCode", "char": "charCode"}


def _columns(dom: Mapping[str, Any], real_size: bool) -> tuple[dict[str, list[Any]], int]:
    """Flatten a tree in document order; return the page's columns and the ref of the event's target."""
    columns: dict[str, list[Any]] = {name: [] for name in PAGE_COLUMNS}
    target = 0
    waiting: list[tuple[Mapping[str, Any], int]] = [(dom, -1)]
    while waiting:
        node, parent = waiting.pop()
        place = len(columns["ref"])
        for column, value in zip(columns.values(), _read_element(node, parent), strict=True):
            column.append(value)
        if node.get("recordingTarget"):
            target = node["ref"]
        waiting += [(child, place) for child in reversed(node["children"])]
    if not real_size:
        columns["width"][0] = min(columns["width"][0], float(_WIDTH))
    return columns, target


def _read_element(node: Mapping[str, Any], parent: int) -> tuple[Any, ...]:
    """Return one element's values, in the order of a page's columns."""
    value = node.get("value")
    switch = isinstance(value, bool)
    name, classes = node.get("id", ""), node.get("classes", "")
    flags = (
        (FOCUSED if node.get("focused") else 0)
        | (TAMPERED if node.get("tampered") else 0)
        | (OWN_TEXT if "text" in node else 0)
        | (BOOLEAN if switch else 0)
    )
    texts = (node["tag"], node.get("text", ""), name, classes if isinstance(classes, str) else "")
    if type(node["ref"]) is not int or not all(isinstance(text, str) for text in texts):
        raise TypeError("an element's number, tag, text, name and classes")
    if not isinstance(value, str | bool | int | float | None):
        raise TypeError("an element's value")
    return (
        *(node["ref"], parent, node["tag"], node.get("text", "")),
        *(
            str(value).lower() if switch else value,
            name,
            classes if isinstance(classes, str) else "SVG_CLASS",
        ),
        *(_to_float32(node[side]) for side in ("left", "top", "width", "height")),
        *(_color(node.get("bgColor")), _color(node.get("fgColor")), flags),
    )


def _to_float32(number: float) -> float:
    """Round to float32, as the tables do."""
    return float(np.float32(number))


def _color(text: str | None) -> int:
    """Parse `rgb(…)` or `rgba(…)` to 32-bit RGBA; anything else is transparent (0)."""
    if text is None or (match := _COLOR.fullmatch(text)) is None:
        return 0
    red, green, blue, alpha = match.groups()
    return int(red) << 24 | int(green) << 16 | int(blue) << 8 | round(255 * float(alpha or 1))
