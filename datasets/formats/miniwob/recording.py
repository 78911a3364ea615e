"""One demonstration as recorded by the browser: pages, and the input events between them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import count
from typing import Any

from ....errors import TutelageError
from ....files.finite_json import exact_json

FOCUSED, TAMPERED, OWN_TEXT, BOOLEAN = 1, 2, 4, 8
"""Bits of an element's flags: it has the focus; it was touched by an event; it has its own text; its value is
boolean, `true` or `false`."""

_SHADE = re.compile(r"-hover$|-over$|^ui-state-focus$")
_LATEST = 2**31
_FRAMES = frozenset(("wrap", "area", "mturk_form"))


@dataclass(frozen=True, eq=False)
class PageSnapshot:
    """The state of a page: one entry per element in each list, in document order.

    `parent` is an index into the lists ("place"), -1 for the root; events refer to an element by its `ref`
    (lines of text have the tag `t` and a negative ref); boxes are in px of the task area; colors are 32-bit
    RGBA.
    """

    ref: Sequence[int]
    parent: Sequence[int]
    tag: Sequence[str]
    text: Sequence[str]
    value: Sequence[str | None]
    id: Sequence[str]
    classes: Sequence[str]
    left: Sequence[float]
    top: Sequence[float]
    width: Sequence[float]
    height: Sequence[float]
    bg: Sequence[int]
    fg: Sequence[int]
    flags: Sequence[int]

    def __len__(self) -> int:
        return len(self.ref)

    @cached_property
    def places(self) -> dict[int, int]:
        """Map an element's ref to its index in the lists."""
        return {ref: place for place, ref in enumerate(self.ref)}

    @cached_property
    def content(self) -> tuple[tuple[Any, ...], ...]:
        """The visible content without focus: equal for pages that look the same."""
        still = tuple(flags & ~(FOCUSED | TAMPERED) for flags in self.flags)
        return (*(tuple(getattr(self, name)) for name in PAGE_COLUMNS[:-1]), still)

    @cached_property
    def still(self) -> tuple[tuple[Any, ...], ...]:
        """The content that does not depend on the pointer: elements, texts, classes except hover classes."""
        columns = (self.ref, self.parent, self.tag, self.text, self.id)
        classes = (" ".join(c for c in names.split() if not _SHADE.search(c)) for names in self.classes)
        return (*map(tuple, columns), tuple(classes))

    @cached_property
    def focus(self) -> int:
        """Return the ref of the element that has the focus, 0 for none."""
        return next((ref for ref, flags in zip(self.ref, self.flags, strict=True) if flags & FOCUSED), 0)

    def is_frame(self, place: int) -> bool:
        """Return whether an element only contains the page, and is no target itself."""
        return self.tag[place] == "BODY" or self.id[place] in _FRAMES

    def below(self, place: int) -> set[int]:
        """Return the places of an element and of all its descendants."""
        inside = {place}
        for descendant in range(place + 1, len(self)):
            if self.parent[descendant] in inside:
                inside.add(descendant)
        return inside

    def under(self, x: float, y: float, place: int) -> int:
        """Return the place of the last descendant of `place` whose box contains a point, or `place`."""
        boxes = zip(self.left, self.top, self.width, self.height, strict=True)
        holds = [left <= x <= left + width and top <= y <= top + height for left, top, width, height in boxes]
        return max(
            (inner for inner in self.below(place) if holds[inner] and self.ref[inner] > 0), default=place
        )


PAGE_COLUMNS = tuple(field.name for field in fields(PageSnapshot))


@dataclass(frozen=True)
class InputEvent:
    """One event as it reached the page: `target` is a ref (0: not on the page), `page` an index into `pages`.

    `phase` is 1 before the page's own handlers and 3 after them; `time` is in ms since the page began.
    """

    time: int
    kind: str
    phase: int
    target: int
    page: int
    x: int = 0
    y: int = 0
    key: int = 0
    char: int = 0


@dataclass(frozen=True)
class Recording:
    """One demonstration: `pages` are distinct, in order of appearance; `rest` counts events after its end.

    `reward` is the page's raw reward: 1 for complete, a fraction for partial, -1 for failed or out of time;
    `scaled` is the reward after time decay.
    """

    source: str
    task: str
    round: str
    demonstrator: str
    instruction: str
    reward: float
    scaled: float
    pages: Sequence[PageSnapshot]
    events: Sequence[InputEvent]
    rest: int = 0

    @property
    def episode(self) -> str:
        """Return the episode id: a hash of the content, independent of the source format."""
        facts = [
            self.instruction,
            self.reward,
            [(event.time, event.kind, event.phase) for event in self.events],
        ]
        return hashlib.blake2b(exact_json(facts).encode(), digest_size=16).hexdigest()


def check_recording(recording: Recording) -> None:
    """Raise TutelageError unless pages are trees and events refer to them, as all later code assumes."""
    for page in recording.pages:
        lengths = {len(getattr(page, name) or ()) for name in PAGE_COLUMNS}
        if len(lengths) != 1 or lengths == {0}:
            raise TutelageError(
                f"expected a page's columns to be as long as each other in {recording.source}"
            )
        if page.parent[0] != -1 or not all(-1 <= up < place for place, up in enumerate(page.parent)):
            raise TutelageError(f"expected every element below one before it in {recording.source}")
        if not all(map(math.isfinite, (*page.left, *page.top, *page.width, *page.height))):
            raise TutelageError(f"expected boxes of finite numbers in {recording.source}")
    if not recording.events or not all(0 <= event.page < len(recording.pages) for event in recording.events):
        raise TutelageError(f"expected events on the pages of {recording.source}, got others, or none")
    if not all(abs(event.time) < _LATEST for event in recording.events):
        raise TutelageError(f"expected times of less than {_LATEST} ms in {recording.source}")
    if not math.isfinite(recording.reward) or not math.isfinite(recording.scaled):
        raise TutelageError(f"expected finite rewards in {recording.source}")


@dataclass(frozen=True)
class UnusableRecording:
    """A file or row that is not a usable demonstration, and the reason."""

    source: str
    task: str
    reason: str


def in_one_form(recording: Recording) -> Recording:
    """Normalize the pages of a recording.

    Elements are numbered in order of appearance, equal pages are merged, pages after the end are removed. The
    HTML form around the pages of the first round is removed: its events become the body's.
    """
    refs = {0: 0}
    numbers = count(1)
    pages: dict[Any, int] = {}
    indices = []
    distinct: list[PageSnapshot] = []
    for page in recording.pages[: 1 + max((event.page for event in recording.events), default=-1)]:
        wrapper = _wrapper(page)
        for place, ref in enumerate(page.ref):
            if ref > 0 and ref not in refs:
                refs[ref] = refs[page.ref[0]] if place == wrapper > 0 else next(numbers)
        normalized = _renumbered(_unwrapped(page), refs)
        indices.append(pages.setdefault((normalized.content, tuple(normalized.flags)), len(pages)))
        distinct += [normalized] if len(distinct) < len(pages) else []
    return replace(
        recording,
        pages=distinct,
        events=[
            replace(event, target=refs.get(event.target, 0), page=indices[event.page])
            for event in recording.events
        ],
    )


def _wrapper(page: PageSnapshot) -> int:
    """Return the place of the HTML form that wraps the whole page, 0 for none."""
    return next((place for place, name in enumerate(page.id) if name == "mturk_form"), 0)


def _unwrapped(page: PageSnapshot) -> PageSnapshot:
    if not (wrapper := _wrapper(page)):
        return page
    columns = {name: [*getattr(page, name)] for name in PAGE_COLUMNS}
    for column in columns.values():
        del column[wrapper]
    up = page.parent[wrapper]
    parents = [up if parent == wrapper else parent for parent in columns["parent"]]
    columns["parent"] = [parent - (parent > wrapper) for parent in parents]
    return PageSnapshot(**columns)


def _renumbered(page: PageSnapshot, refs: dict[int, int]) -> PageSnapshot:
    lines = count(-1, -1)
    return replace(page, ref=[refs[ref] if ref > 0 else next(lines) for ref in page.ref])
