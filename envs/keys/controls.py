"""Map pressed keys (`KeyboardEvent.code`) to actions: bindings of a task, and the action that they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from gymnasium import Env, spaces

from ...errors import TutelageError, nearest
from ..capabilities import ReadsInput
from ..spaces import action_to_row, is_text, row_to_action
from ..web.action_space import action_space, to_action
from .default_keys import SINGLE_KEYS, ActionMixer, binding_keys, mixer_of
from .key_names import bound_codes, codes_of

_CODE_BY_NAME = {
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
_IDLE_NAMES = ("noop", "no-op", "no_op", "nothing", "idle", "stay", "still", "none")


@dataclass(frozen=True)
class KeyBinding:
    """An action and the key or chord bound to it.

    `codes` are `KeyboardEvent.code` values; `action` is a row `[k]`; `label` is the text shown on the page.
    """

    codes: tuple[str, ...]
    action: tuple[float, ...]
    label: str


@dataclass(frozen=True)
class Controls:
    """All bindings of a task, and the action for "no key" in real time (a row, or None).

    `hands`: mouse and keyboard act directly on the picture (`capabilities.ReadsInput`); there are no bindings
    then, and `names` are those of a Discrete space's actions, row → name. `is_page`: the actions are those of
    a web page. `mixer` combines keys held at once,
    for actions of several numbers. `unreached` describes the actions without a key.
    """

    bindings: tuple[KeyBinding, ...]
    idle: tuple[float, ...] | None = None
    hands: bool = False
    is_page: bool = False
    mixer: ActionMixer | None = None
    unreached: tuple[str, ...] = ()
    names: Mapping[tuple[float, ...], str] = field(default_factory=dict)

    def action(self, pressed: Sequence[str]) -> np.ndarray | None:
        """Return the row `[k]` for the pressed codes, oldest key first; `idle` if no binding matches.

        A chord replaces its single keys. The `mixer` combines several matching bindings; without one, the
        binding with the most keys wins, then the one whose latest key was pressed last.
        """
        order = {code: position for position, code in enumerate(pressed)}
        complete = [binding for binding in self.bindings if all(code in order for code in binding.codes)]
        if not complete:
            return None if self.idle is None else np.array(self.idle)
        complete.sort(key=lambda binding: max(order[code] for code in binding.codes))
        if self.mixer is None:
            return np.array(max(reversed(complete), key=lambda binding: len(binding.codes)).action)
        chords = [set(binding.codes) for binding in complete]
        maximal = [binding for binding in complete if not any(set(binding.codes) < chord for chord in chords)]
        return self.mixer.mix([binding.action for binding in maximal])

    def turn(self, pressed: Sequence[str], code: str) -> np.ndarray | None:
        """Return the row for pressing `code` while `pressed` are held; None if no binding matches."""
        held = [*(key for key in pressed if key != code), code]
        complete = [
            binding for binding in self.bindings if code in binding.codes and set(binding.codes) <= set(held)
        ]
        if not complete:
            return None
        return (self if self.mixer is not None else Controls(tuple(complete))).action(held)

    def label(self, action: Sequence[float]) -> str:
        """Return the label of an action as on the page; unbound actions are shown as numbers."""
        row = tuple(float(part) for part in action)
        if self.is_page:
            return str(to_action(row_to_action(action_space(), np.array(row))))
        exact = next((binding.label for binding in self.bindings if binding.action == row), "")
        exact = exact or self.names.get(row, "")
        return exact or self._mixed_label(row) or " ".join(f"{number:g}" for number in row)

    def _mixed_label(self, row: tuple[float, ...]) -> str:
        """Return the joined labels of the keys that produce an action together; "" if none do."""
        if self.mixer is None:
            return ""
        labels = {
            binding.action: binding.label
            for binding in self.bindings
            if self.mixer.is_part(binding.action, row)
        }
        mixed = tuple(self.mixer.mix(list(labels)).tolist())
        return " + ".join(labels.values()) if labels and mixed == row else ""


def from_mapping(
    keys: Mapping[str, Any], idle: Any, space: spaces.Space[Any], names: Sequence[str] = ()
) -> Controls:
    """Parse the `controls` of a suite: a key or keys joined by "+" → action or `{action: ..., label: ...}`.

    Raises TutelageError for an unknown key, a key bound twice, and an action outside the space.
    """
    bindings = []
    bound: dict[frozenset[str], Any] = {}
    for key, value in keys.items():
        try:
            codes = bound_codes(str(key))
        except TutelageError as error:
            raise TutelageError(f"control {key!r}: {error}") from None
        if (first := bound.setdefault(frozenset(codes), key)) != key:
            raise TutelageError(
                f"control {key!r}: expected each key once, got {'+'.join(codes)} under {first!r} too"
            )
        action, label = _written(key, value)
        row = _row(space, action, f"control {key!r}")
        bindings.append(KeyBinding(codes, row, label or _label(space, row, names)))
    rest = None if idle is None else _row(space, idle, "the idle action")
    return Controls(tuple(bindings), rest, mixer=mixer_of(space, rest))


def by_name(
    keys: Mapping[str, str], idle: Any, space: spaces.Space[Any], names: Sequence[str]
) -> Controls | None:
    """Parse the `keys` of a suite: action name → `code` or `code+code`; unknown action names are ignored.

    Returns None if the space is not Discrete or has none of these names.
    """
    if not isinstance(space, spaces.Discrete):
        return None
    first = int(space.start)
    actions = {name.lower(): first + index for index, name in enumerate(names[: int(space.n)])}
    action_by_key = {code: actions[name.lower()] for name, code in keys.items() if name.lower() in actions}
    rest = (
        idle if idle is not None else next((actions[name] for name in _IDLE_NAMES if name in actions), None)
    )
    return from_mapping(action_by_key, rest, space, names) if action_by_key else None


def guess(env: Env[Any, Any], names: Sequence[str] = ()) -> Controls:
    """Return default controls for an environment without controls in its suite.

    From its own `get_keys_to_action()`, else from action names (left, forward, ...), else digits and letters
    for Discrete, and keys for each number of other spaces (see `default_keys`). Web pages are used with mouse
    and keyboard directly. Raises TutelageError if `get_keys_to_action()` has invalid keys or actions.
    """
    space = env.action_space
    if isinstance(env.unwrapped, ReadsInput):
        first = int(space.start) if isinstance(space, spaces.Discrete) else 0
        return Controls(
            (),
            hands=True,
            is_page=space == action_space(),
            names={(float(first + index),): name for index, name in enumerate(names)},
        )
    if env.has_wrapper_attr("get_keys_to_action"):
        return _from_gymnasium(env.get_wrapper_attr("get_keys_to_action"), space, names)
    if isinstance(space, spaces.Discrete):
        return _for_discrete(space, names)
    mixer = mixer_of(space, None)
    bindings = [KeyBinding((code,), row, label) for code, row, label in binding_keys(space)]
    return Controls(tuple(bindings), mixer.rest if mixer else None, mixer=mixer)


def with_rest_key(controls: Controls) -> Controls:
    """Bind the space bar to the rest action, for turn-based tasks in which no key means it."""
    if controls.mixer is None or any("Space" in binding.codes for binding in controls.bindings):
        return controls
    rest = KeyBinding(("Space",), controls.mixer.rest, "nothing")
    return replace(controls, bindings=(*controls.bindings, rest))


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
    """Parse an environment's own key map, in any form that `key_names` knows."""
    try:
        keys_to_action = dict(ask())
    except Exception as error:  # foreign code
        raise TutelageError(f"expected keys from get_keys_to_action(), got {error!r}; {_REMEDY}") from None
    bindings, idle = [], None
    for key, action in keys_to_action.items():
        try:
            codes = codes_of(key)
        except TutelageError as error:
            raise TutelageError(f"get_keys_to_action(): {error}; {_REMEDY}") from None
        row = _row(space, action, f"key {key!r} of get_keys_to_action()")
        if codes:
            bindings.append(KeyBinding(codes, row, _label(space, row, names)))
        else:
            idle = row
    return Controls(tuple(bindings), idle, mixer=mixer_of(space, idle))


_REMEDY = "give the task `controls` in its suite"


def _for_discrete(space: spaces.Discrete[Any], names: Sequence[str]) -> Controls:
    used_codes = {_CODE_BY_NAME.get(name.lower()) for name in names}
    bindings, idle = [], None
    for index in range(int(space.n)):
        name = names[index].lower() if index < len(names) else ""
        preferred = SINGLE_KEYS[index : index + 1]
        code = _CODE_BY_NAME.get(name) or next(
            (key for key in (*preferred, *SINGLE_KEYS) if key not in used_codes), None
        )
        used_codes.add(code)
        row = _row(space, index + int(space.start), "an action")
        if code is not None:
            bindings.append(KeyBinding((code,), row, _label(space, row, names)))
        if name in _IDLE_NAMES:
            idle = row
    return Controls(tuple(bindings), idle)


def _row(space: spaces.Space[Any], action: Any, subject: str) -> tuple[float, ...]:
    try:
        row = action_to_row(space, action)
        fits = bool(space.contains(row_to_action(space, row)))
        if not (
            isinstance(space, spaces.Dict | spaces.Tuple) or is_text(space)
        ):  # a truncated action is invalid
            fits = fits and np.allclose(row, np.asarray(action, np.float64).ravel())
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        fits = False
    if not fits:
        raise TutelageError(f"expected {subject} to be an action of {space}, got {action!r}")
    return tuple(map(float, row))


def _label(space: spaces.Space[Any], row: Sequence[float], names: Sequence[str]) -> str:
    if is_text(space):
        return str(row_to_action(space, np.array(row)))
    if isinstance(space, spaces.Discrete) and 0 <= row[0] - int(space.start) < len(names):
        return names[int(row[0]) - int(space.start)]
    return " ".join(f"{number:g}" for number in row)
