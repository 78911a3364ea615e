"""Convert names of keys to `KeyboardEvent.code`: characters, names, pygame 1 and 2 numbers, DOM codes.

Covers every form of `get_keys_to_action` that Gymnasium documents or used to: a character, a string of
characters as a chord, a number of pygame, a tuple of these, and `None`, `()` or `(None,)` for "no key".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from ...errors import TutelageError

ARROWS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown")
LETTERS = tuple(f"Key{chr(letter)}" for letter in range(ord("A"), ord("Z") + 1))
DIGITS = tuple(f"Digit{digit}" for digit in range(10))
_NUMPAD = tuple(f"Numpad{digit}" for digit in range(10))
_MODIFIERS = tuple(f"{key}{side}" for key in ("Shift", "Control", "Alt") for side in ("Left", "Right"))
_FUNCTIONS = tuple(f"F{number}" for number in range(1, 13))

# character without Shift, character with Shift (both as on a US keyboard) → code
_PRINTED = {
    "-_": "Minus",
    "=+": "Equal",
    "[{": "BracketLeft",
    "]}": "BracketRight",
    ";:": "Semicolon",
    "'\"": "Quote",
    "`~": "Backquote",
    "\\|": "Backslash",
    ",<": "Comma",
    ".>": "Period",
    "/?": "Slash",
}
_SHIFTED_DIGITS = ")!@#$%^&*("

CODES = (
    *(*LETTERS, *DIGITS, *_NUMPAD),
    *(f"Numpad{name}" for name in ("Add", "Subtract", "Multiply", "Divide", "Decimal", "Enter")),
    *(*_MODIFIERS, *ARROWS, "Space", "Enter", "Tab", "Backspace", "Delete", "Insert"),
    *("Home", "End", "PageUp", "PageDown", "Escape", *_PRINTED.values(), "CapsLock", "IntlBackslash"),
    *_FUNCTIONS,
)
"""Every code that a suite may bind."""

_CHARACTERS: dict[str, tuple[str, ...]] = {
    **{code[-1].lower(): (code,) for code in LETTERS},
    **{code[-1]: (code,) for code in LETTERS},
    **{code[-1]: (code,) for code in DIGITS},
    **{sign: ("ShiftLeft", f"Digit{digit}") for digit, sign in enumerate(_SHIFTED_DIGITS)},
    **{pair[0]: (code,) for pair, code in _PRINTED.items()},
    **{pair[1]: ("ShiftLeft", code) for pair, code in _PRINTED.items()},
    " ": ("Space",),
    "\r": ("Enter",),
    "\n": ("Enter",),
    "\t": ("Tab",),
    "\x08": ("Backspace",),
    "\x1b": ("Escape",),
    "\x7f": ("Delete",),
}
_WORDS = {
    **{name.removeprefix("Arrow").lower(): name for name in ARROWS},
    **{code.lower(): code for code in CODES},
    "return": "Enter",
    "esc": "Escape",
    "spacebar": "Space",
    "del": "Delete",
    "ins": "Insert",
    "pgup": "PageUp",
    "pgdown": "PageDown",
    "page up": "PageUp",
    "page down": "PageDown",
    "caps lock": "CapsLock",
    "minus": "Minus",
    "plus": "NumpadAdd",
    "equals": "Equal",
    "period": "Period",
    "shift": "ShiftLeft",
    "ctrl": "ControlLeft",
    "control": "ControlLeft",
    "alt": "AltLeft",
    **{
        f"{written}{short}": f"{name}{side}"
        for side, forms in (("Left", ("l", "left ")), ("Right", ("r", "right ")))
        for written in forms
        for short, name in (("shift", "Shift"), ("ctrl", "Control"), ("alt", "Alt"))
    },
    **{f"{word}{digit}": f"Numpad{digit}" for word in ("kp", "kp_", "kp ", "keypad ") for digit in range(10)},
    **{f"[{digit}]": f"Numpad{digit}" for digit in range(10)},
    "kp_enter": "NumpadEnter",
    "kp_plus": "NumpadAdd",
    "kp_minus": "NumpadSubtract",
    "[+]": "NumpadAdd",
    "[-]": "NumpadSubtract",
    "[*]": "NumpadMultiply",
    "[/]": "NumpadDivide",
    "[.]": "NumpadDecimal",
    "kp_multiply": "NumpadMultiply",
    "kp_divide": "NumpadDivide",
    "kp_period": "NumpadDecimal",
}

_ALIASES = {
    **{code.lower(): code for code in CODES},
    **{word.replace(" ", "").replace("_", ""): code for word, code in _WORDS.items()},
    **{f"{name.removeprefix('Arrow').lower()}arrow": name for name in ARROWS},
    **{f"{name}key": code for name, code in (("left", "ArrowLeft"), ("right", "ArrowRight"))},
    **{f"{name}key": code for name, code in (("up", "ArrowUp"), ("down", "ArrowDown"))},
    "bar": "Space",
    "option": "AltLeft",
    "opt": "AltLeft",
    "enterkey": "Enter",
    "spacekey": "Space",
}
"""Names of keys without their case, spaces, hyphens and underscores → code."""

_KEYPAD = ("NumpadDivide", "NumpadMultiply", "NumpadSubtract", "NumpadAdd", "NumpadEnter")
_MIDDLE = ("Insert", "Home", "PageUp", "Delete", "End", "PageDown", "ArrowRight", "ArrowLeft", "ArrowDown")
# SDL 2 numbers of keys without a character are 2**30 + their USB usage number
_USAGES = {
    57: "CapsLock",
    **{58 + place: code for place, code in enumerate(_FUNCTIONS)},
    **{73 + place: code for place, code in enumerate((*_MIDDLE, "ArrowUp"))},
    **{84 + place: code for place, code in enumerate(_KEYPAD)},
    **{88 + digit: f"Numpad{digit}" for digit in range(1, 10)},
    98: "Numpad0",
    99: "NumpadDecimal",
    224: "ControlLeft",
    225: "ShiftLeft",
    226: "AltLeft",
    228: "ControlRight",
    229: "ShiftRight",
    230: "AltRight",
}
_NUMBERS = {
    **{(1 << 30) + usage: code for usage, code in _USAGES.items()},
    # pygame 1 (SDL 1.2)
    **{256 + digit: f"Numpad{digit}" for digit in range(10)},
    266: "NumpadDecimal",
    267: "NumpadDivide",
    268: "NumpadMultiply",
    269: "NumpadSubtract",
    270: "NumpadAdd",
    271: "NumpadEnter",
    273: "ArrowUp",
    274: "ArrowDown",
    275: "ArrowRight",
    276: "ArrowLeft",
    277: "Insert",
    278: "Home",
    279: "End",
    280: "PageUp",
    281: "PageDown",
    **{282 + place: code for place, code in enumerate(_FUNCTIONS)},
    301: "CapsLock",
    303: "ShiftRight",
    304: "ShiftLeft",
    305: "ControlRight",
    306: "ControlLeft",
    307: "AltRight",
    308: "AltLeft",
}


def bound_codes(written: str) -> tuple[str, ...]:
    """Return the codes of a key of a suite's `controls`: names joined by "+", in any usual form.

    Raises TutelageError for an unknown key, with the most similar code.
    """
    parts = [_codes_of_name(part) for part in written.split("+")]
    return tuple(dict.fromkeys(code for part in parts for code in part))


def likely_code(text: str) -> str:
    """Return `"; did you mean 'x'?"` for the code most similar to a misspelt name, or ""."""
    close = difflib.get_close_matches(_folded(text), list(_ALIASES), n=1)
    return f"; did you mean {_ALIASES[close[0]]!r}?" if close else ""


def _codes_of_name(name: str) -> tuple[str, ...]:
    if name in CODES:
        return (name,)
    if name in _CHARACTERS:
        return _CHARACTERS[name]
    if (folded := _folded(name)) in _ALIASES:
        return (_ALIASES[folded],)
    raise TutelageError(
        f"expected a KeyboardEvent.code such as ArrowLeft, KeyA or Space, got {name!r}{likely_code(name)}"
    )


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


def codes_of(key: Any) -> tuple[str, ...]:
    """Return the codes of the key or chord that a program calls `key`; none for "no key".

    Raises TutelageError for an unknown key.
    """
    if key is None:
        return ()
    if isinstance(key, str):
        return _codes_of_text(key)
    if isinstance(key, Iterable):
        return tuple(dict.fromkeys(code for part in key for code in codes_of(part)))
    try:
        return _codes_of_number(int(key))
    except (TypeError, ValueError, OverflowError):
        raise TutelageError(f"expected a key as text, number or tuple, got {type(key).__name__}") from None


def _codes_of_text(text: str) -> tuple[str, ...]:
    if text in _CHARACTERS:
        return _CHARACTERS[text]
    if text in CODES:
        return (text,)
    word = text.lower().removeprefix("k_").removeprefix("key_")
    if word in _WORDS:
        return (_WORDS[word],)
    if word in _CHARACTERS and len(word) == 1:
        return _CHARACTERS[word]
    if all(character in _CHARACTERS for character in text):  # "wd": a chord
        return tuple(dict.fromkeys(code for character in text for code in _CHARACTERS[character]))
    raise TutelageError(f"expected the name of a key, got {text!r}{likely_code(text)}")


def _codes_of_number(number: int) -> tuple[str, ...]:
    if number in _NUMBERS:
        return (_NUMBERS[number],)
    if 0 < number < 128 and chr(number) in _CHARACTERS:
        return _CHARACTERS[chr(number)]
    raise TutelageError(f"expected a number that pygame gives a key, got {number}")
