"""A person's keys → an action: which `KeyboardEvent.code`s are bound to what, and which one is meant now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Env, spaces

from .errors import TutelageError, nearest
from .spaces import action_to_row, row_to_action
from .web.environment import WebEnv
from .web.spaces import action_space, to_action

ARROWS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown")
_AXES = (("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp"), ("KeyA", "KeyD"), ("KeyS", "KeyW"))
_BY_NAME = {
    "left": "ArrowLeft",
    "right": "ArrowRight",
    "forward": "ArrowUp",
    "up": "ArrowUp",
    "down": "ArrowDown",
    "pickup": "KeyP",
    "drop": "KeyD",
    "toggle": "Space",
    "done": "Enter",
}
_CODES = (
    *(f"Key{chr(letter)}" for letter in range(ord("A"), ord("Z") + 1)),
    *(f"{row}{digit}" for row in ("Digit", "Numpad") for digit in range(10)),
    *(f"Numpad{one}" for one in ("Add", "Subtract", "Multiply", "Divide", "Decimal", "Enter")),
    *(f"{key}{side}" for key in ("Shift", "Control", "Alt") for side in ("Left", "Right")),
    *(*ARROWS, "Space", "Enter", "Tab", "Backspace", "Delete", "Insert", "Home", "End", "PageUp", "PageDown"),
    *("Escape", "Minus", "Equal", "BracketLeft", "BracketRight", "Semicolon", "Quote", "Backquote"),
    *("Backslash", "Comma", "Period", "Slash", "CapsLock", "IntlBackslash"),
    *(f"F{number}" for number in range(1, 13)),
)
_PYGAME = {273: "ArrowUp", 274: "ArrowDown", 275: "ArrowRight", 276: "ArrowLeft"}  # numbers of pygame 1
_SPELLED = {" ": "Space", "left": "ArrowLeft", "right": "ArrowRight", "up": "ArrowUp", "down": "ArrowDown"}


@dataclass(frozen=True)
class Binding:
    """One action and the keys that, held together, mean it.

    `codes` are `KeyboardEvent.code` values; `action` is a row `[k]`; `label` is what the page shows.
    """

    codes: tuple[str, ...]
    action: tuple[float, ...]
    label: str


@dataclass(frozen=True)
class Controls:
    """All bindings of a task, and the action that stands for "no key" in real time (a row, or None).

    `hands` says that mouse and keyboard act on the picture itself, a web page's; there are no bindings then.
    """

    bindings: tuple[Binding, ...]
    idle: tuple[float, ...] | None = None
    hands: bool = False

    def action(self, pressed: Sequence[str]) -> np.ndarray | None:
        """Return the row `[k]` that the pressed codes mean, oldest key first; `idle` for none of ours.

        The binding with most keys wins, then the one whose latest key was pressed last.
        """
        order = {code: when for when, code in enumerate(pressed)}
        held = [one for one in self.bindings if all(code in order for code in one.codes)]
        if not held:
            return None if self.idle is None else np.array(self.idle)
        best = max(held, key=lambda one: (len(one.codes), max(order[code] for code in one.codes)))
        return np.array(best.action)

    def label(self, action: Sequence[float]) -> str:
        """Name an action as the page does; unbound ones are shown as their numbers."""
        if self.hands:
            return str(to_action(row_to_action(action_space(), np.array(action))))
        wanted = tuple(float(part) for part in action)
        return next(
            (one.label for one in self.bindings if one.action == wanted), " ".join(f"{x:g}" for x in wanted)
        )


def from_mapping(
    keys: Mapping[str, Any], idle: Any, space: spaces.Space[Any], names: Sequence[str] = ()
) -> Controls:
    """Read the `controls` of a suite: `code` or `code+code` → action or `{action: ..., label: ...}`.

    Raises TutelageError for a code that no keyboard sends and for an action that the space does not hold.
    """
    bindings = []
    for key, value in keys.items():
        codes = tuple(str(key).split("+"))
        for code in codes:
            if code not in _CODES:
                raise TutelageError(
                    f"control {key!r}: expected a KeyboardEvent.code such as ArrowLeft, KeyA or Space, "
                    f"got {code!r}{nearest(code, _CODES)}"
                )
        action, label = _written(key, value)
        row = _row(space, action, f"control {key!r}")
        bindings.append(Binding(codes, row, label or _label(row, names)))
    return Controls(tuple(bindings), None if idle is None else _row(space, idle, "the idle action"))


def guess(env: Env[Any, Any], names: Sequence[str] = ()) -> Controls:
    """Find controls for an environment that its suite gives none for.

    Taken from its own `get_keys_to_action()`, else from its actions' names (left, forward, ...), else
    digits for Discrete and a pair of keys an axis for Box; web pages take hands, other spaces nothing at all.
    """
    space = env.action_space
    if isinstance(env.unwrapped, WebEnv):
        return Controls((), hands=True)
    if env.has_wrapper_attr("get_keys_to_action"):
        return _from_gymnasium(env.get_wrapper_attr("get_keys_to_action"), space, names)
    if isinstance(space, spaces.Discrete):
        return _for_discrete(space, names)
    if isinstance(space, spaces.Box):
        return _for_box(space)
    return Controls((), None)


def _written(key: str, value: Any) -> tuple[Any, str]:
    if not isinstance(value, Mapping) or not {"action", "label"} & set(value):
        return value, ""
    for name in value:
        if name not in ("action", "label"):
            raise TutelageError(
                f"control {key!r}: unknown key {name!r}; allowed: action, label"
                f"{nearest(name, ('action', 'label'))}"
            )
    if "action" not in value:
        raise TutelageError(f"control {key!r}: missing key 'action'; add it")
    return value["action"], str(value.get("label", ""))


def _from_gymnasium(
    ask: Callable[[], Mapping[Any, Any]], space: spaces.Space[Any], names: Sequence[str]
) -> Controls:
    bindings, idle = [], None
    for keys, action in ask().items():
        parts = (keys,) if isinstance(keys, str | int) else tuple(keys)
        row = _row(space, action, f"key {keys!r}")
        if parts:
            bindings.append(Binding(tuple(map(_code, parts)), row, _label(row, names)))
        else:
            idle = row
    return Controls(tuple(bindings), idle)


def _for_discrete(space: spaces.Discrete[Any], names: Sequence[str]) -> Controls:
    bindings = []
    for i in range(min(int(space.n), 36)):
        digit = f"Digit{i}" if i < 10 else f"Key{chr(ord('A') + i - 10)}"
        code = _BY_NAME.get(names[i], digit) if i < len(names) else digit
        row = _row(space, i + int(space.start), "an action")
        bindings.append(Binding((code,), row, _label(row, names)))
    return Controls(tuple(bindings), None)


def _for_box(space: spaces.Box) -> Controls:
    low = np.nan_to_num(space.low, neginf=-1.0).ravel()
    high = np.nan_to_num(space.high, posinf=1.0).ravel()
    rest = np.clip(np.zeros_like(low), low, high)
    bindings = []
    for axis, codes in zip(range(rest.size), _AXES, strict=False):
        for code, bound in zip(codes, (low, high), strict=True):
            if bound[axis] != rest[axis]:
                row = rest.copy()
                row[axis] = bound[axis]
                sign = "-" if bound[axis] < rest[axis] else "+"
                bindings.append(Binding((code,), tuple(map(float, row)), f"axis {axis + 1} {sign}"))
    return Controls(tuple(bindings), tuple(map(float, rest)))


def _row(space: spaces.Space[Any], action: Any, what: str) -> tuple[float, ...]:
    try:
        row = action_to_row(space, action)
        fits = bool(space.contains(row_to_action(space, row)))
        if not isinstance(space, spaces.Dict | spaces.Tuple):  # half an action is none, though it can be cast
            fits = fits and np.allclose(row, np.asarray(action, np.float64).ravel())
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        fits = False
    if not fits:
        raise TutelageError(f"expected {what} to be an action of {space}, got {action!r}")
    return tuple(map(float, row))


def _label(row: Sequence[float], names: Sequence[str]) -> str:
    if len(row) == 1 and row[0] == int(row[0]) and 0 <= row[0] < len(names):
        return names[int(row[0])]
    return " ".join(f"{x:g}" for x in row)


def _code(key: str | int) -> str:
    if key in _PYGAME:
        return _PYGAME[int(key)]
    text = chr(key) if isinstance(key, int) and key < 256 else str(key)
    if text in _SPELLED:
        return _SPELLED[text]
    return f"Digit{text}" if text.isdigit() else f"Key{text.upper()}" if len(text) == 1 else text
