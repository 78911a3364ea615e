"""Tasks with recordings only: spaces that a suite declares, and nothing to play."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from tutelage.envs.admission import acts_of
from tutelage.envs.recorded import ENV_ID, describe_space, space_from
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
bounds = st.floats(-1e6, 1e6, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    shape = draw(shapes)
    dtype = draw(st.sampled_from(["float32", "float64", "uint8", "int8", "int64"]))
    size = math.prod(shape)
    if dtype.startswith("float"):
        values = st.one_of(bounds, st.just(math.inf))
        low = np.array([-abs(value) for value in draw(st.lists(values, min_size=size, max_size=size))], dtype)
        high = np.array([abs(value) for value in draw(st.lists(values, min_size=size, max_size=size))], dtype)
    else:
        limits = np.iinfo(dtype)
        numbers = st.integers(limits.min, limits.max)
        pairs = draw(st.lists(st.tuples(numbers, numbers).map(sorted), min_size=size, max_size=size))
        low, high = (np.array([pair[end] for pair in pairs], dtype) for end in (0, 1))
    return spaces.Box(low.reshape(shape), high.reshape(shape), shape, np.dtype(dtype).type)


leaf_spaces = st.one_of(
    boxes(),
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 9), st.integers(-3, 3)),
    st.builds(spaces.MultiDiscrete, st.lists(st.integers(1, 9), min_size=1, max_size=4).map(np.array)),
)
all_spaces = st.recursive(
    leaf_spaces,
    lambda inner: st.dictionaries(st.text("abc._%/", min_size=1), inner, min_size=1, max_size=3).map(
        spaces.Dict
    ),
    max_leaves=4,
)


@given(all_spaces)
def test_a_described_space_is_the_same_again(space: spaces.Space[Any]) -> None:
    described = describe_space(space)
    written = yaml.safe_load(yaml.safe_dump(described))
    assert space_from(written) == space
    suite_from(
        {
            "suite": "s",
            "tasks": [{"id": "t", "env": ENV_ID, "kwargs": {"observation": written, "action": {"n": 2}}}],
        }
    )


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({}, "expected a space at observation, such as {shape: [3]}"),
        (3, "expected a space at observation, such as {shape: [3]}"),
        ({"shap": [2]}, "did you mean 'shape'?"),
        ({"shape": [2], "n": 3}, "expected one of shape, n, nvec, text at observation, got shape and n"),
        ({"shape": [2], "hihg": 3}, "did you mean 'high'?"),
        ({"shape": "x"}, "expected a whole number, got 'x'"),
        ({"shape": [100000, 100000]}, "expected a shape of 1 to"),
        ({"shape": [-1]}, "expected a shape of 1 to"),
        ({"shape": [2], "low": 5, "high": 1}, "expected low at most high"),
        ({"shape": [2], "low": [1, 2, 3]}, "could not be broadcast"),
        ({"shape": [2], "dtype": "uint8", "low": -1}, "out of bounds for uint8"),
        ({"shape": [2], "dtype": "uint8", "low": 0.5}, "observation: expected bounds of uint8"),
        ({"shape": [2], "dtype": "object"}, "expected a dtype of numbers"),
        ({"shape": [2], "dtype": "zz"}, "zz"),
        ({"n": 0}, "positive"),
        ({"n": True}, "expected a whole number, got True"),
        ({"n": 10**9}, "expected at most 65,536 choices"),
        ({"nvec": [2, 10**9]}, "expected at most 65,536 choices"),
        ({"shape": [2], "dtype": "float128"}, "expected a dtype of numbers"),
        ({"text": 10**9}, "expected text of at most"),
        ({"camera": {"n": 2}, "arm": {"shape": 7}}, "at observation.arm"),
    ],
)
def test_what_is_no_space_is_one_line(description: Any, words: str) -> None:
    with pytest.raises(TutelageError) as raised:
        space_from(description, "observation")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_it_has_spaces_and_cannot_be_played() -> None:
    kwargs = {"observation": {"arm": {"shape": [3]}}, "action": {"shape": [2], "low": -1, "high": 1}}
    [task] = suite_from({"suite": "s", "tasks": [{"id": "t", "env": ENV_ID, "kwargs": kwargs}]})
    assert task.success.text == "unknown"
    environment = TaskEnv(task)
    assert environment.action_space == spaces.Box(-1, 1, (2,))
    with pytest.raises(TutelageError, match="has recordings only; name the task's environment in its suite"):
        environment.reset(0)
    with pytest.raises(TutelageError, match="has recordings only"):
        gymnasium.make(ENV_ID, disable_env_checker=True, **kwargs).unwrapped.step(0)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({}, "expected a space at observation"),
        ({"observation": {"n": 2}, "action": {"n": 2}, "more": 1}, "got more"),
    ],
)
def test_other_arguments_are_one_line(kwargs: dict[str, Any], words: str) -> None:
    [task] = suite_from({"suite": "s", "tasks": [{"id": "t", "env": ENV_ID, "kwargs": kwargs}]})
    with pytest.raises(TutelageError, match=words):
        TaskEnv(task)


def test_names_of_its_parts_are_no_files(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    kwargs = {"observation": {"images": {"shape": [8, 8, 3], "dtype": "uint8"}}, "action": {"n": 2}}
    [task] = suite_from({"suite": "s", "tasks": [{"id": "t", "env": ENV_ID, "kwargs": kwargs}]})
    assert acts_of(task) == []
