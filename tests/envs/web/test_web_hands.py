"""What a person does with mouse and keys is told as an action that does the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.pointing import clicked, hovered, joined, keyed, moved, pointed, scrolled
from tutelage.errors import TutelageError
from tutelage.tests.envs.web.showing import at, elements, named

Opened = Callable[..., WebEnv]


def middle(one: object) -> tuple[float, float]:
    return one.left + one.width / 2, one.top + one.height / 2  # type: ignore[attr-defined]


def test_a_form_is_filled_by_mouse_and_keys(opened: Opened) -> None:
    env = opened("form")
    seen, _ = env.reset(seed=1)
    click = clicked(env.episode, middle(named(seen, "name")))
    assert (click.verb, click.element) == ("click", at(seen, id="name"))
    env.step(click)
    typed = [keyed("A", ["Control"]), *map(keyed, "bob")]
    for action in typed:
        assert action is not None
        seen, *_ = env.step(action)
    assert named(seen, "name").value == "bob"
    assert joined([one for one in typed if one]) == [
        WebAction("key", key="Control+A"),
        WebAction("type", text="bob"),
    ]


def test_a_place_in_a_drawing_is_told_to_the_pixel(opened: Opened) -> None:
    env = opened("canvas")
    env.reset(seed=3)
    assert env.step(clicked(env.episode, (121, 89)))[1] == 1.0
    env.reset(seed=3)
    assert env.step(clicked(env.episode, (126, 89)))[1] == -1.0


def test_a_press_and_a_release_elsewhere_are_a_drag(opened: Opened) -> None:
    env = opened("canvas")
    env.reset(seed=3)
    drag = moved(env.episode, (121, 89), (2, 50))
    assert (drag.verb, drag.dx, drag.dy) == ("drag", -119, -39)
    assert env.step(drag)[1] == 0.5
    env.reset(seed=3)
    assert moved(env.episode, (121, 89), (122, 91)).verb == "click"
    assert clicked(env.episode, (121, 89), 2).verb == "double_click"


def test_the_wheel_scrolls_what_the_pointer_is_over(opened: Opened) -> None:
    env = opened("checklist")
    before, _ = env.reset(seed=5)
    word = at(before, text="birch")
    after, *_ = env.step(scrolled(env.episode, middle(elements(before)[word]), 40.4))
    assert elements(before)[word].top - elements(after)[word].top == 40
    label = hovered(env.episode, middle(elements(after)[at(after, text="cedar")])).element
    assert elements(after)[label].tag == "LABEL"


@pytest.mark.parametrize(
    ("key", "held", "action"),
    [
        ("a", [], WebAction("type", text="a")),
        ("ß", [], WebAction("type", text="ß")),
        ("A", ["Shift"], WebAction("type", text="A")),
        (" ", [], WebAction("type", text=" ")),
        ("Tab", ["Shift"], WebAction("key", key="Shift+Tab")),
        ("v", ["Control"], WebAction("key", key="Control+V")),
        ("Control", ["Control"], None),
        ("Dead", [], None),
    ],
)
def test_a_key_is_typed_or_pressed(key: str, held: list[str], action: WebAction | None) -> None:
    assert keyed(key, held) == action


def test_beside_everything_there_is_the_root(opened: Opened) -> None:
    env = opened("moving")
    with pytest.raises(TutelageError, match=r"expected reset\(\) before a person points"):
        pointed(env.episode, (1, 1))
    env.reset(seed=0)
    assert pointed(env.episode, (150, 205)) == (0, pytest.approx(150 / 160), 1.0)
