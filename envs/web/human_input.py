"""Convert a person's mouse and keyboard input on a page to the fewest equivalent `WebAction`s.

Input shows on the page at once. Typing, scrolling, hovering and dragging are applied ahead, as a draft. When
different input follows, the draft is undone and summarized as one action: a field's new text, a scroll, a
drag; hovering counts only if it changed the page's content. Taking these actions with `step` gives the same
page as without any draft.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..capabilities import HumanInput, InputOutcome, InputQuestion
from .action_space import to_value
from .actions import REACH, TEXT, WebAction
from .episode import WebEpisode
from .input_events import PICKED
from .observation import FOCUSED
from .page_session import PageView
from .pointing import Point, clicked, hovered, joined, keyed, moved, pointed, scrolled
from .tab import STEP

_WRITTEN = ("text", "password", "search", "email", "number", "tel", "url")
FIELDS = ("TEXTAREA", *(f"INPUT_{kind}" for kind in _WRITTEN))
"""Tags of text fields."""
EDITING = ("Backspace", "Delete", "ArrowLeft", "ArrowRight", "Home", "End")
_COMPARED = ("ref", "parent", "tag", "text", "value", "left", "top", "width", "height")
"""Columns that make up a page's content; colors and classes may only reflect the pointer's position."""


@dataclass
class _Draft:
    kind: Literal["typing", "dragging", "scrolling", "resting"]
    before: PageView
    start: Point
    now: Point
    actions: list[WebAction] = field(default_factory=list)


class HumanInputReader:
    """Converts input events to actions in one episode, from its reset to its end."""

    def __init__(self, episode: WebEpisode) -> None:
        self._episode = episode
        self._draft: _Draft | None = None
        self._pending: list[WebAction] = []
        self._gesture: HumanInput | None = None
        self._asked_element = -1

    def hear(self, gesture: HumanInput) -> InputOutcome:
        """Process an input event; returns its result, or an action to take first."""
        self._gesture = gesture
        return self.go_on()

    def go_on(self) -> InputOutcome:
        """Return the next result of the last input event, after the previous action was taken."""
        gesture = self._gesture
        if self._draft is not None and gesture is not None and not self._continues(gesture, self._draft):
            self._pending += self._close_draft(gesture)
        if self._pending:
            action = self._pending.pop(0)
            return InputOutcome(action, more=bool(self._pending) or self._gesture is not None)
        self._gesture = None
        outcome = self._handle(gesture) if gesture is not None else InputOutcome()
        view = self._view()
        if self._draft is not None and view.done:
            self._gesture = HumanInput("rest")
            return self.go_on()
        return InputOutcome(
            outcome.action, outcome.question, self._gesture is not None, self._draft is not None
        )

    def _handle(self, gesture: HumanInput) -> InputOutcome:
        point = self._position(gesture)
        asked_element, self._asked_element = self._asked_element, -1
        match gesture.kind:
            case "click" | "tap":
                return self._click(point, by_finger=gesture.kind == "tap")
            case "press":
                self._draft_action("dragging", WebAction("press", *pointed(self._episode, point)), point)
            case "move" if self._draft is not None:
                self._draft_action("dragging", hovered(self._episode, point), point)
            case "hover":
                self._draft_action("resting", hovered(self._episode, point), point)
            case "wheel" if amount := round(min(max(gesture.amount, -REACH), REACH)):
                self._draft_action("scrolling", scrolled(self._episode, point, amount), point)
            case "key":
                return self._key(gesture)
            case "fill" if asked_element >= 0:
                return InputOutcome(
                    WebAction("type", asked_element, text=gesture.text.replace("\0", "")[:TEXT])
                )
            case "wait":
                return InputOutcome(WebAction("wait", amount=STEP))
            case "rest" if gesture.key == "ask" and (element := self._focused_field()) >= 0:
                return self._ask_about(element)
        return InputOutcome()

    def _click(self, point: Point, by_finger: bool) -> InputOutcome:
        action = clicked(self._episode, point)
        element = action.element
        columns = self._view().columns
        while columns["tag"][element] in ("OPTION", "OPTGROUP"):
            element = columns["parent"][element]
        if columns["tag"][element] in PICKED and columns["tag"][element] != "INPUT_range":
            return self._ask_about(element)
        if by_finger and columns["tag"][element] in FIELDS:  # the on-screen keyboard would not open
            self._gesture = HumanInput("rest", key="ask")
        return InputOutcome(action)

    def _ask_about(self, element: int) -> InputOutcome:
        """Ask for the value of a field that the browser would let choose in a window of its own."""
        columns = self._view().columns
        self._asked_element = element
        tag, value = columns["tag"][element], columns["value"][element] or ""
        if tag != "SELECT":
            return InputOutcome(question=InputQuestion(tag, value))
        answer = self._episode.talk(self._episode.ask(f"options({columns['ref'][element]})"))
        return InputOutcome(
            question=InputQuestion(tag, "", **{key: _tuple(value) for key, value in answer.items()})
        )

    def _key(self, gesture: HumanInput) -> InputOutcome:
        if _is_control(gesture.key):
            return InputOutcome()
        edit = self._edit(gesture)
        if self._draft is None and edit == WebAction("type", text=" ") and self._focused_field() < 0:
            return InputOutcome(WebAction("key", key="Space"))  # Space presses the focused button
        if edit is not None:
            self._draft_action("typing", edit)
            return InputOutcome()
        return InputOutcome(keyed(gesture.key, gesture.held))

    def _edit(self, gesture: HumanInput) -> WebAction | None:
        """Return the editing action of a key that belongs to typing; None for a key that is an own action."""
        if _is_control(gesture.key):
            return None
        action = keyed(gesture.key, gesture.held)
        element = self._focused_field()
        if gesture.key == "Enter" and not gesture.held and self._tag(element) == "TEXTAREA":
            return WebAction("type", text="\n")
        edits = gesture.key in EDITING and not gesture.held and element >= 0
        return action if edits or (action is not None and action.verb == "type") else None

    def _draft_action(self, kind: Any, action: WebAction, point: Point = (0.0, 0.0)) -> None:
        """Apply an action ahead, as part of the draft."""
        if self._draft is None:
            self._draft = _Draft(kind, self._view(), point, point)
        self._draft.now = point
        self._draft.actions.append(action)
        self._episode.talk(self._episode.act(action))

    def _close_draft(self, gesture: HumanInput) -> list[WebAction]:
        """Undo the draft, and return the actions that summarize it."""
        draft, after = self._draft, self._view()
        assert draft is not None
        self._draft = None
        if gesture.kind == "release":
            draft.now, self._gesture = self._position(gesture), None
        self._episode.talk(self._episode.undo(len(draft.actions)))
        if draft.kind == "typing":
            return _typed(draft, after)
        if draft.kind == "dragging":
            return [moved(self._episode, draft.start, draft.now)]
        if _shows_same(draft.before, after):
            return []
        if draft.kind == "scrolling":
            amount = sum(action.amount for action in draft.actions)
            return [WebAction("scroll", draft.actions[0].element, amount=min(max(amount, -REACH), REACH))]
        return draft.actions

    def _continues(self, gesture: HumanInput, draft: _Draft) -> bool:
        """Return whether an input event continues a draft; any other ends it."""
        if draft.kind == "typing":
            return gesture.kind == "key" and self._edit(gesture) is not None
        if draft.kind == "dragging":
            return gesture.kind == "move"
        return draft.kind == "scrolling" and gesture.kind == "wheel"

    def _position(self, gesture: HumanInput) -> Point:
        page = self._episode.tab.page
        return min(max(gesture.x, 0.0), page.width - 0.5), min(max(gesture.y, 0.0), page.height - 0.5)

    def _view(self) -> PageView:
        view = self._episode.view
        assert view is not None  # there was a reset
        return view

    def _focused_field(self) -> int:
        """Return the index of the focused text field, -1 for none."""
        element = _focused_element(self._view())
        return element if self._tag(element) in FIELDS else -1

    def _tag(self, element: int) -> str:
        return str(self._view().columns["tag"][element]) if element >= 0 else ""


class PageInput:
    """The reader of a page's input as `capabilities.InputReader`: actions are values of the action space."""

    def __init__(self, episode: WebEpisode) -> None:
        self._reader = HumanInputReader(episode)

    def hear(self, human_input: HumanInput) -> InputOutcome:
        return _with_value(self._reader.hear(human_input))

    def go_on(self) -> InputOutcome:
        return _with_value(self._reader.go_on())


def _with_value(outcome: InputOutcome) -> InputOutcome:
    return outcome if outcome.action is None else replace(outcome, action=to_value(outcome.action))


def _typed(draft: _Draft, after: PageView) -> list[WebAction]:
    """Summarize typing as the field's final text; outside of a field, as the keys themselves."""
    element, element_after = _focused_element(draft.before), _focused_element(after)
    columns, columns_after = draft.before.columns, after.columns
    is_same_field = (
        element >= 0 and element_after >= 0 and columns["ref"][element] == columns_after["ref"][element_after]
    )
    text = (
        columns_after["value"][element_after] if is_same_field and columns["tag"][element] in FIELDS else None
    )
    if text is None or len(text) > TEXT or "\0" in text:
        return joined(draft.actions)
    if text == columns["value"][element]:
        return [] if _shows_same(draft.before, after) else joined(draft.actions)
    return [WebAction("type", element, text=text)]


def _is_control(key: str) -> bool:
    return len(key) == 1 and not key.isprintable()


def _focused_element(view: PageView) -> int:
    flags: Sequence[int] = view.columns["flags"]
    return next((element for element, flag in enumerate(flags) if flag & FOCUSED), -1)


def _shows_same(first: PageView, second: PageView) -> bool:
    """Return whether two views have the same content, ignoring highlights."""
    columns: Mapping[str, Any] = first.columns
    is_equal = all(columns[name] == second.columns[name] for name in _COMPARED)
    return is_equal and (first.instruction, first.done) == (second.instruction, second.done)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
