"""Convert raw browser events to gestures (clicks, drags, keys, scrolls), each with its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .recording import InputEvent

MOVED = 3
"""Largest pointer movement of a click, in px; a larger one is a drag."""

_ECHO = 100  # ms within which the page clicks a label's box after the label
_MODIFIERS = {16: "Shift", 17: "Control", 18: "Alt", 91: "Meta", 92: "Meta", 93: "Meta", 224: "Meta"}
_NAMES = {
    **dict(zip((8, 9, 13, 27, 32), ("Backspace", "Tab", "Enter", "Escape", "Space"), strict=True)),
    **dict(zip(range(33, 37), ("PageUp", "PageDown", "End", "Home"), strict=True)),
    **dict(zip(range(37, 41), ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"), strict=True)),
    **dict(zip((45, 46, 106, 107, 109, 110, 111), ("Insert", "Delete", *"*+-./"), strict=True)),
    **{code: chr(code).lower() for code in (*range(48, 58), *range(65, 91))},
    **{96 + digit: str(digit) for digit in range(10)},
    **{111 + number: f"F{number}" for number in range(1, 13)},
}
_ERASING = ("Backspace", "Delete")  # auto-repeat of these is ignored; some people held one down all the time


@dataclass(frozen=True)
class RecordedGesture:
    """One gesture from `begin` to `end` (ms); `page` is the index of the page at its begin.

    `target` is the ref of the element that was pressed, had the focus, or was scrolled. `x, y` to `x2, y2` is
    the pointer's path. `key` is named as in `WebAction.key`; `held` are the modifiers that were down in a
    click. `earlier` is the page of the event before.
    """

    kind: Literal["click", "drag", "key", "scroll"]
    target: int
    page: int
    begin: int
    end: int
    x: int = 0
    y: int = 0
    x2: int = 0
    y2: int = 0
    key: str = ""
    held: tuple[str, ...] = ()
    earlier: int = 0


def gestures(events: Sequence[InputEvent]) -> list[RecordedGesture]:
    """Convert events to gestures, in the order in which they began.

    A click is a press, a release and the click events that the page produces: one, a second one on the box of
    a label, or none where the page suppressed it. A drag that scrolled (of a scrollbar) is a scroll.
    """
    parser = _GestureParser()
    for before, event in zip([*events[:1], *events], events, strict=False):
        parser.earlier = before.page
        if event.kind == "scroll":
            parser.scroll(event)
        elif event.phase == 1 and event.kind in _HANDLED:
            getattr(parser, event.kind)(event)
    parser.let_go()
    return parser.gestures


_HANDLED = frozenset(("mousedown", "mouseup", "click", "keydown", "keypress", "keyup"))


class _GestureParser:
    """Parser state: pressed buttons and keys, and the gestures so far."""

    def __init__(self) -> None:
        self.earlier = 0  # the page at the event before
        self.gestures: list[RecordedGesture] = []
        self._pressed: int | None = None  # index in `gestures` of the press that no click has followed yet
        self._clicked = -_ECHO - 1  # time of the last click
        self._held: dict[int, str] = {}
        self._down: set[int] = set()
        self._typing: int | None = None  # index in `gestures` of the key that a character may follow

    def mousedown(self, event: InputEvent) -> None:
        self.let_go()
        self._typing = None
        self._pressed = len(self.gestures)
        position = {"x": event.x, "y": event.y, "x2": event.x, "y2": event.y, "earlier": self.earlier}
        self.gestures.append(_new_gesture("click", event, held=self._modifiers(), **position))

    def mouseup(self, event: InputEvent) -> None:
        if (pressed := self._press()) is None:
            return
        far = max(abs(event.x - pressed.x), abs(event.y - pressed.y)) > MOVED
        kind: Literal["drag", "click"] = "drag" if far else "click"
        new_kind = pressed.kind if pressed.kind == "scroll" else kind
        self._change(replace(pressed, kind=new_kind, x2=event.x, y2=event.y, end=event.time))

    def click(self, event: InputEvent) -> None:
        if (pressed := self._press()) is not None:
            slipped = pressed.kind == "drag" and pressed.target != event.target
            new_kind = pressed.kind if slipped or pressed.kind == "scroll" else "click"
            self._change(replace(pressed, kind=new_kind, end=event.time))
            self._pressed = None
        elif event.time - self._clicked > _ECHO and not (event.x == event.y == 0):
            self.gestures.append(_new_gesture("click", event, x=event.x, y=event.y, x2=event.x, y2=event.y))
        self._clicked = event.time

    def scroll(self, event: InputEvent) -> None:
        if self._is_pressing() and (pressed := self._press()) is not None:
            self._change(replace(pressed, kind="scroll", target=event.target))
            return
        self.gestures.append(replace(_new_gesture("scroll", event), page=self.earlier))

    def keydown(self, event: InputEvent) -> None:
        if event.key in _MODIFIERS:
            self._held[event.key] = _MODIFIERS[event.key]
            return
        name = _NAMES.get(event.key)
        repeated = name in _ERASING and event.key in self._down
        self._down.add(event.key)
        if name is None or repeated or self._is_pressing():
            return
        self._typing = len(self.gestures)
        self.gestures.append(_new_gesture("key", event, key=_key_name(self._modifiers(), name)))

    def keypress(self, event: InputEvent) -> None:
        if event.char < 32:
            return
        self._held.clear()  # a shortcut produces no character: a release was missed
        name = "Space" if event.char == 32 else chr(event.char)
        if self._typing is None:
            self.gestures.append(_new_gesture("key", event, key=name))
        else:
            self.gestures[self._typing] = replace(self.gestures[self._typing], key=name)
        self._typing = None

    def keyup(self, event: InputEvent) -> None:
        self._held.pop(event.key, None)
        self._down.discard(event.key)

    def let_go(self) -> None:
        """Assume that the button is up, and that no click will follow."""
        self._pressed = None

    def _press(self) -> RecordedGesture | None:
        return None if self._pressed is None else self.gestures[self._pressed]

    def _is_pressing(self) -> bool:
        """Return whether the button is down."""
        return (pressed := self._press()) is not None and pressed.end == pressed.begin

    def _change(self, gesture: RecordedGesture) -> None:
        assert self._pressed is not None
        self.gestures[self._pressed] = gesture

    def _modifiers(self) -> tuple[str, ...]:
        return tuple(sorted(set(self._held.values())))


def _new_gesture(kind: str, event: InputEvent, **facts: object) -> RecordedGesture:
    return RecordedGesture(kind, event.target, event.page, event.time, event.time, **facts)  # type: ignore[arg-type]


def _key_name(modifiers: tuple[str, ...], name: str) -> str:
    shortcut = any(modifier != "Shift" for modifier in modifiers)
    return "+".join((*modifiers, name.upper() if shortcut and len(name) == 1 else name))
