"""Any space becomes named leaves and comes back; any action becomes a row and comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from tutelage.envs.spaces import (
    action_size,
    action_to_row,
    flatten,
    is_text,
    leaves,
    row_to_action,
    unflatten,
)
from tutelage.errors import TutelageError

small = st.integers(1, 4)
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
boxes = st.one_of(
    st.builds(lambda shape: spaces.Box(-2, 3, shape, np.float32), shapes),
    st.builds(lambda shape: spaces.Box(-np.inf, np.inf, shape, np.float64), shapes),
    st.builds(lambda shape: spaces.Box(0, 255, shape, np.uint8), shapes),
    st.builds(lambda shape: spaces.Box(-9, 9, shape, np.int64), shapes),
)
discretes = st.builds(lambda n, start: spaces.Discrete(n, start=start), small, st.integers(-5, 5))
multi_discretes = st.one_of(
    st.lists(small, min_size=1, max_size=3).map(spaces.MultiDiscrete),
    st.lists(small, min_size=2, max_size=2).map(lambda n: spaces.MultiDiscrete(np.array([n, n]))),
    st.lists(small, min_size=2, max_size=2).map(lambda n: spaces.MultiDiscrete(n, start=[3, -2])),
)
multi_binaries = st.one_of(small.map(spaces.MultiBinary), st.just(spaces.MultiBinary((2, 3))))
numbers = st.one_of(boxes, discretes, multi_discretes, multi_binaries)
texts = st.integers(1, 12).map(spaces.Text)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Wrap spaces in Dict and Tuple, up to three deep."""
    names = st.text("abcdefgh_", min_size=1, max_size=5)
    return st.recursive(
        inner,
        lambda part: st.one_of(
            st.dictionaries(names, part, min_size=1, max_size=3).map(spaces.Dict),
            st.lists(part, min_size=1, max_size=3).map(spaces.Tuple),
        ),
        max_leaves=6,
    )


def same(one: Any, other: Any) -> bool:
    """Compare two values of a space, to the bit."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


@given(space=nested(st.one_of(numbers, texts)), seed=st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_unflatten_undoes_flatten(space: spaces.Space[Any], seed: int) -> None:
    space.seed(seed)
    value = space.sample()
    flat = flatten(space, value)
    assert list(flat) == [leaf.path for leaf in leaves(space)]
    back = unflatten(space, flat)
    assert same(value, back)
    assert space.contains(back)
    assert same(flatten(space, back), flat)


@given(space=nested(st.one_of(numbers, texts)), seed=st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_leaves_have_their_own_shape_and_dtype(space: spaces.Space[Any], seed: int) -> None:
    space.seed(seed)
    flat = flatten(space, space.sample())
    for leaf in leaves(space):
        value = flat[leaf.path]
        assert leaf.is_text == isinstance(value, str)
        if not leaf.is_text:
            assert value.shape == (leaf.space.shape or ())
            assert value.dtype == leaf.space.dtype


@given(space=nested(numbers), seed=st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_row_to_action_undoes_action_to_row(space: spaces.Space[Any], seed: int) -> None:
    space.seed(seed)
    action = space.sample()
    row = action_to_row(space, action)
    assert row.shape == (action_size(space),)
    assert row.dtype == np.float64
    back = row_to_action(space, row)
    assert same(action, back)
    assert space.contains(back)
    assert np.array_equal(action_to_row(space, back), row)


def test_paths_name_the_way_to_a_leaf() -> None:
    hand = spaces.Tuple([spaces.Discrete(2), spaces.Dict({"cards": spaces.MultiBinary(3)})])
    space = spaces.Dict({"hand": hand, "word": spaces.Text(5)})
    assert [leaf.path for leaf in leaves(space)] == ["hand/0", "hand/1/cards", "word"]
    assert [leaf.path for leaf in leaves(spaces.Discrete(3))] == [""]


def test_a_mission_is_text_and_a_number_is_not() -> None:
    from minigrid.core.mission import MissionSpace

    assert is_text(MissionSpace(lambda: "go to the goal"))
    assert not is_text(spaces.Discrete(3))
    assert not is_text(spaces.Tuple([spaces.Discrete(3)]))


def test_an_observation_is_copied_so_that_the_environment_may_reuse_its_array() -> None:
    space = spaces.Box(0, 255, (2,), np.uint8)
    shared = np.array([1, 2], np.uint8)
    flat = flatten(space, shared)
    shared[:] = 9
    assert flat[""].tolist() == [1, 2]


@pytest.mark.parametrize(
    "refused",
    [
        spaces.Graph(spaces.Box(0, 1, (2,)), None),
        spaces.Sequence(spaces.Discrete(3)),
        spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)]),
    ],
    ids=lambda one: type(one).__name__,
)
def test_spaces_without_a_layout_are_refused_by_name_and_place(refused: spaces.Space[Any]) -> None:
    with pytest.raises(TutelageError, match=rf"got {type(refused).__name__} at 'the root'"):
        leaves(refused)
    with pytest.raises(TutelageError, match=rf"got {type(refused).__name__} at 'net'; wrap the environment"):
        leaves(spaces.Dict({"net": refused}))
