"""Hand-coded features of a page and its instruction: words, boxes, colors, and matches between the two.

Nothing here is learned or fitted. Words are hashed (`word_embedding.buckets_of`), so that an unseen name has
the same rows on the page, in the instruction and in a field. `07`, `7` and `July` share one integer.
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
from ....files.memory_limits import process_bytes
from ..word_embedding import buckets_of
from .color_features import SORTS, likeness, named_in, rgba_of, sort_of
from .element_groups import crowd_of, extremes, groups
from .feature_cache import FeatureCache

ATTRIBUTES = 4096
"""Rows of the hashed table of tags, ids, classes and neighbors of matched words."""

ELEMENT_SIZES = (48, 64, 48, 64, 32, 16, 16, 16, SORTS, SORTS, 101, 101, 16)
"""Number of values of each integer of an element: left, top, width, height, index among siblings of its tag,
depth, children, flags, background and foreground color class, the number in its text, the number in its
value, the count of its kind."""

WORD_SIZES = (64, 4, 3, 2, 101)
"""Number of values of each integer of a word: its position, its occurrences in texts, its occurrences in
values, whether it is quoted, the number that it is."""

NAMES = 4096
"""Words are identified by a hash below this, for augmentation that ignores their letters."""

AMOUNTS = 33
"""Real-valued features of an element: 15 of `_Instruction.matches`; 2 colors as RGBA, and the similarity of
each to a named color in RGB and hue (12); whether its tag, id and classes are named (3); whether it shows the
smallest and the largest number of its kind (2), and whether the count of its kind is named (1)."""

CACHE_SHARE = 16
"""The memory of a process is this many times what the features of pages may take of it."""

_TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_QUOTED = re.compile(r'"([^"]*)"')
_STATE_CLASS = re.compile(r"(^|-)(hover|focus|over)$|^ui-state-active$")
"""Classes that pages give to elements under the pointer, such as the active item of a menu."""

_LONGEST_CACHED = 200  # characters; the cache of sentences is bounded by their number
_TEXT, _VALUE = 24, 16  # most words of an element's text and value that are read
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)


@dataclass(frozen=True)
class IndexBags:
    """Lists of table rows, end to end: `rows` int16 `[R]`, `begins` int64 `[bags]`.

    In bags of words, `names` `[R]` (below NAMES) identify the word that each row belongs to.
    """

    rows: np.ndarray
    begins: np.ndarray
    names: np.ndarray | None = None


@dataclass(frozen=True)
class PageFeatures:
    """Features of one step: W words of the instruction and E elements of the page.

    `words` `[W, 5]` and `elements` `[E, 13]` are integers (uint8), below WORD_SIZES and ELEMENT_SIZES;
    `amounts` float32 `[E, AMOUNTS]`; `parents` int64 `[E]`, -1 for none. `instruction` (a bag a word), `text`
    and `value` are bags of word rows; `attributes` and `beside` (words around the match in the instruction)
    bags of rows below ATTRIBUTES; `group` bags of elements (see `element_groups.groups`).
    """

    words: np.ndarray
    instruction: IndexBags
    elements: np.ndarray
    amounts: np.ndarray
    parents: np.ndarray
    text: IndexBags
    value: IndexBags
    attributes: IndexBags
    beside: IndexBags
    group: IndexBags


def tokens_of(sentence: str) -> tuple[str, ...]:
    """Split a sentence into lower-case words, numbers and single punctuation marks; cached if it is short."""
    if len(sentence) <= _LONGEST_CACHED:
        return _cached_tokens(sentence)
    return tuple(_TOKEN.findall(sentence.lower()))


@lru_cache(maxsize=65536)
def _cached_tokens(sentence: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(sentence.lower()))


@lru_cache(maxsize=4096)
def places_of(sentence: str) -> tuple[tuple[int, int], ...]:
    """Return the (begin, end) character offsets of each token."""
    # of the sentence as it stands: lower-casing may change its length
    return tuple(match.span() for match in _TOKEN.finditer(sentence))


def extract_features(instruction: str, document: str) -> PageFeatures:
    """Return the features of a page (JSON of `envs.web.observation`) and its instruction; cached."""
    return _cached_features(instruction, document)


def _extract(instruction: str, document: str) -> PageFeatures:
    page = read_columns(document)
    words = tokens_of(instruction)
    query = _Instruction(instruction.lower(), words)
    texts = [(text or "").lower().strip() for text in page["text"]]
    values = [None if value is None else str(value).lower().strip() for value in page["value"]]
    text_words = [tokens_of(text)[:_TEXT] for text in texts]
    value_words = [tokens_of(value or "")[:_VALUE] for value in values]
    children = np.bincount([parent for parent in page["parent"] if parent >= 0], minlength=len(texts))
    amounts = np.array(
        [query.matches(*args) for args in zip(texts, values, text_words, value_words, strict=True)]
    )
    # column 10 of `matches`: needs the whole page
    amounts[:, 10] = children == 0
    patches = _has_color_features(page, texts, children)[:, None]
    # transparent black where color features are withheld
    back, front = (rgba_of(page[side]) * patches for side in ("bg", "fg"))
    named = named_in(words)
    colors = [back / 255, front / 255, likeness(back, named), likeness(front, named)]
    is_named = np.array(
        [[query.names(attribute) for attribute in page[name]] for name in ("tag", "id", "classes")]
    ).T
    # elements of one kind share tag and classes, as the rows of a list do
    kinds = [
        (tag, _stable_classes(classes)) for tag, classes in zip(page["tag"], page["classes"], strict=True)
    ]
    kind_counts, is_extreme = crowd_of(kinds), extremes(kinds, texts)
    count_named = np.array([[query.says(str(count))] for count in kind_counts.tolist()])
    return PageFeatures(
        words=query.words(text_words, value_words),
        instruction=_bags_of_words([[word] for word in words] or [[]]),
        elements=_element_integers(
            page, text_words, value_words, children, (sort_of(back), sort_of(front)), kind_counts
        ),
        amounts=np.concatenate([amounts, *colors, is_named, is_extreme, count_named], 1).astype(np.float32),
        parents=np.array(page["parent"], np.int64),
        text=_bags_of_words(text_words),
        value=_bags_of_words(value_words),
        attributes=_bags(
            [_attribute_rows(*args) for args in zip(page["tag"], page["id"], page["classes"], strict=True)]
        ),
        beside=_bags([query.beside(*args) for args in zip(texts, text_words, strict=True)]),
        group=_bags(groups(page["parent"], [bool(text) for text in texts])),
    )


_cached_features = FeatureCache(_extract, lambda: process_bytes() // CACHE_SHARE)


def _has_color_features(page: dict[str, Any], texts: Sequence[str], children: np.ndarray) -> np.ndarray:
    """Return which elements get color features, bool `[E]`: drawn ones and plain patches of color.

    Pages highlight elements under the pointer before people click. A policy with these colors would learn to
    click highlighted elements, and find none when it acts itself.
    """
    # jQuery UI widgets change color under the pointer
    styled = [classes.startswith("ui-") or " ui-" in classes for classes in page["classes"]]
    written = [bool(text) or value is not None for text, value in zip(texts, page["value"], strict=True)]
    return _is_drawn(page) | ~(np.array(styled) | np.array(written) | (children > 0))


def _is_drawn(page: dict[str, Any]) -> np.ndarray:
    return np.array([tag != "t" and tag == tag.lower() for tag in page["tag"]])


class _Instruction:
    """An instruction with an index of its words."""

    def __init__(self, sentence: str, words: tuple[str, ...]) -> None:
        self._sentence, self._words = sentence, words
        self._index: dict[str, list[int]] = {}
        for place, word in enumerate(words):
            self._index.setdefault(_plain(word), []).append(place)
        self._quoted = {quote.strip() for quote in _QUOTED.findall(sentence)} - {""}

    def matches(self, text: str, value: str | None, read: Sequence[str], held: Sequence[str]) -> list[float]:
        """Return 15 features: overlap of an element's text and value with the instruction, and their size."""
        # punctuation matches by chance
        spoken = [word for word in read if word[0].isalnum()]
        numbers = [number for word in read if (number := _number(word)) < 100]
        return [
            sum(_plain(word) in self._index for word in spoken) / max(1, len(spoken)),
            bool(text) and text in self._sentence,
            text in self._quoted,
            min(sum(_plain(word) in self._index for word in read), 8) / 8,
            bool(value) and (value or "") in self._sentence,
            (value or "") in self._quoted,
            value is None,
            bool(value),
            bool(read),
            len(read) / _TEXT,
            0.0,
            bool(numbers),
            numbers[0] / 32 if numbers else 0.0,
            bool(text) and any(text.startswith(quote) for quote in self._quoted),
            bool(text) and any(text.endswith(quote) for quote in self._quoted),
        ]

    def says(self, word: str) -> bool:
        """Return whether a word is in the instruction."""
        return word in self._index

    def names(self, name: str) -> bool:
        """Return whether the instruction has a word of a tag, id or class list, such as checkbox or menu."""
        # words of one or two letters match by chance
        return any(word in self._index for word in tokens_of(name) if len(word) > 2)

    def beside(self, text: str, read: tuple[str, ...]) -> list[int]:
        """Return rows for the words around the first match of the element's text, or of a word of it."""
        size, begin = len(read), None
        if read and text in self._sentence:
            begin = next(
                (i for i in self._index.get(_plain(read[0]), ()) if self._words[i : i + size] == read), None
            )
        if begin is None:
            size, begin = 1, next((hits[0] for word in read if (hits := self._index.get(_plain(word)))), None)
        if begin is None:
            return [_hash_row("alone")]
        # 3 words before the match, 2 behind it, each marked with its distance
        before = [(n, begin - n) for n in (1, 2, 3) if begin >= n]
        after = [(-n, begin + size + n) for n in (0, 1) if begin + size + n < len(self._words)]
        names = [_hash_row(f"{n} {self._words[place]}") for n, place in before + after]
        return [*names, _hash_row(f"at {min(begin, 30)}")]

    def words(self, read: Sequence[Sequence[str]], held: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the integers of the instruction's words, uint8 `[W, 5]`."""
        texts, values = _counts(read), _counts(held)
        rows, quoted = [], False
        for place, word in enumerate(self._words):
            # a quotation mark toggles; the closing one is outside
            quoted ^= word == '"'
            plain = _plain(word)
            row = (min(place, 63), min(texts.get(plain, 0), 3), min(values.get(plain, 0), 2), int(quoted))
            rows.append((*row, _number(word)))
        return np.array(rows or [(0, 0, 0, 0, 100)], np.uint8)


def _element_integers(
    page: dict[str, Any],
    read: Sequence[Sequence[str]],
    held: Sequence[Sequence[str]],
    children: np.ndarray,
    colors: Sequence[np.ndarray],
    kind_counts: np.ndarray,
) -> np.ndarray:
    depth: list[int] = []
    sibling_index: list[int] = []
    siblings: dict[tuple[int, str], int] = {}
    for parent, tag in zip(page["parent"], page["tag"], strict=True):
        depth.append(depth[parent] + 1 if parent >= 0 else 0)
        sibling_index.append(siblings.get((parent, tag), 0))
        # the index counts siblings of the same tag only
        siblings[parent, tag] = sibling_index[-1] + 1
    # highlighting adds a border: resolution is 4 px for drawn elements, 8 px for others
    fine = np.where(_is_drawn(page), 1, 2)
    boxes = [
        np.rint(np.array(page[side], float) / 4 / fine) * fine + 2
        for side in ("left", "top", "width", "height")
    ]
    columns: list[np.ndarray | list[int]] = [
        *boxes,
        # without TAMPERED: few recordings have it
        *(sibling_index, depth, children, np.array(page["flags"]) & ~TAMPERED),
        *colors,
        *([_number(words[0]) if words else 100 for words in tokens] for tokens in (read, held)),
        kind_counts,
    ]
    return np.clip(np.stack(columns, 1), 0, np.array(ELEMENT_SIZES) - 1).astype(np.uint8)


def _number(word: str) -> int:
    """Return a word's number if it is below 100, else 100; months are 1 to 12."""
    plain = _plain(word)
    return min(int(plain), 100) if plain.isdecimal() and len(plain) < 4 else 100


@lru_cache(maxsize=65536)
def _plain(word: str) -> str:
    """Normalize a word for comparison: `07` and `July` become `7`."""
    if word in _MONTHS:
        return str(1 + _MONTHS.index(word))
    return word.lstrip("0") or "0" if word.isdecimal() else word


def _counts(lists: Sequence[Sequence[str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for words in lists:
        for word in map(_plain, words):
            counts[word] = counts.get(word, 0) + 1
    return counts


def _attribute_rows(tag: str, identity: str, classes: str) -> list[int]:
    names = [f"tag {tag.lower()}"]
    names += [f"id {word}" for word in tokens_of(identity)]
    names += [f"class {word}" for name in _stable_classes(classes) for word in tokens_of(name)]
    return [_hash_row(name) for name in names]


def _stable_classes(classes: str) -> tuple[str, ...]:
    return tuple(name for name in classes.split() if not _STATE_CLASS.search(name))


@lru_cache(maxsize=65536)
def _hash_row(name: str) -> int:
    return zlib.crc32(name.encode()) % ATTRIBUTES


@lru_cache(maxsize=65536)
def _word_rows(word: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    # one name for all n-grams of a word, so that they shift together in augmentation
    rows = buckets_of(word)
    return rows, (zlib.crc32(word.encode()) % NAMES,) * len(rows)


def _bags_of_words(lists: Sequence[Sequence[str]]) -> IndexBags:
    """Return bags of word rows; an empty bag holds row 0."""
    word_rows = [[_word_rows(word) for word in words] or [((0,), (0,))] for words in lists]
    bags = _bags([[row for rows, _ in words for row in rows] for words in word_rows])
    names = [name for words in word_rows for _, word_names in words for name in word_names]
    return replace(bags, names=np.array(names, np.int16))


def _bags(lists: Sequence[Sequence[int]]) -> IndexBags:
    sizes = np.array([len(rows) for rows in lists], np.int64)
    return IndexBags(
        np.array([index for rows in lists for index in rows], np.int16), np.cumsum(sizes) - sizes
    )
