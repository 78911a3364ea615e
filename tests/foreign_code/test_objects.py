"""Names of other packages' objects: how they are written, what is wrong with one, what is imported when."""

from __future__ import annotations

import importlib.metadata
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from tutelage.errors import TutelageError
from tutelage.foreign_code import objects
from tutelage.foreign_code.objects import ObjectSpec, parse_object, parse_text
from tutelage.foreign_code.trust import VARIABLE, Untrusted, trust

MODULE = """
from os import remove
from json import JSONDecoder
LIMIT = 3
class Player:
    pass
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Put a module where Python finds it; nothing is trusted."""
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "some_players.py").write_text(MODULE)
    (tmp_path / "broken_players.py").write_text("raise RuntimeError('no\\nluck')\n")
    monkeypatch.delitem(sys.modules, "some_players", raising=False)
    return "some_players"


@pytest.mark.parametrize(
    ("written", "name", "kwargs"),
    [
        ("my.module:Expert", "my.module:Expert", {}),
        ({"my.module:Expert": {"gain": 2}}, "my.module:Expert", {"gain": 2}),
        ({"my.module:Expert": None}, "my.module:Expert", {}),
        ({"grid": {}}, "grid", {}),
    ],
)
def test_a_name_with_arguments_or_without(written: Any, name: str, kwargs: dict[str, Any]) -> None:
    spec = parse_object(written, "expert", ["grid"])
    assert (spec.name, dict(spec.kwargs)) == (name, kwargs)
    assert parse_object(spec.document(), "expert", ["grid"]) == spec
    assert parse_text(str(spec), "expert", ["grid"]) == spec
    assert json.loads(json.dumps(spec.document())) == spec.document()


def test_flags_hold_mappings_in_yaml() -> None:
    spec = parse_text("{my.module:make: {gain: 2, names: [a, b]}}", "--actor")
    assert spec == ObjectSpec("my.module:make", {"gain": 2, "names": ["a", "b"]})


def test_specs_are_hashed_by_value_and_travel_between_processes() -> None:
    spec, other = ObjectSpec("a:B", {"x": [1], "y": 2}), ObjectSpec("a:B", {"y": 2, "x": [1]})
    assert hash(spec) == hash(other)
    assert spec == other == pickle.loads(pickle.dumps(spec))
    assert spec != ObjectSpec("a:B")


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (3, "expected expert to be a name, package.module:Object or .*, got 3"),
        ("", "expected expert to be a name"),
        ({"a:B": {}, "c:D": {}}, "got 2 entries; give it one"),
        ({}, "got 0 entries"),
        ({"a:B": 3}, r"expected keyword arguments \{keyword: value\} for expert 'a:B', got 3"),
        ({"a:B": {1: 2}}, "expected keyword arguments"),
        ("my.module.Expert", "got 'my.module.Expert'; did you mean 'my.module:Expert'?"),
        ("gird", "expected expert to be grid, taxi or package.module:Object or .*; did you mean 'grid'?"),
        ("a:b.c", "expected expert to be grid, taxi or"),
        ("a b:c", "expected expert to be grid, taxi or"),
    ],
)
def test_what_is_no_name_is_told_in_one_line(written: Any, line: str) -> None:
    with pytest.raises(TutelageError, match=line) as caught:
        parse_object(written, "expert", ["grid", "taxi"])
    assert "\n" not in str(caught.value)


def test_nothing_is_imported_before_its_module_is_trusted(module: str) -> None:
    spec = parse_object(f"{module}:Player", "expert")
    with pytest.raises(Untrusted, match=f"task 'a': .*import the module {module}; .*--trust {module}"):
        spec.load(who="task 'a'")
    assert module not in sys.modules
    trust([module])
    assert spec.load().__name__ == "Player"
    assert ObjectSpec(f"{module}:LIMIT").load() == 3


@pytest.mark.parametrize("name", ["remove", "JSONDecoder"])
def test_what_a_trusted_module_has_imported_from_another_needs_trust_itself(module: str, name: str) -> None:
    trust([module])
    with pytest.raises(Untrusted, match=f"use {module}:{name}, of the module"):
        ObjectSpec(f"{module}:{name}").load()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("some_players:Playr", "expected 'Playr' in the module some_players, .*did you mean 'Player'"),
        ("broken_players:X", "expected to import broken_players, got RuntimeError: no luck; mend it"),
        ("absent_players:X", "expected to import absent_players, got No module named"),
    ],
)
def test_what_cannot_be_imported_is_told_in_one_line(module: str, name: str, line: str) -> None:
    trust(["some_players", "broken_players", "absent_players"])
    with pytest.raises(TutelageError, match=line) as caught:
        ObjectSpec(name).load()
    assert "\n" not in str(caught.value)


@pytest.fixture
def installed(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint("walker", "some_players:Player", objects.EXPERTS),
        importlib.metadata.EntryPoint("broken", "broken_players:X", objects.EXPERTS),
        importlib.metadata.EntryPoint("twice", "a:B", objects.EXPERTS),
        importlib.metadata.EntryPoint("twice", "c:D", objects.EXPERTS),
    ]

    def entry_points(group: str) -> list[importlib.metadata.EntryPoint]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


@pytest.mark.usefixtures("installed")
def test_an_installed_entry_point_counts_as_trusted() -> None:
    assert ObjectSpec("walker").load(objects.EXPERTS).__name__ == "Player"
    assert list(objects.entry_points(objects.EXPERTS)) == ["walker", "broken", "twice"]
    assert objects.entry_points(objects.ACTORS) == {}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("walkr", r"expected an installed entry point of tutelage.experts \(.*\), got 'walkr'; did you mean"),
        ("twice", "expected one installed entry point 'twice' of tutelage.experts, got a:B, c:D; name"),
        ("broken", "expected to import broken_players:X, the entry point 'broken' of .*RuntimeError"),
    ],
)
def test_entry_points_that_lead_nowhere(name: str, line: str) -> None:
    with pytest.raises(TutelageError, match=line):
        ObjectSpec(name).load(objects.EXPERTS)
