"""What a language's file may say: a study that is handed over may bring languages of its own.

Covers: missing and retyped keys, templates that do more than name what is filled in (attributes, widths),
patterns that take long to match. Does not cover: what the sentences say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import TutelageError, brief

Sentences = tuple[tuple[re.Pattern[str], str], ...]

LONGEST_PHRASE = 300
"""Letters of the longest phrase that patterns are tried on."""
_LONGEST_PATTERN, _MOST_GROUPS, _MOST_REPEATS, _MOST_SENTENCES = 300, 5, 3, 200
_BRACES = re.compile(r"\{(\w+)\}")
_PLAIN_PATTERN = re.compile(r"(?:\\[^\w\s]|\(\?:|\((?!\?)|\)(?![*+?{])|[^\\(){}])*")
"""No escapes but of punctuation, no groups but plain ones, and none that is repeated."""


def texts_of(document: Any, where: str) -> dict[str, str | dict[str, str]]:
    """Return the texts of the pages by key, plural forms as a mapping; raises TutelageError for others."""
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
    """Return phrases and their translations; raises TutelageError for other than texts."""
    words = document.get("words") or {}
    if not isinstance(words, dict) or not all(isinstance(text, str) for text in (*words, *words.values())):
        raise TutelageError(f"{where}: expected texts for texts at 'words', got {brief(words)}")
    return words


def sentences_of(document: Mapping[str, Any], where: str) -> Sentences:
    """Return patterns and what they become; raises TutelageError for what is none, or may take long."""
    listed = document.get("sentences") or []
    if not isinstance(listed, list) or len(listed) > _MOST_SENTENCES:
        raise TutelageError(
            f"{where}: expected a list of at most {_MOST_SENTENCES} pairs at 'sentences', got {brief(listed)}"
        )
    return tuple(_sentence(pair, where) for pair in listed)


def braces_of(text: str, where: str) -> set[str]:
    """Return the names in braces; raises TutelageError for braces with more than a name in them."""
    if re.search(r"[{}]", _BRACES.sub("", text)):
        raise TutelageError(f"{where}: expected names alone in braces, such as {{count}}, got {brief(text)}")
    return set(_BRACES.findall(text))


def _sentence(pair: Any, where: str) -> tuple[re.Pattern[str], str]:
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
