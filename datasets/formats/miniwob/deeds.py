"""Gestures put together: all that was done in one field, or with one list of options, is one deed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .gestures import RecordedGesture, gestures
from .recording import PageSnapshot, Recording
from .wording import as_said, wanted_option

LETTERS = frozenset(
    (*(f"INPUT_{kind}" for kind in ("text", "password", "search", "email", "tel")), "TEXTAREA")
)
PICKED = frozenset(f"INPUT_{kind}" for kind in ("date", "time", "number"))
"""Fields with arrows and parts of their own, which are no elements: what is done inside can't be seen."""
_EDITS = frozenset(("Backspace", "Delete", "ArrowLeft", "ArrowRight", "Home", "End", "Insert", "Space"))
_SHORTCUT = re.compile(
    r"(?:Shift\+)?(?:Control|Meta)\+(?:Shift\+)?(?:[ACVXZ]|Backspace|Delete|Insert|Arrow\w+)|Shift\+Insert"
)
_LOW = 30  # px; a SELECT that is not higher opens its options where no page sees them


@dataclass(frozen=True)
class FieldEdit:
    """What was done to one element: its ref, the places of the page before and of the page after.

    `text` is what a field holds after it, or the options that were chosen, divided by commas; None where
    nothing was written. `unseen` says that an option was chosen and nobody can tell which.
    """

    gestures: tuple[RecordedGesture, ...]
    target: int
    before: int
    after: int
    text: str | None = None
    unseen: bool = False

    @property
    def first(self) -> RecordedGesture:
        return self.gestures[0]

    @property
    def end(self) -> int:
        return self.gestures[-1].end


def deeds(recording: Recording) -> list[FieldEdit]:
    """Read a recording as deeds, in order.

    A run of gestures in one field is one deed if the field holds something else after it; so is a run of
    gestures in one list. Every other gesture is a deed by itself.
    """
    found: list[FieldEdit] = []
    for workplace, run in _runs(recording.pages, [*_single(recording)]):
        if not workplace:
            found += run
        elif _tag(recording.pages[run[0].before], workplace) == "SELECT":
            found += _chosen(recording, workplace, run)
        else:
            found += _written(recording, workplace, run)
    return found


def differ(one: PageSnapshot, other: PageSnapshot, besides: int = 0) -> bool:
    """Whether two pages show different things, wherever the focus and the pointer are.

    `besides` is the ref of an element whose value is left aside, or 0.
    """
    if one is other or one.content == other.content:
        return False
    if len(one) != len(other) or one.still != other.still:
        return True
    mine, theirs = list(one.value), list(other.value)
    if (place := one.places.get(besides)) is not None:
        mine[place] = theirs[place] = None
    if mine != theirs:
        return True
    shaded = one.classes != other.classes  # only by the pointer, which moves edges and colours, too
    return not shaded and replace(one, value=mine).content != replace(other, value=theirs).content


def _single(recording: Recording) -> Iterator[FieldEdit]:
    made = gestures(recording.events)
    for at, gesture in enumerate(made):
        page = recording.pages[gesture.page]
        later = (one.page for one in made[at + 1 :] if one.begin >= gesture.end)
        after = next(later, recording.events[-1].page)
        yield FieldEdit((gesture,), _touched(page, gesture), gesture.page, after)


def _touched(page: PageSnapshot, gesture: RecordedGesture) -> int:
    """Return what a pointer was on: some browsers name an element that it only lies in, such as the body."""
    place = page.places.get(gesture.target)
    if place is None or gesture.kind not in ("click", "drag") or not page.is_frame(place):
        return gesture.target
    return page.ref[page.under(gesture.x, gesture.y, place)]


def _tag(page: PageSnapshot, ref: int) -> str:
    place = page.places.get(ref)
    return "" if place is None else page.tag[place]


def _runs(
    pages: Sequence[PageSnapshot], single: Sequence[FieldEdit]
) -> Iterator[tuple[int, list[FieldEdit]]]:
    """Cut deeds into runs of one workplace: the ref of a field or a list, 0 for a deed by itself."""
    run: list[FieldEdit] = []
    there = 0
    for deed in single:
        workplace = _workplace(pages, deed)
        if run and not (workplace and workplace == there):
            yield there, run
            run = []
        there = workplace
        run.append(deed)
    if run:
        yield there, run


def _workplace(pages: Sequence[PageSnapshot], deed: FieldEdit) -> int:
    before, after = pages[deed.before], pages[deed.after]
    tag, gesture = _tag(before, deed.target), deed.first
    if tag == "OPTION":
        return before.ref[before.parent[before.places[deed.target]]]
    if tag == "SELECT":
        return deed.target
    if tag not in LETTERS | PICKED or gesture.kind == "scroll":
        return 0
    if gesture.kind == "key":
        return deed.target if _is_edit(gesture.key, tag, before, after) else 0
    return 0 if differ(before, after, besides=deed.target) else deed.target


def _is_edit(key: str, tag: str, before: PageSnapshot, after: PageSnapshot) -> bool:
    """Whether a key stays inside the field: in a date, Tab goes to the next part of it."""
    if len(key) == 1 or key in _EDITS or _SHORTCUT.fullmatch(key):
        return True
    return tag in PICKED and (
        key.startswith("Arrow") or (key.endswith("Tab") and before.focus == after.focus)
    )


def _written(recording: Recording, ref: int, run: list[FieldEdit]) -> list[FieldEdit]:
    """Make a run in a field one deed, if the field holds something else after it."""
    before, last, after = (recording.pages[one] for one in (run[0].before, run[-1].before, run[-1].after))
    held = _held(after if ref in after.places else last, ref)
    if held is None or held == _held(before, ref):
        return run
    text = as_said(held, _tag(before, ref), recording.instruction, recording.reward >= 1)
    return [_joined(ref, run, text=text)]


def _held(page: PageSnapshot, ref: int) -> str | None:
    place = page.places.get(ref)
    return None if place is None else page.value[place]


def _joined(ref: int, run: Sequence[FieldEdit], **facts: object) -> FieldEdit:
    made = tuple(one for deed in run for one in deed.gestures)
    return FieldEdit(made, ref, run[0].before, run[-1].after, **facts)  # type: ignore[arg-type]


def _chosen(recording: Recording, ref: int, run: list[FieldEdit]) -> list[FieldEdit]:
    """Make a run in a list one deed that names what was chosen, if something was.

    What is chosen by keys, or from a list that opens over the page, can't be seen; but a page that rewards
    in full has been given what it asked for.
    """
    page = recording.pages[run[0].before]
    opens = page.height[page.places[ref]] <= _LOW
    blind = opens or any(one.first.kind == "key" for one in run)
    names = _picked(recording.pages, run)
    if not names and not blind:
        return run
    wanted = wanted_option(recording.instruction) if recording.reward >= 1 else ""
    text = wanted or ("" if blind and not opens else ", ".join(names))
    return [_joined(ref, run, text=text, unseen=not text)]


def _picked(pages: Sequence[PageSnapshot], run: Sequence[FieldEdit]) -> list[str]:
    """Follow clicks on options: a plain one chooses one alone, Control adds or takes away, Shift fills up."""
    chosen: list[str] = []
    anchor = 0
    for deed in run:
        page, click = pages[deed.before], deed.first
        if _tag(page, deed.target) != "OPTION" or click.kind not in ("click", "drag"):
            continue
        place = page.places[deed.target]
        name = page.text[place]
        if "Shift" in click.held and anchor:
            low, high = sorted((anchor, place))
            chosen = [page.text[one] for one in range(low, high + 1) if page.tag[one] == "OPTION"]
        elif click.held:
            chosen = [one for one in chosen if one != name] + ([] if name in chosen else [name])
        else:
            chosen = [name]
        anchor = place
    return chosen
