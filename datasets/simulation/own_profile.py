"""Profiles of simulated demonstrators by name: ours, or `package.module:PROFILE` of another package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ...errors import TutelageError, brief, nearest
from ...foreign_code.objects import ObjectSpec, parse_text
from .profiles import PROFILES, DemonstratorProfile

_FIELDS = {field.name: field for field in fields(DemonstratorProfile)}
_SHARES = ("slip", "give_up", "against", "misread")


def profile_of(name: str) -> DemonstratorProfile:
    """Return a profile of ours, or the one that a module of another package holds.

    That is a DemonstratorProfile, or a mapping of its fields; without a name, it is called after the object.
    Arguments, as in `{careful: {name: tired, give_up: 0.1}}`, take the place of fields. Raises Untrusted for
    a module that was not trusted, and TutelageError for what is no profile, or has the name of one of ours.
    """
    if name in PROFILES:
        return PROFILES[name]
    spec = parse_text(name, "a profile", PROFILES)
    held = PROFILES[spec.name] if spec.name in PROFILES else spec.load(who="--who")
    fields_held = asdict(held) if isinstance(held, DemonstratorProfile) else held
    profile = _from_mapping(fields_held, spec)
    if profile.name in PROFILES:
        raise TutelageError(
            f"expected {spec.name} to have a name of its own, got {profile.name!r}, one of ours; rename it"
        )
    return profile


def _from_mapping(held: Any, spec: ObjectSpec) -> DemonstratorProfile:
    name = spec.name
    if not isinstance(held, Mapping):
        raise TutelageError(
            f"expected {name} to be a DemonstratorProfile or a mapping of its fields "
            f"({', '.join(_FIELDS)}), got {brief(held)}"
        )
    values = {"name": spec.short_name.lower(), **held, **spec.kwargs}
    for key, value in values.items():
        if key not in _FIELDS:
            raise TutelageError(
                f"{name}: unknown field {key!r} of a profile; allowed: {', '.join(_FIELDS)}"
                f"{nearest(key, _FIELDS)}"
            )
        if key == "name":
            is_right = isinstance(value, str) and bool(value)
        else:
            is_right = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            is_right = is_right and (key not in _SHARES or value <= 1)
        if not is_right:
            kind = (
                "a text" if key == "name" else "a share from 0 to 1" if key in _SHARES else "a number from 0"
            )
            raise TutelageError(f"{name}: expected {key} of a profile to be {kind}, got {brief(value)}")
    return DemonstratorProfile(**values)
