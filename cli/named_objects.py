"""Objects that a command line names, whose modules are trusted: the person at the keyboard has named them."""

from __future__ import annotations

from collections.abc import Iterable

from ..foreign_code.objects import is_object_text, parse_text
from ..foreign_code.trust import trust

NONE = "none"


def trusting(names: Iterable[str]) -> list[str]:
    """Return the names as they are, after trusting the modules of those that are `module:Object`."""
    listed = list(names)
    specs = [
        parse_text(name, "what the command line names", names=None) for name in listed if is_object_text(name)
    ]
    trust([spec.module for spec in specs if spec.module])
    return listed


def named_actors(names: Iterable[str] | None) -> list[str]:
    """Return the actors that `--actor` names, all of ours where it names none."""
    from ..agents.evaluation.compare import ACTORS

    if names is None:
        return list(ACTORS)
    return trusting(name for name in names if name not in ("", NONE))
