"""Errors that the user can fix: shown in one line, with exit status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TutelageError(ValueError):
    """The message says what was expected, what was found, and what to do, in one or two sentences."""


NEAR = 0.7
"""Minimal similarity (difflib ratio) of two words for a "did you mean"."""


class EnvironmentFailure(TutelageError):
    """An exception or a missing requirement of an environment, or of another package's player."""


def brief(value: object, most: int = 80) -> str:
    """Return the repr of a value, truncated to `most` characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest of `allowed` above NEAR, or an empty string."""
    near = closest(name, allowed)
    return f"; did you mean {near!r}?" if near else ""


def closest(name: str, allowed: Iterable[str], cutoff: float = NEAR) -> str:
    """Return the closest of `allowed` with similarity of at least `cutoff`, else ""."""
    close = difflib.get_close_matches(str(name), [str(text) for text in allowed], n=1, cutoff=cutoff)
    return close[0] if close else ""
