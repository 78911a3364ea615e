"""Page texts in each language, and translations of task words: keys, instructions, names."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import TutelageError, nearest
from ..files.bounded_files import parse_yaml, read_yaml
from ..files.finite_json import json_text
from .language_files import LONGEST_PHRASE, sentences_of, texts_of, words_of

ENGLISH = "en"
"""The language of suites, and the reference for all other languages."""

_DEEPEST = 8
_PATIENCE_SECONDS = 0.5
"""Time limit of a translation by patterns, which may apply one another for arbitrarily long."""


@dataclass(frozen=True)
class Translations:
    """One language: its own name, and every page text by key.

    A text is a sentence, or one sentence per plural form. `words` and `sentences` translate the texts of
    tasks: whole phrases, and patterns whose groups are translated in turn.
    """

    code: str
    name: str
    page: Mapping[str, str | Mapping[str, str]]
    words: Mapping[str, str] = field(default_factory=dict)
    sentences: tuple[tuple[re.Pattern[str], str], ...] = ()

    @cached_property
    def page_json(self) -> str:
        """The code and the page texts as JSON, for the page's script."""
        return json_text({"language": self.code, "page": self.page}, is_ascii=False)

    def say(self, key: str, **values: object) -> str:
        """Return a text without plural forms, with its placeholders filled in."""
        return str(self.page[key]).format_map(values)

    def knows(self, phrase: str) -> bool:
        """Say whether a phrase of a task has a translation in this language."""
        has_words = re.search("[A-Za-z]", phrase) is not None
        return self.code == ENGLISH or not has_words or self._translate(phrase, 0) is not None

    def phrase(self, phrase: str) -> str:
        """Translate a phrase of a task; returns the phrase itself if it has no translation."""
        translated = self._translate(phrase, 0)
        return phrase if translated is None else translated

    def _translate(self, phrase: str, depth: int, until: float | None = None) -> str | None:
        """Translate by words, then by patterns; None if neither matches, or on timeout."""
        if phrase in self.words:
            return self.words[phrase]
        until = time.monotonic() + _PATIENCE_SECONDS if until is None else until
        if depth >= _DEEPEST or len(phrase) > LONGEST_PHRASE:  # a pattern may yield its own input
            return None
        for pattern, sentence in self.sentences:
            if time.monotonic() > until:
                return None
            if (match := pattern.fullmatch(phrase)) is None:
                continue
            parts = [self._translate(part or "", depth + 1, until) for part in match.groups()]
            if None not in parts:
                return sentence.format(phrase, *parts)
        return None


def language_names(folder: Path | None = None) -> dict[str, str]:
    """List the available languages, code → own name; `folder` may contain more in `languages/`."""
    return {code: load_texts(code, folder).name for code in sorted(_files(folder))}


def load_texts(code: str, folder: Path | None = None, words: Mapping[str, str] | None = None) -> Translations:
    """Load a language by its code; `words` are a study's own translations and take precedence.

    Raises TutelageError for an unknown language, and for a file with a missing or unknown text.
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


def best_language(accept_language: str, offered: Iterable[str]) -> str:
    """Choose from `offered`, whose first is the default, by a browser's Accept-Language header."""
    languages = list(offered)
    ranked: list[tuple[float, int, str]] = []
    for position, part in enumerate(accept_language[:500].split(",")):
        name, _, weight = part.strip().partition(";q=")
        try:
            ranked.append((-float(weight or 1), position, name.strip().lower()))
        except ValueError:
            continue
    for _, _, name in sorted(ranked):
        for language in languages:
            if language.lower() == name or language.lower().split("-")[0] == name.split("-")[0]:
                return language
    return languages[0]


def _files(folder: Path | None) -> dict[str, Any]:
    shipped = resources.files(__package__).joinpath("languages")
    files: dict[str, Any] = {
        file.name.removesuffix(".yaml"): file for file in shipped.iterdir() if file.name.endswith(".yaml")
    }
    study_folder = folder / "languages" if folder else None
    if study_folder and study_folder.is_dir():
        files |= {file.stem: file for file in study_folder.glob("*.yaml")}
    return files


@lru_cache(maxsize=64)
def _load(code: str, file: Any) -> Translations:
    document = read_yaml(file) if isinstance(file, Path) else parse_yaml(file.read_text("utf-8"), str(file))
    page = texts_of(document, str(file))
    if file != _shipped_file(ENGLISH):
        _check_against_english(str(file), page)
    words, sentences = words_of(document, str(file)), sentences_of(document, str(file))
    return Translations(code, str(document.get("language", code)), page, words, sentences)


def _shipped_file(code: str) -> Any:
    return resources.files(__package__).joinpath("languages", f"{code}.yaml")


def _check_against_english(where: str, page: Mapping[str, Any]) -> None:
    """Check a translation against the English texts: the same keys, and the same placeholders in each."""
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
    text_forms = " ".join(text.values()) if isinstance(text, Mapping) else str(text)
    return set(re.findall(r"\{(\w+)\}", text_forms))
