"""Notes, tags and marks on the episodes of a store: one file beside the parts, which the manifest names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...console.printable import printable
from ...errors import TutelageError
from ...files.atomic_files import write_whole
from ...files.bounded_files import parse_json, read_bytes
from ...files.finite_json import json_text
from ..manifest import Manifest

LONGEST_NOTE = 4000
LONGEST_TAG = 40
MOST_TAGS = 32
VERSION = 1
_TAG = re.compile(r"[^\W_][\w.+:/-]*(?: [\w.+:/-]+)*")
_EPISODE = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True)
class Annotation:
    """What a person wrote about one episode; `marked` asks for its removal.

    Raises TutelageError for what is too long, and for a tag that is none.
    """

    note: str = ""
    tags: tuple[str, ...] = ()
    marked: bool = False

    def __post_init__(self) -> None:
        if len(self.note) > LONGEST_NOTE:
            raise TutelageError(
                f"expected a note of at most {LONGEST_NOTE} characters, got {len(self.note)}; shorten it"
            )
        if len(self.tags) > MOST_TAGS:
            raise TutelageError(
                f"expected at most {MOST_TAGS} tags on an episode, got {len(self.tags)}; remove some"
            )
        for tag in self.tags:
            check_tag(tag)

    @property
    def is_empty(self) -> bool:
        return self == Annotation()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON, without what is empty."""
        document = {"note": self.note, "tags": list(self.tags), "marked": self.marked}
        return {name: value for name, value in document.items() if value}

    @classmethod
    def from_dict(cls, document: Any) -> Annotation:
        """Read what `to_dict` returned; raises TutelageError for anything else."""
        if not isinstance(document, dict) or document.keys() - {"note", "tags", "marked"}:
            raise TutelageError("expected note, tags and marked of an episode, got something else")
        note, tags, marked = document.get("note", ""), document.get("tags", []), document.get("marked", False)
        is_typed = isinstance(note, str) and isinstance(tags, list) and isinstance(marked, bool)
        if not is_typed or not all(isinstance(tag, str) for tag in tags):
            raise TutelageError("expected a text, a list of texts and a truth value, got something else")
        _check_unicode(note)
        return cls(note, tuple(sorted(set(tags))), marked)


@dataclass(frozen=True)
class Annotations:
    """All annotations of a store by episode, and the ids of episodes that were deleted on purpose.

    `tutelage repair` brings none of the deleted ones back from the journal.
    """

    episodes: Mapping[str, Annotation] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()

    def __getitem__(self, episode: str) -> Annotation:
        return self.episodes.get(episode, Annotation())

    def changed(self, changes: Mapping[str, Annotation]) -> Annotations:
        """Return these with other annotations of some episodes; an empty one is left out."""
        episodes = {**self.episodes, **changes}
        return replace(self, episodes={name: text for name, text in episodes.items() if not text.is_empty})

    def without(self, episodes: Iterable[str], words: Iterable[str] = ()) -> Annotations:
        """Return these without some episodes, and without notes and tags in which one of the words stands."""
        gone, words = frozenset(episodes), tuple(words)
        return self.changed(
            {
                name: Annotation() if name in gone else cleared(annotation, words)
                for name, annotation in self.episodes.items()
            }
        )

    def encode(self) -> bytes:
        """Return the bytes of the file; none where there is nothing to keep."""
        if not self.episodes and not self.deleted:
            return b""
        document = {
            "version": VERSION,
            "episodes": {name: self.episodes[name].to_dict() for name in sorted(self.episodes)},
            "deleted": sorted(self.deleted),
        }
        return json_text(document, is_ascii=False, is_compact=True).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes, where: str) -> Annotations:
        """Read what `encode` wrote; raises TutelageError for anything else."""
        document = parse_json(data, where)
        if not isinstance(document, dict) or document.get("version") != VERSION:
            raise TutelageError(f"expected annotations of version {VERSION} in {where}, got others; update")
        episodes, deleted = document.get("episodes"), document.get("deleted")
        if not isinstance(episodes, dict) or not isinstance(deleted, list):
            raise TutelageError(f"expected episodes and deleted in {where}, got something else")
        if not all(isinstance(name, str) and _EPISODE.fullmatch(name) for name in (*episodes, *deleted)):
            raise TutelageError(f"expected ids of episodes in {where}, got something else")
        return cls(
            {name: Annotation.from_dict(value) for name, value in episodes.items()}, frozenset(deleted)
        )


def cleared(annotation: Annotation, words: tuple[str, ...]) -> Annotation:
    """Return an annotation without its note and tags where a word stands in them."""
    holds = any(word in annotation.note for word in words)
    tags = tuple(tag for tag in annotation.tags if not any(word in tag for word in words))
    return replace(annotation, note="" if holds else annotation.note, tags=tags)


def check_tag(tag: str) -> str:
    """Return a tag; raises TutelageError unless it is short, and words of letters, digits and . + : / - _."""
    if len(tag) > LONGEST_TAG or not _TAG.fullmatch(tag):
        raise TutelageError(
            f"expected a tag of at most {LONGEST_TAG} letters, digits and . + : / - _, "
            f"got {printable(tag[:80])!r}"
        )
    return tag


def annotations_name(sha256: str) -> str:
    """Return the name of the file whose SHA-256 a manifest gives."""
    return f"annotations-{sha256[:16]}.json"


def read_annotations(folder: Path, manifest: Manifest) -> Annotations:
    """Read the annotations that a manifest names.

    Raises FileNotFoundError when the file is gone, TutelageError when it is damaged.
    """
    if not manifest.annotations:
        return Annotations()
    path = folder / annotations_name(manifest.annotations)
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != manifest.annotations:
        raise TutelageError(
            f"expected {path} as it was written, got other bytes: it is damaged; mend it with "
            f"`tutelage repair {folder}`"
        )
    return Annotations.decode(data, str(path))


def write_annotations(folder: Path, annotations: Annotations) -> str:
    """Write the file of some annotations; returns its SHA-256, "" where there is nothing to write."""
    data = annotations.encode()
    if not data:
        return ""
    digest = hashlib.sha256(data).hexdigest()
    write_whole(folder / annotations_name(digest), data)
    return digest


def sweep_annotations(folder: Path, manifest: Manifest) -> None:
    """Remove files of annotations that the manifest does not name; the caller holds the lock."""
    for path in folder.glob("annotations-*.json"):
        if not manifest.annotations or path.name != annotations_name(manifest.annotations):
            path.unlink(missing_ok=True)


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TutelageError("expected a note of Unicode text, got half of a letter") from None
