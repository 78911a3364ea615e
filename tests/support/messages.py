"""Messages that a page may send, drawn from what the protocol says of them; and others."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import Any, get_args

from hypothesis import strategies as st
from pydantic import BaseModel
from tutelage.crowd.seats.protocol import Message

words = st.text(max_size=40)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)


def values(annotation: Any, limits: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Draw what pydantic takes for an annotation with its limits, as far as messages have any."""
    bounds = {key: value for one in limits for key, value in _limits(one).items()}
    if getattr(annotation, "__metadata__", None):
        inner, *more = get_args(annotation)
        return values(inner, (*limits, *more))
    options = get_args(annotation)
    if annotation is bool:
        return st.booleans()
    if annotation is str and "pattern" in bounds:
        shaped = st.from_regex(bounds["pattern"], fullmatch=True)
        return shaped.filter(lambda one: bounds["min_length"] <= len(one) <= bounds["max_length"])
    if annotation is str:
        return st.text(min_size=bounds.get("min_length", 0), max_size=bounds.get("max_length", 100))
    if annotation is int:
        unit = bounds.get("multiple_of", 1)
        most = bounds.get("le", bounds.get("lt", 0) - 1)
        return st.integers(bounds["ge"] // unit, most // unit).map(lambda count: count * unit)
    if annotation is type(None):
        return st.none()
    if Ellipsis in options:
        return st.lists(values(options[0]), max_size=bounds.get("max_length", 10))
    if all(isinstance(one, str) for one in options):
        return st.sampled_from(options)
    return st.one_of(*(values(one, limits) for one in options))


def _limits(one: Any) -> dict[str, Any]:
    if (several := getattr(one, "metadata", None)) is not None:
        return {key: value for each in several for key, value in _limits(each).items()}
    names = ("ge", "gt", "le", "lt", "min_length", "max_length", "multiple_of", "pattern")
    return {name: getattr(one, name) for name in names if getattr(one, name, None) is not None}


@cache
def sound_messages(kind: str = "") -> st.SearchStrategy[dict[str, Any]]:
    """Draw messages that a page may send, all of one type or of any."""
    models: list[type[BaseModel]] = list(get_args(Message))
    drawn = []
    for model in models:
        needed = {
            name: values(one.annotation, tuple(one.metadata)) for name, one in model.model_fields.items()
        }
        may = {name: needed.pop(name) for name, one in model.model_fields.items() if not one.is_required()}
        shape = st.fixed_dictionaries(needed, optional=may)
        types = get_args(model.model_fields["type"].annotation)
        drawn += [shape.map(partial(_of_type, one)) for one in types if kind in ("", one)]
    return st.one_of(drawn)


def _of_type(kind: str, message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "type": kind}


unsound_messages = st.one_of(
    words,
    st.binary(max_size=300),
    anything.map(json.dumps),
    st.tuples(sound_messages(), words | st.sampled_from(("frame", "code", "type")), anything).map(
        lambda parts: json.dumps({**parts[0], parts[1]: parts[2]})
    ),
    sound_messages().map(lambda one: json.dumps(one)[:-1]),
    st.integers(4000, 12_000).map(lambda size: json.dumps({"type": "choose", "task": "x" * size})),
)
