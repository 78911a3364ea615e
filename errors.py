"""The one kind of error that is the user's to mend: shown in one line, with exit status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TutelageError(ValueError):
    """What was expected, what was found, what to do about it, in one sentence or two."""


NEAR = 0.7
"""How alike two words must be for one to be offered in the other's place: three letters in four."""


class EnvironmentFailure(TutelageError):
    """What an environment, or another package's player, raised, or needs and did not get: its own fault."""


def brief(value: object, most: int = 80) -> str:
    """Return a value as it is written in Python, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest of `allowed` that is really near, or an empty string."""
    near = closest(name, allowed)
    return f"; did you mean {near!r}?" if near else ""


def closest(name: str, allowed: Iterable[str], cutoff: float = NEAR) -> str:
    """Return the closest of `allowed` to a name, where one is at least as alike as `cutoff` says; else ""."""
    close = difflib.get_close_matches(str(name), [str(text) for text in allowed], n=1, cutoff=cutoff)
    return close[0] if close else ""
