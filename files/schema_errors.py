"""Errors of pydantic in our form: place, expected, got, nearest key."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo

from ..errors import TutelageError, brief, nearest

Model = TypeVar("Model")


def with_short_errors(model: type[Model]) -> type[Model]:
    """Let the constructor of a dataclass of pydantic raise TutelageError with one line (see `explain`)."""
    construct = model.__init__

    @functools.wraps(construct)
    def __init__(self: Any, /, *values: Any, **settings: Any) -> None:
        try:
            construct(self, *values, **settings)
        except ValidationError as error:
            raise TutelageError(explain(error.errors()[0], model)) from None

    model.__init__ = __init__  # type: ignore[assignment, method-assign]
    return model


def explain(detail: Any, model: type) -> str:
    """Convert one of `ValidationError.errors()` of a model, or dataclass of pydantic, to a sentence.

    The place leaves out the names of a union's branches.
    """
    names = _without_branches(_with_names(detail["loc"], model), model)
    place = ".".join(map(str, names))
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
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


def allowed_keys(model: type, place: Sequence[str | int]) -> list[str]:
    """List the keys of the section at a place."""
    return list(fields_of(_section(model, place)))


def fields_of(model: Any) -> dict[str, FieldInfo]:
    """Return the fields of a model or dataclass by the keys that a document has; {} for another type."""
    if is_pydantic_dataclass(model):
        fields = model.__pydantic_fields__
    elif isinstance(model, type) and issubclass(model, BaseModel):
        fields = model.model_fields
    else:
        return {}
    return {field.alias or name: field for name, field in fields.items()}


def _with_names(place: Sequence[str | int], model: type) -> Sequence[str | int]:
    """Replace the position of a value that a dataclass was given without a name by the field's name."""
    names = list(fields_of(model))
    if is_pydantic_dataclass(model) and isinstance(place[0], int) and place[0] < len(names):
        return [names[place[0]], *place[1:]]
    return place


def _without_branches(place: Sequence[str | int], model: type) -> list[str | int]:
    """Leave out the name of a branch, which pydantic adds after a field that is a union."""
    kept: list[str | int] = []
    is_after_union = False
    for part in place:
        if is_after_union:
            is_after_union = False
            continue
        kept.append(part)
        field = fields_of(_section(model, kept[:-1])).get(part) if isinstance(part, str) else None
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
        fields = fields_of(model)
        model = _model_in(fields[part].annotation) if part in fields else model
    return model


def _model_in(annotation: Any) -> Any:
    """Return the model within `Model | None`, `tuple[Model, ...]` or `dict[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inside = [_model_in(part) for part in getattr(annotation, "__args__", ())]
    return next((model for model in inside if model is not None), None)
