"""A trajectory refuses what can't be one; digests chain; text stacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.datasets.schema import pack, unpack
from tutelage.datasets.trajectory import (
    CONTROLLERS,
    KINDS,
    LONG,
    Digest,
    Trajectory,
    new_episode_id,
    stack_observations,
)
from tutelage.errors import TutelageError


def make(steps: int = 3, **changes: Any) -> Trajectory:
    fields: dict[str, Any] = {
        "suite": "s",
        "task": "t",
        "env": "CartPole-v1",
        "seed": 1,
        "demonstrator": "ann",
        "kind": "person",
        "actions": np.zeros((steps, 2)),
        "rewards": np.arange(steps, dtype=np.float64),
        "times_ms": np.arange(steps, dtype=np.int32) * 500,
        "controllers": np.zeros(steps, np.int8),
        "frames": np.zeros(steps, np.int32),
        "terminated": True,
        "truncated": False,
        "success": True,
        "digest": bytes(16),
    }
    return Trajectory(**{**fields, **changes})


def test_length_return_and_seconds_come_from_the_arrays() -> None:
    one = make(4)
    assert (len(one), one.total, one.seconds) == (4, 6.0, 1.5)


def test_rewards_too_large_to_be_added_are_no_error() -> None:
    assert make(2, rewards=np.array([1e308, 1e308])).total == np.inf
    assert np.isnan(make(3, rewards=np.array([1e308, 1e308, -np.inf])).total)


def test_every_episode_gets_an_id_of_its_own() -> None:
    assert len({new_episode_id() for _ in range(100)} | {make().episode}) == 101


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"actions": np.zeros(3)}, "expected actions"),
        ({"actions": np.zeros((0, 2))}, "T >= 1"),
        ({"rewards": np.zeros(2)}, "expected rewards of shape"),
        ({"times_ms": np.zeros(4, np.int32)}, "expected times_ms"),
        ({"controllers": np.zeros((3, 1), np.int8)}, "expected controllers"),
        ({"observations": {"": np.zeros((3, 4))}}, "expected 4 observations for 3 actions"),
        ({"kind": "robot"}, "expected kind to be one of person"),
    ],
)
def test_arrays_that_disagree_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TutelageError, match=complaint):
        make(**changes)


def test_a_trajectory_is_frozen() -> None:
    with pytest.raises(AttributeError):
        make().seed = 2  # type: ignore[misc]
    assert replace(make(), seed=2).seed == 2


def test_the_words_of_the_contract_stand() -> None:
    assert CONTROLLERS == ("person", "policy", "expert")
    assert set(KINDS) == {"person", "expert", "simulated", "policy", "chance"}


steps_strategy = st.lists(
    st.tuples(
        st.binary(min_size=3, max_size=3), st.text(max_size=5), st.floats(allow_nan=False), st.booleans()
    ),
    min_size=2,
    max_size=6,
)


def chain(steps: list[tuple[bytes, str, float, bool]]) -> list[bytes]:
    digest = Digest()
    return [
        digest.update({"a": np.frombuffer(raw, np.uint8), "b": text}, reward, ended, False)
        for raw, text, reward, ended in steps
    ]


@given(steps_strategy, st.data())
def test_a_change_in_any_step_changes_every_digest_from_there_on(
    steps: list[Any], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(steps) - 1))
    raw, text, reward, ended = steps[at]
    changed = [*steps[:at], (raw, text, reward, not ended), *steps[at + 1 :]]
    mine, theirs = chain(steps), chain(changed)
    assert mine[:at] == theirs[:at]
    assert all(a != b for a, b in zip(mine[at:], theirs[at:], strict=True))
    assert all(len(one) == 16 for one in mine)
    assert chain(steps) == mine


def test_text_stacks_into_unicode_arrays_and_numbers_keep_their_dtype() -> None:
    steps = [{"m": "go", "x": np.float32([1, 2])}, {"m": "öffne", "x": np.float32([3, 4])}]
    stacked = stack_observations(steps)
    assert stacked["m"].tolist() == ["go", "öffne"]
    assert stacked["m"].dtype.kind == "U"
    assert stacked["x"].dtype == np.float32
    assert stacked["x"].shape == (2, 2)


@given(st.lists(st.text(max_size=6), min_size=1, max_size=5), st.integers(0, 9))
def test_long_texts_are_written_once_each_and_come_back_letter_for_letter(
    short: list[str], times: int
) -> None:
    long = "page \0 ö " + "x" * LONG
    texts = [*short, *[long] * (times + 1), long + "\0", *short]
    steps = [{"page": text, "n": np.int8(at)} for at, text in enumerate(texts)]
    stacked = stack_observations(steps)
    assert stacked["page"].dtype == object
    packed = pack(stacked)
    back = unpack(packed)
    assert list(back) == ["page", "n"]
    assert back["page"].tolist() == texts
    assert back["n"].tolist() == list(range(len(texts)))
    assert packed.count(b"x" * LONG) == 2
