"""An action is the same after JSON, after its space, and after a row of numbers; mistakes are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.envs.spaces import action_size, action_to_row, row_to_action
from tutelage.envs.web.action_space import ElementTable, action_space, to_action, to_value
from tutelage.envs.web.actions import (
    ELEMENTS,
    KEYS,
    MODIFIERS,
    TEXT,
    VERBS,
    WebAction,
    from_json,
    from_mapping,
    split_key,
    to_json,
)
from tutelage.envs.web.observation import COLUMNS, read_columns, read_elements, write_columns
from tutelage.errors import TutelageError

FRACTIONS = st.floats(0, 1)
PLACES = st.integers(-1, ELEMENTS - 1)
SPANS = st.floats(-4096, 4096)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=TEXT)


@st.composite
def actions(draw: st.DrawFn) -> WebAction:
    verb = draw(st.sampled_from(VERBS))
    key = ""
    if verb == "key":
        held = draw(st.lists(st.sampled_from(MODIFIERS), unique=True))
        key = "+".join((*held, draw(st.sampled_from(KEYS))))
    return WebAction(
        verb,
        draw(PLACES),
        *(draw(FRACTIONS), draw(FRACTIONS), draw(PLACES), draw(FRACTIONS), draw(FRACTIONS)),
        *(draw(SPANS), draw(SPANS)),
        draw(TEXTS),
        key,
        draw(st.integers(-4096, 4096)),
    )


@given(actions())
def test_an_action_survives_json_its_space_and_a_row(action: WebAction) -> None:
    space = action_space()
    assert from_json(to_json(action)) == action
    assert space.contains(to_value(action))
    row = action_to_row(space, to_value(action))
    assert row.shape == (action_size(space),)
    assert to_action(row_to_action(space, row)) == action


def test_every_value_of_the_space_is_an_action() -> None:
    space = action_space()
    space.seed(1)
    for _ in range(300):
        value = space.sample()
        assert from_json(to_json(to_action(value))) == to_action(value)


def test_json_says_what_is_unusual() -> None:
    assert to_json(WebAction("click", 3)) == '{"verb": "click", "element": 3}'
    assert to_json(WebAction("type", 2, text="Zoë")) == '{"verb": "type", "element": 2, "text": "Zoë"}'
    assert str(WebAction("type", 2, text="Zoë")) == "type 2 'Zoë'"
    assert str(WebAction("drag", 2, target=4)) == "drag 2 to 4"
    assert str(WebAction("drag", 2, dx=5, dy=-1.5)) == "drag 2 by 5,-1.5"
    assert str(WebAction("scroll", amount=-40)) == "scroll -40"


def test_numbers_of_numpy_become_plain() -> None:
    action = WebAction("click", np.int64(3), np.float32(0.5))  # type: ignore[arg-type]
    assert to_json(action) == '{"verb": "click", "element": 3}'


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a", ((), "a")),
        ("+", ((), "+")),
        ("Control++", (("Control",), "+")),
        ("Shift+Control+Tab", (("Control", "Shift"), "Tab")),
        (" ", ((), "Space")),
    ],
)
def test_a_key_is_split_into_what_is_held_and_what_is_pressed(written: str, meant: Any) -> None:
    assert split_key(written) == meant


def test_a_shortcut_has_one_spelling() -> None:
    assert WebAction("key", key="Control+a") == WebAction("key", key="Control+A")
    assert WebAction("key", key="a") != WebAction("key", key="A")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"verb": "clik"}, "did you mean 'click'"),
        (
            {"verb": "click", "element": ELEMENTS},
            f"expected element from -1 to {ELEMENTS - 1}, got {ELEMENTS}",
        ),
        ({"verb": "click", "x": 1.5}, "expected x to be a fraction from 0 to 1, got 1.5"),
        ({"verb": "scroll", "amount": 9999}, "expected amount within 4096, got 9999"),
        ({"verb": "type", "text": "\0"}, "no NUL"),
        ({"verb": "click", "key": "Tab"}, "expected `key` for the verb key alone, got 'Tab' for click"),
        ({"verb": "key", "key": "Ctrl+A"}, "did you mean 'Control'"),
        ({"verb": "key", "key": "Enterr"}, "did you mean 'Enter'"),
        ({"verb": "click", "elment": 3}, "did you mean 'element'"),
        ({"verb": "click", "element": "3"}, "expected element to be a int, got '3'"),
        ({"element": 3}, "expected a web action such as"),
        ("click", "expected a web action such as"),
    ],
)
def test_mistakes_are_told(fields: Any, words: str) -> None:
    with pytest.raises(TutelageError) as told:
        from_mapping(fields)
    assert words in str(told.value)


def test_broken_json_is_told() -> None:
    with pytest.raises(TutelageError, match=r"expected a web action as JSON, got '\{'"):
        from_json("{")


def test_columns_are_written_as_a_page_writes_them() -> None:
    columns = {name: [0] for name in COLUMNS} | {
        "parent": [-1],
        "tag": ["t"],
        "text": ['"ß"'],
        "value": [None],
        "id": [""],
        "classes": [""],
        "left": [np.float32(12.5)],
        "top": [np.float32(3)],
    }
    written = write_columns(columns)
    assert '"left":[12.5],"top":[3],' in written
    assert '"text":["\\"ß\\""],"value":[null]' in written
    assert ElementTable().contains(written)
    assert read_columns(written)["top"] == [3]
    assert read_elements(written)[0].text == '"ß"'
    assert not ElementTable().contains("[]")
    with pytest.raises(TutelageError, match="expected columns ref, parent"):
        write_columns({"ref": []})
