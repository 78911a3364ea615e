"""Validation of language files: a study folder may contain its own.

Covers: missing and retyped keys, templates that contain more than a name (attributes, widths), slow patterns.
Does not cover: what the sentences say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import TutelageError, brief

Sentences = tuple[tuple[re.Pattern[str], str], ...]

LONGEST_PHRASE = 300
"""Largest number of characters of a phrase that patterns are tried on."""
_LONGEST_PATTERN, _MOST_GROUPS, _MOST_REPEATS, _MOST_SENTENCES = 300, 5, 3, 200
_BRACES = re.compile(r"\{(\w+)\}")
_PLAIN_PATTERN = re.compile(r"(?:\\[^\w\s]|\(\?:|\((?!\?)|\)(?![*+?{])|[^\\(){}])*")
"""Only escapes of punctuation, only plain groups, and no repeated group."""


def texts_of(document: Any, where: str) -> dict[str, str | dict[str, str]]:
    """Return the page texts by key, plural forms as a mapping; raises TutelageError for any other type."""
    page = document.get("page") if isinstance(document, dict) else None
    if not isinstance(page, dict):
        raise TutelageError(f"{where}: expected the keys language, page, words and sentences")
    if not isinstance(document.get("language", ""), str):
        raise TutelageError(f"{where}: expected the language's own name, got {brief(document['language'])}")
    for key, text in page.items():
        forms = list(text.values()) if isinstance(text, dict) else [text]
        names = [*text, key] if isinstance(text, dict) else [key]
        if not forms or not all(isinstance(value, str) for value in (*forms, *names)):
            raise TutelageError(f"{where}: expected a text at {key!r}, got {brief(text)}")
        for form in forms:
            braces_of(form, f"{where}: {key!r}")
    return dict(page)


def words_of(document: Mapping[str, Any], where: str) -> dict[str, str]:
    """Return phrases and their translations; raises TutelageError for values that are not text."""
    words = document.get("words") or {}
    if not isinstance(words, dict) or not all(isinstance(text, str) for text in (*words, *words.values())):
        raise TutelageError(f"{where}: expected texts for texts at 'words', got {brief(words)}")
    return words


def sentences_of(document: Mapping[str, Any], where: str) -> Sentences:
    """Return pairs of pattern and sentence; raises TutelageError for invalid or slow patterns."""
    pairs = document.get("sentences") or []
    if not isinstance(pairs, list) or len(pairs) > _MOST_SENTENCES:
        raise TutelageError(
            f"{where}: expected a list of at most {_MOST_SENTENCES} pairs at 'sentences', got {brief(pairs)}"
        )
    return tuple(_compile_sentence(pair, where) for pair in pairs)


def braces_of(text: str, where: str) -> set[str]:
    """Return the names in braces; raises TutelageError for braces that contain more than a name."""
    if re.search(r"[{}]", _BRACES.sub("", text)):
        raise TutelageError(f"{where}: expected names alone in braces, such as {{count}}, got {brief(text)}")
    return set(_BRACES.findall(text))


def _compile_sentence(pair: Any, where: str) -> tuple[re.Pattern[str], str]:
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise TutelageError(f"{where}: expected [pattern, sentence] in 'sentences', got {brief(pair)}")
    text, sentence = pair
    repeats = sum(text.count(sign) for sign in "*+?") - text.count("(?:")
    try:
        is_plain = _PLAIN_PATTERN.fullmatch(text) is not None and len(text) <= _LONGEST_PATTERN
        pattern = re.compile(text if is_plain and repeats <= _MOST_REPEATS else "(")
    except (re.error, OverflowError, RecursionError):
        pattern = None
    if pattern is None or text.count("(") > _MOST_GROUPS:
        raise TutelageError(
            f"{where}: expected a pattern of words, (.+) and (one|another), with at most {_MOST_GROUPS} "
            f"groups and {_MOST_REPEATS} repeats, none of a group, got {brief(text)}"
        )
    numbers = {str(number) for number in range(pattern.groups + 1)}
    if not braces_of(sentence, where) <= numbers:
        raise TutelageError(f"{where}: expected groups of {brief(text)} in braces, got {brief(sentence)}")
    return pattern, sentence
