"""A person's hands on a page: what they do shows at once, and becomes the fewest actions that do the same.

Letters, turns of the wheel, a pointer that rests and a button that is held are done ahead, as a draft. When
something else is done, the draft is taken back and its outcome is told as one action: a field's new text, a
scroll, a drag; a pointer that rested only where it changed what the page holds. Whoever takes those actions
with `step` gets the same page as the same actions give without any draft.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .actions import REACH, TEXT, WebAction
from .environment import WebEnv
from .input_events import PICKED
from .observation import FOCUSED
from .page_session import PageView
from .pointing import Point, clicked, hovered, joined, keyed, moved, pointed, scrolled
from .tab import STEP

Kind = Literal["click", "tap", "press", "move", "release", "hover", "wheel", "key", "fill", "wait", "rest"]

_WRITTEN = ("text", "password", "search", "email", "number", "tel", "url")
FIELDS = ("TEXTAREA", *(f"INPUT_{one}" for one in _WRITTEN))
"""Tags of fields that letters are typed into."""
EDITING = ("Backspace", "Delete", "ArrowLeft", "ArrowRight", "Home", "End")
_HELD = ("ref", "parent", "tag", "text", "value", "left", "top", "width", "height")
"""What a page holds; colours and classes say where the pointer is."""


@dataclass(frozen=True)
class HumanInput:
    """One thing that hands do; `x, y` are px of the page.

    click, tap    with the mouse, with a finger
    press, move, release   hold the button down somewhere, move, let go: a drag
    hover         the pointer has come to rest
    wheel         turned by `amount` px, downwards if positive
    key           `key` (`KeyboardEvent.key`), with `held` modifiers
    fill          the answer to a `PageQuestion`: `text`
    wait          let a moment pass
    rest          the hands do nothing more for now: what is a draft becomes actions
    """

    kind: Kind
    x: float = 0.0
    y: float = 0.0
    amount: float = 0.0
    key: str = ""
    held: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class PageQuestion:
    """What a page asks for outside of its picture: an option of a list (or several), or a text.

    `tag` is the field's (`SELECT`, `INPUT_date`, ...); `options` and those `chosen` are a list's.
    """

    tag: str
    value: str = ""
    options: tuple[str, ...] = ()
    chosen: tuple[int, ...] = ()
    several: bool = False


@dataclass(frozen=True)
class InputOutcome:
    """What a gesture comes to: an action to be taken now with `step`, or a question.

    `more` says that `go_on` has more to tell after that; `draft` that something shows which is no action yet.
    """

    action: WebAction | None = None
    question: PageQuestion | None = None
    more: bool = False
    draft: bool = False


@dataclass
class _Draft:
    kind: Literal["typing", "dragging", "scrolling", "resting"]
    before: PageView
    begun: Point
    now: Point
    done: list[WebAction] = field(default_factory=list)


class HumanInputReader:
    """Turns gestures into actions of one episode of `env`, after its `reset` and until it is over."""

    def __init__(self, env: WebEnv) -> None:
        self._env = env
        self._draft: _Draft | None = None
        self._due: list[WebAction] = []
        self._gesture: HumanInput | None = None
        self._asked = -1

    def hear(self, gesture: HumanInput) -> InputOutcome:
        """Do what hands did, or tell what is to be done first."""
        self._gesture = gesture
        return self.go_on()

    def go_on(self) -> InputOutcome:
        """Tell what comes next of the last gesture, when the action told before was taken."""
        gesture = self._gesture
        if self._draft is not None and gesture is not None and not self._belongs(gesture, self._draft):
            self._due += self._close(gesture)
        if self._due:
            action = self._due.pop(0)
            return InputOutcome(action, more=bool(self._due) or self._gesture is not None)
        self._gesture = None
        heard = self._do(gesture) if gesture is not None else InputOutcome()
        look = self._look()
        if self._draft is not None and look.done:
            self._gesture = HumanInput("rest")
            return self.go_on()
        return InputOutcome(heard.action, heard.question, self._gesture is not None, self._draft is not None)

    def _do(self, gesture: HumanInput) -> InputOutcome:
        at = self._at(gesture)
        asked, self._asked = self._asked, -1
        match gesture.kind:
            case "click" | "tap":
                return self._click(at, by_finger=gesture.kind == "tap")
            case "press":
                self._show("dragging", WebAction("press", *pointed(self._env, at)), at)
            case "move" if self._draft is not None:
                self._show("dragging", hovered(self._env, at), at)
            case "hover":
                self._show("resting", hovered(self._env, at), at)
            case "wheel" if amount := round(min(max(gesture.amount, -REACH), REACH)):
                self._show("scrolling", scrolled(self._env, at, amount), at)
            case "key":
                return self._key(gesture)
            case "fill" if asked >= 0:
                return InputOutcome(WebAction("type", asked, text=gesture.text.replace("\0", "")[:TEXT]))
            case "wait":
                return InputOutcome(WebAction("wait", amount=STEP))
            case "rest" if gesture.key == "ask" and (place := self._field()) >= 0:
                return self._ask(place)
        return InputOutcome()

    def _click(self, at: Point, by_finger: bool) -> InputOutcome:
        click = clicked(self._env, at)
        place = click.element
        columns = self._look().columns
        while columns["tag"][place] in ("OPTION", "OPTGROUP"):
            place = columns["parent"][place]
        if columns["tag"][place] in PICKED and columns["tag"][place] != "INPUT_range":
            return self._ask(place)
        if by_finger and columns["tag"][place] in FIELDS:  # no keyboard would come up
            self._gesture = HumanInput("rest", key="ask")
        return InputOutcome(click)

    def _ask(self, place: int) -> InputOutcome:
        """Ask for what a field shall hold: it would be chosen in a window of the browser's own."""
        columns = self._look().columns
        self._asked = place
        tag, value = columns["tag"][place], columns["value"][place] or ""
        if tag != "SELECT":
            return InputOutcome(question=PageQuestion(tag, value))
        listed = self._env.browser.talk_alone(self._env.episode.ask(f"options({columns['ref'][place]})"))
        return InputOutcome(
            question=PageQuestion(tag, "", **{one: _tuple(value) for one, value in listed.items()})
        )

    def _key(self, gesture: HumanInput) -> InputOutcome:
        if _is_control(gesture.key):
            return InputOutcome()
        edit = self._edit(gesture)
        if self._draft is None and edit == WebAction("type", text=" ") and self._field() < 0:
            return InputOutcome(WebAction("key", key="Space"))  # it presses what has the focus
        if edit is not None:
            self._show("typing", edit)
            return InputOutcome()
        return InputOutcome(keyed(gesture.key, gesture.held))

    def _edit(self, gesture: HumanInput) -> WebAction | None:
        """Return what a key does to a text that is being typed; None for a key that is one action alone."""
        if _is_control(gesture.key):
            return None
        action = keyed(gesture.key, gesture.held)
        place = self._field()
        if gesture.key == "Enter" and not gesture.held and self._tag(place) == "TEXTAREA":
            return WebAction("type", text="\n")
        edits = gesture.key in EDITING and not gesture.held and place >= 0
        return action if edits or (action is not None and action.verb == "type") else None

    def _show(self, kind: Any, action: WebAction, at: Point = (0.0, 0.0)) -> None:
        """Do something ahead: it becomes an action later, or another one does in its place."""
        if self._draft is None:
            self._draft = _Draft(kind, self._look(), at, at)
        self._draft.now = at
        self._draft.done.append(action)
        self._env.browser.talk_alone(self._env.episode.act(action))

    def _close(self, gesture: HumanInput) -> list[WebAction]:
        """Take the draft back, and return the actions that it comes to."""
        draft, after = self._draft, self._look()
        assert draft is not None
        self._draft = None
        if gesture.kind == "release":
            draft.now, self._gesture = self._at(gesture), None
        self._env.browser.talk_alone(self._env.episode.undo(len(draft.done)))
        if draft.kind == "typing":
            return _typed(draft, after)
        if draft.kind == "dragging":
            return [moved(self._env, draft.begun, draft.now)]
        if _is_same(draft.before, after):
            return []
        if draft.kind == "scrolling":
            amount = sum(one.amount for one in draft.done)
            return [WebAction("scroll", draft.done[0].element, amount=min(max(amount, -REACH), REACH))]
        return draft.done

    def _belongs(self, gesture: HumanInput, draft: _Draft) -> bool:
        """Say whether a gesture goes on with a draft; any other ends it."""
        if draft.kind == "typing":
            return gesture.kind == "key" and self._edit(gesture) is not None
        if draft.kind == "dragging":
            return gesture.kind == "move"
        return draft.kind == "scrolling" and gesture.kind == "wheel"

    def _at(self, gesture: HumanInput) -> Point:
        page = self._env.page
        return min(max(gesture.x, 0.0), page.width - 0.5), min(max(gesture.y, 0.0), page.height - 0.5)

    def _look(self) -> PageView:
        look = self._env.episode.look
        assert look is not None  # there was a reset
        return look

    def _field(self) -> int:
        """Return the place of the field that has the focus, -1 for none."""
        place = _focus(self._look())
        return place if self._tag(place) in FIELDS else -1

    def _tag(self, place: int) -> str:
        return str(self._look().columns["tag"][place]) if place >= 0 else ""


def _typed(draft: _Draft, after: PageView) -> list[WebAction]:
    """Tell typing as the text that the field holds then; outside of a field, as the letters themselves."""
    place, other = _focus(draft.before), _focus(after)
    one, two = draft.before.columns, after.columns
    same = place >= 0 and other >= 0 and one["ref"][place] == two["ref"][other]
    text = two["value"][other] if same and one["tag"][place] in FIELDS else None
    if text is None or len(text) > TEXT or "\0" in text:
        return joined(draft.done)
    if text == one["value"][place]:
        return [] if _is_same(draft.before, after) else joined(draft.done)
    return [WebAction("type", place, text=text)]


def _is_control(key: str) -> bool:
    return len(key) == 1 and not key.isprintable()


def _focus(look: PageView) -> int:
    flags: Sequence[int] = look.columns["flags"]
    return next((place for place, one in enumerate(flags) if one & FOCUSED), -1)


def _is_same(one: PageView, other: PageView) -> bool:
    """Say whether two pages hold the same, whatever is lit up."""
    first: Mapping[str, Any] = one.columns
    same = all(first[name] == other.columns[name] for name in _HELD)
    return same and (one.instruction, one.done) == (other.instruction, other.done)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
