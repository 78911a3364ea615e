"""Which episodes of a store are meant: by id, task, demonstrator, outcome, tag, mark, length or text."""

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
"""How many characters of an episode's id are enough, where no other episode begins with them."""


@dataclass(frozen=True)
class Selection:
    """Conditions on episodes; those that are given must all hold. Of a list, one entry is enough.

    `text` is looked for, word by word and without regard to case, in ids, tasks, demonstrators, environments,
    notes and tags. `success` None takes all outcomes, `unrated` those whose success is not known.
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
        """Return the indices of the SUMMARY rows that are meant, in order.

        Raises TutelageError for an id, task, demonstrator or kind that the rows do not have.
        """
        names = {name: episodes[name].to_pylist() for name in ("episode", "task", "demonstrator", "kind")}
        ids = frozenset(full_id(given, names["episode"]) for given in self.episodes)
        for what, given in (("task", self.tasks), ("demonstrator", self.demonstrators)):
            _check_names(what, given, names[what])
        _check_names("kind", self.kinds, KINDS)
        words = self.text.casefold().split()
        texts = searchable(episodes, annotations) if words else []
        success, steps = episodes["success"].to_pylist(), episodes["steps"].to_pylist()
        return [
            at
            for at, episode in enumerate(names["episode"])
            if (not ids or episode in ids)
            and (not self.tasks or names["task"][at] in self.tasks)
            and (not self.demonstrators or names["demonstrator"][at] in self.demonstrators)
            and (not self.kinds or names["kind"][at] in self.kinds)
            and (self.success is None or success[at] == self.success)
            and (not self.unrated or success[at] is None)
            and (self.shortest is None or steps[at] >= self.shortest)
            and (self.longest is None or steps[at] <= self.longest)
            and self._fits(annotations[episode])
            and (not words or all(word in texts[at] for word in words))
        ]

    def _fits(self, annotation: Annotation) -> bool:
        is_tagged = not self.tags or any(tag in annotation.tags for tag in self.tags)
        return is_tagged and (self.marked is None or annotation.marked == self.marked)


def full_id(given: str, episodes: Iterable[str]) -> str:
    """Return the id that is given, or that begins so; raises TutelageError unless there is one."""
    matches = []
    for episode in episodes:
        if episode == given:
            return given
        if len(given) >= SHORTEST_PREFIX and episode.startswith(given):
            matches.append(episode)
    if len(matches) != 1:
        got = "no episode" if not matches else counted(len(matches), "episode")
        raise TutelageError(
            f"expected the id of an episode here, or at least {SHORTEST_PREFIX} characters that begin it, "
            f"got {printable(given)!r}, which fits {got}"
        )
    return matches[0]


def searchable(episodes: pa.Table, annotations: Annotations) -> list[str]:
    """Return for each SUMMARY row the text in which words are looked for, in lower case."""
    columns = [episodes[name].to_pylist() for name in ("episode", "task", "demonstrator", "env", "notes")]
    texts = []
    for row in zip(*columns, strict=True):
        annotation = annotations[row[0]]
        texts.append("\n".join((*row, annotation.note, *annotation.tags)).casefold())
    return texts


def _check_names(what: str, given: Sequence[str], names: Sequence[str]) -> None:
    there = sorted(set(names))
    for name in given:
        if name not in there:
            shown = ", ".join(printable(other) for other in there[:8]) + (", …" if len(there) > 8 else "")
            raise TutelageError(
                f"expected a {what} of the store ({shown}), got {printable(name)!r}{nearest(name, there)}"
            )
