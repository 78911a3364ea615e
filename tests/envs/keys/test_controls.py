"""What a person's fingers do becomes exactly one action, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from tutelage.envs.keys.controls import Controls, KeyBinding, from_mapping, guess
from tutelage.envs.keys.unreached import unreached
from tutelage.envs.spaces import action_to_row, row_to_action
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.web.action_space import to_value
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.environment import WebEnv
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.support.sources import ROOT

WEB_PAGE = str(ROOT / "tests" / "envs" / "web" / "pages" / "form.html")
THREE = spaces.Discrete(3)
WALK = Controls(
    (
        KeyBinding(("ArrowLeft",), (1.0,), "left"),
        KeyBinding(("ArrowRight",), (2.0,), "right"),
        KeyBinding(("ArrowUp", "ArrowRight"), (3.0,), "up and right"),
    ),
    idle=(0.0,),
)


class Keyed(gymnasium.Env[Any, Any]):
    """A toy that names its own keys, in each way that Gymnasium's environments do."""

    observation_space = spaces.Discrete(1)

    def __init__(self, space: spaces.Space[Any], keys: Any = None) -> None:
        self.action_space = space
        if keys is not None:
            self.get_keys_to_action = lambda: keys


def meant(controls: Controls, *pressed: str) -> list[float] | None:
    action = controls.action(pressed)
    return None if action is None else action.tolist()


def test_no_key_means_the_idle_action_or_nothing() -> None:
    assert meant(WALK) == [0.0]
    assert meant(WALK, "KeyQ") == [0.0]
    assert meant(Controls(WALK.bindings)) is None


def test_the_key_pressed_last_wins() -> None:
    assert meant(WALK, "ArrowLeft", "ArrowRight") == [2.0]
    assert meant(WALK, "ArrowRight", "ArrowLeft") == [1.0]


def test_keys_held_together_mean_more_than_one_of_them() -> None:
    assert meant(WALK, "ArrowUp", "ArrowRight") == [3.0]
    assert meant(WALK, "ArrowRight", "ArrowUp", "ArrowLeft") == [3.0]
    assert meant(WALK, "ArrowUp") == [0.0]


@given(st.permutations(["ArrowLeft", "ArrowRight", "ArrowUp", "KeyQ", "Space"]), st.integers(0, 5))
def test_whatever_is_pressed_means_a_bound_action_or_idle(keys: list[str], count: int) -> None:
    action = meant(WALK, *keys[:count])
    assert action in [[0.0], [1.0], [2.0], [3.0]]


def test_an_action_is_shown_by_its_label_or_its_numbers() -> None:
    assert WALK.label([3]) == "up and right"
    assert WALK.label([7.5]) == "7.5"


def test_a_suite_binds_codes_chords_and_labels() -> None:
    keys = {"ArrowLeft": 0, "KeyA+KeyB": {"action": 2, "label": "jump"}}
    controls = from_mapping(keys, 1, THREE, names=("left", "stay", "up"))
    assert controls.bindings == (
        KeyBinding(("ArrowLeft",), (0.0,), "left"),
        KeyBinding(("KeyA", "KeyB"), (2.0,), "jump"),
    )
    assert controls.idle == (1.0,)


@pytest.mark.parametrize("action", [3, -1, "left", [0, 1], None, 0.5, {"x": 1}])
def test_a_key_bound_to_what_the_space_does_not_hold_is_refused(action: Any) -> None:
    with pytest.raises(TutelageError, match="expected control 'Space' to be an action of Discrete"):
        from_mapping({"Space": {"action": action}}, None, THREE)


@pytest.mark.parametrize("action", [[3.0], [0.0, 0.0], "up", [float("nan")]])
def test_a_continuous_action_outside_its_bounds_is_refused(action: Any) -> None:
    with pytest.raises(TutelageError, match="expected the idle action to be an action of Box"):
        from_mapping({}, action, spaces.Box(-2.0, 2.0, (1,)))


def test_a_multi_discrete_action_outside_its_bounds_is_refused() -> None:
    with pytest.raises(TutelageError, match="expected control 'Space' to be an action of MultiDiscrete"):
        from_mapping({"Space": [5, 0]}, None, spaces.MultiDiscrete([3, 3]))


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"label": "jump"}, "control 'Space': missing key 'action'"),
        ({"action": 1, "labl": "jump"}, "control 'Space': unknown key 'labl'"),
    ],
)
def test_a_binding_written_wrongly_is_refused(spec: Any, complaint: str) -> None:
    with pytest.raises(TutelageError, match=complaint):
        from_mapping({"Space": spec}, None, THREE)


def test_a_code_that_no_keyboard_sends_is_refused_with_the_nearest() -> None:
    with pytest.raises(TutelageError, match="got 'ArowLeft'; did you mean 'ArrowLeft'"):
        from_mapping({"ArowLeft": 0}, None, THREE)


def test_an_environment_that_names_its_keys_is_asked() -> None:
    own = {"a": 1, (ord("d"), " "): 2, (): 0, "left": 1, "5": 2}
    controls = guess(Keyed(THREE, own))
    assert [(one.codes, one.action) for one in controls.bindings] == [
        (("KeyA",), (1.0,)),
        (("KeyD", "Space"), (2.0,)),
        (("ArrowLeft",), (1.0,)),
        (("Digit5",), (2.0,)),
    ]
    assert controls.idle == (0.0,)


def test_named_actions_get_the_keys_of_their_names_and_others_digits() -> None:
    controls = guess(Keyed(spaces.Discrete(4)), ("left", "forward", "dance", "toggle"))
    assert [one.codes for one in controls.bindings] == [("ArrowLeft",), ("ArrowUp",), ("Digit2",), ("Space",)]
    assert [one.label for one in controls.bindings] == ["left", "forward", "dance", "toggle"]


def test_a_box_gets_a_pair_of_keys_an_axis_and_rests_at_zero() -> None:
    controls = guess(Keyed(spaces.Box(np.array([-2, 0]), np.array([2, 1]), dtype=np.float32)))
    assert {one.codes[0]: one.action for one in controls.bindings} == {
        "ArrowLeft": (-2.0, 0.0),
        "ArrowRight": (2.0, 0.0),
        "ArrowUp": (0.0, 1.0),
    }
    assert controls.idle == (0.0, 0.0)


@pytest.mark.parametrize(
    ("space", "pressed", "action"),
    [
        (spaces.MultiBinary(3), ("Digit0", "Digit2"), [1, 0, 1]),
        (spaces.MultiDiscrete([3, 2]), ("Digit1", "Digit2"), [2, 1]),
        (spaces.MultiDiscrete([3, 2], start=[1, 5]), ("Digit0",), [2, 5]),
        (spaces.MultiDiscrete([3, 2]), ("Digit0", "Digit1"), [2, 0]),
        (spaces.Box(-1, 1, (2,), np.float32), ("ArrowLeft", "ArrowUp"), [-1, 1]),
        (spaces.Box(-1, 1, (2,), np.float32), ("ArrowLeft", "ArrowRight"), [0, 0]),
        (spaces.Box(-1, 1, (6,), np.float32), ("KeyL", "KeyI"), [0, 0, 0, 0, 1, 1]),
        (
            spaces.Dict({"arm": spaces.Box(-1, 1, (1,)), "grip": spaces.Discrete(2)}),
            ("ArrowRight", "Digit0"),
            [1, 1],
        ),
        (spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(2)]), ("Digit0", "Digit2"), [1, 0, 1]),
    ],
    ids=str,
)
def test_every_number_of_an_action_has_keys_and_keys_held_together_mix(
    space: spaces.Space[Any], pressed: tuple[str, ...], action: list[float]
) -> None:
    controls = guess(Keyed(space))
    assert meant(controls, *pressed) == action
    assert space.contains(row_to_action(space, np.array(action)))
    assert unreached(controls, space, real_time=True) == []


def test_the_keys_that_a_suite_gives_a_box_add_up_too() -> None:
    space = spaces.Box(-1, 1, (2,), np.float32)
    keys = {
        "ArrowLeft": [-0.6, 0],
        "ArrowUp": [0, 1],
        "KeyA": [-0.6, 0],
        "ArrowLeft+ArrowUp+KeyQ": [0.5, 0.5],
    }
    controls = from_mapping(keys, [0, 0], space)
    assert meant(controls, "ArrowLeft", "ArrowUp") == pytest.approx([-0.6, 1], abs=1e-6)
    assert meant(controls, "ArrowLeft", "KeyA") == [-1, 0]
    assert meant(controls, "ArrowLeft", "ArrowUp", "KeyQ") == [0.5, 0.5], "a chord stands for its keys"
    assert controls.label(controls.action(("ArrowLeft", "ArrowUp")).tolist()).count(" + ") == 1


def test_text_can_be_bound() -> None:
    space = spaces.Text(8)
    controls = from_mapping({"KeyH": "hello", "KeyB": {"action": "bye", "label": "leave"}}, None, space)
    assert row_to_action(space, controls.action(["KeyH"])) == "hello"
    assert [binding.label for binding in controls.bindings] == ["hello", "leave"]


@pytest.mark.parametrize(
    ("space", "missing"),
    [
        (spaces.Discrete(100), ["action 55 to 99"]),
        (spaces.Box(-1, 1, (20,), np.float32), ["axes 17 to 20"]),
        (spaces.Text(5), ["any action of Text(1, 5, charset="]),
        (spaces.MultiBinary(60), ["numbers 56 to 60"]),
    ],
    ids=str,
)
def test_what_no_key_does_is_listed(space: spaces.Space[Any], missing: list[str]) -> None:
    listed = unreached(guess(Keyed(space)), space, real_time=True)
    assert [text[: len(expected)] for text, expected in zip(listed, missing, strict=True)] == missing


def test_actions_that_a_suite_leaves_out_are_listed() -> None:
    space = spaces.Discrete(5, start=2)
    assert unreached(from_mapping({"KeyA": 3}, None, space), space, False) == [
        "action 2",
        "action 4 to 6",
    ]
    assert unreached(from_mapping({"KeyA": 3}, 2, space), space, True) == ["action 4 to 6"]


def test_labels_begin_where_the_space_begins() -> None:
    controls = guess(Keyed(spaces.Discrete(3, start=1)), ("stay", "go", "stop"))
    assert {binding.action[0]: binding.label for binding in controls.bindings} == {
        1: "stay",
        2: "go",
        3: "stop",
    }
    assert controls.idle == (1.0,)


@given(st.data())
def test_any_keys_held_together_are_an_action_of_the_space(data: st.DataObject) -> None:
    space = data.draw(
        st.sampled_from(
            [
                spaces.MultiBinary(4),
                spaces.MultiDiscrete([2, 3, 4]),
                spaces.Box(np.array([-2, 0]), np.array([1, 3]), dtype=np.float32),
                spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3, start=-1)}),
            ]
        )
    )
    controls = guess(Keyed(space))
    codes = [binding.codes[0] for binding in controls.bindings]
    row = controls.action(data.draw(st.lists(st.sampled_from(codes), unique=True)))
    assert space.contains(row_to_action(space, row))


@pytest.mark.parametrize(
    "env",
    [
        "CartPole-v1",
        "Pendulum-v1",
        "MountainCarContinuous-v0",
        "tutelage/Taxi-v0",
        "Blackjack-v1",
        "LunarLander-v3",
        "BipedalWalker-v3",
        "CarRacing-v3",
        "BabyAI-BossLevel-v0",
        "MiniGrid-Empty-5x5-v0",
    ],
)
def test_every_guessed_key_is_an_action_the_environment_takes(env: str) -> None:
    environment = TaskEnv(Task("any", env))
    controls = environment.controls()
    rows = [one.action for one in controls.bindings] + ([controls.idle] if controls.idle else [])
    assert controls.bindings
    assert len({one.codes for one in controls.bindings}) == len(controls.bindings), "one key, two actions"
    for row in rows:
        assert environment.action_space.contains(row_to_action(environment.action_space, np.array(row)))
    environment.close()


def test_a_web_page_takes_hands_and_names_what_they_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(Path(WEB_PAGE).parent))
    env = WebEnv(WEB_PAGE)
    controls = guess(env)
    assert (controls.bindings, controls.hands) == ((), True)
    row = action_to_row(env.action_space, to_value(WebAction("type", 4, text="ann")))
    assert controls.label(row.tolist()) == "type 4 'ann'"
