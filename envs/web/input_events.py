"""Perform a `WebAction` as input events: mouse moves, presses and keys."""

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
"""Tags of fields that are set to a whole value instead of typed into."""
DRAG_STEPS = 8
Point = tuple[float, float]


class PagePoint(NamedTuple):
    """A position on a page, px, and whether a scroll bar is there."""

    x: float
    y: float
    is_bar: bool = False

    @property
    def at(self) -> Point:
        return self.x, self.y


def perform(tab: PageSession, action: WebAction, view: PageView) -> Conversation[bool]:
    """Perform an action; returns whether the page needs a frame, which browsers fire scroll events with."""
    if tab.is_held and action.verb != "hover":
        yield from release(tab)
    target = yield from _point(tab, view, action.element, action.x, action.y)
    if action.verb in ("click", "press", "double_click", "hover"):
        yield from _point_at(tab, action, view, target)
    elif action.verb == "drag":
        yield from _drag(tab, action, view, target)
    elif action.verb == "type":
        yield [_key(tab, params) for params in presses(action.text)]
    elif action.verb == "key":
        if target is not None:
            yield from tab.ask(f"focus({_ref(view, action.element)})")
        yield [_key(tab, params) for params in press(*split_key(action.key))]
    elif action.verb == "scroll":
        yield from tab.ask(f"scroll({_ref(view, action.element)}, {action.amount})")
    is_bar = tab.on_bar or (target is not None and target.is_bar)
    return is_bar or action.verb in ("scroll", "drag", "key") or " " in action.text


def release(tab: PageSession) -> Conversation[None]:
    """Release the mouse button at the pointer; a tiny move then notifies the element there."""
    x, y = tab.pointer or (0.0, 0.0)
    released = [] if tab.on_bar else [tab.mouse("mouseReleased", x, y, button="left", clickCount=1)]
    tab.is_held = tab.on_bar = False
    yield [*released, *tab.move(x + 0.25, y)]
    tab.pointer = (x, y)


def click(tab: PageSession, point: Point, count: int = 1) -> list[DevToolsCall]:
    """Return the calls for `count` clicks at a point; the page gets all events of an arrival but moves."""
    calls = []
    for number in range(1, count + 1):
        calls += [_button(tab, "mousePressed", point, number), _button(tab, "mouseReleased", point, number)]
    return calls


def _point_at(
    tab: PageSession, action: WebAction, view: PageView, target: PagePoint | None
) -> Conversation[None]:
    if target is None:
        return
    if action.verb == "hover":
        if tab.on_bar:
            yield from _drag_bar(tab, target.at)
        else:
            yield tab.move(*target.at)
    elif target.is_bar:
        yield from _press_bar(tab, target.at, 2 if action.verb == "double_click" else 1)
        tab.is_held = tab.on_bar = action.verb == "press"
    elif view.columns["tag"][action.element] == "SELECT":
        # its list would open in a separate, invisible window; keys and `type` choose instead
        yield from tab.ask(f"focus({_ref(view, action.element)}, true)")
    elif action.verb == "press":
        yield from _press(tab, target.at)
    else:
        yield click(tab, target.at, 2 if action.verb == "double_click" else 1)


def _press(tab: PageSession, point: Point) -> Conversation[None]:
    yield from tab.ask("hold()")
    yield [tab.mouse("mouseMoved", *point), _button(tab, "mousePressed", point, 1)]
    yield from tab.ask("steady()")  # a separate call: otherwise a script may run before the press arrives
    tab.is_held = True


def _press_bar(tab: PageSession, point: Point, times: int = 1) -> Conversation[None]:
    yield tab.move(*point)
    yield from tab.ask(f"pressBar({point[0]!r}, {point[1]!r}, {times})")


def _drag_bar(tab: PageSession, to: Point) -> Conversation[None]:
    """Move the pointer while it drags a scroll bar, without mouse events for the page."""
    yield from tab.ask(f"dragBar({to[0]!r}, {to[1]!r})")
    tab.pointer = to


def _drag(tab: PageSession, action: WebAction, view: PageView, start: PagePoint | None) -> Conversation[None]:
    """Press, move in DRAG_STEPS steps with an event each, release."""
    if start is None:
        return
    point = start.at
    end: Point | None = (point[0] + action.dx, point[1] + action.dy)
    if action.target >= 0:
        destination = yield from _point(tab, view, action.target, action.target_x, action.target_y)
        end = destination and destination.at
    if end is None:
        return
    if start.is_bar:
        yield from _press_bar(tab, point)
        yield from _drag_bar(tab, end)
        yield tab.move(*end)
        return
    yield from _press(tab, point)
    fractions = [step / DRAG_STEPS for step in range(1, DRAG_STEPS + 1)]
    waypoints = [
        (point[0] + (end[0] - point[0]) * fraction, point[1] + (end[1] - point[1]) * fraction)
        for fraction in fractions
    ]
    for waypoint in waypoints:
        yield tab.move(*waypoint)
    yield from release(tab)


def write(
    tab: PageSession, action: WebAction, view: PageView, span: int
) -> Conversation[dict[str, Any] | None]:
    """Set an element to a text; returns the page's state after it, None if keys were typed instead."""
    if tab.is_held:
        yield from release(tab)
    target = yield from _point(tab, view, action.element, action.x, action.y)
    if target is None:
        return None
    focused = view.columns["flags"][action.element] & FOCUSED
    if not focused and view.columns["tag"][action.element] not in PICKED:
        if target.is_bar:
            yield from _press_bar(tab, target.at)
        else:
            yield click(tab, target.at)
    shown_after = yield from tab.ask(f"type({_ref(view, action.element)}, {json_text(action.text)}, {span})")
    if shown_after is None or "keys" not in shown_after:
        return shown_after
    yield [_key(tab, params) for params in presses(shown_after["keys"])]
    return None


def _point(
    tab: PageSession, view: PageView, element: int, x: float, y: float
) -> Conversation[PagePoint | None]:
    """Return the position of a point of an element, after scrolling it into view; None for no element."""
    columns = view.columns if element >= 0 else {"ref": []}
    if not 0 <= element < len(columns["ref"]):
        return None
    if (x, y) == (0.5, 0.5) and element not in view.covered:
        return PagePoint(
            columns["left"][element] + columns["width"][element] / 2,
            columns["top"][element] + columns["height"][element] / 2,
        )
    if columns["ref"][element] < 0:  # a line of text is located by its parent element
        line, element = element, columns["parent"][element]
        x = _fraction(columns, "left", "width", line, element, x)
        y = _fraction(columns, "top", "height", line, element, y)
    position = yield from tab.ask(f"point({columns['ref'][element]}, {x!r}, {y!r})")
    return None if position is None else PagePoint(*position)


def _fraction(
    columns: Mapping[str, list[Any]], begin: str, size: str, inner: int, outer: int, fraction: float
) -> float:
    position = columns[begin][inner] + fraction * columns[size][inner]
    return float((position - columns[begin][outer]) / columns[size][outer])


def _ref(view: PageView, element: int) -> int:
    """Return the page's `ref` of an element; that of its parent for a line of text; 0 for none."""
    refs, parents = view.columns["ref"], view.columns["parent"]
    while 0 <= element < len(refs) and refs[element] < 0:
        element = parents[element]
    return refs[element] if 0 <= element < len(refs) else 0


def _button(tab: PageSession, kind: str, point: Point, count: int) -> DevToolsCall:
    buttons = int(kind == "mousePressed")
    return tab.mouse(kind, *point, button="left", buttons=buttons, clickCount=count)


def _key(tab: PageSession, params: dict[str, Any]) -> DevToolsCall:
    return tab.call("Input.dispatchKeyEvent", params)
