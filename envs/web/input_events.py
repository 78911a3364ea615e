"""An action as what hands do: the mouse's moves and presses, and keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...files.finite_json import json_text
from .actions import WebAction, split_key
from .devtools import Conversation, DevToolsCall
from .keys import press, presses
from .observation import FOCUSED
from .page_session import PageSession, PageView

PICKED = ("SELECT", *(f"INPUT_{kind}" for kind in ("date", "time", "month", "week", "color", "range")))
"""Tags of fields that take a whole value instead of letters."""
DRAG_STEPS = 8
Point = tuple[float, float]


class PagePoint(NamedTuple):
    """A place on a page, px, and whether a scroll bar lies there."""

    x: float
    y: float
    is_bar: bool = False

    @property
    def at(self) -> Point:
        return self.x, self.y


def perform(tab: PageSession, action: WebAction, look: PageView) -> Conversation[bool]:
    """Do it; returns whether the page must be given a frame, which is when a browser tells of a scroll."""
    if tab.is_held and action.verb != "hover":
        yield from let_go(tab)
    spot = yield from _point(tab, look, action.element, action.x, action.y)
    if action.verb in ("click", "press", "double_click", "hover"):
        yield from _point_at(tab, action, look, spot)
    elif action.verb == "drag":
        yield from _drag(tab, action, look, spot)
    elif action.verb == "type":
        yield [_key(tab, one) for one in presses(action.text)]
    elif action.verb == "key":
        if spot is not None:
            yield from tab.ask(f"focus({_ref(look, action.element)})")
        yield [_key(tab, one) for one in press(*split_key(action.key))]
    elif action.verb == "scroll":
        yield from tab.ask(f"scroll({_ref(look, action.element)}, {action.amount})")
    is_bar = tab.on_bar or (spot is not None and spot.is_bar)
    return is_bar or action.verb in ("scroll", "drag", "key") or " " in action.text


def let_go(tab: PageSession) -> Conversation[None]:
    """Release the mouse's button where the pointer is; what lies there hears of the pointer again."""
    x, y = tab.pointer or (0.0, 0.0)
    released = [] if tab.on_bar else [tab.mouse("mouseReleased", x, y, button="left", clickCount=1)]
    tab.is_held = tab.on_bar = False
    yield [*released, *tab.move(x + 0.25, y)]
    tab.pointer = (x, y)


def click(tab: PageSession, at: Point, count: int = 1) -> list[DevToolsCall]:
    """Return the calls that click there so many times; of coming there, a page hears all but moves."""
    calls = []
    for number in range(1, count + 1):
        calls += [_button(tab, "mousePressed", at, number), _button(tab, "mouseReleased", at, number)]
    return calls


def _point_at(
    tab: PageSession, action: WebAction, look: PageView, spot: PagePoint | None
) -> Conversation[None]:
    if spot is None:
        return
    if action.verb == "hover":
        if tab.on_bar:
            yield from _drag_bar(tab, spot.at)
        else:
            yield tab.move(*spot.at)
    elif spot.is_bar:
        yield from _press_bar(tab, spot.at, 2 if action.verb == "double_click" else 1)
        tab.is_held = tab.on_bar = action.verb == "press"
    elif look.columns["tag"][action.element] == "SELECT":
        # its list would open in a window of its own, where nobody sees it; keys and `type` choose
        yield from tab.ask(f"focus({_ref(look, action.element)}, true)")
    elif action.verb == "press":
        yield from _press(tab, spot.at)
    else:
        yield click(tab, spot.at, 2 if action.verb == "double_click" else 1)


def _press(tab: PageSession, at: Point) -> Conversation[None]:
    yield from tab.ask("hold()")
    yield [tab.mouse("mouseMoved", *at), _button(tab, "mousePressed", at, 1)]
    yield from tab.ask("steady()")  # not in the same breath: a script may run before the press arrives
    tab.is_held = True


def _press_bar(tab: PageSession, at: Point, times: int = 1) -> Conversation[None]:
    yield tab.move(*at)
    yield from tab.ask(f"pressBar({at[0]!r}, {at[1]!r}, {times})")


def _drag_bar(tab: PageSession, to: Point) -> Conversation[None]:
    """Move the pointer with a scroll bar in its hand, of which a page hears nothing."""
    yield from tab.ask(f"dragBar({to[0]!r}, {to[1]!r})")
    tab.pointer = to


def _drag(tab: PageSession, action: WebAction, look: PageView, spot: PagePoint | None) -> Conversation[None]:
    """Press, move in steps that the page hears of one by one, let go."""
    if spot is None:
        return
    at = spot.at
    to: Point | None = (at[0] + action.dx, at[1] + action.dy)
    if action.target >= 0:
        target = yield from _point(tab, look, action.target, action.target_x, action.target_y)
        to = target and target.at
    if to is None:
        return
    if spot.is_bar:
        yield from _press_bar(tab, at)
        yield from _drag_bar(tab, to)
        yield tab.move(*to)
        return
    yield from _press(tab, at)
    parts = [step / DRAG_STEPS for step in range(1, DRAG_STEPS + 1)]
    ways = [(at[0] + (to[0] - at[0]) * part, at[1] + (to[1] - at[1]) * part) for part in parts]
    for way in ways:
        yield tab.move(*way)
    yield from let_go(tab)


def write(
    tab: PageSession, action: WebAction, look: PageView, span: int
) -> Conversation[dict[str, Any] | None]:
    """Make a text what an element holds; returns what the page shows then, None where keys did it."""
    if tab.is_held:
        yield from let_go(tab)
    spot = yield from _point(tab, look, action.element, action.x, action.y)
    if spot is None:
        return None
    focused = look.columns["flags"][action.element] & FOCUSED
    if not focused and look.columns["tag"][action.element] not in PICKED:
        if spot.is_bar:
            yield from _press_bar(tab, spot.at)
        else:
            yield click(tab, spot.at)
    seen = yield from tab.ask(f"type({_ref(look, action.element)}, {json_text(action.text)}, {span})")
    if seen is None or "keys" not in seen:
        return seen
    yield [_key(tab, one) for one in presses(seen["keys"])]
    return None


def _point(
    tab: PageSession, look: PageView, element: int, x: float, y: float
) -> Conversation[PagePoint | None]:
    """Find where a point of an element is, after bringing it into view; None for no element."""
    columns = look.columns if element >= 0 else {"ref": []}
    if not 0 <= element < len(columns["ref"]):
        return None
    if (x, y) == (0.5, 0.5) and element not in look.covered:
        return PagePoint(
            columns["left"][element] + columns["width"][element] / 2,
            columns["top"][element] + columns["height"][element] / 2,
        )
    if columns["ref"][element] < 0:  # a line of text is found by what it lies in
        line, element = element, columns["parent"][element]
        x = _fraction(columns, "left", "width", line, element, x)
        y = _fraction(columns, "top", "height", line, element, y)
    found = yield from tab.ask(f"point({columns['ref'][element]}, {x!r}, {y!r})")
    return None if found is None else PagePoint(*found)


def _fraction(
    columns: Mapping[str, list[Any]], begin: str, size: str, inner: int, outer: int, part: float
) -> float:
    place = columns[begin][inner] + part * columns[size][inner]
    return float((place - columns[begin][outer]) / columns[size][outer])


def _ref(look: PageView, element: int) -> int:
    """Return the page's own number for an element; that of its parent for a line of text; 0 for none."""
    refs, parents = look.columns["ref"], look.columns["parent"]
    while 0 <= element < len(refs) and refs[element] < 0:
        element = parents[element]
    return refs[element] if 0 <= element < len(refs) else 0


def _button(tab: PageSession, kind: str, at: Point, count: int) -> DevToolsCall:
    held = int(kind == "mousePressed")
    return tab.mouse(kind, *at, button="left", buttons=held, clickCount=count)


def _key(tab: PageSession, params: dict[str, Any]) -> DevToolsCall:
    return tab.call("Input.dispatchKeyEvent", params)
