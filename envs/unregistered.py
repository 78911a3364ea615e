"""Environment ids that are not registered here: what is said of them, and which id is really near."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from ..errors import closest, nearest
from ..foreign_code.extras import advice_for, corrected

NEAR = 0.85
"""How alike two names must be, without their versions, for one to be offered in the other's place."""


def why_absent(env_id: str, registered: Collection[str]) -> str:
    """Say in one line why an id makes no environment here, and what would help; "" where it is registered."""
    if env_id in registered:
        return ""
    return f"expected a registered Gymnasium id, got {unregistered(env_id, registered)}"


def unregistered(env_id: str, registered: Iterable[str], others: Iterable[str] = ()) -> str:
    """Name an id that is not registered: what brings it, or what is near (`others` too), and the remedy."""
    if advice := advice_for(env_id):
        return f"{env_id!r}{advice}"
    near = nearest(env_id, others) or nearest_id(env_id, registered)
    if not near and (advice := corrected(env_id)):
        return f"{env_id!r}{advice}"
    return (
        f"{env_id!r}{near}; if another package registers it, install it and name its module: MODULE:{env_id}"
    )


def nearest_id(env_id: str, registered: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the id of nearly this name, in its latest version; else ""."""
    ids = {_name(registered_id): registered_id for registered_id in registered}
    near = closest(_name(env_id), ids, NEAR)
    return f"; did you mean {ids[near]!r}?" if near else ""


def _name(env_id: str) -> str:
    """Return what an id is called, without its version, which any two ids may share."""
    return re.sub(r"-v\d+$", "", env_id).casefold()
