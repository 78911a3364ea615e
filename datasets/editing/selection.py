"""Select episodes of a store by id, task, demonstrator, outcome, tag, mark, length or text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ...console.printable import printable
from ...console.wording import counted
from ...errors import TutelageError, nearest
from ..trajectory import KINDS
from .annotations import Annotation, Annotations

SHORTEST_PREFIX = 6
"""Fewest characters of an episode's id that may stand for it, if they are unambiguous."""


@dataclass(frozen=True)
class Selection:
    """Conditions on episodes; all must hold. Of a list, one entry must match.

    `text` is searched, word by word and ignoring case, in ids, tasks, demonstrators, environments, notes and
    tags. `success` None selects all outcomes, `unrated` those whose success is unknown.
    """

    episodes: Sequence[str] = ()
    tasks: Sequence[str] = ()
    demonstrators: Sequence[str] = ()
    kinds: Sequence[str] = ()
    tags: Sequence[str] = ()
    success: bool | None = None
    unrated: bool = False
    marked: bool | None = None
    shortest: int | None = None
    longest: int | None = None
    text: str = ""
    everything: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no condition is given."""
        return self == Selection()

    def rows(self, episodes: pa.Table, annotations: Annotations) -> list[int]:
        """Return the indices of the selected SUMMARY rows, in order.

        Raises TutelageError for an id, task, demonstrator or kind that the rows do not have.
        """
        names = {name: episodes[name].to_pylist() for name in ("episode", "task", "demonstrator", "kind")}
        ids = frozenset(full_id(prefix, names["episode"]) for prefix in self.episodes)
        for column, requested in (("task", self.tasks), ("demonstrator", self.demonstrators)):
            _check_names(column, requested, names[column])
        _check_names("kind", self.kinds, KINDS)
        words = self.text.casefold().split()
        texts = searchable(episodes, annotations) if words else []
        success, steps = episodes["success"].to_pylist(), episodes["steps"].to_pylist()
        return [
            index
            for index, episode in enumerate(names["episode"])
            if (not ids or episode in ids)
            and (not self.tasks or names["task"][index] in self.tasks)
            and (not self.demonstrators or names["demonstrator"][index] in self.demonstrators)
            and (not self.kinds or names["kind"][index] in self.kinds)
            and (self.success is None or success[index] == self.success)
            and (not self.unrated or success[index] is None)
            and (self.shortest is None or steps[index] >= self.shortest)
            and (self.longest is None or steps[index] <= self.longest)
            and self._fits(annotations[episode])
            and (not words or all(word in texts[index] for word in words))
        ]

    def _fits(self, annotation: Annotation) -> bool:
        is_tagged = not self.tags or any(tag in annotation.tags for tag in self.tags)
        return is_tagged and (self.marked is None or annotation.marked == self.marked)


def full_id(prefix: str, episodes: Iterable[str]) -> str:
    """Return the unique episode id with this prefix; raises TutelageError unless there is exactly one."""
    matches = []
    for episode in episodes:
        if episode == prefix:
            return prefix
        if len(prefix) >= SHORTEST_PREFIX and episode.startswith(prefix):
            matches.append(episode)
    if len(matches) != 1:
        matched = "no episode" if not matches else counted(len(matches), "episode")
        raise TutelageError(
            f"expected the id of an episode here, or at least {SHORTEST_PREFIX} characters that begin it, "
            f"got {printable(prefix)!r}, which fits {matched}"
        )
    return matches[0]


def searchable(episodes: pa.Table, annotations: Annotations) -> list[str]:
    """Return the searchable text of each SUMMARY row, in lower case."""
    columns = [episodes[name].to_pylist() for name in ("episode", "task", "demonstrator", "env", "notes")]
    texts = []
    for row in zip(*columns, strict=True):
        annotation = annotations[row[0]]
        texts.append("\n".join((*row, annotation.note, *annotation.tags)).casefold())
    return texts


def _check_names(column: str, requested: Sequence[str], names: Sequence[str]) -> None:
    valid = sorted(set(names))
    for name in requested:
        if name not in valid:
            listed = ", ".join(printable(value) for value in valid[:8]) + (", …" if len(valid) > 8 else "")
            raise TutelageError(
                f"expected a {column} of the store ({listed}), got {printable(name)!r}{nearest(name, valid)}"
            )
