from __future__ import annotations

import os
import stat
import string
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.crowd.storage.secret import FILE, VARIABLE, Secret
from tutelage.errors import TutelageError

SECRET = Secret(bytes(range(32)))
OTHER = Secret(bytes(32))
DIGITS = string.ascii_letters + string.digits + "-_"


def test_a_folder_is_given_one_secret_and_keeps_it(tmp_path: Path) -> None:
    one, again = Secret.load(tmp_path / "study"), Secret.load(tmp_path / "study")
    assert one.pseudonym("link", "x") == again.pseudonym("link", "x")
    assert one.pseudonym("link", "x") != Secret.load(tmp_path / "other").pseudonym("link", "x")
    assert stat.S_IMODE((tmp_path / "study" / FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "study").iterdir()] == [FILE]


def test_the_environment_holds_it_where_there_are_several_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, bytes(range(32)).hex())
    assert Secret.load(tmp_path).pseudonym("a", "b") == SECRET.pseudonym("a", "b")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(VARIABLE, "abc")
    with pytest.raises(TutelageError, match="expected 64 hexadecimal digits in TUTELAGE_SECRET"):
        Secret.load(tmp_path)


def test_a_damaged_secret_is_said_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\x00")
    with pytest.raises(TutelageError, match="put the old secret back"):
        Secret.load(tmp_path)


def test_a_pseudonym_hides_the_id_and_tells_sources_apart() -> None:
    name = SECRET.pseudonym("prolific", "60ff44a1d00991f1dfe405d9")
    assert name.startswith("person-")
    assert len(name) == len("person-") + 12
    assert name == SECRET.pseudonym("prolific", "60ff44a1d00991f1dfe405d9")
    assert (
        len({name, SECRET.pseudonym("sona", "60ff44a1d00991f1dfe405d9"), OTHER.pseudonym("prolific", "x")})
        == 3
    )
    assert SECRET.pseudonym("a", "bc") != SECRET.pseudonym("ab", "c")


ANY_TEXT = st.text(st.characters(exclude_categories=()))
"""Texts with surrogates and control characters, too."""


@given(ANY_TEXT, ANY_TEXT)
def test_what_was_signed_comes_back_for_the_same_purpose_only(text: str, purpose: str) -> None:
    signed = SECRET.sign(text, purpose)
    assert SECRET.unsign(signed, purpose) == text
    assert SECRET.unsign(signed, purpose + "x") is None
    assert OTHER.unsign(signed, purpose) is None
    assert SECRET.unsign(signed[:-1], purpose) is None
    assert SECRET.unsign("x" + signed, purpose) is None


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_a_signature_for_one_purpose_is_none_for_another(text: str, purpose: str, other: str) -> None:
    assert (SECRET.unsign(SECRET.sign(text, purpose), other) == text) == (purpose == other)


@given(ANY_TEXT, st.characters(exclude_categories=()), st.data())
def test_a_changed_added_or_missing_character_is_no_signature(
    text: str, character: str, data: st.DataObject
) -> None:
    signed = SECRET.sign(text, "seat")
    place = data.draw(st.integers(0, len(signed) - 1))
    for changed in (
        signed[:place] + character + signed[place + 1 :],
        signed[:place] + character + signed[place:],
        signed[:place] + signed[place + 1 :],
        signed + character,
    ):
        assert changed == signed or SECRET.unsign(changed, "seat") is None


def test_a_signature_has_one_spelling() -> None:
    """Its last digit of Base64 holds two bits that decoding drops, as it does what is no digit."""
    signed = SECRET.sign("0123", "seat")
    text, _, signature = signed.rpartition(".")
    spellings = [signed[:-1] + digit for digit in DIGITS if digit != signed[-1]]
    spellings += [
        f"{text}.{signature[:9]}{extra}{signature[9:]}" for extra in ("!", " ", "\n", "é", "=", "+")
    ]
    spellings += [f"{signed}=", f"{signed}==", signed.replace("-", "+").replace("_", "/") + "\n"]
    assert not [spelling for spelling in spellings if SECRET.unsign(spelling, "seat") is not None]


@given(st.text(st.sampled_from(DIGITS + ".:")), st.text())
def test_what_is_signed_for_links_and_cookies_needs_no_escape(text: str, purpose: str) -> None:
    signed = SECRET.sign(text, purpose)
    assert quote(signed, safe=":") == signed
    cookie: SimpleCookie = SimpleCookie()
    cookie["seat"] = signed
    assert cookie["seat"].coded_value == signed


@given(ANY_TEXT)
def test_whatever_a_browser_brings_is_no_signature(text: str) -> None:
    assert SECRET.unsign(text, "seat") is None


def test_a_number_is_a_function_of_the_secret_and_the_parts() -> None:
    assert SECRET.number("gold", 1, "ann") == SECRET.number("gold", 1, "ann")
    drawn = {SECRET.number("gold", n) for n in range(1000)} | {OTHER.number("gold", 1)}
    assert len(drawn) == 1001
    assert all(0 <= one < 2**64 for one in drawn)


def test_two_processes_that_make_a_secret_at_once_agree(tmp_path: Path) -> None:
    readers = []
    for _ in range(4):
        read, write = os.pipe()
        if os.fork() == 0:  # a child, which must not run the tests' own clean-up
            os.write(write, Secret.load(tmp_path).sign("x", "y").encode())
            os._exit(0)
        os.close(write)
        readers.append(read)
    assert len({os.read(read, 200) for read in readers}) == 1
    for read in readers:
        os.close(read)
        os.wait()
