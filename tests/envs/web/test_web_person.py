"""A person's hands on a page become the fewest actions that do the same, whatever they did on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tutelage.envs.capabilities import InputQuestion
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.devtools import Conversation
from tutelage.envs.web.environment import WebEnv
from tutelage.tests.envs.web.showing import at, elements, named
from tutelage.tests.envs.web.sitting import Sitting

Opened = Callable[..., WebEnv]


def named_text(observation: Any, text: str) -> Any:
    return elements(observation)[at(observation, text=text)]


def test_what_is_typed_shows_at_once_and_is_one_action(opened: Opened) -> None:
    person = Sitting(opened("form"), 1)
    person.do("click", "notes")
    person.type("bpb")
    assert named(person.shown(), "notes").value == "bpb"
    person.type(["Backspace", "Backspace", "o", "b", "Enter", "B"])
    assert named(person.shown(), "notes").value == "bob\nB"
    assert [one.verb for one in person.actions] == ["click"]
    person.do("click", "name")
    place = at(person.seen, id="notes")
    assert person.actions[1] == WebAction("type", place, text="bob\nB")
    assert named(person.seen, "notes").value == "bob\nB"
    person.check()


def test_a_slip_that_is_put_right_at_once_is_no_action(opened: Opened) -> None:
    person = Sitting(opened("menu"), 1)
    person.do("click", "word")
    person.type(["x", "Backspace", "ArrowLeft"])
    person.do("rest")
    assert len(person.actions) == 1
    person.check()


def test_a_shortcut_is_an_action_and_typing_over_it_one_more(opened: Opened) -> None:
    person = Sitting(opened("form"), 1)
    person.do("click", "name")
    person.type("a", "Control")
    person.type("bob")
    person.type(["Tab"])
    assert [str(one) for one in person.actions[1:]] == [
        "key Control+A",
        f"type {at(person.seen, id='name')} 'bob'",
        "key Tab",
    ]
    person.check()


def test_what_is_copied_can_be_pasted(opened: Opened) -> None:
    person = Sitting(opened("form"), 1)
    person.do("click", "name")
    person.type("ac", "Control")
    person.do("click", "notes")
    person.type("v", "Control")
    assert named(person.seen, "notes").value == "nobody"
    person.check()


def test_letters_beside_any_field_are_told_as_letters(opened: Opened) -> None:
    person = Sitting(opened("form"), 1)
    person.type("ab")
    person.type([" "])
    person.do("rest")
    assert person.actions == [WebAction("type", text="ab ")]
    person.check()


def test_space_presses_what_has_the_focus(opened: Opened) -> None:
    person = Sitting(opened("checklist"), 3)
    person.type(["Tab", "Tab", " "])
    assert [str(one) for one in person.actions] == ["key Tab", "key Tab", "key Space"]
    person.check()


def test_a_list_asks_which_of_its_options(opened: Opened) -> None:
    person = Sitting(opened("form"), 1)
    person.do("click", "colour")
    assert person.questions == [InputQuestion("SELECT", "", ("black", "red", "green"), (0,), False)]
    assert person.actions == []
    person.do("fill", text="red")
    assert person.actions == [WebAction("type", at(person.seen, id="colour"), text="red")]
    person.do("fill", text="green")  # nobody asked
    assert len(person.actions) == 1


def test_a_date_is_asked_for(opened: Opened) -> None:
    person = Sitting(opened("form"), 1)
    person.do("click", "day")
    person.do("fill", text="06/15/2016")
    assert person.questions == [InputQuestion("INPUT_date")]
    assert named(person.seen, "day").value == "2016-06-15"
    person.do("click", "day")
    assert person.questions[-1].value == "2016-06-15"


def test_a_finger_on_a_field_is_asked_for_its_text(opened: Opened) -> None:
    person = Sitting(opened("form"), 1)
    person.do("tap", "name")
    assert person.questions == [InputQuestion("INPUT_text", "nobody")]
    person.do("fill", text="bob")
    assert [one.verb for one in person.actions] == ["click", "type"]
    assert named(person.seen, "name").value == "bob"
    person.do("tap", "send")
    assert (person.reward, person.done) == (-1, True)  # no colour was chosen


def test_a_drag_shows_on_its_way_and_is_one_action(opened: Opened) -> None:
    person = Sitting(opened("canvas"), 3)
    person.do("press", x=121, y=89)
    for x in (100, 60, 2):
        person.do("move", x=x, y=80)
    assert person.actions == []
    person.do("release", x=2, y=80)
    assert [one.verb for one in person.actions] == ["drag"]
    assert (person.reward, person.done) == (0.5, True)
    person.check()


def test_a_drag_that_comes_to_nothing_is_a_click(opened: Opened) -> None:
    person = Sitting(opened("canvas"), 3)
    person.do("press", x=121, y=89)
    person.do("move", x=140, y=80)
    person.do("release", x=122, y=89)
    assert [one.verb for one in person.actions] == ["click"]
    assert person.reward == 1.0


def test_turns_of_the_wheel_are_one_scroll_where_anything_scrolled(opened: Opened) -> None:
    person = Sitting(opened("checklist"), 3)
    for _ in range(3):
        person.do("wheel", x=50, y=50, amount=20)
    person.do("hover", x=20, y=150)
    assert person.actions == [WebAction("scroll", person.actions[0].element, amount=60)]
    person.do("wheel", x=20, y=150, amount=20)
    person.do("click", "send")
    assert [one.verb for one in person.actions] == ["scroll", "click"]
    person.check()


def test_a_pointer_at_rest_is_an_action_where_it_changes_more_than_colours(opened: Opened) -> None:
    person = Sitting(opened("menu"), 0)
    person.do("hover", "file")
    assert at(person.shown(), id="save") > 0  # it has opened
    person.do("hover", "save")
    person.do("hover", "beside")
    person.do("click", "edit")
    assert [str(one) for one in person.actions][:1] == [f"hover {at(person.proof[0], id='file')}"]
    assert [one.verb for one in person.actions].count("click") == 1
    person.check()


def test_a_menu_is_opened_by_hovering_and_chosen_from(opened: Opened) -> None:
    person = Sitting(opened("menu"), 0)
    person.do("hover", "file")
    one = named(person.shown(), "save")
    person.do("click", x=one.left + 3, y=one.top + 3)
    assert [one.verb for one in person.actions] == ["hover", "click"]
    assert (person.reward, person.done) == (1.0, True)
    person.check()


def test_a_page_that_ends_while_something_is_typed_ends_with_it(opened: Opened) -> None:
    person = Sitting(opened("menu"), 0)
    person.do("click", "word")
    person.type("open")
    assert (person.reward, person.done) == (0.5, True)
    assert [str(one) for one in person.actions][1:] == [f"type {at(person.seen, id='word')} 'open'"]


def test_waiting_lets_the_page_move(opened: Opened) -> None:
    person = Sitting(opened("moving"), 0)
    before = named(person.seen, "count").text
    person.do("wait")
    assert person.actions == [WebAction("wait", amount=1000)]
    assert int(named(person.seen, "count").text) == int(before) + 10


@pytest.mark.parametrize("y", [7, 30, 61, 93], ids=["arrow", "thumb", "track", "other-arrow"])
def test_the_bar_of_a_list_scrolls_at_once_by_what_a_browser_scrolls(opened: Opened, y: int) -> None:
    env = opened("checklist")
    for _ in range(3):
        person = Sitting(env, 0)
        person.do("click", x=150, y=y)
        top = named_text(person.seen, "birch").top
        assert {7: 27, 30: 27, 61: 27 - 87, 93: 27 - 40}[y] == top
    person.check()


def test_a_thumb_follows_the_mouse_and_stays_where_it_is_let_go(opened: Opened) -> None:
    person = Sitting(opened("checklist"), 0)
    person.do("press", x=150, y=30)
    person.do("move", x=150, y=49)
    halfway = named_text(person.shown(), "birch").top
    assert 27 - 100 < halfway < 27
    person.do("release", x=150, y=68)
    assert [action.verb for action in person.actions] == ["drag"]
    assert named_text(person.seen, "birch").top == 27 - 100
    person.check()


def frames(env: WebEnv, count: int) -> Conversation[None]:
    """Let real time pass, as so many pictures of the page."""
    for _ in range(count):
        yield from env.episode.picture()


def test_the_arrows_of_a_number_count_once_however_long_they_are_held(opened: Opened) -> None:
    env = opened("panes")
    seen, _ = env.reset(seed=5)
    env.step(WebAction("press", at(seen, id="count"), 0.95, 0.25))
    # a browser counts on after half a second
    env.browser.talk_alone(frames(env, 60))
    seen, *_ = env.step(WebAction("hover", 0))
    assert named(seen, "count").value == "6"


def test_a_crash_in_the_midst_of_typing_loses_nothing(opened: Opened) -> None:
    env = opened("form")
    person = Sitting(env, 1)
    person.do("click", "notes")
    person.type("ab")
    _crash(env)
    person.type("c")
    _crash(env)
    person.do("rest")
    assert named(person.seen, "notes").value == "abc"
    assert env.episode.repeats == 2
    person.check()


def _crash(env: WebEnv) -> None:
    from tutelage.tests.envs.web.test_web_crash import crash

    crash(env)
