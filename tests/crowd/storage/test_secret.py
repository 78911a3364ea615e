from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.crowd.storage.secret import FILE, VARIABLE, Secret
from tutelage.errors import TutelageError

SECRET = Secret(bytes(range(32)))
OTHER = Secret(bytes(32))


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


@given(st.text(), st.text(max_size=20))
def test_what_was_signed_comes_back_for_the_same_purpose_only(text: str, purpose: str) -> None:
    signed = SECRET.sign(text, purpose)
    assert SECRET.unsign(signed, purpose) == text
    assert SECRET.unsign(signed, purpose + "x") is None
    assert OTHER.unsign(signed, purpose) is None
    assert SECRET.unsign(signed[:-1], purpose) is None
    assert SECRET.unsign("x" + signed, purpose) is None


@given(st.text())
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
