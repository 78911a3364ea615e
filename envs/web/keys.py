"""Key events in the form of the DevTools protocol, for a US keyboard."""

from __future__ import annotations

from typing import Any

from .actions import MODIFIERS

_NAMED = {
    "Tab": 9, "Enter": 13, "Escape": 27, "Backspace": 8, "Delete": 46, "Insert": 45, "ArrowLeft": 37,
    "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35, "PageUp": 33, "PageDown": 34,
}  # fmt: skip
_SIGNS = {
    "`~": ("Backquote", 192), "-_": ("Minus", 189), "=+": ("Equal", 187), "[{": ("BracketLeft", 219),
    "]}": ("BracketRight", 221), "\\|": ("Backslash", 220), ";:": ("Semicolon", 186), "'\"": ("Quote", 222),
    ",<": ("Comma", 188), ".>": ("Period", 190), "/?": ("Slash", 191), "0)": ("Digit0", 48),
    "1!": ("Digit1", 49), "2@": ("Digit2", 50), "3#": ("Digit3", 51), "4$": ("Digit4", 52),
    "5%": ("Digit5", 53), "6^": ("Digit6", 54), "7&": ("Digit7", 55), "8*": ("Digit8", 56),
    "9(": ("Digit9", 57),
}  # fmt: skip
_CODES = {sign: code for signs, code in _SIGNS.items() for sign in signs}
_TYPED = {"\n": "Enter", "\b": "Backspace", "\t": "Tab"}


def presses(text: str) -> list[dict[str, Any]]:
    """Return parameters of `Input.dispatchKeyEvent` that type a text, down and up for every character."""
    return [params for letter in text for params in press((), _TYPED.get(letter, letter))]


def press(modifiers: tuple[str, ...], key: str) -> list[dict[str, Any]]:
    """Return parameters that press one key of `actions.KEYS`, or any character, with modifiers held."""
    code, number, text = _describe(" " if key == "Space" else key)
    held = {name: bit for name, bit in zip(MODIFIERS, (1, 2, 4, 8), strict=True) if name in modifiers}
    name = " " if key == "Space" else key
    if "Shift" in held and len(name) == 1:
        name = text = name.upper()
    elif held and len(name) == 1:
        name = name.lower()
    common = {
        "key": name,
        "code": code,
        "windowsVirtualKeyCode": number,
        "modifiers": sum(held.values()),
    }
    types = bool(text) and not set(held) - {"Shift"}
    down = {"type": "keyDown", "text": text, "unmodifiedText": text} if types else {"type": "rawKeyDown"}
    return [common | down, common | {"type": "keyUp"}]


def _describe(key: str) -> tuple[str, int, str]:
    """Return the key's `code`, its virtual key code, and the text that it types."""
    if key in _NAMED:
        return key, _NAMED[key], "\r" if key == "Enter" else ""
    if len(key) > 1:  # F1 to F12
        return key, 111 + int(key[1:]), ""
    if key == " ":
        return "Space", 32, " "
    if key.isascii() and key.isalpha():
        return f"Key{key.upper()}", ord(key.upper()), key
    code, number = _CODES.get(key, ("", 0))
    return code, number, key
