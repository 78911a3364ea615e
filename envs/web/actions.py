"""`WebAction`: the action on a page shared by people, policies and importers; conversion to and from JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ...errors import TutelageError, nearest
from ...files.finite_json import json_text

Verb = Literal["click", "press", "double_click", "hover", "drag", "type", "key", "scroll", "wait"]
VERBS: tuple[Verb, ...] = get_args(Verb)
ELEMENTS = 2048
"""Maximal number of elements in an observation; further elements are not listed."""
TEXT = 200
"""Maximal length of a typed text, in characters."""
REACH = 4096
"""Maximal span of a drag or a scroll in pixels, and maximal duration of a `wait` in milliseconds."""
MODIFIERS = ("Alt", "Control", "Meta", "Shift")
NAMED_KEYS = (
    *("Tab", "Enter", "Escape", "Backspace", "Delete", "Insert", "Space"),
    *("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"),
    *(f"F{number}" for number in range(1, 13)),
)
KEYS = (*NAMED_KEYS, *map(chr, range(33, 127)))
"""Keys by their `KeyboardEvent.key`, except for the space character, which is called Space."""


@dataclass(frozen=True)
class WebAction:
    """One action on a page.

    `element` and `target` are indices into the observation's elements, -1 for none. `x, y` is the position
    inside the element, as fractions from its top left corner (relevant on pages with drawings).

    click         press and release at the element
    press         press and hold the button: the next action releases it first, unless it is a `hover`
    double_click  click twice
    hover         move the pointer there (with the button held after a `press`)
    drag          press at the element, move, release at `target` (`target_x, target_y` as `x, y`), or
                  `dx, dy` px from the start
    type          set the field to `text` (of a SELECT: choose the option with this label; of a date or time:
                  its value, as 2017-12-31 or 23:59); without an element, type at the caret.
                  `\\n` is Enter, `\\b` Backspace
    key           press `key`, such as Tab or Control+A, with the element focused, else in the current focus
    scroll        scroll the element by `amount` px, downwards if positive; without an element, the page
    wait          let `amount` ms pass
    """

    verb: Verb
    element: int = -1
    x: float = 0.5
    y: float = 0.5
    target: int = -1
    target_x: float = 0.5
    target_y: float = 0.5
    dx: float = 0.0
    dy: float = 0.0
    text: str = ""
    key: str = ""
    amount: int = 0

    def __post_init__(self) -> None:
        if self.verb not in VERBS:
            raise TutelageError(
                f"expected a verb of {', '.join(VERBS)}, got {self.verb!r}{nearest(self.verb, VERBS)}"
            )
        for name in ("element", "target", "amount"):
            object.__setattr__(self, name, operator.index(getattr(self, name)))  # accepts NumPy integers
        for name in ("x", "y", "target_x", "target_y", "dx", "dy"):
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("element", "target"):
            if not -1 <= getattr(self, name) < ELEMENTS:
                raise TutelageError(f"expected {name} from -1 to {ELEMENTS - 1}, got {getattr(self, name)}")
        for name in ("x", "y", "target_x", "target_y"):
            if not 0 <= getattr(self, name) <= 1:
                raise TutelageError(
                    f"expected {name} to be a fraction from 0 to 1, got {getattr(self, name)}"
                )
        for name in ("dx", "dy", "amount"):
            if not math.fabs(getattr(self, name)) <= REACH:
                raise TutelageError(f"expected {name} within {REACH}, got {getattr(self, name)}")
        if len(self.text) > TEXT or "\0" in self.text:
            raise TutelageError(f"expected at most {TEXT} characters and no NUL, got {self.text!r}")
        if (self.verb == "key") != bool(self.key):
            raise TutelageError(f"expected `key` for the verb key alone, got {self.key!r} for {self.verb}")
        if self.key:
            object.__setattr__(self, "key", spell(*split_key(self.key)))

    def __str__(self) -> str:
        """Return the text that the recorder's page shows: `click 4`, `type 2 'ann'`, `key Tab`."""
        words: list[str] = [self.verb]
        if self.element >= 0:
            words.append(str(self.element))
        if self.verb == "drag":
            words += ["to", str(self.target)] if self.target >= 0 else ["by", f"{self.dx:g},{self.dy:g}"]
        if self.verb == "type":
            words.append(repr(self.text))
        if self.key:
            words.append(self.key)
        if self.verb in ("scroll", "wait"):
            words.append(str(self.amount))
        return " ".join(words)


def to_json(action: WebAction) -> str:
    """Encode an action as one line of JSON; fields with default values are omitted."""
    return json_text(to_mapping(action), is_ascii=False)


def from_json(text: str) -> WebAction:
    """Decode the result of `to_json`; raises TutelageError for anything else."""
    try:
        return from_mapping(json.loads(text))
    except ValueError as error:
        raise TutelageError(f"expected a web action as JSON, got {text[:80]!r}: {error}") from None


def to_mapping(action: WebAction) -> dict[str, Any]:
    """Return the verb and the fields that differ from their defaults."""
    fields = {field.name: field.default for field in dataclasses.fields(WebAction)}
    values = {name: getattr(action, name) for name in fields}
    return {name: value for name, value in values.items() if name == "verb" or value != fields[name]}


def from_mapping(mapping: Any) -> WebAction:
    """Decode the result of `to_mapping`; raises TutelageError for unknown fields and wrong types."""
    kinds = {field.name: type(field.default) for field in dataclasses.fields(WebAction)} | {"verb": str}
    if not isinstance(mapping, dict) or "verb" not in mapping:
        raise TutelageError(
            f"expected a web action such as {{'verb': 'click', 'element': 3}}, got {mapping!r}"
        )
    for name, value in mapping.items():
        if name not in kinds:
            raise TutelageError(f"expected fields {', '.join(kinds)}, got {name!r}{nearest(name, kinds)}")
        fits = isinstance(value, int | float if kinds[name] is float else kinds[name])
        if isinstance(value, bool) or not fits:
            raise TutelageError(f"expected {name} to be a {kinds[name].__name__}, got {value!r}")
    return WebAction(**mapping)


def split_key(key: str) -> tuple[tuple[str, ...], str]:
    """Split `Control+Shift+A` into its modifiers, in the order of MODIFIERS, and the key.

    Raises TutelageError for a key that is not one of KEYS.
    """
    head, plus, last = key[:-1].rpartition("+")
    held, last = (head, last + key[-1:]) if plus else ("", key)
    modifiers = held.split("+") if held else []
    if last == " ":
        last = "Space"
    for modifier in modifiers:
        if modifier not in MODIFIERS:
            raise TutelageError(
                f"key {key!r}: expected modifiers {', '.join(MODIFIERS)}, got {modifier!r}"
                f"{nearest(modifier, MODIFIERS)}"
            )
    if last not in KEYS:
        raise TutelageError(
            f"expected a key such as Tab, a or Control+A, got {key!r}{nearest(last, NAMED_KEYS)}"
        )
    return tuple(modifier for modifier in MODIFIERS if modifier in modifiers), last


def spell(modifiers: tuple[str, ...], key: str) -> str:
    """Join modifiers and key, the inverse of `split_key`; the letter of a shortcut becomes upper case."""
    shortcut = any(modifier != "Shift" for modifier in modifiers)
    return "+".join((*modifiers, key.upper() if shortcut and len(key) == 1 else key))
