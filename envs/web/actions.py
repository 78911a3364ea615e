"""What is done to a page: one `WebAction` for a person, a policy and an importer; as JSON and back."""

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
"""Elements of an observation at most; what lies beyond is not listed."""
TEXT = 200
"""Characters of a typed text at most."""
REACH = 4096
"""Pixels that a drag or a scroll spans at most, and milliseconds that a `wait` lasts at most."""
MODIFIERS = ("Alt", "Control", "Meta", "Shift")
NAMED_KEYS = (
    *("Tab", "Enter", "Escape", "Backspace", "Delete", "Insert", "Space"),
    *("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"),
    *(f"F{number}" for number in range(1, 13)),
)
KEYS = (*NAMED_KEYS, *map(chr, range(33, 127)))
"""Keys by their `KeyboardEvent.key`; only the space has a name of its own."""


@dataclass(frozen=True)
class WebAction:
    """One thing done to a page.

    `element` and `target` are places in the observation's list of elements, -1 for none. `x, y` say where
    inside the element, as fractions from its left top corner (they matter on drawn pages).

    click         press and let go, at the element
    press         press, and hold the button: the next action lets it go first, unless it is a `hover`
    double_click  click twice
    hover         move there (with the button held after a `press`)
    drag          press at the element, move, let go: at `target` (`target_x, target_y` as `x, y`), or
                  `dx, dy` px from where it began
    type          make `text` what the field holds (of a SELECT: choose the option that reads so; of a date or
                  a time: its value, as 2017-12-31 or 23:59); without an element, type at the caret.
                  `\\n` is Enter, `\\b` Backspace
    key           press `key`, such as Tab or Control+A, with the element focused, or what has the focus
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
            object.__setattr__(self, name, operator.index(getattr(self, name)))  # numpy's, too
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
        """Name it as the recorder's page does: `click 4`, `type 2 'ann'`, `key Tab`."""
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
    """Write an action as one line of JSON; what is as usual is left out."""
    return json_text(to_mapping(action), is_ascii=False)


def from_json(text: str) -> WebAction:
    """Read what `to_json` wrote; raises TutelageError for anything else."""
    try:
        return from_mapping(json.loads(text))
    except ValueError as error:
        raise TutelageError(f"expected a web action as JSON, got {text[:80]!r}: {error}") from None


def to_mapping(action: WebAction) -> dict[str, Any]:
    """Return the fields that are not as usual, and the verb."""
    fields = {one.name: one.default for one in dataclasses.fields(WebAction)}
    values = {name: getattr(action, name) for name in fields}
    return {name: value for name, value in values.items() if name == "verb" or value != fields[name]}


def from_mapping(mapping: Any) -> WebAction:
    """Read what `to_mapping` gave; raises TutelageError for unknown fields and values of another type."""
    kinds = {one.name: type(one.default) for one in dataclasses.fields(WebAction)} | {"verb": str}
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
    """Split `Control+Shift+A` into its modifiers, in the order of MODIFIERS, and the key itself.

    Raises TutelageError for a key that is not one of KEYS.
    """
    head, plus, last = key[:-1].rpartition("+")
    held, last = (head, last + key[-1:]) if plus else ("", key)
    modifiers = held.split("+") if held else []
    if last == " ":
        last = "Space"
    for one in modifiers:
        if one not in MODIFIERS:
            raise TutelageError(
                f"key {key!r}: expected modifiers {', '.join(MODIFIERS)}, got {one!r}"
                f"{nearest(one, MODIFIERS)}"
            )
    if last not in KEYS:
        raise TutelageError(
            f"expected a key such as Tab, a or Control+A, got {key!r}{nearest(last, NAMED_KEYS)}"
        )
    return tuple(one for one in MODIFIERS if one in modifiers), last


def spell(modifiers: tuple[str, ...], key: str) -> str:
    """Join what `split_key` split; the letter of a shortcut is a capital."""
    shortcut = any(one != "Shift" for one in modifiers)
    return "+".join((*modifiers, key.upper() if shortcut and len(key) == 1 else key))
