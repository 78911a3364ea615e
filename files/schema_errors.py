"""Errors of pydantic in our form: place, expected, got, nearest key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from ..errors import brief, nearest


def explain(detail: Any, model: type[BaseModel]) -> str:
    """Convert one of `ValidationError.errors()` of a model to a sentence.

    The place leaves out the names of a union's branches.
    """
    names = _without_branches(detail["loc"], model)
    place = ".".join(map(str, names))
    if detail["type"] == "extra_forbidden":
        allowed = allowed_keys(model, names[:-1])
        return f"unknown key {place!r}; allowed: {', '.join(allowed)}{nearest(str(names[-1]), allowed)}"
    if detail["type"] == "missing":
        return f"missing key {place!r}; add it"
    message = message_of(detail)
    return f"at {place!r}: {message}" + ("" if ", got " in message else f", got {brief(detail['input'])}")


def message_of(detail: Any) -> str:
    """Return the message of one of `ValidationError.errors()` without pydantic's own words."""
    message = re.sub(r"^Value error, | or instance of _\w+", "", detail["msg"])
    return message[:1].lower() + message[1:]


def allowed_keys(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """List the keys of the section at a place."""
    return list(_fields(_section(model, place)))


def _without_branches(place: Sequence[str | int], model: type[BaseModel]) -> list[str | int]:
    """Leave out the name of a branch, which pydantic adds after a field that is a union."""
    kept: list[str | int] = []
    is_after_union = False
    for part in place:
        if is_after_union:
            is_after_union = False
            continue
        kept.append(part)
        field = _fields(_section(model, kept[:-1])).get(part) if isinstance(part, str) else None
        is_after_union = field is not None and len(_branches(field.annotation)) > 1
    return kept


def _branches(annotation: Any) -> list[Any]:
    """Return the types of a union, None aside; one for any other annotation."""
    if get_origin(annotation) not in (Union, UnionType):
        return [annotation]
    return [branch for branch in get_args(annotation) if branch is not NoneType]


def _section(model: Any, place: Sequence[str | int]) -> Any:
    for part in place:
        if isinstance(part, int) or not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        fields = _fields(model)
        model = _model_in(fields[part].annotation) if part in fields else model
    return model


def _fields(model: Any) -> dict[str, Any]:
    """Return the fields of a model by the keys that a document has; {} for another type."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {}
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> Any:
    """Return the model within `Model | None`, `tuple[Model, ...]` or `dict[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inside = [_model_in(part) for part in getattr(annotation, "__args__", ())]
    return next((model for model in inside if model is not None), None)
