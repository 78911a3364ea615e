"""Our taxi is Gymnasium's, state for state and seed for seed, and people see where everything is."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.toy_text.taxi import TaxiEnv as GymnasiumTaxi
from tutelage.envs.capabilities import ReplaysMany
from tutelage.envs.experts import make_expert
from tutelage.envs.suite import load_suite
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.task_spec import supports
from tutelage.envs.taxi import (
    ABOARD,
    EAST,
    STANDS,
    STATES,
    TAXI_ID,
    WEST,
    TaxiEnv,
    action_mask,
    decode,
    encode,
)


def frame(state: int, *actions: int) -> np.ndarray:
    environment = TaxiEnv("rgb_array")
    environment.reset(seed=0)
    environment.s = state
    for action in actions:
        environment.step(action)
    picture = environment.render()
    assert picture is not None
    return picture


def test_transitions_rewards_and_masks_are_those_of_gymnasium() -> None:
    reference = GymnasiumTaxi()
    assert reference.P == TaxiEnv().P
    for state in range(STATES):
        assert np.array_equal(action_mask(state), reference.action_mask(state))
        assert decode(state) == tuple(reference.decode(state))
        assert encode(*decode(state)) == state


def test_a_seed_starts_where_it_does_in_gymnasium() -> None:
    ours, reference = TaxiEnv(), GymnasiumTaxi()
    assert [ours.reset(seed=seed)[0] for seed in range(200)] == [
        int(reference.reset(seed=seed)[0]) for seed in range(200)
    ]


def test_the_registered_id_ends_after_two_hundred_steps_and_tells_the_mask() -> None:
    environment = gymnasium.make(TAXI_ID)
    _, info = environment.reset(seed=1)
    steps, truncated = 0, False
    while not truncated:
        _, reward, terminated, truncated, info = environment.step(0)
        assert (float(reward), terminated) == (-1.0, False)
        steps += 1
    assert steps == 200
    assert (info["action_mask"].dtype, info["action_mask"].shape) == (np.int8, (6,))


def test_a_bare_id_has_keys_names_a_rule_and_an_expert() -> None:
    (task,) = load_suite(TAXI_ID)
    environment = TaskEnv(task)
    assert (task.success.text, task.fps, supports(task, ReplaysMany)) == ("terminated", None, False)
    assert environment.action_names == ("south", "north", "east", "west", "pick up", "drop off")
    assert environment.controls().action(["Space"]) == (4.0,)
    assert make_expert(load_suite("first-steps")["taxi"], environment)


def test_a_picture_shows_the_cab_its_heading_the_passenger_and_the_destination() -> None:
    seen = [
        frame(state, *actions)
        for state, actions in (
            (encode(2, 2, 0, 1), ()),
            (encode(2, 3, 0, 1), ()),
            (encode(2, 2, 3, 1), ()),
            (encode(2, 2, 0, 2), ()),
            (encode(2, 2, ABOARD, 1), ()),
            (encode(2, 3, 0, 1), (WEST,)),
        )
    ]
    assert all((picture.dtype, picture.shape) == (np.uint8, (424, 424, 3)) for picture in seen)
    assert len({picture.tobytes() for picture in seen}) == len(seen)
    assert np.array_equal(seen[0], frame(encode(2, 1, 0, 1), EAST))


@pytest.mark.parametrize("stand", range(4))
def test_the_cab_hides_neither_the_waiting_passenger_nor_the_flag(stand: int) -> None:
    others = [other for other in range(4) if other != stand]
    here, there = STANDS[stand], STANDS[others[0]]
    assert not np.array_equal(
        frame(encode(*here, stand, others[0])), frame(encode(*here, others[1], others[0]))
    )
    assert not np.array_equal(
        frame(encode(*there, stand, others[0])), frame(encode(*there, stand, others[1]))
    )


def test_nothing_is_drawn_without_a_render_mode() -> None:
    environment = TaxiEnv()
    environment.reset(seed=0)
    assert environment.render() is None
