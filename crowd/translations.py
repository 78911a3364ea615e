"""The texts of the pages in each language, and the words of the tasks: keys, instructions, names."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import TutelageError, nearest
from ..files.bounded_files import parse_yaml, read_yaml
from .language_files import LONGEST_PHRASE, sentences_of, texts_of, words_of

ENGLISH = "en"
"""The language that suites are written in, and the one that every other is held against."""

_DEEPEST = 8
_PATIENCE_SECONDS = 0.5
"""Patterns that call one another may take any time: so long is tried."""


@dataclass(frozen=True)
class Translations:
    """One language: its own name, and every text of the pages by key.

    A text is a sentence, or a sentence for each plural form. `words` and `sentences` translate what the
    tasks say themselves: phrases as a whole, and patterns whose groups are translated in their turn.
    """

    code: str
    name: str
    page: Mapping[str, str | Mapping[str, str]]
    words: Mapping[str, str] = field(default_factory=dict)
    sentences: tuple[tuple[re.Pattern[str], str], ...] = ()

    def say(self, key: str, **values: object) -> str:
        """Return a text that has no plural forms, with its braces filled in."""
        return str(self.page[key]).format_map(values)

    def knows(self, phrase: str) -> bool:
        """Say whether a phrase of a task can be said in this language."""
        has_words = re.search("[A-Za-z]", phrase) is not None
        return self.code == ENGLISH or not has_words or self._translated(phrase, 0) is not None

    def phrase(self, phrase: str) -> str:
        """Say a phrase of a task in this language, or as it is when that cannot be done."""
        translated = self._translated(phrase, 0)
        return phrase if translated is None else translated

    def _translated(self, phrase: str, depth: int, until: float | None = None) -> str | None:
        """Translate by words, then by patterns; None where neither can, or not in time."""
        if phrase in self.words:
            return self.words[phrase]
        until = time.monotonic() + _PATIENCE_SECONDS if until is None else until
        if depth >= _DEEPEST or len(phrase) > LONGEST_PHRASE:  # a pattern that gives itself back
            return None
        for pattern, sentence in self.sentences:
            if time.monotonic() > until:
                return None
            if (match := pattern.fullmatch(phrase)) is None:
                continue
            parts = [self._translated(part or "", depth + 1, until) for part in match.groups()]
            if None not in parts:
                return sentence.format(phrase, *parts)
        return None


def language_names(folder: Path | None = None) -> dict[str, str]:
    """List the languages that pages speak, code → own name; `folder` may hold more in `languages/`."""
    return {code: load_texts(code, folder).name for code in sorted(_files(folder))}


def load_texts(code: str, folder: Path | None = None, words: Mapping[str, str] | None = None) -> Translations:
    """Load a language by its code; `words` are a study's own translations, which come first.

    Raises TutelageError for an unknown language, and for a file that lacks a text or has one too many.
    """
    files = _files(folder)
    if code not in files:
        raise TutelageError(
            f"expected a language of {', '.join(sorted(files))}, got {code!r}{nearest(code, files)}"
        )
    texts = _load(code, files[code])
    if not words:
        return texts
    return Translations(texts.code, texts.name, texts.page, {**texts.words, **words}, texts.sentences)


def best_language(wanted: str, offered: Iterable[str]) -> str:
    """Choose from `offered`, the first being the default, by a browser's Accept-Language."""
    languages = list(offered)
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(wanted[:500].split(",")):
        name, _, weight = part.strip().partition(";q=")
        try:
            ranked.append((-float(weight or 1), place, name.strip().lower()))
        except ValueError:
            continue
    for _, _, name in sorted(ranked):
        for one in languages:
            if one.lower() == name or one.lower().split("-")[0] == name.split("-")[0]:
                return one
    return languages[0]


def _files(folder: Path | None) -> dict[str, Any]:
    shipped = resources.files(__package__).joinpath("languages")
    found: dict[str, Any] = {
        one.name.removesuffix(".yaml"): one for one in shipped.iterdir() if one.name.endswith(".yaml")
    }
    beside = folder / "languages" if folder else None
    if beside and beside.is_dir():
        found |= {one.stem: one for one in beside.glob("*.yaml")}
    return found


@lru_cache(maxsize=64)
def _load(code: str, file: Any) -> Translations:
    document = read_yaml(file) if isinstance(file, Path) else parse_yaml(file.read_text("utf-8"), str(file))
    page = texts_of(document, str(file))
    if file != _shipped(ENGLISH):
        _compare(str(file), page)
    words, sentences = words_of(document, str(file)), sentences_of(document, str(file))
    return Translations(code, str(document.get("language", code)), page, words, sentences)


def _shipped(code: str) -> Any:
    return resources.files(__package__).joinpath("languages", f"{code}.yaml")


def _compare(where: str, page: Mapping[str, Any]) -> None:
    """Hold a translation against the English texts: the same keys, and the same braces in each."""
    english = load_texts(ENGLISH).page
    if missing := [key for key in english if key not in page]:
        raise TutelageError(f"{where}: expected every text of the pages, got none for {', '.join(missing)}")
    if extra := [key for key in page if key not in english]:
        raise TutelageError(f"{where}: expected texts that the pages have, got {extra[0]!r}"
                            f"{nearest(extra[0], english)}")  # fmt: skip
    for key, text in page.items():
        if not _braces(text) <= _braces(english[key]):
            raise TutelageError(f"{where}: expected the braces of the English text at {key!r}, got {text!r}")


def _braces(text: str | Mapping[str, str]) -> set[str]:
    every = " ".join(text.values()) if isinstance(text, Mapping) else str(text)
    return set(re.findall(r"\{(\w+)\}", every))
