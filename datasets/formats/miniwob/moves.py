"""Convert field edits to moves: actions that a policy can take on its observation."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace

from ....envs.web.actions import WebAction
from ....errors import TutelageError
from .deeds import FieldEdit, differ, field_edits
from .hovers import hovers
from .recording import PageSnapshot, Recording

_SURE = frozenset(
    (
        *("svg", "path", "rect", "circle", "polygon", "ellipse", "line", "text", "tspan", "CANVAS"),
        *("A", "BUTTON", "INPUT_button", "INPUT_submit"),
    )
)
"""Tags whose clicks count even without a visible change of the page."""
_OF_THE_BROWSER = re.compile(r"(?:Control|Meta)\+[CF]")  # copy, find
_PLACES = 3  # decimals of a point in an element

NOTHING = "nothing was done"
UNSEEN = "a chosen option can't be seen"
GONE = "an element was acted on that the page does not show"


@dataclass(frozen=True)
class RecordedAction:
    """An action, the index of its page in `RecordedActions.pages`, and its time in ms."""

    action: WebAction
    page: int
    time: int


@dataclass
class RecordedActions:
    """A demonstration's moves, the number of skipped edits by reason, and why it is unusable ("" if usable).

    `pages` are the recording's, and reconstructed ones between them.
    """

    pages: list[PageSnapshot] = field(default_factory=list)
    moves: list[RecordedAction] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    reason: str = ""


def moves(recording: Recording) -> RecordedActions:
    """Convert a recording to moves.

    Edits that only bring an element within reach (a scroll; a click or a Tab that focuses a field that is
    written next) are skipped, and the next move is taken on the page before them. Edits without effect are
    skipped too, except the last. A pointer move that opened a menu becomes a `hover`.
    """
    result = RecordedActions([*recording.pages])
    edits = field_edits(recording)
    waiting: int | None = None
    for previous, edit, following in zip([None, *edits], edits, [*edits[1:], None], strict=False):
        if edit.unseen:
            return RecordedActions(reason=UNSEEN)
        if reason := _skip_reason(recording, edit, following):
            result.left_out[reason] += 1
            if reason in _REACHES and waiting is None:
                waiting = edit.before
            continue
        try:
            move = _move(recording, edit, edit.before if waiting is None else waiting)
        except TutelageError as error:
            return RecordedActions(reason=f"an action out of bounds: {str(error).partition(',')[0]}")
        if move is None:
            return RecordedActions(reason=GONE)
        _add_hovers(result, edit, previous)
        _append_move(result, move)
        waiting = None
    if not result.moves:
        result.reason = NOTHING
    return result


_OUTSIDE, _SCROLL = "outside the task area", "scroll"
_FOCUS, _IDLE = "focus moved", "nothing changed"
_REACHES = (_SCROLL, _FOCUS)


def _skip_reason(recording: Recording, edit: FieldEdit, following: FieldEdit | None) -> str:
    """Return why an edit is not a move, "" if it is one."""
    before, after = recording.pages[edit.before], recording.pages[edit.after]
    gesture = edit.first
    points = gesture.kind in ("click", "drag")
    if points and not edit.target:
        return _OUTSIDE
    if edit.text is not None:
        return ""
    if _OF_THE_BROWSER.fullmatch(gesture.key):
        return _IDLE
    if gesture.kind == "scroll" or (points and following and _only_scrolled(before, after)):
        return _SCROLL
    if following is None or differ(before, after) or (points and _tag_of(before, edit.target) in _SURE):
        return ""
    if after.focus in (before.focus, before.ref[0]):
        return _IDLE
    written = following.text is not None and following.target == after.focus
    return _FOCUS if gesture.key.endswith("Tab") or (points and written) else ""


def _only_scrolled(before: PageSnapshot, after: PageSnapshot) -> bool:
    """Return whether only positions differ: a press on a scrollbar, which some browsers report as a click."""
    still = ("ref", "parent", "tag", "text", "value", "id", "classes", "width", "height")
    return before.top != after.top and all(getattr(before, name) == getattr(after, name) for name in still)


def _tag_of(page: PageSnapshot, ref: int) -> str:
    place = page.places.get(ref)
    return "" if place is None else page.tag[place]


def _move(recording: Recording, edit: FieldEdit, earlier: int) -> RecordedAction | None:
    """Convert an edit to an action on the earlier page if the element is there, else on its own page."""
    page_index = earlier if edit.target in recording.pages[earlier].places else edit.before
    place = recording.pages[page_index].places.get(edit.target, -1)
    own_page = recording.pages[edit.before]
    own_place = own_page.places.get(edit.target, -1)
    gesture = edit.first
    if edit.text is not None:
        action = WebAction("type", place, text=edit.text)
    elif gesture.kind == "key":
        frame = own_place < 0 or own_page.is_frame(own_place)
        action = WebAction("key", -1 if frame else place, key=gesture.key)
    elif gesture.kind == "drag":
        x, y = _fraction(own_page, own_place, gesture.x, gesture.y)
        dx, dy = gesture.x2 - gesture.x, gesture.y2 - gesture.y
        action = WebAction("drag", place, x, y, dx=float(dx), dy=float(dy))
    else:
        action = WebAction("click", place, *_fraction(own_page, own_place, gesture.x, gesture.y))
    if action.verb != "key" and place < 0:
        return None
    return RecordedAction(action, page_index, edit.end)


def _fraction(page: PageSnapshot, place: int, x: int, y: int) -> tuple[float, float]:
    """Return a point's position in an element as fractions; a point outside is clipped to the edge."""
    if place < 0:
        return 0.5, 0.5
    across = (x - page.left[place]) / (page.width[place] or 1)
    down = (y - page.top[place]) / (page.height[place] or 1)
    return round(min(max(across, 0), 1), _PLACES), round(min(max(down, 0), 1), _PLACES)


def _add_hovers(result: RecordedActions, edit: FieldEdit, previous: FieldEdit | None) -> None:
    """Add the hovers that opened the menu of a clicked item, unless the edit before was a click."""
    gesture = edit.first
    if gesture.kind != "click" or (previous is not None and previous.first.kind == "click"):
        return
    earlier = result.pages[gesture.earlier]
    for place, hovered_page in hovers(earlier, result.pages[edit.before], edit.target):
        if hovered_page is not earlier:
            result.pages.append(hovered_page)
        page = gesture.earlier if hovered_page is earlier else len(result.pages) - 1
        result.moves.append(RecordedAction(WebAction("hover", place), page, gesture.begin))


def _append_move(result: RecordedActions, move: RecordedAction) -> None:
    """Append a move; it replaces the one before if both type into the same element."""
    last = result.moves[-1] if result.moves else None
    if (
        last is not None
        and last.action.verb == move.action.verb == "type"
        and last.action.element == move.action.element
    ):
        result.left_out["written over"] += 1
        result.moves[-1] = replace(move, page=last.page)
    else:
        result.moves.append(move)
