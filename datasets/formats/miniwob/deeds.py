"""Group gestures into field edits: all gestures in one field, or in one list of options, are one edit."""

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
"""Fields with built-in controls that are not elements: actions inside them are not recorded."""
_EDITS = frozenset(("Backspace", "Delete", "ArrowLeft", "ArrowRight", "Home", "End", "Insert", "Space"))
_SHORTCUT = re.compile(
    r"(?:Shift\+)?(?:Control|Meta)\+(?:Shift\+)?(?:[ACVXZ]|Backspace|Delete|Insert|Arrow\w+)|Shift\+Insert"
)
_LOW = 30  # px; a SELECT of at most this height opens its options outside of the page


@dataclass(frozen=True)
class FieldEdit:
    """Gestures on one element: its ref, and the indices of the page before and of the page after.

    `text` is the field's content afterwards, or the selected options, separated by commas; None where nothing
    was written. `unseen` means that an option was selected and it is unknown which.
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


def field_edits(recording: Recording) -> list[FieldEdit]:
    """Convert a recording to field edits, in order.

    A run of gestures in one field is one edit if it changes the field's content; so is a run of gestures in
    one list. Every other gesture is an edit by itself.
    """
    edits: list[FieldEdit] = []
    for workplace, run in _runs(recording.pages, [*_single_edits(recording)]):
        if not workplace:
            edits += run
        elif _tag(recording.pages[run[0].before], workplace) == "SELECT":
            edits += _merged_list_edits(recording, workplace, run)
        else:
            edits += _merged_field_edits(recording, workplace, run)
    return edits


def differ(page: PageSnapshot, other: PageSnapshot, besides: int = 0) -> bool:
    """Return whether two pages differ, ignoring focus and pointer effects.

    `besides` is the ref of an element whose value is ignored, or 0.
    """
    if page is other or page.content == other.content:
        return False
    if len(page) != len(other) or page.still != other.still:
        return True
    values, other_values = list(page.value), list(other.value)
    if (place := page.places.get(besides)) is not None:
        values[place] = other_values[place] = None
    if values != other_values:
        return True
    shaded = page.classes != other.classes  # differs only by hover styles, which change edges and colors, too
    return not shaded and replace(page, value=values).content != replace(other, value=other_values).content


def _single_edits(recording: Recording) -> Iterator[FieldEdit]:
    all_gestures = gestures(recording.events)
    for index, gesture in enumerate(all_gestures):
        page = recording.pages[gesture.page]
        later = (follower.page for follower in all_gestures[index + 1 :] if follower.begin >= gesture.end)
        after = next(later, recording.events[-1].page)
        yield FieldEdit((gesture,), _pointer_target(page, gesture), gesture.page, after)


def _pointer_target(page: PageSnapshot, gesture: RecordedGesture) -> int:
    """Return the ref under the pointer: some browsers report an element around it, such as the body."""
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
    """Split edits into runs with one workplace: the ref of a field or a list, 0 for an edit by itself."""
    run: list[FieldEdit] = []
    current = 0
    for edit in single:
        workplace = _workplace(pages, edit)
        if run and not (workplace and workplace == current):
            yield current, run
            run = []
        current = workplace
        run.append(edit)
    if run:
        yield current, run


def _workplace(pages: Sequence[PageSnapshot], edit: FieldEdit) -> int:
    before, after = pages[edit.before], pages[edit.after]
    tag, gesture = _tag(before, edit.target), edit.first
    if tag == "OPTION":
        return before.ref[before.parent[before.places[edit.target]]]
    if tag == "SELECT":
        return edit.target
    if tag not in LETTERS | PICKED or gesture.kind == "scroll":
        return 0
    if gesture.kind == "key":
        return edit.target if _is_edit(gesture.key, tag, before, after) else 0
    return 0 if differ(before, after, besides=edit.target) else edit.target


def _is_edit(key: str, tag: str, before: PageSnapshot, after: PageSnapshot) -> bool:
    """Return whether a key stays inside the field: in a date field, Tab moves to its next part."""
    if len(key) == 1 or key in _EDITS or _SHORTCUT.fullmatch(key):
        return True
    return tag in PICKED and (
        key.startswith("Arrow") or (key.endswith("Tab") and before.focus == after.focus)
    )


def _merged_field_edits(recording: Recording, ref: int, run: list[FieldEdit]) -> list[FieldEdit]:
    """Merge a run in a field into one edit, if it changes the field's content."""
    before, last, after = (recording.pages[index] for index in (run[0].before, run[-1].before, run[-1].after))
    value = _value_of(after if ref in after.places else last, ref)
    if value is None or value == _value_of(before, ref):
        return run
    text = as_said(value, _tag(before, ref), recording.instruction, recording.reward >= 1)
    return [_merge(ref, run, text=text)]


def _value_of(page: PageSnapshot, ref: int) -> str | None:
    place = page.places.get(ref)
    return None if place is None else page.value[place]


def _merge(ref: int, run: Sequence[FieldEdit], **facts: object) -> FieldEdit:
    merged = tuple(gesture for edit in run for gesture in edit.gestures)
    return FieldEdit(merged, ref, run[0].before, run[-1].after, **facts)  # type: ignore[arg-type]


def _merged_list_edits(recording: Recording, ref: int, run: list[FieldEdit]) -> list[FieldEdit]:
    """Merge a run in a list into one edit with the selected options, if any.

    A selection by keys, or in a list that opens over the page, is not recorded; with full reward, it is the
    option that the instruction asks for.
    """
    page = recording.pages[run[0].before]
    opens = page.height[page.places[ref]] <= _LOW
    blind = opens or any(edit.first.kind == "key" for edit in run)
    names = _selected_options(recording.pages, run)
    if not names and not blind:
        return run
    expected = wanted_option(recording.instruction) if recording.reward >= 1 else ""
    text = expected or ("" if blind and not opens else ", ".join(names))
    return [_merge(ref, run, text=text, unseen=not text)]


def _selected_options(pages: Sequence[PageSnapshot], run: Sequence[FieldEdit]) -> list[str]:
    """Track clicks on options: a plain click selects one, Control toggles one, Shift selects a range."""
    selected: list[str] = []
    anchor = 0
    for edit in run:
        page, click = pages[edit.before], edit.first
        if _tag(page, edit.target) != "OPTION" or click.kind not in ("click", "drag"):
            continue
        place = page.places[edit.target]
        name = page.text[place]
        if "Shift" in click.held and anchor:
            low, high = sorted((anchor, place))
            selected = [page.text[option] for option in range(low, high + 1) if page.tag[option] == "OPTION"]
        elif click.held:
            selected = [option for option in selected if option != name] + (
                [] if name in selected else [name]
            )
        else:
            selected = [name]
        anchor = place
    return selected
