"""Deeds → moves: actions that a policy can take on what it sees."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace

from ....envs.web.actions import WebAction
from ....errors import TutelageError
from .deeds import FieldEdit, deeds, differ
from .hovers import hovers
from .recording import PageSnapshot, Recording

_SURE = frozenset(
    (
        *("svg", "path", "rect", "circle", "polygon", "ellipse", "line", "text", "tspan", "CANVAS"),
        *("A", "BUTTON", "INPUT_button", "INPUT_submit"),
    )
)
"""Tags that are clicked for what a page may do out of sight."""
_OF_THE_BROWSER = re.compile(r"(?:Control|Meta)\+[CF]")  # copy, find
_PLACES = 3  # decimals of a point in an element

NOTHING = "nothing was done"
UNSEEN = "a chosen option can't be seen"
GONE = "an element was acted on that the page does not show"


@dataclass(frozen=True)
class RecordedAction:
    """An action, the place of the page it was taken on in `RecordedActions.pages`, and when it was done."""

    action: WebAction
    page: int
    time: int


@dataclass
class RecordedActions:
    """A demonstration's moves; how many deeds were left out, and why; why it can't be used, if it can't.

    `pages` are the recording's, and those that must have been between two of them.
    """

    pages: list[PageSnapshot] = field(default_factory=list)
    moves: list[RecordedAction] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    reason: str = ""


def moves(recording: Recording) -> RecordedActions:
    """Read a recording as moves.

    What only brings an element within reach (a scroll; a click or a Tab that takes the focus to a field that
    is written into next) is left out, and the move that follows is taken on the page of before. What changed
    nothing is left out too, unless it came last. A pointer that opened a menu on its way is a `hover`.
    """
    result = RecordedActions([*recording.pages])
    done = deeds(recording)
    waiting: int | None = None
    for previous, deed, following in zip([None, *done], done, [*done[1:], None], strict=False):
        if deed.unseen:
            return RecordedActions(reason=UNSEEN)
        if why := _needless(recording, deed, following):
            result.left_out[why] += 1
            if why in _REACHES and waiting is None:
                waiting = deed.before
            continue
        try:
            move = _move(recording, deed, deed.before if waiting is None else waiting)
        except TutelageError as error:
            return RecordedActions(reason=f"an action out of bounds: {str(error).partition(',')[0]}")
        if move is None:
            return RecordedActions(reason=GONE)
        _point_on_the_way(result, deed, previous)
        _add(result, move)
        waiting = None
    if not result.moves:
        result.reason = NOTHING
    return result


_OUTSIDE, _SCROLL = "outside the task area", "scroll"
_FOCUS, _IDLE = "focus moved", "nothing changed"
_REACHES = (_SCROLL, _FOCUS)


def _needless(recording: Recording, deed: FieldEdit, following: FieldEdit | None) -> str:
    """Say why a deed is no move, "" if it is one."""
    before, after = recording.pages[deed.before], recording.pages[deed.after]
    gesture = deed.first
    points = gesture.kind in ("click", "drag")
    if points and not deed.target:
        return _OUTSIDE
    if deed.text is not None:
        return ""
    if _OF_THE_BROWSER.fullmatch(gesture.key):
        return _IDLE
    if gesture.kind == "scroll" or (points and following and _only_moved(before, after)):
        return _SCROLL
    if following is None or differ(before, after) or (points and _tag_of(before, deed.target) in _SURE):
        return ""
    if after.focus in (before.focus, before.ref[0]):
        return _IDLE
    written = following.text is not None and following.target == after.focus
    return _FOCUS if gesture.key.endswith("Tab") or (points and written) else ""


def _only_moved(before: PageSnapshot, after: PageSnapshot) -> bool:
    """Whether nothing but places differ: a press on a scrollbar, which some browsers tell of as a click."""
    still = ("ref", "parent", "tag", "text", "value", "id", "classes", "width", "height")
    return before.top != after.top and all(getattr(before, one) == getattr(after, one) for one in still)


def _tag_of(page: PageSnapshot, ref: int) -> str:
    place = page.places.get(ref)
    return "" if place is None else page.tag[place]


def _move(recording: Recording, deed: FieldEdit, earlier: int) -> RecordedAction | None:
    """Write a deed as an action on the earlier page if the element is there, else on its own."""
    seen = earlier if deed.target in recording.pages[earlier].places else deed.before
    place = recording.pages[seen].places.get(deed.target, -1)
    own = recording.pages[deed.before]
    here = own.places.get(deed.target, -1)
    gesture = deed.first
    if deed.text is not None:
        action = WebAction("type", place, text=deed.text)
    elif gesture.kind == "key":
        frame = here < 0 or own.is_frame(here)
        action = WebAction("key", -1 if frame else place, key=gesture.key)
    elif gesture.kind == "drag":
        x, y = _point(own, here, gesture.x, gesture.y)
        dx, dy = gesture.x2 - gesture.x, gesture.y2 - gesture.y
        action = WebAction("drag", place, x, y, dx=float(dx), dy=float(dy))
    else:
        action = WebAction("click", place, *_point(own, here, gesture.x, gesture.y))
    if action.verb != "key" and place < 0:
        return None
    return RecordedAction(action, seen, deed.end)


def _point(page: PageSnapshot, place: int, x: int, y: int) -> tuple[float, float]:
    """Say where in an element a point is, as fractions; a point beside it is at its edge."""
    if place < 0:
        return 0.5, 0.5
    across = (x - page.left[place]) / (page.width[place] or 1)
    down = (y - page.top[place]) / (page.height[place] or 1)
    return round(min(max(across, 0), 1), _PLACES), round(min(max(down, 0), 1), _PLACES)


def _point_on_the_way(result: RecordedActions, deed: FieldEdit, previous: FieldEdit | None) -> None:
    """Add what opened the menu in which something was clicked, unless that was the click before."""
    gesture = deed.first
    if gesture.kind != "click" or (previous is not None and previous.first.kind == "click"):
        return
    earlier = result.pages[gesture.earlier]
    for place, shown in hovers(earlier, result.pages[deed.before], deed.target):
        if shown is not earlier:
            result.pages.append(shown)
        page = gesture.earlier if shown is earlier else len(result.pages) - 1
        result.moves.append(RecordedAction(WebAction("hover", place), page, gesture.begin))


def _add(result: RecordedActions, move: RecordedAction) -> None:
    """Add a move; what was written over at once was not meant."""
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
