"""What is done to a page ↔ the numbers that a policy decides on: a verb, an element, words that were said.

A typed text is nearly always said in the instruction: it is decided as its first and last word there. What
is not said is spelled. A field for a date or a time takes a date or a time however it is said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....envs.spaces import action_size, action_to_row, leaves, row_to_action
from ....envs.web.action_space import action_space, to_action, to_value
from ....envs.web.actions import VERBS as PLAIN_VERBS
from ....envs.web.actions import WebAction
from ....envs.web.observation import read_columns
from ..action_parts import SKIPPED, ActionPart
from .page_features import places_of

VERBS = ("click", "press", "double_click", "hover", "drag", "say", "spell", "key", "scroll", "wait")
"""What can be decided on: the verbs of `WebAction`, where `type` is to say words again, or to spell."""

SPELLED, POINTS = 8, 16
LETTERS = ("", *map(chr, range(32, 127)))
AMOUNTS = (-200, -100, -50, -20, 20, 50, 100, 200)
"""Pixels of a scroll."""

_POINTING = ("click", "press", "double_click", "hover", "drag")
_PLAIN = {verb: {"say": "type", "spell": "type"}.get(verb, verb) for verb in VERBS}
_SPACE = action_space()
ROW = action_size(_SPACE)
"""Numbers of an action as the environment takes it."""

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_TIME = re.compile(r"(\d\d):(\d\d)(?::\d\d)?")
_SAID_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_SAID_TIME = re.compile(r"(\d{1,2}):(\d\d)\s*(?:([apAP])\.?[mM])?")


def _numbers(*verbs: str) -> tuple[int, ...]:
    return tuple(VERBS.index(verb) for verb in verbs)


def page_parts(keys: Sequence[str]) -> tuple[ActionPart, ...]:
    """List what is decided about one action, in order; `keys` are those that can be pressed."""
    choice = "choice"
    return (
        ActionPart(choice, len(VERBS), 0),
        ActionPart("element", 0, -1),
        ActionPart("word", 0, 0, verbs=_numbers("say")),
        ActionPart("word", 0, 0, verbs=_numbers("say"), after=True),
        *[ActionPart(choice, len(LETTERS), 0, verbs=_numbers("spell"))] * SPELLED,
        ActionPart(choice, max(1, len(keys)), 0, verbs=_numbers("key"), names=tuple(keys)),
        ActionPart(choice, POINTS, 0, verbs=_numbers(*_POINTING)),
        ActionPart(choice, POINTS, 0, verbs=_numbers(*_POINTING)),
        ActionPart("element", 0, -1, verbs=_numbers("drag")),
        ActionPart(choice, len(AMOUNTS), 0, verbs=_numbers("scroll")),
    )


def page_actions(parts: Sequence[ActionPart]) -> PageActions:
    """Return what turns actions into the numbers that these parts decide."""
    return PageActions(parts[_KEY].names)


def common_keys(rows: np.ndarray) -> tuple[str, ...]:
    """List the keys that are pressed in rows of actions, three times at least."""
    some = rows[rows[:, _verb_column()] == PLAIN_VERBS.index("key")]
    pressed = Counter(to_action(row_to_action(_SPACE, row)).key for row in some)
    return tuple(sorted(key for key, times in pressed.items() if times >= 3))


def _verb_column() -> int:
    """Find the verb in a row: leaves come in the space's own order."""
    paths = [leaf.path for leaf in leaves(_SPACE)]
    sizes = [action_size(leaf.space) for leaf in leaves(_SPACE)]
    return sum(sizes[: paths.index("verb")])


_BEGIN, _SPELL, _KEY = 2, 4, 4 + SPELLED
COLUMNS = _KEY + 5


@dataclass(frozen=True)
class PageActions:
    """Turns rows of `envs.web.spaces.action_space()` into numbers and back; `keys` can be pressed."""

    keys: tuple[str, ...]

    def numbers(self, row: np.ndarray, instruction: str, document: str) -> np.ndarray:
        """Return float64 `[COLUMNS]`, all SKIPPED for what cannot be expressed so."""
        action = to_action(row_to_action(_SPACE, row))
        numbers = np.full(COLUMNS, SKIPPED)
        page = read_columns(document)
        if not self._can_be_decided(action, len(page["ref"])):
            return numbers
        verb: str = action.verb
        if verb == "type" and (words := find_words(action.text, instruction)):
            verb = "say"
            numbers[_BEGIN : _BEGIN + 2] = words
        elif verb == "type":
            verb = "spell"
            if len(action.text) > SPELLED or not set(action.text) <= set(LETTERS):
                return numbers
            numbers[_SPELL : _SPELL + SPELLED] = 0
            numbers[_SPELL : _SPELL + len(action.text)] = [LETTERS.index(one) for one in action.text]
        numbers[:2] = VERBS.index(verb), action.element
        if verb == "key":
            numbers[_KEY] = self.keys.index(action.key)
        if verb in _POINTING and is_drawn(page, action.element):
            numbers[_KEY + 1 : _KEY + 3] = [_bin(action.x), _bin(action.y)]
        if verb == "drag":
            numbers[_KEY + 3] = action.target
        if verb == "scroll":
            numbers[_KEY + 4] = int(np.argmin(np.abs(np.array(AMOUNTS) - action.amount)))
        return numbers

    def row(self, numbers: np.ndarray, instruction: str, document: str) -> np.ndarray:
        """Return the row that was decided on: the inverse of `numbers`, as far as there is one."""
        verb, element = VERBS[int(numbers[0])], int(numbers[1])
        page = read_columns(document)
        facts: dict[str, object] = {}
        if verb == "say":
            facts["text"] = _taken(_said(instruction, numbers[_BEGIN : _BEGIN + 2]), page, element)
        elif verb == "spell":
            facts["text"] = "".join(LETTERS[int(one)] for one in numbers[_SPELL : _SPELL + SPELLED])
        elif verb == "key":
            facts["key"] = self.keys[int(numbers[_KEY])]
        elif verb == "scroll":
            facts["amount"] = AMOUNTS[int(numbers[_KEY + 4])]
        elif verb in _POINTING and is_drawn(page, element):
            facts["x"], facts["y"] = ((numbers[_KEY + 1 : _KEY + 3] + 0.5) / POINTS).tolist()
        if verb == "drag":
            facts["target"] = int(numbers[_KEY + 3])
        return _as_row(WebAction(verb=_PLAIN[verb], element=element, **facts))  # type: ignore[arg-type]

    def _can_be_decided(self, action: WebAction, elements: int) -> bool:
        if not -1 <= action.element < elements or not -1 <= action.target < elements:
            return False
        if action.verb == "key":
            return action.key in self.keys
        return bool(action.text) if action.verb == "type" else action.verb != "drag" or action.target >= 0


def _bin(fraction: float) -> int:
    return min(int(fraction * POINTS), POINTS - 1)


class RepeatGuard:
    """What was done on each page of an episode: it did not help, if the page is there again."""

    def __init__(self) -> None:
        self._done: dict[str, set[tuple[int, int, int]]] = {}
        self._document = ""

    def on(self, document: str) -> set[tuple[int, int, int]]:
        """Return what was decided on when a page was as it is now: verb, element, and the number after them.

        That is a text's first word or letter, the key or the amount; SKIPPED where pointing says it all.
        """
        self._document = str(document)
        return self._done.setdefault(self._document, set())

    def note(self, numbers: np.ndarray) -> None:
        """Note what is done now; where in a drawing makes a difference, so drawings are left out."""
        verb, element = int(numbers[0]), int(numbers[1])
        if not is_drawn(read_columns(self._document), element):
            more = numbers[_BEGIN:][numbers[_BEGIN:] != SKIPPED]
            third = int(more[0]) if len(more) and VERBS[verb] not in _POINTING else int(SKIPPED)
            self._done[self._document].add((verb, element, third))


def is_drawn(page: Mapping[str, Sequence[Any]], element: int) -> bool:
    """Say whether it matters where inside an element the pointer is: of what is drawn, not written."""
    tag = str(page["tag"][element]) if 0 <= element < len(page["tag"]) else ""
    return tag == "CANVAS" or (tag != "t" and tag == tag.lower() and bool(tag))


def find_words(text: str, instruction: str) -> tuple[int, int] | None:
    """Find a text in an instruction: its first and its last word there; None where it is not said.

    What a field for dates or times holds is found as it is said: 2016-12-31 as 12/31/2016.
    """
    begins, ends = ({place: at for at, place in enumerate(one)} for one in _sides(instruction))
    for said in _ways_to_say(text.strip()):
        for sentence, wanted in ((instruction, said), (instruction.lower(), said.lower())):
            place = sentence.find(wanted)
            while place >= 0:
                if place in begins and place + len(wanted) in ends:
                    return begins[place], ends[place + len(wanted)]
                place = sentence.find(wanted, place + 1)
    return None


def _sides(instruction: str) -> tuple[list[int], list[int]]:
    places = places_of(instruction)
    return [begin for begin, _ in places], [end for _, end in places]


def _ways_to_say(text: str) -> Iterator[str]:
    if text:
        yield text
    if match := _DATE.fullmatch(text):
        year, month, day = match.groups()
        yield f"{month}/{day}/{year}"
        yield f"{int(month)}/{int(day)}/{year}"
    if match := _TIME.fullmatch(text):
        hour, minute = int(match[1]), match[2]
        half = "AM" if hour < 12 else "PM"
        for gap in (" ", ""):
            yield f"{hour % 12 or 12}:{minute}{gap}{half}"
            yield f"{hour % 12 or 12:02}:{minute}{gap}{half}"


def _said(instruction: str, words: np.ndarray) -> str:
    places = places_of(instruction)
    if not places:
        return ""
    first, last = (min(max(int(one), 0), len(places) - 1) for one in words)
    return instruction[places[first][0] : places[max(first, last)][1]]


def _taken(text: str, page: Mapping[str, Sequence[Any]], element: int) -> str:
    """Return a text as a field takes it: a date as 2016-12-31, a time as 23:59, all else as it is."""
    tag = page["tag"][element] if 0 <= element < len(page["tag"]) else ""
    if tag == "INPUT_date" and (match := _SAID_DATE.search(text)):
        month, day, year = match.groups()
        return f"{year}-{int(month):02}-{int(day):02}"
    if tag == "INPUT_time" and (match := _SAID_TIME.search(text)):
        half = (match[3] or "").lower()
        hour = int(match[1]) % 12 + 12 * (half == "p") if half else int(match[1])
        return f"{hour:02}:{match[2]}"
    return text


def _as_row(action: WebAction) -> np.ndarray:
    return action_to_row(_SPACE, to_value(action))
