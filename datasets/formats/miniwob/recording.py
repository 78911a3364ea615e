"""One demonstration as the crowd's browsers recorded it: pages, and the events between them."""

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
"""Bits of an element's flags: it has the focus; it was touched by an event; it has text of its own; its value
is a switch, `true` or `false`."""

_SHADE = re.compile(r"-hover$|-over$|^ui-state-focus$")
_LATEST = 2**31
_FRAMES = frozenset(("wrap", "area", "mturk_form"))


@dataclass(frozen=True, eq=False)
class PageSnapshot:
    """What a page showed: one entry an element in each list, in document order.

    `parent` is a place in the lists, -1 for the root; `ref` is what events name an element by (lines of text
    have the tag `t` and a negative one); boxes are in px of the task area; colours RGBA in 32 bits.
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
        """Map an element's ref to its place in the lists."""
        return {ref: place for place, ref in enumerate(self.ref)}

    @cached_property
    def content(self) -> tuple[tuple[Any, ...], ...]:
        """All that can be seen, whatever has the focus: equal for pages that show the same."""
        still = tuple(flags & ~(FOCUSED | TAMPERED) for flags in self.flags)
        return (*(tuple(getattr(self, name)) for name in PAGE_COLUMNS[:-1]), still)

    @cached_property
    def still(self) -> tuple[tuple[Any, ...], ...]:
        """What stays as it is wherever the pointer is: elements, texts, classes but for its shade."""
        columns = (self.ref, self.parent, self.tag, self.text, self.id)
        classes = (" ".join(c for c in one.split() if not _SHADE.search(c)) for one in self.classes)
        return (*map(tuple, columns), tuple(classes))

    @cached_property
    def focus(self) -> int:
        """Return the ref of the element that has the focus, 0 for none."""
        return next((ref for ref, flags in zip(self.ref, self.flags, strict=True) if flags & FOCUSED), 0)

    def is_frame(self, place: int) -> bool:
        """Whether an element only holds the page: nothing ever happens to itself."""
        return self.tag[place] == "BODY" or self.id[place] in _FRAMES

    def below(self, place: int) -> set[int]:
        """Return an element's place and those of all elements inside it."""
        inside = {place}
        for one in range(place + 1, len(self)):
            if self.parent[one] in inside:
                inside.add(one)
        return inside

    def under(self, x: float, y: float, place: int) -> int:
        """Return the place of the last element inside another whose box holds a point, or that other."""
        boxes = zip(self.left, self.top, self.width, self.height, strict=True)
        holds = [left <= x <= left + width and top <= y <= top + height for left, top, width, height in boxes]
        return max((one for one in self.below(place) if holds[one] and self.ref[one] > 0), default=place)


PAGE_COLUMNS = tuple(one.name for one in fields(PageSnapshot))


@dataclass(frozen=True)
class InputEvent:
    """One event as it reached the page: `target` is a ref (0: none of the page's), `page` a place in `pages`.

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
    """One demonstration: `pages` are the distinct ones as they came; `rest` events came after its end.

    `reward` is the page's own: 1 for all done, a part of it in between, -1 for failed or out of time;
    `scaled` is what the time used up had left of it.
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
        """Name the demonstration by what happened in it: the same wherever it was read from."""
        facts = [self.instruction, self.reward, [(one.time, one.kind, one.phase) for one in self.events]]
        return hashlib.blake2b(exact_json(facts).encode(), digest_size=16).hexdigest()


def check_recording(recording: Recording) -> None:
    """Raise TutelageError unless pages are trees and events are on them: what all that follows relies on."""
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
    """What was there and is no demonstration, and why."""

    source: str
    task: str
    reason: str


def in_one_form(recording: Recording) -> Recording:
    """Give the pages the form that they have everywhere.

    Elements are numbered as they appear, equal pages become one, those after the end go. The form that the
    first round's pages were wrapped in is taken away: what happened to it happened to the body.
    """
    refs = {0: 0}
    numbers = count(1)
    pages: dict[Any, int] = {}
    places = []
    kept: list[PageSnapshot] = []
    for page in recording.pages[: 1 + max((one.page for one in recording.events), default=-1)]:
        wrapper = _wrapper(page)
        for place, ref in enumerate(page.ref):
            if ref > 0 and ref not in refs:
                refs[ref] = refs[page.ref[0]] if place == wrapper > 0 else next(numbers)
        one = _renumbered(_unwrapped(page), refs)
        places.append(pages.setdefault((one.content, tuple(one.flags)), len(pages)))
        kept += [one] if len(kept) < len(pages) else []
    return replace(
        recording,
        pages=kept,
        events=[
            replace(one, target=refs.get(one.target, 0), page=places[one.page]) for one in recording.events
        ],
    )


def _wrapper(page: PageSnapshot) -> int:
    """Return the place of the form that the whole page lies in, 0 for none."""
    return next((place for place, name in enumerate(page.id) if name == "mturk_form"), 0)


def _unwrapped(page: PageSnapshot) -> PageSnapshot:
    if not (wrapper := _wrapper(page)):
        return page
    columns = {name: [*getattr(page, name)] for name in PAGE_COLUMNS}
    for column in columns.values():
        del column[wrapper]
    up = page.parent[wrapper]
    parents = [up if one == wrapper else one for one in columns["parent"]]
    columns["parent"] = [one - (one > wrapper) for one in parents]
    return PageSnapshot(**columns)


def _renumbered(page: PageSnapshot, refs: dict[int, int]) -> PageSnapshot:
    lines = count(-1, -1)
    return replace(page, ref=[refs[ref] if ref > 0 else next(lines) for ref in page.ref])
