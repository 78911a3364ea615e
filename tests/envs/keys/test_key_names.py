"""Every way in which programs name keys is understood, and what is no key is refused."""

from __future__ import annotations

from typing import Any

import pygame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.envs.keys.key_names import CODES, codes_of
from tutelage.errors import TutelageError


@pytest.mark.parametrize(
    ("key", "codes"),
    [
        ("a", ("KeyA",)),
        ("A", ("KeyA",)),
        (ord("d"), ("KeyD",)),
        ("wd", ("KeyW", "KeyD")),
        (("w", "d"), ("KeyW", "KeyD")),
        ((ord("w"), ord(" ")), ("KeyW", "Space")),
        (["left", "up"], ("ArrowLeft", "ArrowUp")),
        ("left", ("ArrowLeft",)),
        ("ArrowLeft", ("ArrowLeft",)),
        ("K_LEFT", ("ArrowLeft",)),
        (276, ("ArrowLeft",)),
        (pygame.K_LEFT, ("ArrowLeft",)),
        (pygame.K_UP, ("ArrowUp",)),
        ((pygame.K_UP, pygame.K_LSHIFT), ("ArrowUp", "ShiftLeft")),
        (pygame.K_RETURN, ("Enter",)),
        ("return", ("Enter",)),
        ("\r", ("Enter",)),
        (pygame.K_KP5, ("Numpad5",)),
        ("[5]", ("Numpad5",)),
        (261, ("Numpad5",)),
        (pygame.K_KP_PLUS, ("NumpadAdd",)),
        (";", ("Semicolon",)),
        (ord("/"), ("Slash",)),
        ("!", ("ShiftLeft", "Digit1")),
        ("left shift", ("ShiftLeft",)),
        ("space", ("Space",)),
        (" ", ("Space",)),
        ("5", ("Digit5",)),
        (pygame.K_F3, ("F3",)),
        (None, ()),
        ((), ()),
        ((None,), ()),
        ("", ()),
        (("w", None), ("KeyW",)),
    ],
    ids=repr,
)
def test_a_key_is_known_by_any_of_its_names(key: Any, codes: tuple[str, ...]) -> None:
    assert codes_of(key) == codes


@pytest.mark.parametrize("code", CODES)
def test_every_code_names_itself(code: str) -> None:
    assert codes_of(code) == (code,)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in dir(pygame)
        if name.startswith(("K_KP", "K_F")) or name in ("K_LCTRL", "K_PAGEUP", "K_END")
    ],
)
def test_a_number_of_pygame_is_the_key_of_its_name(name: str) -> None:
    rare = ("K_KP_EQUALS", "K_F13", "K_F14", "K_F15")
    if name in rare:
        with pytest.raises(TutelageError):
            codes_of(getattr(pygame, name))
    else:
        assert codes_of(getattr(pygame, name)) == codes_of(name)


@pytest.mark.parametrize("key", [-1, 0, 999, "hyperspace!ö", Ellipsis, 1 << 40, 2.5j], ids=repr)
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(TutelageError, match="expected"):
        codes_of(key)


@given(st.one_of(st.text(), st.integers(), st.lists(st.text())))
def test_anything_is_known_or_refused(key: Any) -> None:
    try:
        codes = codes_of(key)
    except TutelageError:
        return
    assert set(codes) <= set(CODES)
