"""A page and what is asked of it, as numbers: words, boxes, colours, and which words are in both.

Nothing here is learned or fitted. Words are hashed (`words.buckets_of`), so that a name never seen still
meets itself: on the page, in the instruction, in a field.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ....envs.web.observation import TAMPERED, read_columns
from ..word_embedding import buckets_of
from .color_features import SORTS, likeness, named_in, rgba_of, sort_of
from .element_groups import crowd_of, extremes, groups

ATTRIBUTES = 4096
"""Rows of the table of tags, ids, classes and neighbours of matched words."""

ELEMENT_SIZES = (48, 64, 48, 64, 32, 16, 16, 16, SORTS, SORTS, 101, 101, 16)
"""Values of each whole number of an element: left, top, width, height, place among siblings of its kind,
depth, children, flags, background, foreground, the number it reads, the number it holds, how many are of
its kind."""

WORD_SIZES = (64, 4, 3, 2, 101)
"""Values of each whole number of a word: its place, how many elements read so, how many fields hold it,
whether it is quoted, the number it is."""

NAMES = 4096
"""Words are told apart by a number below this, where what they read does not matter."""

AMOUNTS = 33
"""Real-valued features of an element: see `_Instruction.matches`; its two colors and how close each is to a
named one; whether its tag, id and classes are named; whether it holds the smallest and the largest number of
its kind, and whether the number of its kind is named."""

_TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_QUOTED = re.compile(r'"([^"]*)"')
_LIT = re.compile(r"(^|-)(hover|focus|over)$|^ui-state-active$")
"""Classes that pages give to what the pointer is over: a menu's lines are active then."""

_TEXT, _VALUE = 24, 16  # words of an element that are looked at
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)


@dataclass(frozen=True)
class IndexBags:
    """Lists of table rows, laid end to end: `rows` int16 `[R]`, `begins` int64 `[bags]`.

    Of bags of words, `names` `[R]`, below NAMES, tell one word's rows from another's.
    """

    rows: np.ndarray
    begins: np.ndarray
    names: np.ndarray | None = None


@dataclass(frozen=True)
class PageFeatures:
    """One step: W words of the instruction and E elements of the page.

    `words` `[W, 5]` and `elements` `[E, 13]` are whole numbers (uint8), below WORD_SIZES and ELEMENT_SIZES;
    `amounts` float32 `[E, 33]`; `parents` `[E]`, -1 for none. `said`, `text`, `value` are bags of word rows;
    `attributes` and `beside` (words around the match in the instruction) of ATTRIBUTES; `fellows` of the
    elements that are read together with each.
    """

    words: np.ndarray
    said: IndexBags
    elements: np.ndarray
    amounts: np.ndarray
    parents: np.ndarray
    text: IndexBags
    value: IndexBags
    attributes: IndexBags
    beside: IndexBags
    fellows: IndexBags


@lru_cache(maxsize=65536)
def tokens_of(sentence: str) -> tuple[str, ...]:
    """Split a sentence into lower-case words, numbers and single marks."""
    return tuple(_TOKEN.findall(sentence.lower()))


@lru_cache(maxsize=4096)
def places_of(sentence: str) -> tuple[tuple[int, int], ...]:
    """Return where each of its tokens begins and ends, in characters."""
    # lower-casing may change a sentence's length: places are those of the sentence as it stands
    return tuple(match.span() for match in _TOKEN.finditer(sentence))


@lru_cache(maxsize=65536)
def extract_features(instruction: str, document: str) -> PageFeatures:
    """Turn a page (`envs.web.elements`) and its instruction into numbers."""
    page = read_columns(document)
    said = tokens_of(instruction)
    asked = _Instruction(instruction.lower(), said)
    texts = [(text or "").lower().strip() for text in page["text"]]
    values = [None if value is None else str(value).lower().strip() for value in page["value"]]
    read = [tokens_of(text)[:_TEXT] for text in texts]
    held = [tokens_of(value or "")[:_VALUE] for value in values]
    children = np.bincount([one for one in page["parent"] if one >= 0], minlength=len(texts))
    amounts = np.array([asked.matches(*one) for one in zip(texts, values, read, held, strict=True)])
    amounts[:, 10] = children == 0
    patches = _is_patch(page, texts, children)[:, None]
    back, front = (rgba_of(page[side]) * patches for side in ("bg", "fg"))
    named = named_in(said)
    colours = [back / 255, front / 255, likeness(back, named), likeness(front, named)]
    names = np.array([[asked.names(one) for one in page[name]] for name in ("tag", "id", "classes")]).T
    kinds = [(tag, _unlit(classes)) for tag, classes in zip(page["tag"], page["classes"], strict=True)]
    crowd, ends = crowd_of(kinds), extremes(kinds, texts)
    told = np.array([[asked.says(str(count))] for count in crowd.tolist()])
    return PageFeatures(
        words=asked.words(read, held),
        said=_bags_of_words([[word] for word in said] or [[]]),
        elements=_wholes(page, read, held, children, (sort_of(back), sort_of(front)), crowd),
        amounts=np.concatenate([amounts, *colours, names, ends, told], 1).astype(np.float32),
        parents=np.array(page["parent"], np.int64),
        text=_bags_of_words(read),
        value=_bags_of_words(held),
        attributes=_bags(
            [_named(*one) for one in zip(page["tag"], page["id"], page["classes"], strict=True)]
        ),
        beside=_bags([asked.beside(*one) for one in zip(texts, read, strict=True)]),
        fellows=_bags(groups(page["parent"], [bool(text) for text in texts])),
    )


def _is_patch(page: dict[str, Any], texts: Sequence[str], children: np.ndarray) -> np.ndarray:
    """Say which elements are drawn or patches of colour, bool `[E]`: only of these, colours are looked at.

    Where people point, a page lights up before they click. A policy that sees it learns to click what is lit,
    and finds nothing lit when it acts itself.
    """
    styled = [classes.startswith("ui-") or " ui-" in classes for classes in page["classes"]]
    written = [bool(text) or value is not None for text, value in zip(texts, page["value"], strict=True)]
    return _is_drawn(page) | ~(np.array(styled) | np.array(written) | (children > 0))


def _is_drawn(page: dict[str, Any]) -> np.ndarray:
    return np.array([tag != "t" and tag == tag.lower() for tag in page["tag"]])


class _Instruction:
    """An instruction, and where its words are."""

    def __init__(self, sentence: str, words: tuple[str, ...]) -> None:
        self._sentence, self._words = sentence, words
        self._at: dict[str, list[int]] = {}
        for place, word in enumerate(words):
            self._at.setdefault(_plain(word), []).append(place)
        self._quoted = {one.strip() for one in _QUOTED.findall(sentence)} - {""}

    def matches(self, text: str, value: str | None, read: Sequence[str], held: Sequence[str]) -> list[float]:
        """Say how much of an element is in the instruction, and how much it reads and holds."""
        sounds = [word for word in read if word[0].isalnum()]
        numbers = [number for word in read if (number := _number(word)) < 100]
        return [
            sum(_plain(word) in self._at for word in sounds) / max(1, len(sounds)),
            bool(text) and text in self._sentence,
            text in self._quoted,
            min(sum(_plain(word) in self._at for word in read), 8) / 8,
            bool(value) and (value or "") in self._sentence,
            (value or "") in self._quoted,
            value is None,
            bool(value),
            bool(read),
            len(read) / _TEXT,
            0.0,
            bool(numbers),
            numbers[0] / 32 if numbers else 0.0,
            bool(text) and any(text.startswith(one) for one in self._quoted),
            bool(text) and any(text.endswith(one) for one in self._quoted),
        ]

    def says(self, word: str) -> bool:
        """Say whether a word is in the instruction."""
        return word in self._at

    def names(self, name: str) -> bool:
        """Say whether a word of a tag, an id or classes is said: a checkbox, a menu."""
        return any(word in self._at for word in tokens_of(name) if len(word) > 2)

    def beside(self, text: str, read: tuple[str, ...]) -> list[int]:
        """Name the words around the first place at which the element's text, or a word of it, is said."""
        size, begin = len(read), None
        if read and text in self._sentence:
            begin = next(
                (at for at in self._at.get(_plain(read[0]), ()) if self._words[at : at + size] == read), None
            )
        if begin is None:
            size, begin = 1, next((at[0] for word in read if (at := self._at.get(_plain(word)))), None)
        if begin is None:
            return [_hashed("alone")]
        before = [(n, begin - n) for n in (1, 2, 3) if begin >= n]
        after = [(-n, begin + size + n) for n in (0, 1) if begin + size + n < len(self._words)]
        names = [_hashed(f"{n} {self._words[at]}") for n, at in before + after]
        return [*names, _hashed(f"at {min(begin, 30)}")]

    def words(self, read: Sequence[Sequence[str]], held: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the whole numbers of the instruction's words `[W, 5]`."""
        shown, kept = _counts(read), _counts(held)
        rows, quoted = [], False
        for place, word in enumerate(self._words):
            quoted ^= word == '"'
            plain = _plain(word)
            row = (min(place, 63), min(shown.get(plain, 0), 3), min(kept.get(plain, 0), 2), int(quoted))
            rows.append((*row, _number(word)))
        return np.array(rows or [(0, 0, 0, 0, 100)], np.uint8)


def _wholes(
    page: dict[str, Any],
    read: Sequence[Sequence[str]],
    held: Sequence[Sequence[str]],
    children: np.ndarray,
    colours: Sequence[np.ndarray],
    crowd: np.ndarray,
) -> np.ndarray:
    depth: list[int] = []
    nth: list[int] = []
    seen: dict[tuple[int, str], int] = {}
    for parent, tag in zip(page["parent"], page["tag"], strict=True):
        depth.append(depth[parent] + 1 if parent >= 0 else 0)
        nth.append(seen.get((parent, tag), 0))
        seen[parent, tag] = nth[-1] + 1
    # what is lit gets a border: only of what is drawn, boxes are known closer than to 8 px
    fine = np.where(_is_drawn(page), 1, 2)
    boxes = [
        np.rint(np.array(page[side], float) / 4 / fine) * fine + 2
        for side in ("left", "top", "width", "height")
    ]
    columns: list[np.ndarray | list[int]] = [
        *boxes,
        # few recordings say what was clicked before
        *(nth, depth, children, np.array(page["flags"]) & ~TAMPERED),
        *colours,
        *([_number(words[0]) if words else 100 for words in some] for some in (read, held)),
        crowd,
    ]
    return np.clip(np.stack(columns, 1), 0, np.array(ELEMENT_SIZES) - 1).astype(np.uint8)


def _number(word: str) -> int:
    """Return the number below 100 that a word is, else 100; a month is its number."""
    plain = _plain(word)
    return min(int(plain), 100) if plain.isdecimal() and len(plain) < 4 else 100


@lru_cache(maxsize=65536)
def _plain(word: str) -> str:
    """Return a word as it is compared: 07 is 7, and so is July."""
    if word in _MONTHS:
        return str(1 + _MONTHS.index(word))
    return word.lstrip("0") or "0" if word.isdecimal() else word


def _counts(lists: Sequence[Sequence[str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for words in lists:
        for word in map(_plain, words):
            counts[word] = counts.get(word, 0) + 1
    return counts


def _named(tag: str, identity: str, classes: str) -> list[int]:
    names = [f"tag {tag.lower()}"]
    names += [f"id {word}" for word in tokens_of(identity)]
    names += [f"class {word}" for one in _unlit(classes) for word in tokens_of(one)]
    return [_hashed(name) for name in names]


def _unlit(classes: str) -> tuple[str, ...]:
    return tuple(one for one in classes.split() if not _LIT.search(one))


@lru_cache(maxsize=65536)
def _hashed(name: str) -> int:
    return zlib.crc32(name.encode()) % ATTRIBUTES


@lru_cache(maxsize=65536)
def _rows(word: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rows = buckets_of(word)
    return rows, (zlib.crc32(word.encode()) % NAMES,) * len(rows)


def _bags_of_words(lists: Sequence[Sequence[str]]) -> IndexBags:
    """Lay out the rows of words; an empty bag has row 0 in it."""
    each = [[_rows(word) for word in words] or [((0,), (0,))] for words in lists]
    bags = _bags([[row for rows, _ in words for row in rows] for words in each])
    names = [name for words in each for _, some in words for name in some]
    return replace(bags, names=np.array(names, np.int16))


def _bags(lists: Sequence[Sequence[int]]) -> IndexBags:
    sizes = np.array([len(one) for one in lists], np.int64)
    return IndexBags(np.array([row for one in lists for row in one], np.int16), np.cumsum(sizes) - sizes)
