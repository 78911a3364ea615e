"""What is read from a stranger's file is bounded before it is expanded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tutelage.errors import TutelageError
from tutelage.files.bounded_files import VARIABLE, Limits, parse_json, parse_yaml, read_bytes, read_text

ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGES = "b0: &b0 {k: v}\n" + "".join(f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        (ALIASES, "nodes"),
        (MERGES, "nodes"),
        ("[" * 5000, "nesting"),
        ("{a: " * 5000, "nesting"),
        ("n: " + "9" * 5000, "digits"),
        ("a: &a [*a]", "contains itself"),
    ],
    ids=["aliases", "merges", "lists", "mappings", "integer", "loop"],
)
def test_a_yaml_bomb_is_refused_by_what_it_would_hold(text: str, quantity: str) -> None:
    with pytest.raises(TutelageError, match=quantity):
        parse_yaml(text, "bomb.yaml")


@pytest.mark.parametrize(
    "text", ["\x00", "a: !!python/object:os.system x", "a: [", "2001-99-99", "? []\n: 1"]
)
def test_what_is_no_plain_yaml_is_one_clear_error(text: str) -> None:
    with pytest.raises(TutelageError, match=r"plain\.yaml"):
        parse_yaml(text, "plain.yaml")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"n": ' + "9" * 5000 + "}", "{", "nul"])
def test_a_json_bomb_is_refused(text: str) -> None:
    with pytest.raises(TutelageError, match=r"some\.json"):
        parse_json(text, "some.json")


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_plain)
def test_ordinary_documents_are_read_as_the_plain_loader_reads_them(document: object) -> None:
    text = yaml.safe_dump(document)
    assert parse_yaml(text, "it") == yaml.safe_load(text)


def test_merges_and_aliases_of_an_honest_size_still_work() -> None:
    text = "base: &base {fps: 15, idle: 0}\nmine: {<<: *base, fps: 30}\n"
    assert parse_yaml(text, "it")["mine"] == {"fps": 30, "idle": 0}


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(TutelageError, match="something else"):
            read_bytes(path)


def test_a_limit_is_said_and_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "long.yaml").write_bytes(b"x" * 100)
    with pytest.raises(TutelageError, match=r"at most 99 bytes in .*long\.yaml.*--limits"):
        read_bytes(tmp_path / "long.yaml", 99)
    before = Limits.current()
    monkeypatch.setenv(VARIABLE, "2")
    assert Limits.current().nodes == 2 * before.nodes
    monkeypatch.setenv(VARIABLE, "many")
    with pytest.raises(TutelageError, match="TUTELAGE_LIMITS"):
        Limits.current()


def test_what_is_not_utf8_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(TutelageError, match="byte at 3"):
        read_text(tmp_path / "latin")
