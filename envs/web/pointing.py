"""What a person's mouse and keys did to a page, as a `WebAction`: take it with `step` to do it.

Places are px of the page, as `render()` shows it; keys are `KeyboardEvent.key`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...errors import TutelageError
from .actions import KEYS, TEXT, WebAction
from .environment import WebEnv

STILL = 3
"""Pixels that a pointer may move between press and release of a click."""
Point = tuple[float, float]


def pointed(env: WebEnv, at: Point) -> tuple[int, float, float]:
    """Find the element at a place, and where in it that is, as fractions; the root where nothing else is."""
    look = env.episode.look
    if look is None:
        raise TutelageError("expected reset() before a person points at the page; call it first")
    ref = env.browser.talk_alone(env.episode.ask(f"at({at[0]!r}, {at[1]!r})"))
    columns = look.columns
    place = columns["ref"].index(ref) if ref in columns["ref"] else 0
    right = (at[0] - columns["left"][place]) / columns["width"][place]
    down = (at[1] - columns["top"][place]) / columns["height"][place]
    return place, min(max(right, 0.0), 1.0), min(max(down, 0.0), 1.0)


def clicked(env: WebEnv, at: Point, count: int = 1) -> WebAction:
    """Tell a click, or a double click."""
    return WebAction("double_click" if count > 1 else "click", *pointed(env, at))


def hovered(env: WebEnv, at: Point) -> WebAction:
    """Tell a pointer that came to rest."""
    return WebAction("hover", *pointed(env, at))


def moved(env: WebEnv, pressed: Point, released: Point) -> WebAction:
    """Tell a press at one place and a release at another: a drag, or a click where they are the same.

    A drag over another element is one to that element, where that says the place as well.
    """
    dx, dy = released[0] - pressed[0], released[1] - pressed[1]
    if max(abs(dx), abs(dy)) <= STILL:
        return clicked(env, pressed)
    element, x, y = pointed(env, pressed)
    target, target_x, target_y = pointed(env, released)
    if target not in (0, element) and 0 < target_x < 1 and 0 < target_y < 1:
        return WebAction("drag", element, x, y, target, target_x, target_y)
    return WebAction("drag", element, x, y, dx=dx, dy=dy)


def scrolled(env: WebEnv, at: Point, amount: float) -> WebAction:
    """Tell a turn of the wheel, in px, downwards if positive."""
    return WebAction("scroll", pointed(env, at)[0], amount=round(amount))


def keyed(key: str, held: Sequence[str] = ()) -> WebAction | None:
    """Tell a key with the modifiers held (`actions.MODIFIERS`); None for one that does nothing by itself."""
    if len(key) == 1 and not set(held) - {"Shift"}:
        return WebAction("type", text=key)
    if key not in KEYS and key != " ":
        return None
    return WebAction("key", key="+".join((*held, key)))


def joined(actions: Iterable[WebAction]) -> list[WebAction]:
    """Join letters that were typed one after another into one action each run."""
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


def _fits(one: WebAction, other: WebAction) -> bool:
    return len(one.text) + len(other.text) <= TEXT
