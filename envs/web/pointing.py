"""Convert mouse and key input of a person to a `WebAction`, to be taken with `step`.

Positions are px of the page, as `render()` shows it; keys are `KeyboardEvent.key`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...errors import TutelageError
from .actions import KEYS, TEXT, WebAction
from .episode import WebEpisode

STILL = 3
"""Maximal movement between press and release of a click, in pixels."""
Point = tuple[float, float]


def pointed(episode: WebEpisode, point: Point) -> tuple[int, float, float]:
    """Return the element at a point and the position in it, as fractions; the root if there is none."""
    view = episode.view
    if view is None:
        raise TutelageError("expected reset() before a person points at the page; call it first")
    ref = episode.talk(episode.ask(f"at({point[0]!r}, {point[1]!r})"))
    columns = view.columns
    element = columns["ref"].index(ref) if ref in columns["ref"] else 0
    right = (point[0] - columns["left"][element]) / columns["width"][element]
    down = (point[1] - columns["top"][element]) / columns["height"][element]
    return element, min(max(right, 0.0), 1.0), min(max(down, 0.0), 1.0)


def clicked(episode: WebEpisode, point: Point, count: int = 1) -> WebAction:
    """Return a click, or a double click."""
    return WebAction("double_click" if count > 1 else "click", *pointed(episode, point))


def hovered(episode: WebEpisode, point: Point) -> WebAction:
    """Return a hover, for a pointer that came to rest."""
    return WebAction("hover", *pointed(episode, point))


def moved(episode: WebEpisode, pressed: Point, released: Point) -> WebAction:
    """Return a drag from press to release, or a click where both are within STILL pixels.

    A release strictly inside another element becomes a drag to that element.
    """
    dx, dy = released[0] - pressed[0], released[1] - pressed[1]
    if max(abs(dx), abs(dy)) <= STILL:
        return clicked(episode, pressed)
    element, x, y = pointed(episode, pressed)
    target, target_x, target_y = pointed(episode, released)
    if target not in (0, element) and 0 < target_x < 1 and 0 < target_y < 1:
        return WebAction("drag", element, x, y, target, target_x, target_y)
    return WebAction("drag", element, x, y, dx=dx, dy=dy)


def scrolled(episode: WebEpisode, point: Point, amount: float) -> WebAction:
    """Return a scroll by `amount` px, downwards if positive."""
    return WebAction("scroll", pointed(episode, point)[0], amount=round(amount))


def keyed(key: str, held: Sequence[str] = ()) -> WebAction | None:
    """Return the action of a key with modifiers (`actions.MODIFIERS`); None for a key without an action."""
    if len(key) == 1 and not set(held) - {"Shift"}:
        return WebAction("type", text=key)
    if key not in KEYS and key != " ":
        return None
    return WebAction("key", key="+".join((*held, key)))


def joined(actions: Iterable[WebAction]) -> list[WebAction]:
    """Merge consecutive typed characters into one action per run."""
    runs: list[WebAction] = []
    for action in actions:
        last = runs[-1] if runs else None
        if last is not None and _is_typing(last) and _is_typing(action) and _fits(last, action):
            runs[-1] = WebAction("type", text=last.text + action.text)
        else:
            runs.append(action)
    return runs


def _is_typing(action: WebAction) -> bool:
    return action.verb == "type" and action.element < 0


def _fits(first: WebAction, second: WebAction) -> bool:
    return len(first.text) + len(second.text) <= TEXT
