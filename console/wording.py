"""Counts with their nouns: "1 episode", "2 episodes", "1,200 people"."""

from __future__ import annotations

_IRREGULAR = {"person": "people", "is": "are", "was": "were", "has": "have", "it": "they", "its": "their"}


def counted(count: int, noun: str) -> str:
    """Format a count with its noun, given in the singular: `counted(2, "saved episode")`."""
    return f"{count:,} {plural(noun) if count != 1 else noun}"


def plural(noun: str) -> str:
    """Return the plural of a noun, or of a phrase that ends in one; also of "is", "was" and "has"."""
    begin, space, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        word = _IRREGULAR[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        word = f"{last}es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        word = f"{last[:-1]}ies"
    else:
        word = f"{last}s"
    return f"{begin}{space}{word}"


def agreeing(count: int, word: str) -> str:
    """Return a verb or noun in agreement with a count: `agreeing(2, "was")` is "were"."""
    return word if count == 1 else plural(word)
