from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.policy.action_parts import SKIPPED
from tutelage.agents.policy.web.page_actions import (
    ROW,
    PageActions,
    RepeatGuard,
    common_keys,
    find_words,
    page_actions,
    page_parts,
)
from tutelage.envs.spaces import action_to_row, row_to_action
from tutelage.envs.web.action_space import action_space, to_action, to_value
from tutelage.envs.web.actions import WebAction
from tutelage.tests.support.toy_page import page

KEYS = ("Control+A", "Enter")
ASKED = 'Type "Ann Lee" on 03/09/2016 at 7:05 PM.'
PAGE = page(
    ("INPUT_text", "", ""),
    ("INPUT_date", "", ""),
    ("INPUT_time", "", ""),
    ("circle", "", None),
    ("CANVAS", "", None),
)
FIELD, DATE, TIME, CIRCLE, CANVAS = 1, 2, 3, 4, 5
SPACE = action_space()


def there_and_back(action: WebAction) -> WebAction | None:
    actions = PageActions(KEYS)
    numbers = actions.numbers(action_to_row(SPACE, to_value(action)), ASKED, PAGE)
    if numbers[0] == SKIPPED:
        return None
    return to_action(row_to_action(SPACE, actions.row(numbers, ASKED, PAGE)))


@pytest.mark.parametrize(
    "action",
    [
        WebAction("click", element=2),
        WebAction("click"),
        WebAction("press", element=0),
        WebAction("double_click", element=1),
        WebAction("drag", element=1, target=2),
        WebAction("type", element=FIELD, text="Ann Lee"),
        WebAction("type", element=FIELD, text="Lee"),
        WebAction("type", element=DATE, text="2016-03-09"),
        WebAction("type", element=TIME, text="19:05"),
        WebAction("type", element=FIELD, text="42"),
        WebAction("key", element=FIELD, key="Enter"),
        WebAction("key", key="Control+A"),
        WebAction("scroll", element=0, amount=100),
        WebAction("wait"),
    ],
    ids=str,
)
def test_what_people_do_can_be_decided_and_comes_back(action: WebAction) -> None:
    assert there_and_back(action) == action


@pytest.mark.parametrize(
    "action",
    [
        WebAction("key", key="F5"),
        WebAction("type", element=FIELD, text="a longer word than can be spelled"),
        WebAction("type", element=FIELD, text="é"),
        WebAction("type", element=FIELD, text=""),
        WebAction("click", element=77),
        WebAction("drag", element=1, dx=4),
    ],
    ids=str,
)
def test_what_cannot_be_decided_is_not_taught(action: WebAction) -> None:
    assert there_and_back(action) is None


@given(st.sampled_from((CIRCLE, CANVAS)), st.floats(0, 1), st.floats(0, 1))
def test_where_a_drawing_is_clicked_is_kept_to_a_thirty_second(element: int, x: float, y: float) -> None:
    back = there_and_back(WebAction("click", element=element, x=x, y=y))
    assert back is not None
    assert abs(back.x - x) <= 1 / 32 + 1e-9
    assert abs(back.y - y) <= 1 / 32 + 1e-9


def test_where_a_button_is_clicked_does_not_matter() -> None:
    assert there_and_back(WebAction("click", element=FIELD, x=0.1)) == WebAction("click", element=FIELD)


@given(st.text("ab /:0123456789", max_size=24), st.integers(0, 23), st.integers(1, 24))
def test_whole_words_are_found_where_they_are_said(sentence: str, begin: int, size: int) -> None:
    typed = sentence[begin : begin + size]
    words = find_words(typed, sentence)
    if words:
        assert words[0] <= words[1]
        actions = PageActions(())
        numbers = actions.numbers(
            action_to_row(SPACE, to_value(WebAction("type", element=FIELD, text=typed.strip()))),
            sentence,
            PAGE,
        )
        back = to_action(row_to_action(SPACE, actions.row(numbers, sentence, PAGE)))
        assert back.text == typed.strip()


def test_a_part_of_a_word_is_not_said() -> None:
    assert find_words("An", "Ann and Dan") is None
    assert find_words("ann", "Ann and Dan") == (0, 0)
    assert find_words("", "Ann") is None


def test_what_was_tried_on_a_page_is_known_when_the_page_is_there_again() -> None:
    tried, other = RepeatGuard(), page(("BUTTON", "other", None))
    click = PageActions(KEYS).numbers(
        action_to_row(SPACE, to_value(WebAction("click", element=1))), ASKED, PAGE
    )
    assert not tried.on(PAGE)
    tried.note(click)
    assert not tried.on(other)
    assert tried.on(PAGE) == {(0, 1, -2)}
    drawn = PageActions(KEYS).numbers(
        action_to_row(SPACE, to_value(WebAction("click", element=CANVAS))), ASKED, PAGE
    )
    tried.note(drawn)  # elsewhere in the drawing it may help
    assert tried.on(PAGE) == {(0, 1, -2)}


def test_keys_are_those_that_were_pressed_three_times() -> None:
    pressed = [WebAction("key", key=key) for key in ["Enter"] * 3 + ["Tab"] * 2] + [
        WebAction("click", element=1)
    ]
    rows = np.stack([action_to_row(SPACE, to_value(one)) for one in pressed])
    assert rows.shape[1] == ROW
    assert common_keys(rows) == ("Enter",)
    assert page_actions(page_parts(KEYS)) == PageActions(KEYS)
