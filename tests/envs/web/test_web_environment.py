"""A page is an environment: what it shows, what can be done to it, and the same again from the same seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tutelage.envs.spaces import action_to_row
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.web.action_space import to_value
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.observation import BOOLEAN, FOCUSED, OWN_TEXT, TAMPERED
from tutelage.errors import TutelageError
from tutelage.tests.envs.web.showing import PAGES, at, elements, named, play

Opened = Callable[..., WebEnv]


def test_a_form_is_shown_as_its_elements_in_order(opened: Opened) -> None:
    env = opened("form")
    seen, info = env.reset(seed=1)
    assert seen["instruction"] == "Call yourself bob, choose red and send."
    assert env.observation_space.contains(seen)
    assert info == {"done": False, "repeats": 0}
    shown = [(one.tag, one.id, one.text) for one in elements(seen)]
    assert shown == [
        ("BODY", "", ""),
        ("DIV", "wrap", ""),
        ("LABEL", "", "Name"),
        ("INPUT_text", "name", ""),
        ("SELECT", "colour", ""),
        ("INPUT_date", "day", ""),
        ("INPUT_time", "hour", ""),
        ("TEXTAREA", "notes", ""),
        ("BUTTON", "send", "Send"),
        ("t", "", "or"),
        ("B", "", "think"),
        ("t", "", "again"),
    ]


def test_an_element_says_its_box_its_colours_its_value_and_its_place(opened: Opened) -> None:
    seen, _ = opened("form").reset(seed=1)
    wrap, name, line = named(seen, "wrap"), named(seen, "name"), elements(seen)[at(seen, text="or")]
    assert (wrap.left, wrap.top, wrap.width, wrap.height) == (0, 0, 160, 210)
    assert (wrap.bg, wrap.fg, wrap.flags) == (0xFFFFFFFF, 0x000000FF, 0)
    assert (name.value, name.flags, name.parent) == ("nobody", OWN_TEXT, 1)
    assert (line.ref, line.flags, line.parent, line.value) == (-1, OWN_TEXT, 1, None)
    assert 0 < line.width < 20


def test_typing_makes_a_text_what_the_field_holds(opened: Opened) -> None:
    env = opened("form")
    seen, _ = env.reset(seed=1)
    seen, *_ = env.step(WebAction("type", at(seen, id="name"), text="Bobß, 3!"))
    assert named(seen, "name").value == "Bobß, 3!"
    assert named(seen, "name").flags & (FOCUSED | TAMPERED) == FOCUSED | TAMPERED
    seen, *_ = env.step(WebAction("type", text="\bx"))
    assert named(seen, "name").value == "Bobß, 3x"
    seen, *_ = env.step(WebAction("type", at(seen, id="name"), text=""))
    assert named(seen, "name").value == ""


def test_what_a_page_does_later_has_happened_when_it_is_shown(opened: Opened) -> None:
    env = opened("form")
    seen, _ = env.reset(seed=1)
    seen, *_ = env.step(WebAction("type", at(seen, id="name"), text="ann"))
    assert named(seen, "said").text == "hello ann"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("day", "2017-12-31", "2017-12-31"),
        ("day", "3/7/2016", "2016-03-07"),
        ("hour", "9:05", "09:05"),
        ("hour", "12:30 PM", "12:30"),
        ("hour", "12:30 AM", "00:30"),
        ("hour", "4:07 pm", "16:07"),
        ("notes", "one\ntwo", "one\ntwo"),
    ],
)
def test_dates_times_and_lines_are_typed_as_people_write_them(
    opened: Opened, field: str, text: str, value: str
) -> None:
    env = opened("form")
    seen, _ = env.reset(seed=1)
    seen, *_ = env.step(WebAction("type", at(seen, id=field), text=text))
    assert named(seen, field).value == value


def test_an_option_is_chosen_by_typing_it(opened: Opened) -> None:
    env = opened("form")
    seen, _ = env.reset(seed=1)
    seen, *_ = env.step(WebAction("type", at(seen, id="name"), text="bob"))
    seen, *_ = env.step(WebAction("type", at(seen, id="colour"), text="Re"))
    seen, reward, terminated, truncated, info = env.step(WebAction("click", at(seen, id="send")))
    assert (reward, terminated, truncated, info["done"]) == (1.0, True, False, True)


def test_an_option_is_chosen_by_a_click_and_keys(opened: Opened) -> None:
    env = opened("form")
    seen, _ = env.reset(seed=1)
    env.step(WebAction("type", at(seen, id="name"), text="bob"))
    seen, *_ = env.step(WebAction("click", at(seen, id="colour")))
    assert named(seen, "colour").flags & (FOCUSED | TAMPERED) == FOCUSED | TAMPERED
    env.step(WebAction("key", key="ArrowDown"))
    assert env.step(WebAction("click", at(seen, id="send")))[1] == 1.0


@pytest.mark.parametrize(
    ("key", "heard"),
    [
        ("Tab", "Tab"),
        ("a", "a"),
        ("Control+A", "ctrl a"),
        ("Shift+ArrowLeft", "shift ArrowLeft"),
        ("Space", ""),
    ],
)
def test_keys_arrive_with_what_is_held(opened: Opened, key: str, heard: str) -> None:
    env = opened("form")
    seen, _ = env.reset(seed=1)
    seen, *_ = env.step(WebAction("key", at(seen, id="notes"), key=key))
    said = [one.text for one in elements(seen) if one.id == "said"]
    assert said == ([heard] if heard else [])  # of a space, nothing is to be seen
    assert named(seen, "notes").value == {"a": "a", "Space": " "}.get(key, "")
    assert bool(named(seen, "notes").flags & FOCUSED) == (key != "Tab")


def test_what_is_copied_can_be_pasted_in_the_same_episode_alone(opened: Opened) -> None:
    env = opened("form")
    seen, _ = env.reset(seed=1)
    place = at(seen, id="notes")
    env.step(WebAction("type", at(seen, id="name"), text="Zoë"))
    for key in ("Control+A", "Control+C"):
        env.step(WebAction("key", key=key))
    for _ in range(2):
        seen, *_ = env.step(WebAction("key", place, key="Control+V"))
    assert named(seen, "notes").value == "ZoëZoë"
    env.reset(seed=1)
    seen, *_ = env.step(WebAction("key", place, key="Control+V"))
    assert named(seen, "notes").value == ""


def test_the_first_tab_of_an_episode_begins_at_the_top(opened: Opened) -> None:
    env = opened("form")
    for seed in (1, 2):
        seen, _ = env.reset(seed=seed)
        seen, *_ = env.step(WebAction("key", key="Tab"))
        assert named(seen, "name").flags & FOCUSED
        env.step(WebAction("click", at(seen, id="notes")))


def test_what_is_out_of_view_is_scrolled_to_and_clicked(opened: Opened) -> None:
    env = opened("checklist")
    seen, _ = env.reset(seed=5)
    assert seen["instruction"] == "Tick fir and juniper, then send."
    for word in ("fir", "juniper"):
        seen, *_ = env.step(WebAction("click", at(seen, text=word, tag="t")))
    ticked = [one for one in elements(seen) if one.tag == "INPUT_checkbox" and one.value == "true"]
    assert [one.flags & BOOLEAN for one in ticked] == [BOOLEAN, BOOLEAN]
    _, reward, terminated, *_ = env.step(WebAction("click", at(seen, id="send")))
    assert (reward, terminated) == (1.0, True)


def test_scrolling_moves_what_an_element_lies_in(opened: Opened) -> None:
    env = opened("checklist")
    before, _ = env.reset(seed=5)
    word = at(before, text="cedar")
    after, *_ = env.step(WebAction("scroll", word, amount=30))
    assert elements(before)[word].top - elements(after)[word].top == 30
    after, *_ = env.step(WebAction("scroll", at(after, id="list"), amount=-99))
    assert elements(after)[word].top == elements(before)[word].top


def test_the_pointer_colours_what_it_is_over_and_nothing_in_the_next_episode(opened: Opened) -> None:
    env = opened("checklist")
    first, _ = env.reset(seed=5)
    label = elements(first)[at(first, text="birch")].parent
    seen, *_ = env.step(WebAction("hover", label))
    assert elements(seen)[label].bg == 0xC8C8FFFF
    # what is scrolled from under the pointer is no longer under it, what comes there is
    seen, *_ = env.step(WebAction("scroll", label, amount=20))
    assert [one.parent for one in elements(seen) if one.bg == 0xC8C8FFFF] == [at(seen, id="list")]
    assert elements(seen)[label].bg == 0
    again, _ = env.reset(seed=5)
    assert again == first


def test_what_comes_to_lie_under_the_pointer_hears_that_it_is_there_and_of_no_move(opened: Opened) -> None:
    """As a browser tells by itself when it has had a frame, which is a matter of luck."""
    env = opened("cover")
    seen, _ = env.reset(seed=0)
    seen, *_ = env.step(WebAction("click", at(seen, id="open")))
    assert named(seen, "log").text == "mouseover mouseenter"
    seen, *_ = env.step(WebAction("hover", at(seen, id="cover")))
    assert named(seen, "log").text == "mouseover mouseenter pointermove mousemove"


def test_a_place_inside_a_drawing_can_be_clicked(opened: Opened) -> None:
    env = opened("canvas")
    seen, _ = env.reset(seed=3)
    spot = WebAction("click", at(seen, id="field"), x=(10 + 111) / 160, y=(10 + 79) / 100)
    assert env.step(spot)[1:3] == (1.0, True)
    seen, _ = env.reset(seed=3)
    assert env.step(WebAction("click", at(seen, id="field")))[1:3] == (-1.0, True)


def test_a_drawn_shape_says_what_fills_it(opened: Opened) -> None:
    seen, _ = opened("canvas").reset(seed=3)
    circle = elements(seen)[at(seen, tag="circle")]
    assert (circle.fg, circle.classes, circle.width) == (0x008000FF, "SVG_CLASS", 16)


def test_a_drag_goes_from_place_to_place(opened: Opened) -> None:
    env = opened("canvas")
    seen, _ = env.reset(seed=3)
    field, x, y = at(seen, id="field"), 121 / 160, 89 / 100
    seen, reward, terminated, *_ = env.step(WebAction("drag", field, x, y, dx=-30))
    assert (reward, terminated, named(seen, "log").text) == (0.0, False, "8 moves")
    to_the_edge = WebAction("drag", field, x, y, target=field, target_x=0.01, target_y=0.5)
    assert env.step(to_the_edge)[1:3] == (0.5, True)


def test_a_press_holds_while_the_pointer_hovers_and_ends_with_the_next_action(opened: Opened) -> None:
    env = opened("canvas")
    seen, _ = env.reset(seed=3)
    field = at(seen, id="field")
    env.step(WebAction("press", field))
    env.step(WebAction("hover", field, x=0.2))
    env.step(WebAction("hover", field, x=0.1))
    seen, *_ = env.step(WebAction("wait", amount=0))
    assert named(seen, "log").text == "2 moves"
    env.reset(seed=3)
    seen, *_ = env.step(WebAction("double_click", at(seen, id="field")))
    assert named(seen, "log").text == "twice"


def test_time_passes_with_actions_alone(opened: Opened) -> None:
    env = opened("moving")
    seen, _ = env.reset(seed=0)
    box, count = named(seen, "box").left, int(named(seen, "count").text)
    assert named(seen, "today").text.startswith("2017-10-16T12:00")
    seen, *_ = env.step(WebAction("wait", amount=400))
    assert int(named(seen, "count").text) == count + 4
    assert named(seen, "box").left == pytest.approx(box + 20, abs=1)
    seen, *_ = env.step(WebAction("wait", amount=0))
    assert int(named(seen, "count").text) == count + 4


def test_a_slow_change_of_style_is_over_when_it_is_shown(opened: Opened) -> None:
    env = opened("moving")
    seen, _ = env.reset(seed=0)
    seen, *_ = env.step(WebAction("click", at(seen, id="grow")))
    assert named(seen, "slow").width == 120


@pytest.mark.slow
@pytest.mark.parametrize("page", ["form", "checklist", "canvas", "moving"])
def test_the_same_actions_show_the_same_pages(opened: Opened, page: str) -> None:
    env, other = opened(page), opened(page)
    for seed in range(4):
        assert play(env, seed) == play(other, seed) == play(env, seed)


def test_an_episode_is_cut_after_its_steps(opened: Opened) -> None:
    env = opened("form", max_steps=2)
    env.reset(seed=1)
    assert [env.step(WebAction("wait"))[2:4] for _ in range(2)] == [(False, False), (False, True)]


def test_a_link_does_not_lead_away(opened: Opened) -> None:
    env = opened("checklist")
    seen, _ = env.reset(seed=5)
    after, *_ = env.step(WebAction("click", at(seen, tag="A")))
    assert after["instruction"] == seen["instruction"]


def test_an_element_that_is_not_there_is_left_alone(opened: Opened) -> None:
    env = opened("form")
    seen, _ = env.reset(seed=1)
    for verb in ("click", "type", "drag", "hover"):
        after, reward, *_ = env.step(WebAction(verb, 999))
        assert (after, reward) == (seen, 0.0)


def test_a_screenshot_shows_the_page(opened: Opened) -> None:
    env = opened("canvas", screenshot=True, render_mode="rgb_array")
    seen, _ = env.reset(seed=3)
    assert env.observation_space.contains(seen)
    assert seen["screenshot"].shape == (210, 160, 3)
    assert seen["screenshot"][89, 121].tolist() == [255, 0, 0]
    assert np.array_equal(env.render(), seen["screenshot"])


def test_a_page_is_a_task_like_any_other(opened: Opened) -> None:
    task = Task("form", "tests/WebPage-v0", {"task": str(PAGES / "form.html"), "max_steps": 5}, max_steps=4)
    environment = TaskEnv(task)
    step = environment.reset(1)
    assert environment.limit == 4
    assert environment.instruction == "Call yourself bob, choose red and send."
    action = WebAction("type", at(step.observation, id="name"), text="böb")
    step = environment.step(action_to_row(environment.action_space, to_value(action)))
    assert named(step.observation, "name").value == "böb"
    environment.close()


def test_mistakes_are_told(opened: Opened) -> None:
    with pytest.raises(TutelageError, match=r"expected a page, got nowhere\.html, which does not exist"):
        WebEnv("nowhere.html")
    with pytest.raises(TutelageError, match="expected max_steps from 1, got 0"):
        opened("form", max_steps=0)
    with pytest.raises(TutelageError, match=r"expected reset\(\) before step\(\)"):
        opened("form").step(WebAction("wait"))
