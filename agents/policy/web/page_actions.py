"""Encode actions on a page as numbers that a policy decides: verb, element, words of the instruction.

Typed text nearly always occurs in the instruction: it is encoded as its first and last word there. Other text
is spelled. Values of date and time fields are also found in spoken notation (12/31/2016, 11:59 PM).
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
"""Choices of the first part: the verbs of `WebAction`, with `type` split into `say` (copied) and `spell`."""

# longest spelled text in letters; bins a side of a pointer position
SPELLED, POINTS = 8, 16
# option 0 ends a text, then printable ASCII
LETTERS = ("", *map(chr, range(32, 127)))
AMOUNTS = (-200, -100, -50, -20, 20, 50, 100, 200)
"""Pixels of a scroll; recorded amounts go to the nearest."""

_POINTING = ("click", "press", "double_click", "hover", "drag")
_PLAIN = {verb: {"say": "type", "spell": "type"}.get(verb, verb) for verb in VERBS}
_SPACE = action_space()
ROW = action_size(_SPACE)
"""Numbers in one action row of the environment."""

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_TIME = re.compile(r"(\d\d):(\d\d)(?::\d\d)?")
_SAID_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_SAID_TIME = re.compile(r"(\d{1,2}):(\d\d)\s*(?:([apAP])\.?[mM])?")


def _verb_indices(*verbs: str) -> tuple[int, ...]:
    return tuple(VERBS.index(verb) for verb in verbs)


def page_parts(keys: Sequence[str]) -> tuple[ActionPart, ...]:
    """List the parts of one action, in order; `keys` are those that can be pressed."""
    choice = "choice"
    return (
        ActionPart(choice, len(VERBS), 0),
        ActionPart("element", 0, -1),
        ActionPart("word", 0, 0, verbs=_verb_indices("say")),
        ActionPart("word", 0, 0, verbs=_verb_indices("say"), after=True),
        *[ActionPart(choice, len(LETTERS), 0, verbs=_verb_indices("spell"))] * SPELLED,
        ActionPart(choice, max(1, len(keys)), 0, verbs=_verb_indices("key"), names=tuple(keys)),
        ActionPart(choice, POINTS, 0, verbs=_verb_indices(*_POINTING)),
        ActionPart(choice, POINTS, 0, verbs=_verb_indices(*_POINTING)),
        ActionPart("element", 0, -1, verbs=_verb_indices("drag")),
        ActionPart(choice, len(AMOUNTS), 0, verbs=_verb_indices("scroll")),
    )


def page_actions(parts: Sequence[ActionPart]) -> PageActions:
    """Return the encoding of actions as the numbers of these parts."""
    return PageActions(parts[_KEY].names)


def common_keys(rows: np.ndarray) -> tuple[str, ...]:
    """List the keys that are pressed at least three times in rows of actions."""
    key_rows = rows[rows[:, _verb_column()] == PLAIN_VERBS.index("key")]
    pressed = Counter(to_action(row_to_action(_SPACE, row)).key for row in key_rows)
    return tuple(sorted(key for key, times in pressed.items() if times >= 3))


def _verb_column() -> int:
    """Return the column of the verb in a row: leaves come in the space's own order."""
    paths = [leaf.path for leaf in leaves(_SPACE)]
    sizes = [action_size(leaf.space) for leaf in leaves(_SPACE)]
    return sum(sizes[: paths.index("verb")])


# columns of a row of numbers: verb, element, 2 words, letters, key, x, y, target, amount
_BEGIN, _SPELL, _KEY = 2, 4, 4 + SPELLED
COLUMNS = _KEY + 5


@dataclass(frozen=True)
class PageActions:
    """Encodes rows of `envs.web.action_space.action_space()` as numbers and back; `keys` can be pressed."""

    keys: tuple[str, ...]

    def numbers(self, row: np.ndarray, instruction: str, document: str) -> np.ndarray:
        """Return float64 `[COLUMNS]`, all SKIPPED for an action that the parts cannot express."""
        action = to_action(row_to_action(_SPACE, row))
        numbers = np.full(COLUMNS, SKIPPED)
        page = read_columns(document)
        if not self._can_be_decided(action, len(page["ref"])):
            return numbers
        verb: str = action.verb
        # copying generalizes to new names, so it is tried before spelling
        if verb == "type" and (words := find_words(action.text, instruction)):
            verb = "say"
            numbers[_BEGIN : _BEGIN + 2] = words
        elif verb == "type":
            verb = "spell"
            if len(action.text) > SPELLED or not set(action.text) <= set(LETTERS):
                return numbers
            numbers[_SPELL : _SPELL + SPELLED] = 0
            numbers[_SPELL : _SPELL + len(action.text)] = [LETTERS.index(letter) for letter in action.text]
        numbers[:2] = VERBS.index(verb), action.element
        if verb == "key":
            numbers[_KEY] = self.keys.index(action.key)
        # elsewhere the environment points at the element's center
        if verb in _POINTING and is_drawn(page, action.element):
            numbers[_KEY + 1 : _KEY + 3] = [_to_bin(action.x), _to_bin(action.y)]
        if verb == "drag":
            numbers[_KEY + 3] = action.target
        if verb == "scroll":
            numbers[_KEY + 4] = int(np.argmin(np.abs(np.array(AMOUNTS) - action.amount)))
        return numbers

    def row(self, numbers: np.ndarray, instruction: str, document: str) -> np.ndarray:
        """Return the action row of decided numbers: the inverse of `numbers`, up to bins and notation."""
        verb, element = VERBS[int(numbers[0])], int(numbers[1])
        page = read_columns(document)
        facts: dict[str, object] = {}
        if verb == "say":
            facts["text"] = _as_field_value(_quote(instruction, numbers[_BEGIN : _BEGIN + 2]), page, element)
        elif verb == "spell":
            facts["text"] = "".join(LETTERS[int(letter)] for letter in numbers[_SPELL : _SPELL + SPELLED])
        elif verb == "key":
            facts["key"] = self.keys[int(numbers[_KEY])]
        elif verb == "scroll":
            facts["amount"] = AMOUNTS[int(numbers[_KEY + 4])]
        elif verb in _POINTING and is_drawn(page, element):
            # middle of the bin, as a share of the element's box
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


def _to_bin(fraction: float) -> int:
    return min(int(fraction * POINTS), POINTS - 1)


class RepeatGuard:
    """Records the actions tried on each page of an episode: if the same page recurs, they did not help."""

    def __init__(self) -> None:
        self._tried: dict[str, set[tuple[int, int, int]]] = {}
        self._document = ""

    def on(self, document: str) -> set[tuple[int, int, int]]:
        """Return the decisions made on an identical page: (verb, element, next number).

        The next number is a text's first word or letter, the key or the amount; SKIPPED for pointing verbs.
        """
        self._document = str(document)
        return self._tried.setdefault(self._document, set())

    def note(self, numbers: np.ndarray) -> None:
        """Record the current decision; drawings are left out, since the position within them matters."""
        verb, element = int(numbers[0]), int(numbers[1])
        if not is_drawn(read_columns(self._document), element):
            more = numbers[_BEGIN:][numbers[_BEGIN:] != SKIPPED]
            third = int(more[0]) if len(more) and VERBS[verb] not in _POINTING else int(SKIPPED)
            self._tried[self._document].add((verb, element, third))


def is_drawn(page: Mapping[str, Sequence[Any]], element: int) -> bool:
    """Return whether the pointer's position inside an element matters: canvas and SVG elements."""
    tag = str(page["tag"][element]) if 0 <= element < len(page["tag"]) else ""
    return tag == "CANVAS" or (tag != "t" and tag == tag.lower() and bool(tag))


def find_words(text: str, instruction: str) -> tuple[int, int] | None:
    """Return the first and last word of a text's occurrence in an instruction; None if it does not occur.

    Values of date and time fields are found in spoken notation: 2016-12-31 as 12/31/2016.
    """
    # character offset → word index: a match has to begin and end at word edges
    begins, ends = ({place: index for index, place in enumerate(edges)} for edges in _word_edges(instruction))
    for phrase in _spoken_forms(text.strip()):
        # exact case first: of two occurrences, the equal one is meant
        for sentence, target in ((instruction, phrase), (instruction.lower(), phrase.lower())):
            place = sentence.find(target)
            while place >= 0:
                if place in begins and place + len(target) in ends:
                    return begins[place], ends[place + len(target)]
                place = sentence.find(target, place + 1)
    return None


def _word_edges(instruction: str) -> tuple[list[int], list[int]]:
    places = places_of(instruction)
    return [begin for begin, _ in places], [end for _, end in places]


def _spoken_forms(text: str) -> Iterator[str]:
    if text:
        yield text
    if match := _DATE.fullmatch(text):
        year, month, day = match.groups()
        yield f"{month}/{day}/{year}"
        yield f"{int(month)}/{int(day)}/{year}"
    if match := _TIME.fullmatch(text):
        hour, minute = int(match[1]), match[2]
        # a 24-hour field value as people write it
        half = "AM" if hour < 12 else "PM"
        for gap in (" ", ""):
            yield f"{hour % 12 or 12}:{minute}{gap}{half}"
            yield f"{hour % 12 or 12:02}:{minute}{gap}{half}"


def _quote(instruction: str, words: np.ndarray) -> str:
    places = places_of(instruction)
    if not places:
        return ""
    # indices beyond the instruction are clipped
    first, last = (min(max(int(word), 0), len(places) - 1) for word in words)
    return instruction[places[first][0] : places[max(first, last)][1]]


def _as_field_value(text: str, page: Mapping[str, Sequence[Any]], element: int) -> str:
    """Return a text in a field's notation: a date as 2016-12-31, a time as 23:59, other text unchanged."""
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
