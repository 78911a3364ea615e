"""Observation and action spaces of web tasks, and the conversion of a `WebAction` to a value of its space."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from ..spaces import JSONText
from .actions import ELEMENTS, KEYS, MODIFIERS, REACH, TEXT, VERBS, WebAction, spell, split_key
from .observation import COLUMNS, write_columns

SENTENCE = 1000
"""Maximal length of an instruction, in characters."""


class AnyText(spaces.Text):
    """Text of any characters up to a length; samples are ASCII."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length, min_length=0)

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length


class ElementTable(JSONText):
    """A page's elements as a JSON document of columns, see `observation.read_elements`."""

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        return write_columns({name: [] for name in COLUMNS})

    def contains(self, x: Any) -> bool:
        try:
            return isinstance(x, str) and set(json.loads(x)) == set(COLUMNS)
        except ValueError:
            return False


def observation_space(width: int, height: int, screenshot: bool = False) -> spaces.Dict:
    """Return the space of one observation."""
    parts: dict[str, spaces.Space[Any]] = {"instruction": AnyText(SENTENCE), "elements": ElementTable()}
    if screenshot:
        parts["screenshot"] = spaces.Box(0, 255, (height, width, 3), np.uint8)
    return spaces.Dict(parts)


def action_space() -> spaces.Dict:
    """Return the space of the values `to_value(action)`: numbers and the typed text."""
    return spaces.Dict(
        {
            "verb": spaces.Discrete(len(VERBS)),
            "element": spaces.Discrete(ELEMENTS + 1, start=-1),
            "point": spaces.Box(0, 1, (2,), np.float64),
            "target": spaces.Discrete(ELEMENTS + 1, start=-1),
            "target_point": spaces.Box(0, 1, (2,), np.float64),
            "span": spaces.Box(-REACH, REACH, (2,), np.float64),
            "amount": spaces.Box(-REACH, REACH, (), np.int64),
            "key": spaces.Discrete(len(KEYS)),
            "modifiers": spaces.Discrete(1 << len(MODIFIERS)),
            "text": AnyText(TEXT),
        }
    )


def to_value(action: WebAction) -> dict[str, Any]:
    """Encode an action as a value of `action_space()`, without loss."""
    held, key = split_key(action.key) if action.key else ((), KEYS[0])
    return {
        "verb": VERBS.index(action.verb),
        "element": action.element,
        "point": np.array([action.x, action.y]),
        "target": action.target,
        "target_point": np.array([action.target_x, action.target_y]),
        "span": np.array([action.dx, action.dy]),
        "amount": np.array(action.amount),
        "key": KEYS.index(key if key in KEYS else key.lower()),
        "modifiers": sum(1 << index for index, name in enumerate(MODIFIERS) if name in held),
        "text": action.text,
    }


def to_action(value: Mapping[str, Any]) -> WebAction:
    """Decode an action from a value of `action_space()`; the key is ignored unless the verb is key."""
    verb = VERBS[int(value["verb"])]
    held = tuple(name for index, name in enumerate(MODIFIERS) if int(value["modifiers"]) >> index & 1)
    x, y = map(float, value["point"])
    target_x, target_y = map(float, value["target_point"])
    dx, dy = map(float, value["span"])
    return WebAction(
        verb=verb,
        element=int(value["element"]),
        x=x,
        y=y,
        target=int(value["target"]),
        target_x=target_x,
        target_y=target_y,
        dx=dx,
        dy=dy,
        text=str(value["text"]),
        key=spell(held, KEYS[int(value["key"])]) if verb == "key" else "",
        amount=int(value["amount"]),
    )
